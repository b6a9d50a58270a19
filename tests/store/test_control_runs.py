"""Runs and trials in the control database, on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from core.errors import Conflict, NotFound
from core.ids import TenantId
from core.records import Principal, Role
from store.control.control import Control
from store.control.run_records import RunRecord, RunSource, RunSpec, RunStatus, TrialRecord, TrialStatus
from tests.store.databases import ControlDatabase

ACME, SHOP = TenantId("acme"), TenantId("shop")
ANN = Principal(tenant=ACME, role=Role.POWER_USER, name="ann", key_id="0123456789ab")
SPEC = RunSpec(
    app="desk", release="v2", dataset="golden", dataset_version=3, content_hash="0" * 64,
    evaluators=("answer_match@1",), k=2, source=RunSource.RELEASE, params={"concurrency": 4},
)  # fmt: skip


@pytest.fixture
def control(database: ControlDatabase) -> Iterator[Control]:
    found = database.open()
    for tenant in (ACME, SHOP):
        found.ensure_tenant(tenant)
    yield found
    found.close()


def trials_of(run_id: str, n: int = 3) -> list[TrialRecord]:
    return [
        TrialRecord(
            run_id=run_id, example_id=f"ex{e}", trial=t, position=2 * e + t, session_id=f"{run_id}.ex{e}.{t}",
            user_id=f"user{e}",
        )
        for e in range(n)
        for t in range(2)
    ]  # fmt: skip


def started(control: Control, run_id: str = "run_1", tenant: TenantId = ACME) -> RunRecord:
    return control.start_run(tenant, run_id, SPEC, trials_of(run_id), by=ANN)


def test_a_run_and_its_trials_come_back_as_they_were_written(control: Control, database: ControlDatabase) -> None:
    run = started(control)
    assert (run.status, run.n_trials, run.spec) == (RunStatus.WAITING, 6, SPEC)
    assert control.run(ACME, "run_1") == run == database.open().run(ACME, "run_1")
    assert control.trials(ACME, "run_1") == trials_of("run_1")
    assert control.list_audit(ACME)[0].action == "run.start"
    assert control.runs(SHOP) == []
    for ask in (control.run, control.trials):
        with pytest.raises(NotFound):
            ask(SHOP, "run_1")


def test_a_run_counts_its_trials_once_however_often_they_are_written(control: Control) -> None:
    started(control)
    first, second = control.trials(ACME, "run_1")[:2]
    done = replace(
        first, status=TrialStatus.DONE, output="yes", cost_usd=0.000_000_001, latency_ms=12.345, input_tokens=3,
        output_tokens=4, detail={"turns": [{"text": "hé\x00"}]}, trace_ids=("a" * 32,), finished_at_ns=5,
    )  # fmt: skip
    failed = replace(second, status=TrialStatus.FAILED, error="timed out", cost_usd=1.5)
    for _ in range(2):
        run = control.put_trials(ACME, [done, failed])
        assert (run.n_done, run.n_failed, run.n_scored, run.cost_usd) == (1, 1, 0, 1.500000001)
    run = control.put_trials(ACME, [replace(done, scored=True), replace(failed, scored=True)])
    assert run.n_scored == 2
    assert control.trial(ACME, "run_1", "ex0", 0) == replace(done, scored=True)
    with pytest.raises(NotFound):
        control.put_trials(ACME, [replace(first, trial=7)])


def test_one_process_works_on_a_run_and_another_takes_it_when_the_lease_is_over(control: Control) -> None:
    started(control)
    assert [one.run_id for one in control.take_runs("a", 5, ())] == ["run_1"]
    assert control.take_runs("b", 5, ()) == []
    assert control.take_runs("a", 5, {"run_1"}) == []
    assert [one.run_id for one in control.take_runs("a", 5, ())] == ["run_1"]  # of a life before
    with pytest.raises(Conflict, match="another process"):
        control.renew_run(ACME, "run_1", "b")
    assert control.renew_run(ACME, "run_1", "a").status is RunStatus.RUNNING
    ended = control.end_run(ACME, "run_1", RunStatus.DONE, reason=None, summary={"metrics": []})
    assert (ended.status, ended.summary) == (RunStatus.DONE, {"metrics": []})
    assert control.take_runs("b", 5, ()) == []
    assert control.cancel_run(ACME, "run_1", by=ANN).status is RunStatus.DONE


def test_a_cancelled_run_stays_cancelled_and_is_in_the_audit_log(control: Control) -> None:
    started(control)
    control.take_runs("a", 1, ())
    assert control.cancel_run(ACME, "run_1", by=ANN).reason == "cancelled by ann"
    assert control.renew_run(ACME, "run_1", "a").status is RunStatus.CANCELLED
    ended = control.end_run(ACME, "run_1", RunStatus.DONE, reason=None, summary={"n": 1})
    assert (ended.status, ended.summary) == (RunStatus.CANCELLED, {"n": 1})
    assert control.list_audit(ACME)[0].action == "run.cancel"


def test_what_trials_hold_of_a_user_is_forgotten_in_their_tenant_only(control: Control) -> None:
    for tenant in (ACME, SHOP):
        control.start_run(tenant, "run_1", SPEC, trials_of("run_1"), by=replace(ANN, tenant=tenant))
        control.put_trials(
            tenant, [replace(one, output="secret", error="secret") for one in control.trials(tenant, "run_1")]
        )
    assert control.sessions_of_trials(ACME, ["user1"]) == ["run_1.ex1.0", "run_1.ex1.1"]
    assert control.forget_trials(ACME, ["user1"], ["run_1.ex2.0"]) == 3
    trials = control.trials(ACME, "run_1")
    for kept in ([one.output for one in trials], [one.error for one in trials]):
        assert kept == ["secret", "secret", None, None, None, "secret"]
    assert all(one.output == "secret" for one in control.trials(SHOP, "run_1"))
    assert control.run(ACME, "run_1").n_trials == 6


def test_a_forgotten_session_is_known_by_a_hash_and_a_worker_does_not_bring_it_back(control: Control) -> None:
    spec = replace(SPEC, dataset="-", dataset_version=0)
    stored = [
        TrialRecord(run_id="run_2", example_id=f"s{n}", trial=0, position=n, session_id=f"s{n}", user_id=f"user{n}")
        for n in range(3)
    ]
    control.start_run(ACME, "run_2", spec, stored, by=ANN)
    assert control.forget_trials(ACME, ["user0"], ["s1"]) == 2
    done = [replace(one, status=TrialStatus.DONE, output="secret") for one in stored]
    assert control.put_trials(ACME, done).n_done == 1, "what was read before is not written over it"
    trials = control.trials(ACME, "run_2")
    assert [one.output for one in trials] == [None, None, "secret"]
    assert [one.example_id == one.session_id for one in trials] == [True] * 3
    assert trials[0].session_id.startswith("erased-")
    assert trials[0].session_id != trials[1].session_id
    assert control.put_trials(ACME, [replace(one, status=TrialStatus.FAILED) for one in trials[:2]]).n_failed == 2
    assert control.forget_trials(ACME, ["user0"], ["s1"]) == 0
    started(control)
    first = control.trials(ACME, "run_1")[0]
    control.forget_trials(ACME, [], [first.session_id])
    assert control.put_trials(ACME, [replace(first, output="secret")]).n_done == 0
    kept = control.trials(ACME, "run_1")[0]
    assert (kept.example_id, kept.output) == (first.example_id, None), "a dataset's example keeps its id"
