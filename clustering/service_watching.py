"""Watches: how often a cluster came when a watch began, and alerts for those that come more often since."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from clustering.watching import Growth, growth
from core.clock import NS_PER_S
from core.windows import Window, day_of
from store.cluster_counts import cluster_counts
from store.control.cluster_records import AlertRecord, ClusterRecord, FindingRecord, WatchRecord
from store.control.control import Control
from store.tenant import TenantStore

DAY_NS: Final = 86_400 * NS_PER_S
DAYS: Final = 7  # that are counted when a watch begins, and at most since


def baseline(store: TenantStore, record: ClusterRecord, now_ns: int) -> dict[str, Any]:
    """How often a cluster came in the DAYS before now, as a watch keeps it."""
    n, of = _counted(store, record, now_ns - DAYS * DAY_NS, now_ns)
    return {"n": n, "of": of, "rate": n / of if of else None, "until_ns": now_ns}


def look_at_watches(
    control: Control, store: TenantStore, app: str, now_ns: int, new: Collection[FindingRecord]
) -> list[AlertRecord]:
    """Raises an alert for each watched cluster of the app that is among the `new` findings, or came more often since
    its watch began; those that are new."""
    records = {one.cluster_id: one for one in control.clusters(store.tenant, app)}
    findings = {one.cluster_id: one for one in new}
    made = []
    for watch in control.cluster_watches(store.tenant):
        record = records.get(watch.cluster_id)
        if record is None:
            continue
        body = _alert_of(store, watch, record, findings.get(watch.cluster_id), now_ns)
        if body is not None:
            made.append(
                AlertRecord(
                    tenant=store.tenant, cluster_id=watch.cluster_id, day=day_of(now_ns), app=app, at_ns=now_ns,
                    body=body,
                )
            )  # fmt: skip
    return control.raise_alerts(made) if made else []


def _alert_of(
    store: TenantStore, watch: WatchRecord, record: ClusterRecord, finding: FindingRecord | None, now_ns: int
) -> dict[str, Any] | None:
    if finding is not None:
        said = {name: finding.body.get(name) for name in ("q_value", "rate_ratio", "low", "high", "n", "expected")}
        text = f"{record.cluster_id} ({record.title}): {finding.body.get('text')}"
        return {"why": "finding", "text": text, **said}
    since = max(int(watch.body["until_ns"]), now_ns - DAYS * DAY_NS)
    n, of = _counted(store, record, since, now_ns)
    found = growth(n, of, int(watch.body["n"]), int(watch.body["of"]), watch.min_ratio)
    if not found.grew:
        return None
    return {"why": "watch", "text": _text(record, found), "rate_ratio": found.ratio, "low": found.low, "n": n, "of": of}


def _text(record: ClusterRecord, found: Growth) -> str:
    before = f"{found.n_then} of {found.of_then} before"
    ratio = "" if found.ratio is None else f", {found.ratio:.1f} times as often"
    return (
        f"{record.cluster_id} ({record.title}) grew: {found.n} of {found.of} sessions since it is watched, {before}"
        f"{ratio} (at least {found.low:.1f} times)"
    )


def _counted(store: TenantStore, record: ClusterRecord, start_ns: int, end_ns: int) -> tuple[int, int]:
    """Sessions of a cluster, and of its app, that began in the window."""
    if start_ns >= end_ns:
        return 0, 0
    counts = cluster_counts(store, record.app, Window(start_ns=start_ns, end_ns=end_ns), told_by=None)
    of = int(counts["n"].sum()) if counts.height else 0
    n = sum(row["n"] for row in counts.iter_rows(named=True) if row["cluster_id"] == record.cluster_id)
    return int(n), of
