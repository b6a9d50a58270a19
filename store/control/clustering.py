"""The part of the control database that clusters are kept in. What a run found, and that it is done, is one
transaction: whoever is killed where, all of it holds or none."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from sqlalchemy import Connection

from core.errors import Conflict
from core.ids import TenantId
from core.records import Principal
from store.control import cluster_rows, leases, tenants
from store.control.cluster_records import (
    ClusterAppRecord,
    ClusterEvent,
    ClusterRecord,
    ClusterRunRecord,
    Concluded,
    FindingRecord,
    StageRecord,
)
from store.control.run_records import RunStatus
from store.control.transactions import Transactions

LEASE_NS: Final = 60_000_000_000
KEPT_NS: Final = 7 * 86_400_000_000_000  # how long runs over what waited are kept


class Clustering(Transactions):
    """Clusters, the runs that found them and what emerges; every method is one transaction, as everywhere in
    `Control`."""

    # Runs

    def start_cluster_run(self, run: ClusterRunRecord, *, by: Principal | None) -> ClusterRunRecord:
        """The run, waiting for a process to work on it; `by` None is Assay itself. Raises NotFound for an unknown
        tenant; Conflict while one of this app is under way."""
        name = "assay" if by is None else by.name[:200]
        made = replace(run, status=RunStatus.WAITING, asked_by=name, asked_at_ns=self._clock())
        with self._changing() as connection:
            tenants.need(connection, made.tenant)
            for one in cluster_rows.runs(connection, made.tenant, made.app):
                if not one.status.ended:
                    raise Conflict(
                        f"run {one.run_id} over {made.app[:80]} is {one.status.value}; wait for its end, or assay "
                        f"clusters cancel {one.run_id}"
                    )
            cluster_rows.add_run(connection, made)
            after = {"app": made.app, "scope": made.scope.value, "params": made.params_hash}
            self._audit(connection, by, made.tenant, "clusters.run", f"cluster_run/{made.run_id}", after)
        return made

    def cluster_run(self, tenant: TenantId, run_id: str) -> ClusterRunRecord:
        """A run of the tenant. Raises NotFound."""
        with self._database.read() as connection:
            return cluster_rows.need_run(connection, tenant, run_id)

    def cluster_runs(self, tenant: TenantId, app: str | None = None) -> list[ClusterRunRecord]:
        """The tenant's runs, of one app or of all, newest first."""
        with self._database.read() as connection:
            return cluster_rows.runs(connection, tenant, app)

    def take_cluster_run(
        self, owner: str, at_work: Collection[str], gone: Callable[[str], bool] = lambda _: False
    ) -> ClusterRunRecord | None:
        """The oldest run of any tenant that nobody works on, from now on `owner`'s; None when there is none."""
        with self._database.read() as connection:
            if self._free_run(connection, owner, at_work, gone) is None:
                return None
        with self._changing() as connection:
            found = self._free_run(connection, owner, at_work, gone)
            if found is None:
                return None
            now = self._clock()
            taken = replace(
                found, status=RunStatus.RUNNING, owner=owner, lease_until_ns=now + LEASE_NS, n_tries=found.n_tries + 1,
                started_at_ns=found.started_at_ns or now, stages=(),
            )  # fmt: skip
            return cluster_rows.put_run(connection, taken)

    def renew_cluster_run(self, tenant: TenantId, run_id: str, owner: str) -> ClusterRunRecord:
        """Keeps a run for its owner; as it stands, cancelled maybe. Raises Conflict when it is another's."""
        with self._changing() as connection:
            run = cluster_rows.need_run(connection, tenant, run_id)
            if run.status.ended:
                return run
            if run.owner != owner:
                raise Conflict(f"run {run_id} is worked on by another process")
            return cluster_rows.put_run(connection, replace(run, lease_until_ns=self._clock() + LEASE_NS))

    def note_cluster_run(
        self, tenant: TenantId, run_id: str, stages: Sequence[StageRecord], n_tries: int, **known: Any
    ) -> ClusterRunRecord:
        """Writes how far a run is, and what is `known` of it by now; as it stands, cancelled maybe. Nothing is written
        of one that ended. Raises NotFound; Conflict where another process has begun it anew since the try `n_tries`."""
        with self._changing() as connection:
            run = cluster_rows.need_run(connection, tenant, run_id)
            if run.status.ended:
                return run
            _same_try(run, n_tries)
            return cluster_rows.put_run(connection, replace(run, stages=tuple(stages), **known))

    def end_cluster_run(
        self, tenant: TenantId, run_id: str, status: RunStatus, *, error: str | None
    ) -> ClusterRunRecord:
        """Notes how a run ended without a result; one that ended already is left as it is. Raises NotFound."""
        with self._changing() as connection:
            run = cluster_rows.need_run(connection, tenant, run_id)
            if run.status.ended:
                return run
            ended = replace(run, status=status, error=error, ended_at_ns=self._clock(), owner=None)
            return cluster_rows.put_run(connection, ended)

    def cancel_cluster_run(self, tenant: TenantId, run_id: str, *, by: Principal) -> ClusterRunRecord:
        """Ends a run where it is; the embeddings it made stay. One that ended is left as it is. Raises NotFound."""
        with self._changing() as connection:
            run = cluster_rows.need_run(connection, tenant, run_id)
            if run.status.ended:
                return run
            stage = run.stages[-1].name if run.stages else None
            self._audit(connection, by, tenant, "clusters.cancel", f"cluster_run/{run_id}", {"stage": stage})
            ended = replace(run, status=RunStatus.CANCELLED, ended_at_ns=self._clock())
            return cluster_rows.put_run(connection, replace(ended, error=f"cancelled by {by.name[:200]}"))

    def conclude_cluster_run(self, done: Concluded, *, n_tries: int) -> ClusterRunRecord:
        """Writes all that a run found, and that it is done. Raises NotFound; Conflict when it ended meanwhile,
        cancelled maybe, or another process has begun it anew: nothing is written then."""
        of = done.run
        with self._changing() as connection:
            run = cluster_rows.need_run(connection, of.tenant, of.run_id)
            if run.status.ended:
                raise Conflict(f"run {run.run_id} is {run.status.value} by now")
            _same_try(run, n_tries)
            now = self._clock()
            self._write_clusters(connection, of.tenant, of.run_id, done.clusters, done.events)
            before = cluster_rows.app(connection, of.tenant, of.app)
            told = {**({} if before is None else before.told), **done.told}
            if done.marks is not None:
                line = ClusterAppRecord(tenant=of.tenant, app=of.app, run_id=of.run_id, marks=done.marks, told=told)
                cluster_rows.put_app(connection, line)
            elif before is not None:
                cluster_rows.put_app(connection, replace(before, told=told))
            cluster_rows.drop_runs(connection, of.tenant, of.app, now - KEPT_NS)
            ended = replace(of, status=RunStatus.DONE, ended_at_ns=now, owner=None, lease_until_ns=None)
            after = {"n_sessions": of.n_sessions, "n_clusters": of.n_clusters, "n_noise": of.n_noise}
            self._audit(connection, None, of.tenant, "clusters.found", f"cluster_run/{of.run_id}", after)
            return cluster_rows.put_run(connection, ended)

    # Who they are

    def next_cluster_number(self, tenant: TenantId) -> int:
        """The number of the tenant's next cluster: none before it is free again."""
        with self._database.read() as connection:
            return 1 + cluster_rows.last_number(connection, tenant)

    def claim_cluster_numbers(self, tenant: TenantId, first: int, after: int) -> None:
        """Takes the numbers from `first` up to before `after`, for ever. Raises Conflict where `first` is not the next
        one any more: ask again."""
        with self._changing() as connection:
            if cluster_rows.last_number(connection, tenant) + 1 != first:
                raise Conflict("another run has given numbers to clusters meanwhile")
            cluster_rows.put_last_number(connection, tenant, after - 1)

    def clusters(self, tenant: TenantId, app: str | None = None) -> list[ClusterRecord]:
        """Every cluster there ever was, of one app or of all, in the order of their birth."""
        with self._database.read() as connection:
            return cluster_rows.clusters(connection, tenant, app)

    def cluster(self, tenant: TenantId, cluster_id: str) -> ClusterRecord:
        """One cluster. Raises NotFound, also for another tenant's."""
        with self._database.read() as connection:
            return cluster_rows.need_cluster(connection, tenant, cluster_id)

    def cluster_events(self, tenant: TenantId, cluster_id: str) -> list[ClusterEvent]:
        """What became of a cluster, in order."""
        with self._database.read() as connection:
            return cluster_rows.events(connection, tenant, cluster_id)

    # What is new

    def cluster_apps(self, tenant: TenantId | None) -> list[ClusterAppRecord]:
        """How far the apps of a tenant, or of all, were looked at since their last run."""
        with self._database.read() as connection:
            return cluster_rows.apps(connection, tenant)

    def cluster_app(self, tenant: TenantId, app: str) -> ClusterAppRecord | None:
        """How far one app was looked at; None before its first run."""
        with self._database.read() as connection:
            return cluster_rows.app(connection, tenant, app)

    def take_cluster_app(
        self, tenant: TenantId, app: str, owner: str, gone: Callable[[str], bool] = lambda _: False
    ) -> ClusterAppRecord | None:
        """The app's line, from now on `owner`'s for LEASE_NS; None when another works on it, or there is none."""
        with self._changing() as connection:
            found, now = cluster_rows.app(connection, tenant, app), self._clock()
            if found is None or not leases.is_free(found.owner, found.lease_until_ns, owner, now, gone):
                return None
            taken = replace(found, owner=owner, lease_until_ns=now + LEASE_NS)
            cluster_rows.put_app(connection, taken)
            return taken

    def advance_cluster_app(
        self,
        line: ClusterAppRecord,
        marks: Mapping[int, int],
        told: Mapping[str, Any],
        changed: Sequence[ClusterRecord] = (),
        *,
        done: bool,
    ) -> None:
        """Moves the marks on, with the clusters that moved; `done` gives the line free, else its lease begins anew.
        Raises Conflict when the line is another's by now, or a run over a window has drawn it anew."""
        with self._changing() as connection:
            found, now = cluster_rows.app(connection, line.tenant, line.app), self._clock()
            if found is None or found.owner != line.owner or found.run_id != line.run_id:
                raise Conflict(f"another process looks after the sessions of {line.app[:80]} by now")
            onwards = {journal: max(seq, found.marks.get(journal, seq)) for journal, seq in marks.items()}
            after = replace(
                found, marks={**found.marks, **onwards}, told={**found.told, **told},
                owner=None if done else found.owner, lease_until_ns=None if done else now + LEASE_NS,
            )  # fmt: skip
            for one in changed:
                cluster_rows.put_cluster(connection, replace(one, changed_at_ns=now))
            cluster_rows.put_app(connection, after)

    def put_findings(
        self, tenant: TenantId, app: str, made: Sequence[FindingRecord], told: Mapping[str, Any]
    ) -> list[FindingRecord]:
        """Keeps what a look found, a cluster once a day, and says that there was one; those that are new."""
        with self._changing() as connection:
            new = [one for one in made if cluster_rows.put_finding(connection, one)]
            line = cluster_rows.app(connection, tenant, app)
            if line is not None:
                cluster_rows.put_app(connection, replace(line, told={**line.told, **told}))
            for one in new:
                after = {"kind": one.kind, "day": one.day}
                self._audit(connection, None, tenant, "clusters.emerging", f"cluster/{one.cluster_id}", after)
            return new

    def cluster_findings(self, tenant: TenantId, app: str | None = None, since_ns: int = 0) -> list[FindingRecord]:
        """What emerged since then, of one app or of all, newest first."""
        with self._database.read() as connection:
            return cluster_rows.findings(connection, tenant, app, since_ns)

    def _write_clusters(
        self,
        connection: Connection,
        tenant: TenantId,
        run_id: str,
        made: Sequence[ClusterRecord],
        events: Sequence[ClusterEvent],
    ) -> None:
        now = self._clock()
        for one in made:
            cluster_rows.put_cluster(connection, replace(one, changed_at_ns=now))
        cluster_rows.add_events(connection, tenant, [replace(one, at_ns=now, run_id=run_id) for one in events])

    def _free_run(
        self, connection: Connection, owner: str, at_work: Collection[str], gone: Callable[[str], bool]
    ) -> ClusterRunRecord | None:
        now = self._clock()
        left = [one for one in cluster_rows.runs(connection, None) if not one.status.ended]
        free = (
            one
            for one in left
            if one.run_id not in at_work and leases.is_free(one.owner, one.lease_until_ns, owner, now, gone)
        )
        return min(free, key=lambda one: (one.asked_at_ns, one.run_id), default=None)


def _same_try(run: ClusterRunRecord, n_tries: int) -> None:
    """Raises Conflict where a later process has begun the run anew."""
    if run.n_tries != n_tries:
        raise Conflict(f"run {run.run_id} is worked on by another process")
