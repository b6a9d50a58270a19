"""Plans in the control database: immutable versions under one salt; on SQLite and on PostgreSQL."""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from core.errors import Conflict, InvalidInput, NotFound
from core.ids import TenantId
from core.records import Principal, Role
from store.control.control import Control
from store.control.records import PlanSpec, ReleaseSpec
from tests.store.databases import ControlDatabase

ACME, SHOP = TenantId("acme"), TenantId("shop")
ANN = Principal(tenant=ACME, role=Role.POWER_USER, name="ann", key_id="0123456789ab")
TENTH = PlanSpec(app="desk", baseline="v1", weights={"v1": 0.9, "v2": 0.1}, reason="canary")


@pytest.fixture
def control(database: ControlDatabase) -> Iterator[Control]:
    found = database.open()
    for tenant in (ACME, SHOP):
        found.ensure_tenant(tenant)
        for name in ("v1", "v2", "v3"):
            endpoint = f"http://127.0.0.1:1/{name}" if name != "v3" else None
            found.register_release(tenant, ReleaseSpec(app="desk", name=name, endpoint=endpoint), by=ANN)
    yield found
    found.close()


def test_versions_are_kept_whole_under_one_salt(control: Control, database: ControlDatabase) -> None:
    first, new = control.set_plan(ACME, TENTH, by=ANN, if_version=0)
    assert (first.version, first.spec, first.made_by, new) == (1, TENTH, "ann", True)
    half = replace(TENTH, weights={"v1": 1, "v2": 1, "v3": 0}, reason=None)
    second, _ = control.set_plan(ACME, half, by=ANN, if_version=1)
    assert (second.version, second.salt, second.spec) == (2, first.salt, half)
    back, _ = control.set_plan(ACME, TENTH, by=ANN)
    assert (back.version, back.salt) == (3, first.salt)
    assert database.open().plans(ACME, "desk") == control.plans(ACME) == [back, second, first]
    assert control.plans(ACME, "other") == control.plans(SHOP) == []
    assert control.set_plan(SHOP, TENTH, by=ANN)[0].salt != first.salt


def test_the_same_weights_are_no_new_version(control: Control) -> None:
    first, _ = control.set_plan(ACME, TENTH, by=ANN)
    again = replace(TENTH, weights={"v2": 0.1, "v1": 0.9}, reason="once more")
    assert control.set_plan(ACME, again, by=ANN) == (first, False)
    assert control.plans(ACME) == [first]


def test_a_change_is_in_the_audit_log_with_the_plan_before(control: Control) -> None:
    control.set_plan(ACME, TENTH, by=ANN)
    control.set_plan(ACME, replace(TENTH, weights={"v1": 0.5, "v2": 0.5}), by=ANN)
    second, first = [one for one in control.list_audit(ACME) if one.action == "plan.set"]
    assert (first.resource, first.before, first.actor) == ("plan/desk", None, "ann")
    assert (
        second.before
        == first.after
        == {
            "app": "desk",
            "version": 1,
            "baseline": "v1",
            "weights": {"v1": 0.9, "v2": 0.1},
            "reason": "canary",
        }
    )
    assert second.after is not None
    assert second.after["weights"] == {"v1": 0.5, "v2": 0.5}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"weights": {}}, "1 to 20 releases"),
        ({"weights": {f"v{n}": 1.0 for n in range(21)}}, "1 to 20 releases"),
        ({"weights": {"v1": 0.0, "v2": 0.0}}, "sum to nothing"),
        ({"weights": {"v1": 1.0, "v2": -0.1}}, "the weight of 'v2'"),
        ({"weights": {"v1": 1.0, "v2": math.nan}}, "the weight of 'v2'"),
        ({"weights": {"v1": math.inf}}, "the weight of 'v1'"),
        ({"weights": {"v1": 1e308, "v2": 1e308}}, "the weight of 'v1'"),
        ({"weights": {"v2": 1.0}}, "the baseline is among"),
        ({"weights": {"v1": 1.0, "v9": 1.0}}, "not registered for this app: v9"),
        ({"app": "other"}, "not registered for this app: v1, v2"),
    ],
)
def test_weights_that_split_nothing_and_unknown_releases_are_refused(
    control: Control, change: dict[str, object], named: str
) -> None:
    wrong = replace(TENTH, **change)  # type: ignore[arg-type]
    for act in (control.set_plan, control.try_plan):
        with pytest.raises(InvalidInput, match=named):
            act(ACME, wrong, by=ANN)
    assert control.plans(ACME) == []
    with pytest.raises(NotFound):
        control.set_plan(TenantId("nobody"), TENTH, by=ANN)


def test_somebody_who_looked_at_another_version_is_told(control: Control) -> None:
    control.set_plan(ACME, TENTH, by=ANN)
    for seen in (0, 2):
        with pytest.raises(Conflict, match=f"at version 1, not {seen}"):
            control.set_plan(ACME, replace(TENTH, weights={"v1": 1.0}), by=ANN, if_version=seen)
    assert len(control.plans(ACME)) == 1


def test_of_many_at_once_each_version_is_one(control: Control) -> None:
    def raise_to(n: int) -> bool:
        try:
            return control.set_plan(ACME, replace(TENTH, weights={"v1": 1.0, "v2": n}), by=ANN, if_version=0)[1]
        except Conflict:
            return False

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(raise_to, range(8))) == [False] * 7 + [True]
    assert [one.version for one in control.plans(ACME)] == [1]


def test_a_try_changes_nothing(control: Control) -> None:
    n_records = len(control.list_audit(ACME))
    tried, new = control.try_plan(ACME, TENTH, by=ANN)
    assert (tried.version, new) == (1, True)
    assert (control.plans(ACME), len(control.list_audit(ACME))) == ([], n_records)


def test_the_live_plans_are_the_newest_of_every_tenant_with_endpoints(control: Control) -> None:
    assert control.live_plans() == []
    control.set_plan(ACME, TENTH, by=ANN)
    newest, _ = control.set_plan(ACME, replace(TENTH, weights={"v1": 1.0, "v3": 1.0}), by=ANN)
    other, _ = control.set_plan(SHOP, TENTH, by=ANN)
    first, second = control.live_plans()
    assert (first.plan, second.plan) == (newest, other)
    assert first.endpoints == {"v1": "http://127.0.0.1:1/v1", "v3": None}
    assert second.endpoints == {"v1": "http://127.0.0.1:1/v1", "v2": "http://127.0.0.1:1/v2"}
