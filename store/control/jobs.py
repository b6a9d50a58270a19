"""The part of the control database that says what servers do by the clock: one process at a time does a job of a
tenant, runs that were missed are caught up once, and what fails waits longer each time."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from sqlalchemy import Connection

from core.clock import NS_PER_S
from core.errors import Conflict, NotFound
from core.ids import TenantId
from core.records import Principal
from store.control import leases, seals
from store.control.cluster_rows import text_of
from store.control.monitor_records import JobState, ScheduledJob
from store.control.monitor_tables import JOBS
from store.control.transactions import Transactions

LEASE_NS: Final = 300 * NS_PER_S  # after it a process that says nothing is taken for dead
MOST_WAIT_S: Final = 900
_MOST_ERROR: Final = 1_000
_FIELDS: Final = (
    *("name", "due_ns", "tries", "n_runs", "started_ns", "ended_ns", "succeeded_ns", "error", "owner"),
    "lease_until_ns",
)


class Jobs(Transactions):
    """What is done by the clock; every method is one transaction, as everywhere in `Control`."""

    def take_job(
        self, tenant: TenantId, name: str, owner: str, gone: Callable[[str], bool] = lambda _: False
    ) -> ScheduledJob | None:
        """The job, from now on `owner`'s for LEASE_NS; None where its time has not come, another process that is not
        `gone` does it, or it is dead. One that was never done is due at once."""
        now = self._clock()
        with self._database.read() as connection:
            found = find_job(connection, tenant, name)
            if found is not None and not _may_begin(found, owner, now, gone):
                return None
        with self._changing() as connection:
            found = find_job(connection, tenant, name) or ScheduledJob(tenant=tenant, name=name)
            if not _may_begin(found, owner, now, gone):
                return None
            taken = replace(
                found, state=JobState.RUNNING, owner=owner, lease_until_ns=now + LEASE_NS, started_ns=now,
                n_runs=found.n_runs + 1,
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
        error: str | None = None, most_tries: int | None = None,
    ) -> ScheduledJob:  # fmt: skip
        """Notes how a job ended. It is due again at `next_ns`, or, after a failure, later by the number of tries: after
        `most_tries` of them it is dead. Raises Conflict when it is another's by now."""
        with self._changing() as connection:
            found, now = _own(connection, tenant, name, owner), self._clock()
            free = replace(found, owner=None, lease_until_ns=None, ended_ns=now)
            if error is None:
                after = replace(
                    free, state=JobState.SUCCEEDED, tries=0, error=None, due_ns=next_ns, succeeded_ns=now,
                    told=found.told if told is None else told,
                )  # fmt: skip
            else:
                tries = found.tries + 1
                is_dead = most_tries is not None and tries >= most_tries
                wait_ns = min(MOST_WAIT_S, 2 ** min(tries, 20)) * NS_PER_S
                after = replace(
                    free, state=JobState.DEAD if is_dead else JobState.RETRYING, tries=tries,
                    error=error[:_MOST_ERROR], due_ns=now + wait_ns,
                )  # fmt: skip
                if is_dead:
                    self._audit(connection, None, tenant, "jobs.dead", f"job/{name}", {"tries": tries, "why": error})
            _put(connection, after)
            return after

    def replay_job(self, tenant: TenantId, name: str, *, by: Principal) -> ScheduledJob:
        """Does a job again as soon as a server looks. Raises NotFound; Conflict while it is done."""
        with self._changing() as connection:
            found = find_job(connection, tenant, name)
            if found is None:
                raise NotFound(f"there is no job {name[:100]!r}")
            if found.state is JobState.RUNNING and (found.lease_until_ns or 0) > self._clock():
                raise Conflict(f"{name[:100]} is being done now")
            after = replace(
                found, state=JobState.QUEUED, due_ns=self._clock(), tries=0, owner=None, lease_until_ns=None
            )  # fmt: skip
            _put(connection, after)
            self._audit(connection, by, tenant, "jobs.replay", f"job/{name}", {"state": "queued"})
            return after

    def jobs(self, tenant: TenantId | None) -> list[ScheduledJob]:
        """The jobs of a tenant or of all, by name."""
        with self._database.read() as connection:
            found = map(_job, seals.rows(connection, JOBS, None if tenant is None else {"tenant": str(tenant)}))
            return sorted(found, key=lambda one: (one.tenant, one.name))


def find_job(connection: Connection, tenant: TenantId, name: str) -> ScheduledJob | None:
    """A job; None where it was never done."""
    row = seals.one(connection, JOBS, {"tenant": str(tenant), "name": name})
    return None if row is None else _job(row)


def _may_begin(found: ScheduledJob, owner: str, now: int, gone: Callable[[str], bool]) -> bool:
    if found.state is JobState.DEAD:
        return False
    if found.state is JobState.RUNNING:  # by this very process: the run before it never said how it ended
        return leases.is_free(found.owner, found.lease_until_ns, owner, now, gone)
    # A clock that was set back does not stop a job for as long as it was set back.
    return found.due_ns <= now or found.due_ns > now + 2 * MOST_WAIT_S * NS_PER_S


def _own(connection: Connection, tenant: TenantId, name: str, owner: str) -> ScheduledJob:
    found = find_job(connection, tenant, name)
    if found is None or found.owner != owner or found.state is not JobState.RUNNING:
        raise Conflict(f"another process does {name} of {tenant} by now")
    return found


def _put(connection: Connection, job: ScheduledJob) -> None:
    values = {"tenant": str(job.tenant), "state": job.state.value, "told": text_of(job.told)}
    values |= {name: getattr(job, name) for name in _FIELDS}
    row = seals.one(connection, JOBS, {"tenant": str(job.tenant), "name": job.name})
    if row is None:
        seals.add(connection, JOBS, values)
    else:
        seals.change(connection, JOBS, row, **values)


def _job(row: Any) -> ScheduledJob:
    return ScheduledJob(
        tenant=TenantId(row.tenant), state=JobState(row.state), told=json.loads(row.told),
        **{name: getattr(row, name) for name in _FIELDS},
    )  # fmt: skip
