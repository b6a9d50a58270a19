"""Releases in the control database: written once, the same again, never changed; on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from core.errors import Conflict, InvalidInput, NotFound
from core.ids import TenantId
from core.records import Principal, Role
from store.control.control import Control
from store.control.records import ReleaseSpec
from tests.store.databases import ControlDatabase

ACME, SHOP = TenantId("acme"), TenantId("shop")
ANN = Principal(tenant=ACME, role=Role.POWER_USER, name="ann", key_id="0123456789ab")
V1 = ReleaseSpec(
    app="desk",
    name="v1",
    variant="control",
    model="sim-1",
    provider="openai",
    prompt_version="3",
    parameters={"temperature": 0.0, "limits": {"steps": 12}},
    endpoint="https://models.example/v1",
)


@pytest.fixture
def control(database: ControlDatabase) -> Iterator[Control]:
    found = database.open()
    found.ensure_tenant(ACME)
    found.ensure_tenant(SHOP)
    yield found
    found.close()


def test_a_release_is_kept_whole_and_belongs_to_its_tenant(control: Control, database: ControlDatabase) -> None:
    made, new = control.register_release(ACME, V1, by=ANN)
    assert (made.spec, made.created_by, new) == (V1, "ann", True)
    assert database.open().releases(ACME) == [made]
    assert control.releases(ACME, "desk") == [made]
    assert control.releases(ACME, "other") == control.releases(SHOP) == []
    with pytest.raises(NotFound):
        control.register_release(TenantId("nobody"), V1, by=ANN)


def test_the_same_content_is_the_same_release(control: Control) -> None:
    made, _ = control.register_release(ACME, V1, by=ANN)
    shuffled = replace(V1, parameters={"limits": {"steps": 12}, "temperature": 0.0})
    assert control.register_release(ACME, shuffled, by=replace(ANN, name="bob")) == (made, False)
    assert [record.action for record in control.list_audit(ACME)] == ["release.register", "tenant.create"]
    assert control.list_audit(ACME)[0].after == {
        **{name: getattr(V1, name) for name in ("app", "name", "variant", "model", "provider", "prompt_version")},
        "endpoint": V1.endpoint,
        "parameters": V1.parameters,
    }


@pytest.mark.parametrize(
    "change",
    [
        {"variant": "treatment"},
        {"model": None},
        {"provider": "azure"},
        {"prompt_version": "4"},
        {"endpoint": None},
        {"parameters": {"temperature": 0.1, "limits": {"steps": 12}}},
        {"parameters": {}},
    ],
)
def test_other_content_under_the_name_is_refused_and_named(control: Control, change: dict[str, object]) -> None:
    made, _ = control.register_release(ACME, V1, by=ANN)
    with pytest.raises(Conflict, match=f"another {next(iter(change))};"):
        control.register_release(ACME, replace(V1, **change), by=ANN)  # type: ignore[arg-type]
    assert control.releases(ACME) == [made]
    assert control.register_release(ACME, replace(V1, name="v2", **change), by=ANN)[1]  # type: ignore[arg-type]


def test_parameters_have_a_limit(control: Control) -> None:
    with pytest.raises(InvalidInput, match="parameters"):
        control.register_release(ACME, replace(V1, parameters={"prompt": "x" * 20_001}), by=ANN)
    assert control.releases(ACME) == []


def test_of_many_at_once_one_registers(control: Control) -> None:
    with ThreadPoolExecutor(8) as pool:
        told = list(pool.map(lambda _: control.register_release(ACME, V1, by=ANN), range(8)))
    assert sorted(new for _, new in told) == [False] * 7 + [True]
    assert len({record.created_at_ns for record, _ in told}) == 1
