"""Rollouts in the control database: a change is whole or is not, one owner at a time; on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from core.errors import Conflict, InvalidInput, NotFound
from core.ids import TenantId
from core.records import Principal, Role
from store.control.control import Control
from store.control.records import PlanSpec, ReleaseSpec
from store.control.rolling import LEASE_NS
from store.control.rollout_records import CheckRecord, Happened, RolloutMove, RolloutRecord, RolloutStatus
from tests.store.databases import ControlDatabase

ACME, SHOP = TenantId("acme"), TenantId("shop")
ANN = Principal(tenant=ACME, role=Role.POWER_USER, name="ann", key_id="0123456789ab")
BACK = PlanSpec(app="desk", baseline="v1", weights={"v1": 1.0, "v2": 0.0})
TENTH = PlanSpec(app="desk", baseline="v1", weights={"v1": 0.9, "v2": 0.1})
ROLLOUT = RolloutRecord(
    tenant=ACME,
    rollout_id="ro_1",
    app="desk",
    baseline="v1",
    candidate="v2",
    status=RolloutStatus.WAITING,
    policy={"alpha": 0.05, "bypass": None},
    policy_hash="ab" * 32,
    state={"step": -1},
)


class Clock:
    """Nanoseconds that only the test moves."""

    def __init__(self) -> None:
        self.now_ns = 10**18

    def __call__(self) -> int:
        return self.now_ns


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def control(database: ControlDatabase, clock: Clock) -> Iterator[Control]:
    found = database.open(clock=clock)
    for tenant in (ACME, SHOP):
        found.ensure_tenant(tenant)
        for name in ("v1", "v2", "v3"):
            found.register_release(tenant, ReleaseSpec(app="desk", name=name), by=ANN)
    yield found
    found.close()


def step(record: RolloutRecord, **changes: Any) -> RolloutMove:
    """A first step with a block and a certificate."""
    made: dict[str, Any] = {
        "before": record,
        "status": RolloutStatus.RUNNING,
        "state": {"step": 0},
        "plan": TENTH,
        "block": {"of": {"cost": [1, 0, 0, 9, 0, 0]}},
        "events": [Happened(kind="step", text="step 1", certified=True)],
        "certificate": {"digest": "cd" * 32, "decision": "promote"},
    }
    return RolloutMove(**{**made, **changes})


def test_a_change_is_state_plan_block_event_certificate_and_audit(control: Control, database: ControlDatabase) -> None:
    control.start_rollout(ROLLOUT, BACK, "v2 over v1", by=ANN)
    before = control.rollout(ACME, "ro_1")
    after = control.move_rollout(step(before))
    again = database.open()
    assert again.rollout(ACME, "ro_1") == after == control.open_rollout(ACME, "desk")
    assert (after.status, after.state, after.revision) == (RolloutStatus.RUNNING, {"step": 0}, before.revision + 1)
    assert [one.counts for one in again.rollout_blocks(ACME, "ro_1")] == [{"of": {"cost": [1, 0, 0, 9, 0, 0]}}]
    deploy, first = again.rollout_events(ACME, "ro_1")
    assert (deploy.kind, deploy.made_by, deploy.certificate) == ("deploy", "ann", None)
    assert (first.kind, first.made_by, first.certificate) == ("step", "assay", 1)
    (certificate,) = again.rollout_certificates(ACME, "ro_1")
    assert (certificate.number, certificate.digest) == (1, "cd" * 32)
    assert again.plans(ACME, "desk")[0].spec.weights == {"v1": 0.9, "v2": 0.1}
    assert [one.action for one in again.list_audit(ACME)][:2] == ["plan.set", "rollout.step"]
    assert again.verify(ACME).ok
    again.close()


def test_who_saw_another_revision_changes_nothing(control: Control) -> None:
    seen = control.start_rollout(ROLLOUT, BACK, "v2 over v1", by=ANN)
    control.move_rollout(step(seen))
    with pytest.raises(Conflict, match="has changed meanwhile"):
        control.move_rollout(step(seen, plan=replace(TENTH, weights={"v1": 0.5, "v2": 0.5})))
    assert len(control.rollout_blocks(ACME, "ro_1")) == len(control.rollout_certificates(ACME, "ro_1")) == 1
    assert control.plans(ACME, "desk")[0].spec.weights["v2"] == 0.1


def test_a_plan_that_cannot_be_set_takes_the_whole_change_with_it(control: Control) -> None:
    seen = control.start_rollout(ROLLOUT, BACK, "v2 over v1", by=ANN)
    with pytest.raises(InvalidInput, match="not registered for this app: v9"):
        control.move_rollout(step(seen, plan=replace(TENTH, weights={"v1": 0.5, "v9": 0.5})))
    assert control.rollout(ACME, "ro_1") == seen
    assert (control.rollout_blocks(ACME, "ro_1"), control.rollout_certificates(ACME, "ro_1")) == ([], [])


def test_of_many_at_once_one_begins_and_each_change_is_made_once(control: Control) -> None:
    def begin(number: int) -> bool:
        try:
            control.start_rollout(replace(ROLLOUT, rollout_id=f"ro_{number}"), BACK, "v2 over v1", by=ANN)
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(6) as pool:
        assert sorted(pool.map(begin, range(6))) == [False] * 5 + [True]
    found = control.open_rollout(ACME, "desk")
    assert found is not None

    def move(_: int) -> bool:
        try:
            control.move_rollout(step(found))
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(6) as pool:
        assert sorted(pool.map(move, range(6))) == [False] * 5 + [True]
    assert [one.number for one in control.rollout_blocks(ACME, found.rollout_id)] == [1]


def test_one_process_looks_after_it_until_it_is_gone(control: Control, clock: Clock) -> None:
    control.start_rollout(ROLLOUT, BACK, "v2 over v1", by=ANN)
    assert [one.rollout_id for one in control.take_rollouts("a")] == ["ro_1"]
    assert control.take_rollouts("b") == []
    assert [one.rollout_id for one in control.take_rollouts("b", gone=lambda owner: owner == "a")] == ["ro_1"]
    assert control.take_rollouts("a") == []
    clock.now_ns += LEASE_NS + 1
    (taken,) = control.take_rollouts("a")
    control.move_rollout(step(taken, status=RolloutStatus.ABORTED, plan=BACK))  # a lease is no other revision
    assert control.take_rollouts("a") == control.take_rollouts("b") == []


def test_a_plan_belongs_to_its_rollout_and_to_no_release_that_was_rolled_back(control: Control) -> None:
    seen = control.start_rollout(ROLLOUT, BACK, "v2 over v1", by=ANN)
    for act in (control.set_plan, control.try_plan):
        with pytest.raises(Conflict, match="assay rollouts abort desk"):
            act(ACME, BACK, by=ANN)
        act(SHOP, TENTH, by=ANN)  # another tenant's
    control.move_rollout(step(seen, status=RolloutStatus.ROLLED_BACK, plan=BACK))
    with pytest.raises(Conflict, match="v2 of this app was rolled back by rollout ro_1"):
        control.set_plan(ACME, TENTH, by=ANN)
    control.set_plan(ACME, replace(TENTH, weights={"v1": 1.0, "v2": 0.0, "v3": 0.2}), by=ANN)
    with pytest.raises(Conflict, match="gives sessions to v3"):
        control.start_rollout(replace(ROLLOUT, rollout_id="ro_2", candidate="v3"), BACK, "", by=ANN)


def test_what_is_asked_for_and_is_not_there(control: Control) -> None:
    for ask in (control.rollout, control.rollout_blocks, control.rollout_events, control.rollout_certificates):
        with pytest.raises(NotFound):
            ask(ACME, "ro_9")
    control.start_rollout(ROLLOUT, BACK, "v2 over v1", by=ANN)
    with pytest.raises(NotFound):
        control.rollout(SHOP, "ro_1")
    assert (control.open_rollout(SHOP, "desk"), control.rollouts(SHOP)) == (None, [])
    with pytest.raises(NotFound):
        control.start_rollout(replace(ROLLOUT, tenant=TenantId("nobody")), BACK, "", by=ANN)


def test_of_a_check_the_newest_report_comes_first(control: Control) -> None:
    check = CheckRecord(app="desk", release="v2", name="licence", passed=False, note="see 17")
    control.report_check(ACME, check, by=ANN)
    control.report_check(ACME, replace(check, passed=True, link="https://ci.example.com/18"), by=ANN)
    control.report_check(ACME, replace(check, name="privacy"), by=ANN)
    found = control.rollout_checks(ACME, "desk", "v2")
    assert [(one.name, one.number, one.passed) for one in found] == [
        ("licence", 2, True),
        ("licence", 1, False),
        ("privacy", 1, False),
    ]
    assert control.rollout_checks(ACME, "desk", "v1") == control.rollout_checks(SHOP, "desk", "v2") == []
    assert control.list_audit(ACME)[0].action == "rollout.check"
