"""The part of the control database that says what servers do by the clock: one process at a time does a job of a
tenant, runs that were missed are caught up once, what fails waits longer each time, and what fails too often rests."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from sqlalchemy import Connection

from core.clock import NS_PER_MS, NS_PER_S
from core.errors import Conflict, NotFound
from core.ids import TenantId
from core.records import Principal
from store.control import leases, seals
from store.control.cluster_rows import text_of
from store.control.monitor_records import JobRun, JobState, ScheduledJob
from store.control.monitor_tables import JOBS
from store.control.transactions import Transactions

LEASE_NS: Final = 120 * NS_PER_S  # after it a process that says nothing is taken for dead
MOST_WAIT_S: Final = 900  # between tries, and how long a job rests that is dead
KEPT_RUNS: Final = 60
LOST: Final = "its server was killed, or could not note how it ended"
_MOST_ERROR: Final = 1_000
_MOST_RUN_ERROR: Final = 200
_SKEW_NS: Final = 60 * NS_PER_S  # by which clocks of servers may differ
_FAILED: Final = frozenset({JobState.FAILED, JobState.RETRYING, JobState.DEAD})
_FIELDS: Final = (
    *("name", "due_ns", "tries", "n_runs", "started_ns", "ended_ns", "succeeded_ns", "error", "owner"),
    *("lease_until_ns", "schedule"),
)


class Jobs(Transactions):
    """What is done by the clock; every method is one transaction, as everywhere in `Control`."""

    def take_job(
        self, tenant: TenantId, name: str, owner: str, gone: Callable[[str], bool] = lambda _: False, *,
        schedule: str = "", most_tries: int | None = None,
    ) -> ScheduledJob | None:  # fmt: skip
        """The job, from now on `owner`'s for LEASE_NS; None where its time has not come, or another process that is not
        `gone` does it. One that was never done is due at once.

        A run whose process ended counts as a failed one: what kills servers is not begun for ever. After `most_tries`
        of them nobody gets it, and it rests."""
        now = self._clock()
        with self._database.read() as connection:
            found = find_job(connection, tenant, name)
            if found is not None and not may_begin(found, owner, now, gone):
                return None
        with self._changing() as connection:
            found = find_job(connection, tenant, name) or ScheduledJob(tenant=tenant, name=name)
            if not may_begin(found, owner, now, gone):
                return None
            if found.state is JobState.RUNNING:
                found = self._failed(connection, found, LOST, None, most_tries)
                if found.state is JobState.DEAD:
                    _put(connection, found)
                    return None
            taken = replace(
                found, state=JobState.RUNNING, owner=owner, lease_until_ns=now + LEASE_NS, started_ns=now,
                n_runs=found.n_runs + 1, schedule=schedule or found.schedule,
            )  # fmt: skip
            _put(connection, taken)
            return taken

    def renew_job(self, tenant: TenantId, name: str, owner: str) -> ScheduledJob:
        """Keeps a job for who does it. Raises Conflict when it is another's."""
        with self._changing() as connection:
            found = _own(connection, tenant, name, owner)
            kept = replace(found, lease_until_ns=self._clock() + LEASE_NS)
            _put(connection, kept)
            return kept

    def end_job(
        self, tenant: TenantId, name: str, owner: str, *, next_ns: int, told: Mapping[str, Any] | None = None,
        error: str | None = None, in_part: bool = False, most_tries: int | None = None, took_ms: float | None = None,
    ) -> ScheduledJob:  # fmt: skip
        """Notes how a run ended. The job is due again at `next_ns`; after a failure sooner, by the number of tries;
        after `most_tries` of them it is dead. One that failed `in_part` did the rest: it keeps its time. `told` None
        stays what it was. Raises Conflict when the job is another's by now."""
        with self._changing() as connection:
            found, now = _own(connection, tenant, name, owner), self._clock()
            found = found if told is None else replace(found, told=told)
            if took_ms is None:
                took_ms = max(0, now - (found.started_ns or now)) / NS_PER_MS
            if error is None:
                after = replace(_over(found, JobState.SUCCEEDED, now, took_ms), tries=0, succeeded_ns=now)
            elif in_part:
                after = replace(_over(found, JobState.FAILED, now, took_ms, error), tries=found.tries + 1)
            else:
                after = self._failed(connection, found, error, took_ms, most_tries)
            if error is None or in_part:
                after = replace(after, due_ns=next_ns)
            _put(connection, after)
            return after

    def _failed(
        self, connection: Connection, found: ScheduledJob, error: str, took_ms: float | None, most_tries: int | None
    ) -> ScheduledJob:
        """The job after one more try that failed."""
        now, tries = self._clock(), found.tries + 1
        is_dead = most_tries is not None and tries >= most_tries
        wait_s = MOST_WAIT_S if is_dead else min(MOST_WAIT_S, 2 ** min(tries, 20))
        if is_dead and tries == most_tries:  # said once, and not again with each look at what stays broken
            said = {"tries": tries, "why": error[:_MOST_ERROR]}
            self._audit(connection, None, found.tenant, "jobs.dead", f"job/{found.name}", said)
        after = _over(found, JobState.DEAD if is_dead else JobState.FAILED, now, took_ms, error)
        state = JobState.DEAD if is_dead else JobState.RETRYING
        return replace(after, state=state, tries=tries, due_ns=now + wait_s * NS_PER_S)

    def replay_job(self, tenant: TenantId, name: str, *, by: Principal) -> ScheduledJob:
        """Does a job that failed again as soon as a server looks, with all its tries. Raises NotFound; Conflict while
        it is done, and where it did not fail."""
        with self._changing() as connection:
            found = self._asked(connection, tenant, name)
            if found.state is not JobState.QUEUED and found.state not in _FAILED:
                raise Conflict(f"{name[:100]} did not fail; assay jobs run {name[:100]} does it now")
            return self._queued(connection, replace(found, tries=0), "jobs.replay", by)

    def run_job(self, tenant: TenantId, name: str, *, by: Principal) -> ScheduledJob:
        """Does a job before its time, as soon as a server looks. Raises NotFound; Conflict while it is done."""
        with self._changing() as connection:
            return self._queued(connection, self._asked(connection, tenant, name), "jobs.run", by)

    def _asked(self, connection: Connection, tenant: TenantId, name: str) -> ScheduledJob:
        found = find_job(connection, tenant, name)
        if found is None:
            raise NotFound(f"there is no job {name[:100]!r}")
        if found.state is JobState.RUNNING and (found.lease_until_ns or 0) > self._clock():
            raise Conflict(f"{name[:100]} is being done now")
        return found

    def _queued(self, connection: Connection, found: ScheduledJob, action: str, by: Principal) -> ScheduledJob:
        after = replace(found, state=JobState.QUEUED, due_ns=self._clock(), owner=None, lease_until_ns=None)
        _put(connection, after)
        self._audit(connection, by, found.tenant, action, f"job/{found.name}", {"state": after.state.value})
        return after

    def drop_job(self, tenant: TenantId, name: str) -> None:
        """Forgets a job for which there is nothing to do any more, unless it is done right now."""
        with self._changing() as connection:
            found = find_job(connection, tenant, name)
            if found is not None and (found.state is not JobState.RUNNING or _left(found, self._clock())):
                connection.execute(JOBS.delete().where(JOBS.c.tenant == str(tenant), JOBS.c.name == name))

    def jobs(self, tenant: TenantId | None, name: str | None = None) -> list[ScheduledJob]:
        """The jobs of a tenant or of all, of one name where asked for, by name."""
        key = ({} if tenant is None else {"tenant": str(tenant)}) | ({} if name is None else {"name": name})
        with self._database.read() as connection:
            found = map(_job, seals.rows(connection, JOBS, key or None))
            return sorted(found, key=lambda one: (one.tenant, one.name))

    def dead_jobs(self) -> list[str]:
        """The names of the jobs that were given up, of whichever tenant: words of ours, each once, in order."""
        with self._database.read() as connection:
            return sorted({str(row.name) for row in seals.rows(connection, JOBS, {"state": JobState.DEAD.value})})

    def job(self, tenant: TenantId, name: str) -> ScheduledJob:
        """One job. Raises NotFound."""
        with self._database.read() as connection:
            found = find_job(connection, tenant, name)
        if found is None:
            raise NotFound(f"there is no job {name[:100]!r}")
        return found


def find_job(connection: Connection, tenant: TenantId, name: str) -> ScheduledJob | None:
    """A job; None where it was never done."""
    row = seals.one(connection, JOBS, {"tenant": str(tenant), "name": name})
    return None if row is None else _job(row)


def may_begin(found: ScheduledJob, owner: str, now: int, gone: Callable[[str], bool]) -> bool:
    """Whether `owner` may begin the job at `now`."""
    if found.state is JobState.RUNNING:  # by this very process: the run before it never said how it ended
        return leases.is_free(found.owner, found.lease_until_ns, owner, now, gone)
    if found.due_ns <= now:
        return True
    # It is not put off for as long as a clock was set back, where that is longer than it would wait anyway.
    ended = max(found.ended_ns or 0, found.started_ns or 0)
    return bool(ended) and ended - now > max(_SKEW_NS, found.due_ns - ended)


def _left(found: ScheduledJob, now: int) -> bool:
    return (found.lease_until_ns or 0) <= now


def _own(connection: Connection, tenant: TenantId, name: str, owner: str) -> ScheduledJob:
    found = find_job(connection, tenant, name)
    if found is None or found.owner != owner or found.state is not JobState.RUNNING:
        raise Conflict(f"another process does {name} of {tenant} by now")
    return found


def _over(
    found: ScheduledJob, state: JobState, now: int, took_ms: float | None, error: str | None = None
) -> ScheduledJob:
    """The job without an owner, its run among those that are over."""
    short = None if error is None else error[:_MOST_RUN_ERROR]
    run = JobRun(number=found.n_runs, at_ns=found.started_ns or now, state=state, took_ms=took_ms, error=short)
    return replace(
        found, state=state, owner=None, lease_until_ns=None, ended_ns=now,
        error=None if error is None else error[:_MOST_ERROR], runs=(*found.runs, run)[-KEPT_RUNS:],
    )  # fmt: skip


def _put(connection: Connection, job: ScheduledJob) -> None:
    values = {"tenant": str(job.tenant), "state": job.state.value, "told": text_of(job.told)}
    values |= {name: getattr(job, name) for name in _FIELDS}
    values["runs"] = text_of([_spelled(one) for one in job.runs])
    row = seals.one(connection, JOBS, {"tenant": str(job.tenant), "name": job.name})
    if row is None:
        seals.add(connection, JOBS, values)
    else:
        seals.change(connection, JOBS, row, **values)


def _spelled(run: JobRun) -> list[Any]:
    told = [run.number, run.at_ns, run.state.value, None if run.took_ms is None else round(run.took_ms, 1)]
    return told if run.error is None else [*told, run.error]


def _run(told: list[Any]) -> JobRun:
    number, at_ns, state, took_ms, *error = told
    return JobRun(number=number, at_ns=at_ns, state=JobState(state), took_ms=took_ms, error=error[0] if error else None)


def _job(row: Any) -> ScheduledJob:
    return ScheduledJob(
        tenant=TenantId(row.tenant), state=JobState(row.state), told=json.loads(row.told),
        runs=tuple(map(_run, json.loads(row.runs))), **{name: getattr(row, name) for name in _FIELDS},
    )  # fmt: skip
