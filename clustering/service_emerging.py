"""One look for what emerges in an app: counts of failing sessions by cluster, tested, kept, and told to who watches."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

import polars as pl

from clustering.emerging.changed import changed, levels_of_all
from clustering.emerging.counting import Born, counted
from clustering.emerging.looks import Week, look, week_of_json
from clustering.emerging.records import Change, Design, Finding, Found
from clustering.emerging.testing import find
from clustering.known_share import told_by, warnings
from clustering.service_births import births
from clustering.service_levels import levels_of
from clustering.service_watching import look_at_watches
from core.clock import NS_PER_S
from core.windows import Window, day_of
from store.control.cluster_records import ClusterAppRecord, ClusterRecord, FindingRecord
from store.control.control import Control
from store.memberships import daily_counts, newest_memberships
from store.tenant import TenantStore

HOUR_NS: Final = 3_600 * NS_PER_S
DAY_NS: Final = 24 * HOUR_NS
DAYS: Final = 7  # of now, and of each period before
PERIODS: Final = 4
_LOG: Final = logging.getLogger("assay.clusters")


@dataclass(frozen=True, kw_only=True)
class Time:
    """When a look is: now is the DAYS before `end_ns` (the end of this UTC day), the periods lie before."""

    now_ns: int

    @property
    def end_ns(self) -> int:
        """Exclusive."""
        return (self.now_ns // DAY_NS + 1) * DAY_NS

    @property
    def now(self) -> Window:
        """The days that are tested."""
        return Window(start_ns=self.end_ns - DAYS * DAY_NS, end_ns=self.end_ns)

    @property
    def whole(self) -> Window:
        """These and the periods that they are held against."""
        return Window(start_ns=self.end_ns - (PERIODS + 1) * DAYS * DAY_NS, end_ns=self.end_ns)


def look_if_due(control: Control, store: TenantStore, app: str, now_ns: int) -> list[FindingRecord]:
    """A look where the last one is an hour old and sessions came since; what is new."""
    line = control.cluster_app(store.tenant, app)
    if line is None:
        return []
    last = int(line.told.get("looked_at_ns", 0))
    if now_ns - last < HOUR_NS or int(line.told.get("assigned_at_ns", 0)) <= last:
        return []
    return look_now(control, store, app, now_ns, nightly=False)


def look_now(
    control: Control, store: TenantStore, app: str, now_ns: int, *, nightly: bool, design: Design | None = None
) -> list[FindingRecord]:
    """One look; findings that are new today, kept, and watches told. A look that has no share of the week's error left
    (looks.py) tells nothing and is none."""
    design = design or Design()
    line = control.cluster_app(store.tenant, app)
    if line is None:
        return []
    taken = look(now_ns, _week(line), nightly=nightly)
    if not taken.share:
        control.put_findings(store.tenant, app, [], {"looked_at_ns": now_ns})
        look_at_watches(control, store, app, now_ns, [])
        return []
    time = Time(now_ns=now_ns)
    records = {one.cluster_id: one for one in control.clusters(store.tenant, app) if one.standing["alive"]}
    memberships = newest_memberships(store, app, time.now, told_by=told_by(line))
    found = find(_counts(store, line, records, memberships, time), design, share=taken.share, before=taken.week.least)
    week = replace(taken.week, least=found.least)
    made = _kept(store, line, found, records, memberships, time)
    told = _told(found, week, now_ns) | _known(memberships, line)
    new = control.put_findings(store.tenant, app, made, told)
    look_at_watches(control, store, app, now_ns, new)
    _LOG.info(
        "%s: %d clusters looked at, %d are new or grow; failures of all together are %s times what they were",
        *(app, found.n_tested, len(found.findings), _ratio(found)),
    )
    return new


def _week(line: ClusterAppRecord) -> Week | None:
    told = line.told.get("week")
    return None if told is None else week_of_json(told)


def _counts(
    store: TenantStore,
    line: ClusterAppRecord,
    records: Mapping[str, ClusterRecord],
    memberships: pl.DataFrame,
    time: Time,
) -> Any:
    failing = memberships.filter(pl.col("failed") & pl.col("cluster_id").is_not_null())
    by_cluster = failing.group_by("cluster_id").agg(
        n_users=pl.col("user_hash").drop_nulls().n_unique(), first_ns=pl.col("at_ns").min()
    )
    told = {row["cluster_id"]: row for row in by_cluster.iter_rows(named=True)}
    daily = daily_counts(store, line.app, time.whole, told_by=told_by(line))
    earlier = daily.filter((pl.col("day") < day_of(time.now.start_ns)) & (pl.col("n_failed") > 0))
    before = set(earlier["cluster_id"].drop_nulls())
    return counted(
        daily,
        end=datetime.fromtimestamp(time.end_ns / NS_PER_S, UTC).date(),
        n_users={name: told[name]["n_users"] if name in told else 0 for name in records},
        first_seen_ns={
            name: told[name]["first_ns"] if name in told and name not in before else one.first_seen_ns
            for name, one in records.items()
        },
        days=DAYS,
        n_periods=PERIODS,
        born=_born(store, line, records, memberships, time),
        found_in={name: _found_in(one) for name, one in records.items() if one.born_at_ns >= time.whole.start_ns},
    )


def _found_in(one: ClusterRecord) -> tuple[date, date]:
    """The days of the sessions it was found in: before them nobody looked for it, which is not that there was none."""
    born = datetime.fromtimestamp(one.born_at_ns / NS_PER_S, UTC).date()
    return born - timedelta(days=DAYS), born + timedelta(days=1)


def _born(
    store: TenantStore,
    line: ClusterAppRecord,
    records: Mapping[str, ClusterRecord],
    memberships: pl.DataFrame,
    time: Time,
) -> Sequence[Born]:
    """Clusters that were found in sessions of now: their own sessions say nothing of growth."""
    young = [one for one in records.values() if one.born_at_ns >= time.now.start_ns]
    return births(store, line, young, memberships, time.now, DAYS, PERIODS) if young else ()


def _kept(
    store: TenantStore,
    line: ClusterAppRecord,
    found: Found,
    records: Mapping[str, ClusterRecord],
    memberships: pl.DataFrame,
    time: Time,
) -> list[FindingRecord]:
    explained = _explained(store, line, found.findings, memberships, time) if found.findings else {}
    return [
        FindingRecord(
            tenant=store.tenant,
            cluster_id=one.cluster_id,
            day=day_of(time.now_ns),
            app=line.app,
            kind=one.kind.value,
            at_ns=time.now_ns,
            body=_body(one, explained.get(one.cluster_id, ())),
        )
        for one in found.findings
        if one.cluster_id in records
    ]


def _explained(
    store: TenantStore, line: ClusterAppRecord, findings: Sequence[Finding], memberships: pl.DataFrame, time: Time
) -> dict[str, tuple[Change, ...]]:
    """What changed, of each: its failing sessions before and now, and the app's others now, by their levels."""
    before = Window(start_ns=time.whole.start_ns, end_ns=time.now.start_ns)
    earlier = newest_memberships(store, line.app, before, told_by=told_by(line)).filter(pl.col("failed"))
    earlier = earlier.select("session_id", "cluster_id")
    levels = levels_of(store, line.app, time.whole).rename({"attribute": "kind", "level": "name"})
    every = levels_of_all(memberships.select("session_id", "cluster_id", "failed"), earlier, levels)
    return {one.cluster_id: changed(*every.of(one.cluster_id)) for one in findings}


def _body(one: Finding, changes: Sequence[Change]) -> dict[str, Any]:
    figures = ("p_value", "q_value", "rate_ratio", "low", "high", "level", "at_least", "n", "n_before", "expected")
    said = {name: getattr(one, name) for name in (*figures, "n_users", "first_seen_ns")}
    said["changed"] = [
        {name: getattr(each, name) for name in ("kind", "name", "share_before", "share_after", "share_rest", "at_ns")}
        | {"text": each.text}
        for each in changes
    ]
    return {**said, "text": _text(one)}


def _text(one: Finding) -> str:
    since = datetime.fromtimestamp(one.first_seen_ns / NS_PER_S, UTC)
    high = "" if one.high is None else f" to {one.high:.1f}"
    return (
        f"{one.n} failing sessions in {DAYS} days where {one.expected:.1f} were to be expected: {one.rate_ratio:.1f} "
        f"times as many ({one.low:.1f}{high}), from {one.n_users} users, since {since:%Y-%m-%d %H:%M} UTC"
    )


def _told(found: Found, week: Week, now_ns: int) -> dict[str, Any]:
    told: dict[str, Any] = {"looked_at_ns": now_ns, "n_tested": found.n_tested, "fdr": found.fdr}
    told["dispersion"] = None if found.dispersion is None else float(found.dispersion.value)
    told["overall_ratio"] = None if found.overall_ratio is None else float(found.overall_ratio)
    told["week"] = week.as_json()
    told["look_says"] = _says(found)
    return told


def _known(memberships: pl.DataFrame, line: ClusterAppRecord) -> dict[str, Any]:
    """Of how many sessions of now it is known whether they failed: what the look rests on."""
    n, n_known = memberships.height, int(memberships["failed"].count())
    return {"n_sessions": n, "n_known": n_known, "known_says": warnings(n_known, n, line.told.get("failure"))}


def _ratio(found: Found) -> str:
    return "an unknown number of" if found.overall_ratio is None else f"{found.overall_ratio:.2f}"


def _says(found: Found) -> str | None:
    """Why clusters were not tested, in words."""
    if found.n_tested or not found.n_clusters:
        return None
    reasons = {reason.value for reason in found.untested}
    if "no_history" in reasons:
        return (
            f"nothing can be new or growing yet: no session from before the last {DAYS} days is there to compare with"
        )
    return "nothing could be tested: of no session of these days it is known whether it failed"
