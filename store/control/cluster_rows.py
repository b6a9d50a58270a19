"""Rows of clusters, and how they change."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any, Final

from sqlalchemy import Connection, delete

from core.errors import NotFound
from core.ids import TenantId
from store.control import seals
from store.control.cluster_records import (
    ClusterAppRecord,
    ClusterEvent,
    ClusterRecord,
    ClusterRunRecord,
    FindingRecord,
    Scope,
    StageRecord,
)
from store.control.cluster_tables import (
    CLUSTER_APPS,
    CLUSTER_EVENTS,
    CLUSTER_FINDINGS,
    CLUSTER_NUMBERS,
    CLUSTER_RUNS,
    CLUSTERS,
)
from store.control.run_records import RunStatus

_RUN: Final = (
    *("run_id", "app", "start_ns", "end_ns", "params_hash", "failure", "embedder", "n_sessions", "n_clusters"),
    *("n_noise", "n_tries", "peak_bytes", "asked_by", "asked_at_ns", "started_at_ns", "ended_at_ns", "error"),
    *("owner", "lease_until_ns"),
)
_CLUSTER: Final = (
    *("cluster_id", "app", "state", "embedder", "centroid", "n_sessions", "n_failed", "n_known", "run_id"),
    *("first_seen_ns", "last_seen_ns", "born_at_ns", "changed_at_ns"),
)
_EVENT: Final = ("cluster_id", "number", "at_ns", "run_id", "kind", "n_sessions", "n_failed", "n_known", "text")
_FINDING: Final = ("cluster_id", "day", "app", "kind", "at_ns")


def add_run(connection: Connection, record: ClusterRunRecord) -> None:
    """Writes a new run."""
    seals.add(connection, CLUSTER_RUNS, _run_values(record))


def find_run(connection: Connection, tenant: TenantId, run_id: str) -> Any:
    """The row of a run. Raises NotFound, also for another tenant's."""
    row = seals.one(connection, CLUSTER_RUNS, {"tenant": str(tenant), "run_id": run_id})
    if row is None:
        raise NotFound(f"there is no run of clusters {run_id[:60]!r}; assay clusters runs lists them")
    return row


def need_run(connection: Connection, tenant: TenantId, run_id: str) -> ClusterRunRecord:
    """One run. Raises NotFound."""
    return run_of(find_run(connection, tenant, run_id))


def runs(connection: Connection, tenant: TenantId | None, app: str | None = None) -> list[ClusterRunRecord]:
    """The runs of a tenant or of all, of one app or of all, newest first."""
    key = ({} if tenant is None else {"tenant": str(tenant)}) | ({} if app is None else {"app": app})
    found = map(run_of, seals.rows(connection, CLUSTER_RUNS, key))
    return sorted(found, key=lambda one: (-one.asked_at_ns, one.run_id))


def put_run(connection: Connection, after: ClusterRunRecord) -> ClusterRunRecord:
    """Writes what a run has become. Raises NotFound."""
    row = find_run(connection, after.tenant, after.run_id)
    seals.change(connection, CLUSTER_RUNS, row, **_run_values(after))
    return after


def drop_runs(connection: Connection, tenant: TenantId, app: str, before_ns: int) -> None:
    """Forgets the runs of an app over what waited that ended before then: there is one every hour."""
    where = (CLUSTER_RUNS.c.tenant == str(tenant), CLUSTER_RUNS.c.app == app)
    old = (CLUSTER_RUNS.c.scope == Scope.WAITING.value, CLUSTER_RUNS.c.ended_at_ns < before_ns)
    connection.execute(delete(CLUSTER_RUNS).where(*where, *old))


def last_number(connection: Connection, tenant: TenantId) -> int:
    """The last number that was given to a cluster; 0 before the first."""
    row = seals.one(connection, CLUSTER_NUMBERS, {"tenant": str(tenant)})
    return 0 if row is None else int(row.n)


def put_last_number(connection: Connection, tenant: TenantId, n: int) -> None:
    """Notes that numbers up to `n` are given."""
    row = seals.one(connection, CLUSTER_NUMBERS, {"tenant": str(tenant)})
    if row is None:
        seals.add(connection, CLUSTER_NUMBERS, {"tenant": str(tenant), "n": n})
    else:
        seals.change(connection, CLUSTER_NUMBERS, row, n=n)


def clusters(connection: Connection, tenant: TenantId, app: str | None = None) -> list[ClusterRecord]:
    """Every cluster there ever was, of one app or of all, in the order of their birth."""
    key = {"tenant": str(tenant)} | ({} if app is None else {"app": app})
    found = map(_cluster, seals.rows(connection, CLUSTERS, key))
    return sorted(found, key=lambda one: (one.born_at_ns, len(one.cluster_id), one.cluster_id))


def need_cluster(connection: Connection, tenant: TenantId, cluster_id: str) -> ClusterRecord:
    """One cluster. Raises NotFound."""
    row = seals.one(connection, CLUSTERS, {"tenant": str(tenant), "cluster_id": cluster_id})
    if row is None:
        raise NotFound(f"there is no cluster {cluster_id[:24]!r}; assay clusters list --app APP has those there are")
    return _cluster(row)


def put_cluster(connection: Connection, record: ClusterRecord) -> None:
    """Writes a cluster as it is from now on."""
    values = {"tenant": str(record.tenant), "said": text_of(record.said)}
    values |= {"standing": text_of(record.standing)}
    values |= {name: getattr(record, name) for name in _CLUSTER}
    row = seals.one(connection, CLUSTERS, {"tenant": str(record.tenant), "cluster_id": record.cluster_id})
    if row is None:
        seals.add(connection, CLUSTERS, values)
    else:
        seals.change(connection, CLUSTERS, row, **values)


def add_events(connection: Connection, tenant: TenantId, made: Sequence[ClusterEvent]) -> None:
    """Writes what became of clusters, numbered on within each."""
    for event in made:
        known = events(connection, tenant, event.cluster_id)
        numbered = replace(event, number=1 + max((one.number for one in known), default=0))
        values = {name: getattr(numbered, name) for name in _EVENT}
        others = json.dumps(list(event.others), separators=(",", ":"))
        seals.add(connection, CLUSTER_EVENTS, {"tenant": str(tenant), "others": others, **values})


def events(connection: Connection, tenant: TenantId, cluster_id: str) -> list[ClusterEvent]:
    """What became of a cluster, in order."""
    found = seals.rows(connection, CLUSTER_EVENTS, {"tenant": str(tenant), "cluster_id": cluster_id})
    made = [
        ClusterEvent(others=tuple(json.loads(row.others)), **{name: getattr(row, name) for name in _EVENT})
        for row in found
    ]  # fmt: skip
    return sorted(made, key=lambda one: one.number)


def put_finding(connection: Connection, made: FindingRecord) -> bool:
    """Writes a finding, or what a later look of the same day says of it; whether it is the day's first. The moment
    stays that of the first."""
    key = {"tenant": str(made.tenant), "cluster_id": made.cluster_id, "day": made.day}
    row = seals.one(connection, CLUSTER_FINDINGS, key)
    if row is None:
        rest = {name: getattr(made, name) for name in _FINDING}
        seals.add(connection, CLUSTER_FINDINGS, {**key, **rest, "body": text_of(made.body)})
        return True
    seals.change(connection, CLUSTER_FINDINGS, row, kind=made.kind, body=text_of(made.body))
    return False


def findings(connection: Connection, tenant: TenantId, app: str | None, since_ns: int) -> list[FindingRecord]:
    """What emerged since then, of one app or of all, newest first."""
    key = {"tenant": str(tenant)} | ({} if app is None else {"app": app})
    found = [
        FindingRecord(
            tenant=TenantId(row.tenant), body=json.loads(row.body), **{name: getattr(row, name) for name in _FINDING}
        )
        for row in seals.rows(connection, CLUSTER_FINDINGS, key)
        if row.at_ns >= since_ns
    ]
    return sorted(found, key=lambda one: (-one.at_ns, one.cluster_id))


def apps(connection: Connection, tenant: TenantId | None) -> list[ClusterAppRecord]:
    """How far the apps of a tenant, or of all, were looked at."""
    found = map(_app, seals.rows(connection, CLUSTER_APPS, None if tenant is None else {"tenant": str(tenant)}))
    return sorted(found, key=lambda one: (one.tenant, one.app))


def app(connection: Connection, tenant: TenantId, name: str) -> ClusterAppRecord | None:
    """How far one app was looked at; None before its first run."""
    row = seals.one(connection, CLUSTER_APPS, {"tenant": str(tenant), "app": name})
    return None if row is None else _app(row)


def put_app(connection: Connection, record: ClusterAppRecord) -> None:
    """Writes how far an app was looked at."""
    key = {"tenant": str(record.tenant), "app": record.app}
    values: dict[str, object] = {
        "run_id": record.run_id,
        "marks": text_of({str(journal): seq for journal, seq in record.marks.items()}),
        "told": text_of(record.told),
        "owner": record.owner,
        "lease_until_ns": record.lease_until_ns,
    }
    row = seals.one(connection, CLUSTER_APPS, key)
    if row is None:
        seals.add(connection, CLUSTER_APPS, {**key, **values})
    else:
        seals.change(connection, CLUSTER_APPS, row, **values)


def text_of(value: Any) -> str:
    """Canonical JSON: keys sorted, no blanks. Raises ValueError for a number that is not finite."""
    return json.dumps(value, ensure_ascii=True, sort_keys=True, separators=(",", ":"), allow_nan=False)


def run_of(row: Any) -> ClusterRunRecord:
    """A row as a record."""
    return ClusterRunRecord(
        tenant=TenantId(row.tenant),
        scope=Scope(row.scope),
        status=RunStatus(row.status),
        params=json.loads(row.params),
        used=json.loads(row.used),
        stages=tuple(StageRecord(**one) for one in json.loads(row.stages)),
        **{name: getattr(row, name) for name in _RUN},
    )


def _run_values(record: ClusterRunRecord) -> dict[str, object]:
    said = {"tenant": str(record.tenant), "scope": record.scope.value, "status": record.status.value}
    texts = {"params": text_of(record.params), "used": text_of(record.used)}
    texts["stages"] = text_of([asdict(one) for one in record.stages])
    return {**said, **texts, **{name: getattr(record, name) for name in _RUN}}


def _cluster(row: Any) -> ClusterRecord:
    said = {name: getattr(row, name) for name in _CLUSTER}
    return ClusterRecord(
        tenant=TenantId(row.tenant), said=json.loads(row.said), standing=json.loads(row.standing),
        **{**said, "centroid": bytes(row.centroid)},
    )  # fmt: skip


def _app(row: Any) -> ClusterAppRecord:
    return ClusterAppRecord(
        tenant=TenantId(row.tenant),
        app=row.app,
        run_id=row.run_id,
        marks={int(journal): int(seq) for journal, seq in json.loads(row.marks).items()},
        told=json.loads(row.told),
        owner=row.owner,
        lease_until_ns=row.lease_until_ns,
    )
