"""Judges that look at live sessions: those that ended go to the day's job of the schedule, which does the rest.

Sessions are found as online evaluation finds them (evaluators/online/planning.py): in order of arrival, beyond marks
that stay before the first session that is not settled. That a session was given to a job, and the marks, change in one
transaction: each state of a session is given once, whatever dies in between. When the day's budget is spent, sessions
that end until midnight (UTC) are counted and left out.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from core.clock import Clock
from core.errors import InvalidInput, NotFound
from core.records import TargetKind
from core.windows import day_of
from evaluators import owners
from evaluators.online.planning import Arrived, Due, arrived, has_ended, marks_after
from evaluators.online.service import Memory, last_seqs, remember, rows_beyond
from judges.choosing import APP, place_of
from judges.content import of_text
from judges.forecasting import foreseen
from judges.records import JudgeSpec, Rubric, ScaleKind
from judges.service_targets import live_only
from judges.stored import rubric_json, rubric_of, spec_json, spec_of
from store.control.control import Control
from store.control.judge_records import JobRecord, JobStatus, JudgeSchedule, TargetRecord
from store.control.online import OnlineChoice
from store.tenant import Store, TenantStore

MOST_AT_ONCE: Final = 2_000  # sessions that one look gives to a job
_LOG: Final = logging.getLogger("assay.judges")


def marks_now(store: TenantStore) -> dict[int, int]:
    """Where a schedule begins: after all that has arrived."""
    return last_seqs(store)


def check(spec: JudgeSpec, rubric: Rubric) -> None:
    """Raises InvalidInput for a judge that cannot watch: of pairs or examples, or without a known price."""
    if rubric.kind is ScaleKind.PAIRWISE or rubric.target not in (TargetKind.SESSION, TargetKind.TURN):
        raise InvalidInput(f"rubric {rubric.name} is of no sessions or turns; live traffic has nothing else", "judge")
    if foreseen(spec, rubric, of_text("x")).usd_most is None:
        models = ", ".join(one.text for one in spec.models)
        raise InvalidInput(f"no price is known for {models}, so no budget of a day can be kept", "budget_per_day_usd")


@dataclass(frozen=True, kw_only=True)
class Looked:
    """What one look at a schedule found: sessions given to a job, left out for lack of money, and still open."""

    n_given: int = 0
    n_left_out: int = 0
    n_waiting: int = 0


@dataclass(kw_only=True)
class _Seen:
    memory: Memory = field(default_factory=Memory)
    idle: tuple[object, ...] = ()


class JudgeWatch:
    """Looks for sessions that ended, for one process. Not thread-safe; several processes may look at once."""

    def __init__(self, store: Store, control: Control, clock: Clock) -> None:
        self._store, self._control, self._clock = store, control, clock
        self._seen: dict[tuple[str, str, str], _Seen] = {}

    def is_idle(self, schedule: JudgeSchedule) -> bool:
        """Whether nothing has changed since a look that found nothing to do."""
        seen = self._seen.get((schedule.tenant, schedule.judge, schedule.app))
        return seen is not None and seen.idle == _state(self._store.tenant(schedule.tenant), schedule, self._clock())

    def look(self, schedule: JudgeSchedule) -> Looked:
        """Gives the schedule's sessions that ended to its job of the day."""
        store = self._store.tenant(schedule.tenant)
        seen = self._seen.setdefault((schedule.tenant, schedule.judge, schedule.app), _Seen())
        state = _state(store, schedule, self._clock())
        if seen.idle == state:
            return Looked()
        try:
            spec = spec_of(self._control.judge(schedule.tenant, schedule.judge).spec)
            rubric = rubric_of(self._control.rubric(schedule.tenant, spec.rubric, spec.rubric_version).body)
        except NotFound as error:
            _LOG.warning("the schedule of judge %s waits: %s", schedule.judge, error)
            return Looked()
        rows, read = rows_beyond(store, schedule.marks)
        given: Mapping[str, int] = schedule.told.get("given", {})
        is_live = live_only(self._control, schedule.tenant)
        live = (one for one in arrived(rows, schedule.marks) if is_live(one.session_id))
        mine = [one for one in live if _is_wanted(one, schedule, rubric)]
        open_ = [Due(session=one, choice=_choice(schedule)) for one in mine if given.get(one.session_id) != one.end_seq]
        now = self._clock()
        remember(seen.memory, open_, now)
        due = [one for one in open_ if self._has_ended(one, seen.memory, now)][:MOST_AT_ONCE]
        done = {one.session.session_id for one in due}
        waiting = [one.session for one in open_ if one.session.session_id not in done]
        if not due and not waiting and all(schedule.marks.get(name) == seq for name, seq in read.items()):
            self._end_old(schedule, day_of(now))
            seen.idle = state
            return Looked()
        return self._give(schedule, spec, rubric, store, due, waiting, read, mine)

    def _give(
        self,
        schedule: JudgeSchedule,
        spec: JudgeSpec,
        rubric: Rubric,
        store: TenantStore,
        due: Sequence[Due],
        waiting: Sequence[Arrived],
        read: Mapping[int, int],
        mine: Sequence[Arrived],
    ) -> Looked:
        now = self._clock()
        self._end_old(schedule, day_of(now))
        marks = marks_after({**schedule.marks, **read}, waiting)
        job = self._job(schedule, spec, rubric, day_of(now)) if due else None
        targets = _targets(store, rubric, schedule, due) if job is not None else []
        told: dict[str, Any] = {"at_ns": now, "n_waiting": len(waiting)}
        settled = {**schedule.told.get("given", {}), **{one.session.session_id: one.session.end_seq for one in due}}
        beyond = {one.session_id for one in mine if any(seq > marks.get(name, -1) for name, seq in _lasts(one))}
        told["given"] = {name: seq for name, seq in settled.items() if name in beyond}
        n_given = len(due) if job is not None else 0
        before = schedule.told
        told["n_sessions"] = int(before.get("n_sessions", 0)) + n_given
        told["n_left_out"] = int(before.get("n_left_out", 0)) + len(due) - n_given
        self._control.advance_judge_schedule(schedule, marks, told, job, targets)
        return Looked(n_given=n_given, n_left_out=len(due) - n_given, n_waiting=len(waiting))

    def _has_ended(self, one: Due, memory: Memory, now: int) -> bool:
        name = one.session.session_id
        return has_ended(one, now_ns=now, first_seen_ns=memory.seen[name][1], open_since_ns=memory.open_since[name])

    def _job(self, schedule: JudgeSchedule, spec: JudgeSpec, rubric: Rubric, day: str) -> JobRecord | None:
        """The day's job; None when its budget is spent."""
        jobs = self._jobs(schedule)
        today = [one for one in jobs if one.params.get("day") == day]
        said = [schedule.tenant, schedule.judge, schedule.app, spec.version, schedule.changed_at_ns, day]
        job_id = "judging_" + hashlib.sha256(json.dumps(said).encode()).hexdigest()[:20]
        known = next((one for one in today if one.job_id == job_id), None)
        if known is not None:
            return None if known.status.ended else known
        left = schedule.budget_usd - sum(one.cost_usd for one in today)
        if left <= 0:
            return None
        params = {"source": "watch", "day": day, "share": schedule.share, "concurrency": 4}
        return JobRecord(
            tenant=schedule.tenant,
            job_id=job_id,
            judge=schedule.judge,
            version=spec.version,
            spec=spec_json(spec),
            rubric=rubric_json(rubric),
            app=schedule.app,
            params=params,
            budget_usd=left,
        )

    def _end_old(self, schedule: JudgeSchedule, day: str) -> None:
        """Ends the jobs of earlier days that have nothing left to do."""
        for one in self._jobs(schedule):
            if not one.status.ended and one.params.get("day") != day and not one.n_left:
                self._control.end_judge_job(one.tenant, one.job_id, JobStatus.DONE, reason=None)

    def _jobs(self, schedule: JudgeSchedule) -> list[JobRecord]:
        found = self._control.judge_jobs(schedule.tenant, schedule.judge)
        return [one for one in found if one.params.get("source") == "watch" and one.app == schedule.app]


def _state(store: TenantStore, schedule: JudgeSchedule, now_ns: int) -> tuple[object, ...]:
    """All that a look depends on, but for sessions that are still open."""
    return tuple(file.path for file in store.files("sessions")), schedule, day_of(now_ns)


def _is_wanted(session: Arrived, schedule: JudgeSchedule, rubric: Rubric) -> bool:
    if session.app != schedule.app or session.app == APP:
        return False
    return place_of(schedule.tenant, rubric.name, session.session_id) < schedule.share


def _choice(schedule: JudgeSchedule) -> OnlineChoice:
    return OnlineChoice(
        tenant=schedule.tenant, app=schedule.app, evaluators=(schedule.judge,), share=schedule.share,
        idle_s=schedule.idle_s,
    )  # fmt: skip


def _lasts(session: Arrived) -> list[tuple[int, int]]:
    """Where in each journal a session still lies: at its end in that of its last span."""
    return [*session.first_seq.items(), (session.end_seq >> 48, session.end_seq)]


def _targets(store: TenantStore, rubric: Rubric, schedule: JudgeSchedule, due: Sequence[Due]) -> list[TargetRecord]:
    sessions = [one.session.session_id for one in due]
    whole = TargetRecord(target="session", session_id="", probability=schedule.share)
    if rubric.target is TargetKind.SESSION:
        return [replace(whole, session_id=one) for one in sessions]
    owned, _ = owners.of_sessions(store, sessions, None, None)
    return [
        replace(whole, target="turn", session_id=row["target"], trace_id=row["trace_id"])
        for row in owned.iter_rows(named=True)
    ]
