"""The part of the control database that runs are kept in: started, worked on by one process at a time, ended."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final

from core.errors import Conflict
from core.ids import TenantId
from core.records import Principal
from store.control import leases, runs, seals, tenants
from store.control.erasures import stand_in
from store.control.run_records import RunRecord, RunSpec, RunStatus, TrialRecord
from store.control.tables import EVAL_RUNS
from store.control.transactions import Transactions

LEASE_NS: Final = 60_000_000_000


class Running(Transactions):
    """Runs and trials; every method is one transaction, as everywhere in `Control`."""

    def start_run(
        self, tenant: TenantId, run_id: str, spec: RunSpec, trials: Sequence[TrialRecord], *, by: Principal
    ) -> RunRecord:
        """The run with all its trials, waiting for a process to work on it. Raises NotFound for an unknown tenant."""
        run = RunRecord(
            tenant=tenant,
            run_id=run_id,
            spec=spec,
            status=RunStatus.WAITING,
            n_trials=len(trials),
            created_at_ns=self._clock(),
            created_by=by.name[:200],
        )
        said = {"app": spec.app, "release": spec.release, "dataset": f"{spec.dataset}@{spec.dataset_version}"}
        with self._changing() as connection:
            tenants.need(connection, tenant)
            runs.add(connection, run, trials)
            after = {**said, "source": spec.source.value, "n_trials": len(trials)}
            self._audit(connection, by, tenant, "run.start", f"run/{run_id}", after)
        return run

    def run(self, tenant: TenantId, run_id: str) -> RunRecord:
        """A run of the tenant. Raises NotFound."""
        with self._database.read() as connection:
            return runs.need(connection, tenant, run_id)

    def runs(self, tenant: TenantId) -> list[RunRecord]:
        """The tenant's runs, newest first."""
        with self._database.read() as connection:
            return runs.rows(connection, tenant)

    def trials(self, tenant: TenantId, run_id: str) -> list[TrialRecord]:
        """The trials of a run, in their order. Raises NotFound, Conflict when some are missing."""
        with self._database.read() as connection:
            return runs.trials(connection, runs.need(connection, tenant, run_id))

    def trial(self, tenant: TenantId, run_id: str, example_id: str, number: int) -> TrialRecord:
        """One trial. Raises NotFound."""
        with self._database.read() as connection:
            return runs.trial(connection, tenant, run_id, example_id, number)

    def put_trials(self, tenant: TenantId, changed: Sequence[TrialRecord]) -> RunRecord:
        """Writes trials of one run; durable when it returns. The run with its new counts. What was forgotten of a
        trial since it was read does not come back. Raises NotFound."""
        with self._changing() as connection:
            return runs.put(connection, tenant, changed, partial(stand_in, self._pepper, tenant))

    def take_runs(
        self, owner: str, most: int, at_work: Collection[str], gone: Callable[[str], bool] = lambda _: False
    ) -> list[RunRecord]:
        """Up to `most` runs of any tenant that nobody works on, from now on `owner`'s: waiting ones, those whose owner
        is `gone` or has not renewed its lease, and the owner's own that are not `at_work`. Oldest first."""
        with self._database.read() as connection:
            if not self._free(seals.rows(connection, EVAL_RUNS), owner, at_work, gone):
                return []
        with self._changing() as connection:
            found = self._free(seals.rows(connection, EVAL_RUNS), owner, at_work, gone)
            found = sorted(found, key=lambda row: (row.created_at_ns, row.run_id))[:most]
            now = self._clock()
            return [
                runs.change(
                    connection, TenantId(row.tenant), row.run_id, status=RunStatus.RUNNING.value, owner=owner,
                    lease_until_ns=now + LEASE_NS, started_at_ns=row.started_at_ns or now,
                )
                for row in found
            ]  # fmt: skip

    def renew_run(self, tenant: TenantId, run_id: str, owner: str) -> RunRecord:
        """Keeps a run for its owner; the run as it stands, cancelled maybe. Raises Conflict when it is another's."""
        with self._changing() as connection:
            row = runs.find(connection, tenant, run_id)
            if RunStatus(row.status).ended:
                return runs.record(row)
            if row.owner != owner:
                raise Conflict(f"run {run_id} is worked on by another process")
            return runs.change(connection, tenant, run_id, lease_until_ns=self._clock() + LEASE_NS)

    def end_run(
        self, tenant: TenantId, run_id: str, status: RunStatus, *, reason: str | None, summary: Mapping[str, Any]
    ) -> RunRecord:
        """Notes how a run ended; one that ended already gets the summary only."""
        text = json.dumps(summary, sort_keys=True, allow_nan=False)
        with self._changing() as connection:
            run = runs.need(connection, tenant, run_id)
            if run.status.ended:
                return runs.change(connection, tenant, run_id, summary=text)
            ended = {"status": status.value, "reason": reason, "summary": text}
            return runs.change(connection, tenant, run_id, **ended, finished_at_ns=self._clock(), owner=None)

    def cancel_run(self, tenant: TenantId, run_id: str, *, by: Principal) -> RunRecord:
        """Ends a run where it is; one that ended already is left as it is. Raises NotFound."""
        with self._changing() as connection:
            run = runs.need(connection, tenant, run_id)
            if run.status.ended:
                return run
            reason = f"cancelled by {by.name[:200]}"
            ended = {"status": RunStatus.CANCELLED.value, "reason": reason, "finished_at_ns": self._clock()}
            self._audit(connection, by, tenant, "run.cancel", f"run/{run_id}", {"n_done": run.n_done})
            return replace(runs.change(connection, tenant, run_id, **ended), tenant=tenant)

    def sessions_of_trials(self, tenant: TenantId, user_ids: Sequence[str]) -> list[str]:
        """The sessions of trials that hold what a user said."""
        with self._database.read() as connection:
            return runs.sessions_of(connection, tenant, user_ids)

    def forget_trials(self, tenant: TenantId, user_ids: Sequence[str], sessions: Sequence[str]) -> int:
        """Takes out what trials hold of a user, their scores' figures stay; how many trials there were. A keyed hash
        takes the place of the session's id, and of the example's where it is the session's."""
        with self._changing() as connection:
            return runs.forget(connection, tenant, user_ids, sessions, partial(stand_in, self._pepper, tenant))

    def _free(
        self, rows: Sequence[Any], owner: str, at_work: Collection[str], gone: Callable[[str], bool]
    ) -> list[Any]:
        now = self._clock()
        left = [row for row in rows if not RunStatus(row.status).ended and row.run_id not in at_work]
        return [row for row in left if leases.is_free(row.owner, row.lease_until_ns, owner, now, gone)]
