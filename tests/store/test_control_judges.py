"""Judges, their jobs, verdicts, schedules and calibrations in the control database, on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from core.errors import Conflict, Corrupt, NotFound
from core.ids import TenantId
from core.records import Principal, Role
from store.control.control import Control
from store.control.judge_jobs import SLICE
from store.control.judge_records import JobStatus, JudgeSchedule
from tests.store.control_rows import (
    JUDGE_VERSION,
    calibration_of,
    job_of,
    judged,
    rubric_of,
    targets_of,
    verdict_of,
)
from tests.store.databases import ControlDatabase

ACME, SHOP = TenantId("acme"), TenantId("shop")
ANN = Principal(tenant=ACME, role=Role.POWER_USER, name="ann", key_id="0123456789ab")


@pytest.fixture
def control(database: ControlDatabase) -> Iterator[Control]:
    found = database.open()
    for tenant in (ACME, SHOP):
        found.ensure_tenant(tenant)
    yield found
    found.close()


def started(control: Control, n: int = 3) -> None:
    control.put_judge(ACME, "kind", JUDGE_VERSION, {"name": "kind"}, by=ANN)
    control.start_job(job_of(ACME), targets_of(n), by=ANN)


def test_a_version_of_a_rubric_never_changes(control: Control) -> None:
    first = control.add_rubric(rubric_of(ACME), by=ANN)
    assert control.add_rubric(rubric_of(ACME), by=ANN) == first == control.rubric(ACME, "helpful")
    with pytest.raises(Conflict, match="next version"):
        control.add_rubric(rubric_of(ACME, text="another"), by=ANN)
    second = control.add_rubric(rubric_of(ACME, version=2, text="another"), by=ANN)
    assert control.rubrics(ACME) == [second, first]
    assert control.rubric(ACME, "helpful", 1) == first
    assert [one.action for one in control.list_audit(ACME)].count("rubric.add") == 2
    for tenant, version in ((SHOP, None), (ACME, 3)):
        with pytest.raises(NotFound):
            control.rubric(tenant, "helpful", version)


def test_every_change_of_a_judge_is_a_version_and_the_last_one_holds(control: Control) -> None:
    for version, spec in (("a" * 12, {"m": 1}), ("a" * 12, {"m": 1}), ("b" * 12, {"m": 2}), ("a" * 12, {"m": 1})):
        control.put_judge(ACME, "kind", version, spec, by=ANN)
    control.put_judge(ACME, "other", "c" * 12, {}, by=ANN)
    assert [one.seq for one in control.judge_versions(ACME, "kind")] == [3, 2, 1]
    assert control.judge(ACME, "kind").spec == {"m": 1}
    assert control.judge(ACME, "kind", "b" * 12).seq == 2
    assert [(one.name, one.seq) for one in control.judges(ACME)] == [("kind", 3), ("other", 1)]
    assert control.judges(SHOP) == []
    with pytest.raises(NotFound):
        control.judge(SHOP, "kind")


def test_a_job_hands_out_its_targets_in_slices_and_counts_each_once(
    control: Control, database: ControlDatabase
) -> None:
    started(control, SLICE + 5)
    taken = control.take_judge_jobs("me", 5, set())
    assert [(one.job_id, one.status, one.n_targets) for one in taken] == [("judging_1", JobStatus.RUNNING, SLICE + 5)]
    number, targets = control.first_slice(ACME, "judging_1") or (0, [])
    assert targets == targets_of(SLICE)
    for _ in range(2):
        job = control.settle_slice(ACME, "judging_1", number, n_done=SLICE - 2, n_cached=3, missing={"refused": 2})
        assert (job.n_done, job.n_cached, job.n_missing, job.n_left) == (SLICE - 2, 3, 2, 5)
    number, targets = database.open().first_slice(ACME, "judging_1") or (0, [])
    assert targets == targets_of(5, SLICE)
    job = control.settle_slice(
        ACME, "judging_1", number, n_done=3, n_cached=0, missing={"refused": 1}, left=targets[4:]
    )
    assert (job.missing, job.n_left) == ({"refused": 3}, 1)
    assert (control.first_slice(ACME, "judging_1") or (0, []))[1] == targets[4:]
    ended = control.end_judge_job(ACME, "judging_1", JobStatus.OUT_OF_BUDGET, reason="spent")
    assert (ended.status, ended.n_left, control.first_slice(ACME, "judging_1")) == (JobStatus.OUT_OF_BUDGET, 1, None)
    assert control.cancel_judge_job(ACME, "judging_1", by=ANN) == ended
    assert control.take_judge_jobs("me", 5, set()) == []


def test_a_verdict_is_kept_once_with_its_money(control: Control) -> None:
    started(control)
    first, second = verdict_of(ACME), verdict_of(ACME, 1, missing="refused")
    for _ in range(2):
        job = control.put_verdicts(ACME, "judging_1", [first, second])
        assert (job.n_paid, job.n_calls, job.input_tokens, job.cost_usd) == (2, 2, 200, 0.000000006)
    assert control.verdicts(ACME, [first.key, second.key, "f" * 64]) == {first.key: first, second.key: second}
    assert control.verdicts(SHOP, [first.key]) == {}
    free = replace(verdict_of(ACME, 2), cost_usd=None)
    assert control.put_verdicts(ACME, "judging_1", [free]).n_unpriced == 1


def test_a_model_that_failed_is_asked_again_by_another_job_only(control: Control) -> None:
    started(control)
    control.start_job(job_of(ACME, "judging_2"), targets_of(1), by=ANN)
    failed = verdict_of(ACME, missing="model_failed")
    control.put_verdicts(ACME, "judging_1", [failed])
    control.put_verdicts(ACME, "judging_1", [verdict_of(ACME)])
    assert control.verdicts(ACME, [failed.key]) == {failed.key: failed}
    better = verdict_of(ACME, job_id="judging_2")
    assert control.put_verdicts(ACME, "judging_2", [better]).n_paid == 1
    assert control.verdicts(ACME, [failed.key]) == {failed.key: better}


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_damaged_verdict_counts_as_not_kept(control: Control, database: ControlDatabase) -> None:
    started(control)
    control.put_verdicts(ACME, "judging_1", [verdict_of(ACME)])
    database.execute("UPDATE judge_verdicts SET labels = '[\"fail\"]', repaired = 5")
    assert control.verdicts(ACME, [verdict_of(ACME).key]) == {}
    control.put_verdicts(ACME, "judging_1", [verdict_of(ACME)])
    assert len(control.verdicts(ACME, [verdict_of(ACME).key])) == 1


def test_one_process_works_on_a_job_and_another_takes_it_when_it_is_gone(control: Control) -> None:
    started(control)
    assert control.take_judge_jobs("one", 5, set())
    assert control.take_judge_jobs("two", 5, set()) == []
    assert control.take_judge_jobs("one", 5, {"judging_1"}) == []
    assert control.take_judge_jobs("two", 5, set(), gone=lambda owner: owner == "one")
    with pytest.raises(Conflict):
        control.renew_judge_job(ACME, "judging_1", "one")
    assert control.renew_judge_job(ACME, "judging_1", "two").status is JobStatus.RUNNING
    assert control.pause_judge_job(ACME, "judging_1", "two").status is JobStatus.WAITING
    assert control.take_judge_jobs("one", 5, set())
    assert control.cancel_judge_job(ACME, "judging_1", by=ANN).status is JobStatus.CANCELLED
    assert control.renew_judge_job(ACME, "judging_1", "one").reason == "cancelled by ann"


def test_a_schedule_gives_each_session_to_the_days_job_once(control: Control) -> None:
    control.put_judge(ACME, "kind", JUDGE_VERSION, {}, by=ANN)
    wanted = JudgeSchedule(tenant=ACME, judge="kind", app="desk", share=0.25, budget_usd=1.5, marks={7: 5})
    first = control.set_judge_schedule(wanted, by=ANN)
    assert control.judge_schedules(None) == [first] == control.judge_schedules(ACME)
    job = control.advance_judge_schedule(first, {7: 9}, {"n": 1}, job_of(ACME), targets_of(2))
    assert job is not None
    assert job.n_targets == 2
    assert control.advance_judge_schedule(first, {7: 9}, {"n": 1}, job_of(ACME), targets_of(2)) is None
    second = control.judge_schedules(ACME)[0]
    assert (second.marks, second.told) == ({7: 9}, {"n": 1})
    job = control.advance_judge_schedule(second, {7: 11}, {}, job_of(ACME), targets_of(1, 2))
    assert job is not None
    assert (job.n_targets, job.created_by) == (3, "ann")
    changed = control.set_judge_schedule(replace(wanted, share=1.0, marks={7: 40}), by=ANN)
    assert changed.marks == {7: 11}  # it was on: nothing in between is left out
    off = control.set_judge_schedule(replace(wanted, is_on=False), by=ANN)
    assert control.set_judge_schedule(replace(wanted, marks={7: 40}), by=ANN).marks == {7: 40}
    assert off.is_on is False
    with pytest.raises(NotFound):
        control.set_judge_schedule(replace(wanted, judge="nobody"), by=ANN)


def test_the_newest_calibration_of_the_version_that_holds(control: Control) -> None:
    assert control.calibration(ACME, "kind") is None
    with pytest.raises(NotFound):
        control.put_calibration(calibration_of(ACME))
    control.put_judge(ACME, "kind", JUDGE_VERSION, {}, by=ANN)
    old, new = calibration_of(ACME, at_ns=3), calibration_of(ACME, at_ns=9)
    for one in (new, old, new):
        control.put_calibration(one, by=ANN)
    assert control.calibration(ACME, "kind") == new == control.calibration(ACME, "kind", JUDGE_VERSION)
    assert control.calibrations(ACME, "kind") == [new, old]
    assert control.calibrations(SHOP, "kind") == []
    control.put_judge(ACME, "kind", "f" * 12, {"other": 1}, by=ANN)
    assert control.calibration(ACME, "kind") is None


def test_deleting_a_judge_says_first_what_goes(control: Control) -> None:
    judged(control, ACME)
    with pytest.raises(Conflict):
        control.delete_judge(ACME, "kind", by=ANN, dry_run=True)
    control.cancel_judge_job(ACME, "judging_1", by=ANN)
    foreseen = control.delete_judge(ACME, "kind", by=ANN, dry_run=True)
    assert foreseen == dict.fromkeys(foreseen, 1)
    assert control.delete_judge(ACME, "kind", by=ANN) == foreseen
    assert not [*control.judges(ACME), *control.judge_jobs(ACME), *control.judge_schedules(ACME)]
    assert len(control.rubrics(ACME)) == 1  # other judges may hold to it
    with pytest.raises(NotFound):
        control.delete_judge(ACME, "kind", by=ANN)


def test_what_is_kept_of_sessions_can_be_forgotten(control: Control) -> None:
    started(control)
    made = [verdict_of(ACME, n) for n in range(3)]
    control.put_verdicts(ACME, "judging_1", made)
    assert control.forget_verdicts(SHOP, ["s0"]) == 0
    assert control.forget_verdicts(ACME, ["s0", "s2", "unknown"]) == 2
    assert list(control.verdicts(ACME, [one.key for one in made])) == [made[1].key]
    assert control.judge_job(ACME, "judging_1").n_paid == 3


def test_targets_that_are_gone_are_known_by_a_hash_and_counted_as_missing(control: Control) -> None:
    started(control, 4)
    _, before = control.first_slice(ACME, "judging_1") or (0, [])
    gone = before[1].session_id
    assert control.forget_targets(ACME, {gone, "nobody"}) == 1
    assert control.forget_targets(ACME, {gone}) == control.forget_targets(SHOP, {before[0].session_id}) == 0
    number, after = control.first_slice(ACME, "judging_1") or (0, [])
    assert [one.session_id.startswith("erased-") for one in after] == [False, True, False, False]
    assert [after[0], *after[2:]] == [before[0], *before[2:]]
    job = control.settle_slice(ACME, "judging_1", number, n_done=2, n_cached=0, missing={}, left=before[1:3])
    assert (job.n_done, job.missing, job.n_left) == (2, {"no_content": 1}, 1)
    assert (control.first_slice(ACME, "judging_1") or (0, []))[1] == before[2:3]


def test_what_is_older_than_the_tenant_keeps_it_goes(control: Control) -> None:
    started(control)
    control.put_verdicts(ACME, "judging_1", [replace(verdict_of(ACME, n), at_ns=n) for n in range(4)])
    assert control.expire_verdicts(SHOP, 100) == 0
    assert [control.expire_verdicts(ACME, 2), control.expire_verdicts(ACME, 2)] == [2, 0]
    assert len(control.verdicts(ACME, [verdict_of(ACME, n).key for n in range(4)])) == 2


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
@pytest.mark.parametrize("table", ["rubrics", "judges", "judge_jobs", "judge_schedules", "judge_calibrations"])
def test_an_altered_row_is_not_believed(control: Control, database: ControlDatabase, table: str) -> None:
    judged(control, ACME)
    database.execute(f"UPDATE {table} SET tenant = 'acme', seal = x'00112233445566778899aabbccddeeff'")
    with pytest.raises(Corrupt):
        _read(control, table)


def _read(control: Control, table: str) -> None:
    match table:
        case "rubrics":
            control.rubrics(ACME)
        case "judges":
            control.judges(ACME)
        case "judge_jobs":
            control.judge_jobs(ACME)
        case "judge_schedules":
            control.judge_schedules(ACME)
        case _:
            control.calibrations(ACME, "kind")
