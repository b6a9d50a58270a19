"""The part of the control database that says who wants to be told of which cluster, and what they were told."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from sqlalchemy import Connection

from core.errors import NotFound
from core.ids import TenantId
from core.records import Principal
from store.control import cluster_rows, leases, seals
from store.control.cluster_records import AlertRecord, AlertState, WatchRecord
from store.control.cluster_rows import text_of
from store.control.cluster_tables import CLUSTER_ALERTS, CLUSTER_WATCHES
from store.control.transactions import Transactions

TELLING_NS: Final = 60_000_000_000  # how long one process has for one alert
_PPM: Final = 1_000_000
_ALERT: Final = ("cluster_id", "day", "app", "at_ns")


class ClusterWatching(Transactions):
    """Watches of clusters and their alerts; every method is one transaction, as everywhere in `Control`."""

    def watch_cluster(self, wanted: WatchRecord, *, by: Principal) -> WatchRecord:
        """Watches a cluster from now on; one that was watched is, from now on, as `wanted` says. Raises NotFound."""
        made = replace(wanted, made_by=by.name[:200], made_at_ns=self._clock())
        with self._changing() as connection:
            cluster_rows.need_cluster(connection, made.tenant, made.cluster_id)
            before = _watch_row(connection, made.tenant, made.cluster_id)
            values = {"min_ratio_ppm": round(made.min_ratio * _PPM), "url": made.url, "body": text_of(made.body)}
            values |= {"made_by": made.made_by, "made_at_ns": made.made_at_ns}
            if before is None:
                key = {"tenant": str(made.tenant), "cluster_id": made.cluster_id}
                seals.add(connection, CLUSTER_WATCHES, {**key, **values})
            else:
                seals.change(connection, CLUSTER_WATCHES, before, **values)
            after = {"min_ratio": made.min_ratio, "url": made.url is not None}  # the address may hold a secret
            self._audit(connection, by, made.tenant, "clusters.watch", f"cluster/{made.cluster_id}", after)
        return made

    def unwatch_cluster(self, tenant: TenantId, cluster_id: str, *, by: Principal) -> WatchRecord:
        """Watches a cluster no more; what it was. Raises NotFound for one that is not watched."""
        with self._changing() as connection:
            row = _watch_row(connection, tenant, cluster_id)
            if row is None:
                raise NotFound(f"cluster {cluster_id[:24]!r} is not watched; assay clusters watch lists those that are")
            key = {"tenant": str(tenant), "cluster_id": cluster_id}
            where = [CLUSTER_WATCHES.c[name] == value for name, value in key.items()]
            connection.execute(CLUSTER_WATCHES.delete().where(*where))
            self._audit(connection, by, tenant, "clusters.unwatch", f"cluster/{cluster_id}", {"watched": False})
            return _watch(row)

    def cluster_watches(self, tenant: TenantId) -> list[WatchRecord]:
        """The clusters of the tenant that are watched, by id."""
        with self._database.read() as connection:
            found = map(_watch, seals.rows(connection, CLUSTER_WATCHES, {"tenant": str(tenant)}))
            return sorted(found, key=lambda one: one.cluster_id)

    def raise_alerts(self, made: Sequence[AlertRecord]) -> list[AlertRecord]:
        """Keeps alerts, of a cluster one a day; those that are new."""
        new = []
        with self._changing() as connection:
            for one in made:
                key = {"tenant": str(one.tenant), "cluster_id": one.cluster_id, "day": one.day}
                if seals.one(connection, CLUSTER_ALERTS, key) is not None:
                    continue
                said = {**key, "app": one.app, "at_ns": one.at_ns, "body": text_of(one.body)}
                rest = {"state": one.state.value, "told": text_of(one.told), "owner": None, "lease_until_ns": None}
                seals.add(connection, CLUSTER_ALERTS, {**said, **rest})
                after = {"day": one.day, "text": one.body.get("text")}
                self._audit(connection, None, one.tenant, "clusters.alert", f"cluster/{one.cluster_id}", after)
                new.append(one)
        return new

    def cluster_alerts(self, tenant: TenantId | None, state: AlertState | None = None) -> list[AlertRecord]:
        """The alerts of a tenant or of all, in one state or in all, newest first."""
        key = ({} if tenant is None else {"tenant": str(tenant)}) | ({} if state is None else {"state": state.value})
        with self._database.read() as connection:
            found = map(_alert, seals.rows(connection, CLUSTER_ALERTS, key))
            return sorted(found, key=lambda one: (-one.at_ns, one.cluster_id))

    def take_alert(
        self, of: AlertRecord, owner: str, gone: Callable[[str], bool] = lambda _: False
    ) -> tuple[AlertRecord, WatchRecord | None] | None:
        """An alert that is still to be told, `owner`'s for a minute, with its watch if there still is one. None where
        it was told, or another process tells it."""
        with self._changing() as connection:
            row, now = _alert_row(connection, of), self._clock()
            if row is None or row.state != AlertState.PENDING.value:
                return None
            if not leases.is_free(row.owner, row.lease_until_ns, owner, now, gone):
                return None
            seals.change(connection, CLUSTER_ALERTS, row, owner=owner, lease_until_ns=now + TELLING_NS)
            watch = _watch_row(connection, of.tenant, of.cluster_id)
            return _alert(row), None if watch is None else _watch(watch)

    def note_alert(self, of: AlertRecord, told: Mapping[str, str | None], state: AlertState) -> AlertRecord:
        """What has become of an alert; why somebody was left out goes into the audit log. Free for the next look."""
        with self._changing() as connection:
            row = _alert_row(connection, of)
            if row is None:
                raise NotFound(f"there is no alert of {of.cluster_id[:24]!r} on {of.day[:10]}")
            before: dict[str, str | None] = json.loads(row.told)
            for target, why in told.items():
                if why is not None and target not in before:
                    said = {"day": of.day, "target": target, "why": why}
                    self._audit(connection, None, of.tenant, "clusters.not_told", f"cluster/{of.cluster_id}", said)
            values: dict[str, Any] = {"told": text_of({**before, **told}), "state": state.value}
            seals.change(connection, CLUSTER_ALERTS, row, **values, owner=None, lease_until_ns=None)
            return replace(of, told={**before, **told}, state=state)


def _watch_row(connection: Connection, tenant: TenantId, cluster_id: str) -> Any | None:
    return seals.one(connection, CLUSTER_WATCHES, {"tenant": str(tenant), "cluster_id": cluster_id})


def _alert_row(connection: Connection, of: AlertRecord) -> Any | None:
    key = {"tenant": str(of.tenant), "cluster_id": of.cluster_id, "day": of.day}
    return seals.one(connection, CLUSTER_ALERTS, key)


def _watch(row: Any) -> WatchRecord:
    return WatchRecord(
        tenant=TenantId(row.tenant),
        cluster_id=row.cluster_id,
        min_ratio=row.min_ratio_ppm / _PPM,
        url=row.url,
        body=json.loads(row.body),
        made_by=row.made_by,
        made_at_ns=row.made_at_ns,
    )


def _alert(row: Any) -> AlertRecord:
    return AlertRecord(
        tenant=TenantId(row.tenant),
        body=json.loads(row.body),
        state=AlertState(row.state),
        told=json.loads(row.told),
        **{name: getattr(row, name) for name in _ALERT},
    )
