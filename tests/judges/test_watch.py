"""Judges that watch live sessions: each state of a session is given to the day's job once, within the day's budget."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.clock import NS_PER_S
from core.errors import InvalidInput
from core.ids import tenant_id
from core.records import Principal, Role, TargetKind
from core.windows import day_of
from judges.choosing import place_of
from judges.reach import model_ref
from judges.records import JudgeSpec, Rubric
from judges.service_watch import JudgeWatch, check, marks_now
from judges.stored import rubric_record, spec_json
from store.control.control import Control
from store.control.judge_records import JobRecord, JobStatus, JudgeSchedule, TargetRecord
from store.engine import DuckDBEngine
from store.lake import Lake
from store.tenant import Store
from tests.first_start import begun
from tests.judges.asked import ISSUES, PAIR, PASS_FAIL
from tests.store.build import T0, agent_trace, fill

ACME = tenant_id("acme")
ANN = Principal(tenant=ACME, role=Role.POWER_USER, name="ann")
JOURNAL = 1 << 48


class Rounds(JudgeWatch):
    """Looks at every schedule that is on, as the job of a server does."""

    def round(self) -> int:
        return sum(self.look(one).n_given for one in self._control.judge_schedules(None) if one.is_on)


class Life:
    """A lake, a control database and a clock, over which processes come and go."""

    def __init__(self, folder: Path, rubric: Rubric = PASS_FAIL) -> None:
        self.now_ns = T0 + 100 * NS_PER_S
        self.lake = Lake(begun(folder) / "lake")
        self.store = Store(self.lake, DuckDBEngine(self.lake.root), self.clock)
        self.control = Control.open(f"sqlite:///{folder / 'control.db'}", pepper=bytes(32), clock=self.clock)
        self.control.ensure_tenant(ACME)
        self.control.add_rubric(rubric_record(ACME, rubric), by=ANN)
        self.rubric, self.arrived = rubric, 0
        self.put_judge()

    def clock(self) -> int:
        return self.now_ns

    def put_judge(self, **more: Any) -> JudgeSpec:
        spec = JudgeSpec(
            name="kind", rubric=self.rubric.name, rubric_version=1, rubric_digest=self.rubric.digest,
            models=(model_ref("simulated:sim-judge"),), **more,
        )  # fmt: skip
        self.control.put_judge(ACME, "kind", spec.version, spec_json(spec), by=ANN)
        return spec

    def watch(self, **more: Any) -> JudgeSchedule:
        """The judge watches from now on."""
        wanted = JudgeSchedule(tenant=ACME, judge="kind", app="airline", share=1.0, budget_usd=1.0)
        wanted = replace(wanted, marks=marks_now(self.store.tenant(ACME)), **more)
        return self.control.set_judge_schedule(wanted, by=ANN)

    def process(self) -> Rounds:
        return Rounds(self.store, self.control, self.clock)

    def arrive(self, number: int, session: str, *, at_s: float = 0, **given: Any) -> None:
        """A trace arrives."""
        rows = agent_trace(number, at_s=at_s, session_id=session, **given)
        for one in rows:
            self.arrived += 1
            one["seq"] = JOURNAL + self.arrived
        fill(self.lake, rows)

    def later(self, seconds: float) -> None:
        self.now_ns += int(seconds * NS_PER_S)

    def jobs(self) -> list[JobRecord]:
        return self.control.judge_jobs(ACME, "kind")

    def targets(self) -> list[TargetRecord]:
        """What the jobs were given and did not settle, taken away."""
        found = []
        for job in self.jobs():
            while (part := self.control.first_slice(ACME, job.job_id)) is not None:
                found += part[1]
                n = len(part[1])
                self.control.settle_slice(ACME, job.job_id, part[0], n_done=n, n_cached=0, missing={})
        return found


def test_a_session_is_given_once_when_it_has_ended_and_again_when_it_goes_on(tmp_path: Path) -> None:
    life = Life(tmp_path)
    life.arrive(1, "before")
    life.watch()
    life.arrive(2, "s", at_s=99)
    watch = life.process()
    assert watch.round() == 0
    life.later(31)
    assert watch.round() == 1
    assert watch.round() == life.process().round() == 0
    (job,) = life.jobs()
    assert (job.app, job.n_targets, job.status, job.budget_usd) == ("airline", 1, JobStatus.WAITING, 1.0)
    assert (job.params["source"], job.params["day"]) == ("watch", day_of(life.now_ns))
    assert [(one.target, one.session_id, one.probability) for one in life.targets()] == [("session", "s", 1.0)]
    life.arrive(3, "s", at_s=130)
    life.arrive(4, "t", at_s=130)
    life.later(60)
    assert life.process().round() == 2
    assert {one.session_id for one in life.targets()} == {"s", "t"}
    assert [one.n_targets for one in life.jobs()] == [3]


def test_an_open_session_holds_no_other_up_and_nothing_is_given_twice(tmp_path: Path) -> None:
    life = Life(tmp_path)
    life.watch()
    life.arrive(1, "open", at_s=99)
    life.arrive(2, "closed", at_s=60)
    watch = life.process()
    assert [watch.round(), life.process().round(), watch.round()] == [1, 0, 0]
    life.later(20)
    life.arrive(3, "open", at_s=118)
    assert [watch.round(), life.process().round(), watch.round()] == [0, 0, 0]
    assert [one.session_id for one in life.targets()] == ["closed"]
    (schedule,) = life.control.judge_schedules(ACME)
    assert set(schedule.told["given"]) == {"closed"}
    life.later(31)
    assert watch.round() == 1
    (schedule,) = life.control.judge_schedules(ACME)
    assert (schedule.told["given"], schedule.told["n_sessions"]) == ({}, 2)
    assert schedule.marks == {1: JOURNAL + life.arrived}


def test_a_share_by_hash_and_other_apps_are_not_looked_at(tmp_path: Path) -> None:
    life = Life(tmp_path)
    life.watch(share=0.4)
    for n in range(40):
        life.arrive(n + 1, f"s{n}", at_s=n)
    life.arrive(100, "other", app="desk")
    life.arrive(101, "judge.s1", app="assay.judges")
    life.later(100)
    expected = {f"s{n}" for n in range(40) if place_of(ACME, "resolution", f"s{n}") < 0.4}
    assert life.process().round() == len(expected)
    found = life.targets()
    assert {one.session_id for one in found} == expected
    assert {one.probability for one in found} == {0.4}


def test_when_the_days_money_is_spent_the_rest_of_the_day_is_left_out_and_counted(tmp_path: Path) -> None:
    life = Life(tmp_path)
    life.watch()
    life.arrive(1, "s1")
    life.later(40)
    watch = life.process()
    assert watch.round() == 1
    (job,) = life.jobs()
    life.targets()
    life.control.end_judge_job(ACME, job.job_id, JobStatus.OUT_OF_BUDGET, reason="spent")
    life.arrive(2, "s2", at_s=130)
    life.later(40)
    assert watch.round() == 0
    (schedule,) = life.control.judge_schedules(ACME)
    assert (schedule.told["n_sessions"], schedule.told["n_left_out"]) == (1, 1)
    life.later(86_400)
    life.arrive(3, "s3", at_s=86_540)
    life.later(40)
    assert watch.round() == 1
    assert [one.status for one in life.jobs()] == [JobStatus.WAITING, JobStatus.OUT_OF_BUDGET]
    assert {one.session_id for one in life.targets()} == {"s3"}


def test_yesterdays_job_ends_and_a_changed_judge_gets_what_is_left_of_the_budget(tmp_path: Path) -> None:
    life = Life(tmp_path)
    life.watch()
    life.arrive(1, "s1")
    life.later(40)
    watch = life.process()
    watch.round()
    life.targets()
    life.put_judge(temperature=0.5)
    life.arrive(2, "s2", at_s=130)
    life.later(60)
    assert watch.round() == 1
    assert sorted(one.version for one in life.jobs()) == sorted({one.version for one in life.jobs()})
    life.targets()
    life.later(86_400)
    assert watch.round() == 0
    assert {one.status for one in life.jobs()} == {JobStatus.DONE}


def test_a_schedule_that_is_off_gives_nothing(tmp_path: Path) -> None:
    life = Life(tmp_path)
    life.watch()
    life.watch(is_on=False)
    life.arrive(1, "s1")
    life.later(60)
    assert life.process().round() == 0
    assert life.jobs() == []


def test_turns_of_sessions_that_ended_where_the_rubric_is_of_turns(tmp_path: Path) -> None:
    life = Life(tmp_path, ISSUES)
    life.watch()
    life.arrive(1, "s", at_s=10)
    life.arrive(2, "s", at_s=20)
    life.later(60)
    assert life.process().round() == 1
    found = life.targets()
    assert [(one.target, one.session_id) for one in found] == [("turn", "s")] * 2
    assert {one.trace_id for one in found} == {f"{1:032x}", f"{2:032x}"}


def test_what_cannot_watch_is_refused(tmp_path: Path) -> None:
    life = Life(tmp_path)
    spec = life.put_judge()
    check(spec, PASS_FAIL)
    for rubric in (PAIR, replace(PASS_FAIL, target=TargetKind.EXAMPLE)):
        with pytest.raises(InvalidInput, match="sessions or turns"):
            check(spec, rubric)
    with pytest.raises(InvalidInput, match="price"):
        check(replace(spec, models=(model_ref("openai:my-own-model"),)), PASS_FAIL)
