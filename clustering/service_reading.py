"""What is known of an app's clusters now: the registry, with counts of who is in each by the newest memberships."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, assert_never

import polars as pl

from clustering.facets import display_text, facets, how_it_went
from clustering.intervals import exact
from clustering.known_share import scarce, told_by_of
from clustering.usual import Usual, usual_from
from core.clock import NS_PER_S
from core.errors import InvalidInput
from core.ids import TenantId
from core.windows import Window, day_of
from store.cluster_counts import cluster_counts
from store.control.cluster_records import ClusterRecord, ClusterRunRecord, FindingRecord, Scope
from store.control.control import Control
from store.control.run_records import RunStatus
from store.memberships import daily_counts, members, surest_members
from store.session_failures import ToldBy
from store.tenant import TenantStore

DAY_NS: Final = 86_400 * NS_PER_S
TREND_DAYS: Final = 28
FRESH_NS: Final = 7 * DAY_NS  # for so long a finding stands beside its cluster
MOST_EXEMPLARS: Final = 5
_MOST_RUNS: Final = 60  # of the history of noise


class Sort(StrEnum):
    """What comes first."""

    FAILURES = "failures"  # failures beyond what the rest of the app would have
    SIZE = "size"
    GROWTH = "growth"  # sessions of the later half of the days above those of the earlier
    COST = "cost"  # of all its sessions
    NEWEST = "newest"


@dataclass(frozen=True, kw_only=True)
class Day:
    """Sessions of a cluster that began on a day (UTC); of `n_known` it is known whether they failed."""

    day: str
    n: int
    n_failed: int
    n_known: int


@dataclass(frozen=True, kw_only=True)
class Count:
    """Sessions, with what is known of their failure, their users and their starts."""

    n: int = 0
    n_failed: int = 0
    n_known: int = 0
    n_users: int = 0
    first_ns: int | None = None
    last_ns: int | None = None

    @property
    def rate(self) -> float | None:
        """The failure rate; None where nothing is known."""
        return self.n_failed / self.n_known if self.n_known else None

    @property
    def scarce(self) -> bool:
        """Whether the rate is of too few of them to speak for all."""
        return scarce(self.n_known, self.n)

    def bounds(self) -> tuple[float | None, float | None]:
        """The 95 % interval of the rate: exact, since many clusters are small."""
        return exact(self.n_failed, self.n_known) if self.n_known else (None, None)


@dataclass(frozen=True, kw_only=True)
class ClusterNow:
    """A cluster of the registry with its counts of the window, those of the app's other sessions, and what emerges.
    Counted at `at_ns`; what the registry says of it is of the run that ended at `run_ns` (None: not kept any more)."""

    record: ClusterRecord
    at_ns: int
    run_ns: int | None
    count: Count
    rest: Count
    share: float
    trend: tuple[Day, ...]
    finding: FindingRecord | None
    watched: bool

    @property
    def excess(self) -> float | None:
        """Failures beyond what its sessions would have at the rate of the others; None where either is not known."""
        if self.count.rate is None or self.rest.rate is None:
            return None
        return self.count.n_failed - self.count.n_known * self.rest.rate

    @property
    def growth(self) -> int:
        """Sessions of the later half of the days, less those of the earlier half."""
        half = TREND_DAYS // 2
        later = sum(one.n for one in self.trend[-half:])
        return later - sum(one.n for one in self.trend[:-half])


@dataclass(frozen=True, kw_only=True)
class AppNow:
    """The clusters of an app, counted at `at_ns`. `run` is the newest of all its runs, `last` the newest over a window
    that is done; `whole` are all sessions of the window, whose failures `told_by` tells."""

    app: str | None
    clusters: tuple[ClusterNow, ...]
    run: ClusterRunRecord | None
    last: ClusterRunRecord | None
    window: Window | None
    noise: Count
    n_waiting: int
    whole: Count
    told_by: ToldBy
    at_ns: int
    history: tuple[ClusterRunRecord, ...]


def app_of(control: Control, tenant: TenantId, app: str | None) -> str | None:
    """The app that is meant: the only one with runs where none is named, None where there is none. Raises InvalidInput
    where there are several."""
    if app is not None:
        return app
    found = sorted({one.app for one in control.cluster_runs(tenant)})
    if len(found) > 1:
        raise InvalidInput(f"name an app; there are clusters of {', '.join(found)[:300]}", field="app")
    return found[0] if found else None


def clusters_now(control: Control, store: TenantStore, app: str | None, now_ns: int) -> AppNow:
    """All clusters of an app, those too that ended, as they stand; `app` None: none has any."""
    runs = [] if app is None else control.cluster_runs(store.tenant, app)
    over = [one for one in runs if one.status is RunStatus.DONE and one.scope is Scope.WINDOW]
    if app is None or not over:
        return AppNow(
            app=app, clusters=(), run=runs[0] if runs else None, last=None, window=None, noise=Count(), n_waiting=0,
            whole=Count(), told_by=ToldBy(), at_ns=now_ns, history=(),
        )  # fmt: skip
    window = Window(start_ns=over[0].start_ns, end_ns=max(now_ns, over[0].end_ns))
    by = told_by_of(control, store.tenant, app)
    counts = cluster_counts(store, app, window, told_by=by)
    whole = _summed(counts)
    by_id = {name: _summed(part) for (name,), part in counts.partition_by("cluster_id", as_dict=True).items()}
    registry = control.clusters(store.tenant, app)
    ids = pl.Series([one.cluster_id for one in registry], dtype=pl.String)
    # A run that was cancelled while it wrote leaves sessions in clusters that never were.
    nowhere = counts.filter(~pl.col("cluster_id").is_in(ids.implode()).fill_null(False))
    trends = _trends(store, app, now_ns, by)
    ended = {one.run_id: one.ended_at_ns for one in runs}
    fresh = reversed(control.cluster_findings(store.tenant, app, now_ns - FRESH_NS))
    findings = {one.cluster_id: one for one in fresh}  # the newest of each
    watched = {one.cluster_id for one in control.cluster_watches(store.tenant)}
    return AppNow(
        app=app,
        clusters=tuple(
            _now(record, now_ns, ended, by_id.get(record.cluster_id, Count()), whole, trends, findings, watched)
            for record in registry
        ),
        run=runs[0],
        last=over[0],
        window=window,
        noise=_summed(nowhere.filter(~pl.col("waiting"))),
        n_waiting=_summed(nowhere.filter(pl.col("waiting"))).n,
        whole=whole,
        told_by=by,
        at_ns=now_ns,
        history=tuple(reversed(over[:_MOST_RUNS])),
    )


def chosen(found: Sequence[ClusterNow], states: frozenset[str], sort: Sort) -> list[ClusterNow]:
    """Those in one of `states` (none named: those that live), in an order."""
    kept = [one for one in found if (one.record.state in states if states else one.record.standing["alive"])]
    return sorted(kept, key=lambda one: (*_first(one, sort), len(one.record.cluster_id), one.record.cluster_id))


def usual_in(control: Control, record: ClusterRecord) -> Usual:
    """What was usual in the app's last run over a window: the signs of its sessions are told beside it."""
    line = control.cluster_app(record.tenant, record.app)
    return usual_from(None if line is None else line.told.get("usual"))


def exemplars_of(store: TenantStore, record: ClusterRecord, window: Window, usual: Usual, by: ToldBy) -> pl.DataFrame:
    """The sessions that stand for a cluster, best first: facets with `confidence`; those of its sessions that it is
    surest of, where none were chosen or they are in another cluster by now."""
    best = surest_members(store, record.cluster_id, MOST_EXEMPLARS, window, told_by=by)
    return shown(store, record.app, best, usual)


def page_of(
    store: TenantStore,
    record: ClusterRecord,
    limit: int,
    after: tuple[int, str] | None,
    usual: Usual,
    by: ToldBy,
) -> tuple[pl.DataFrame, tuple[int, str] | None]:
    """A page of a cluster's sessions, latest first, with where the next one begins."""
    rows = members(store, record.cluster_id, limit + 1, after, told_by=by)
    page = rows.head(limit)
    more = None
    if rows.height > limit:
        last = page.row(limit - 1, named=True)
        more = (int(last["at_ns"]), str(last["session_id"]))
    return shown(store, record.app, page, usual), more


def shown(store: TenantStore, app: str, rows: pl.DataFrame, usual: Usual) -> pl.DataFrame:
    """Rows of memberships with `first_input` and `outcome` of each session, in their order; empty texts where nothing
    of a session is left. Signs are those beside what is `usual` in the app: among the few that are shown, what they
    have in common would be."""
    if not rows.height:
        return rows.with_columns(first_input=pl.lit(""), outcome=pl.lit(""))
    starts = rows["at_ns"]
    window = Window(start_ns=int(starts.min()) - DAY_NS, end_ns=int(starts.max()) + DAY_NS)  # type: ignore[arg-type]
    read = facets(store, app, window, session_ids=rows["session_id"].to_list(), usual=usual)
    texts = pl.DataFrame(
        {
            "session_id": read["session_id"],
            "first_input": [display_text(row) for row in read.iter_rows(named=True)],
            "outcome": [how_it_went(row) for row in read.iter_rows(named=True)],
        },
        schema={"session_id": pl.String, "first_input": pl.String, "outcome": pl.String},
    )
    told = rows.join(texts, on="session_id", how="left", maintain_order="left")
    return told.with_columns(pl.col("first_input", "outcome").fill_null(""))


def _now(
    record: ClusterRecord,
    now_ns: int,
    ended: Mapping[str, int | None],
    count: Count,
    whole: Count,
    trends: Mapping[str, tuple[Day, ...]],
    findings: Mapping[str, FindingRecord],
    watched: set[str],
) -> ClusterNow:
    name = record.cluster_id
    return ClusterNow(
        record=record,
        at_ns=now_ns,
        run_ns=ended.get(record.run_id),
        count=count,
        rest=_less(whole, count),
        share=count.n / whole.n if whole.n else 0.0,
        trend=trends.get(name, ()),
        finding=findings.get(name),
        watched=name in watched,
    )


def _less(whole: Count, part: Count) -> Count:
    """The app's other sessions."""
    return Count(n=whole.n - part.n, n_failed=whole.n_failed - part.n_failed, n_known=whole.n_known - part.n_known)


def _trends(store: TenantStore, app: str, now_ns: int, by: ToldBy) -> dict[str, tuple[Day, ...]]:
    """Of each cluster every one of the last TREND_DAYS days, with 0 where it had no session."""
    days = [day_of(now_ns - ago * DAY_NS) for ago in reversed(range(TREND_DAYS))]
    window = Window(start_ns=(now_ns // DAY_NS - TREND_DAYS + 1) * DAY_NS, end_ns=now_ns + 1)
    found: dict[str, dict[str, Day]] = {}
    for row in daily_counts(store, app, window, told_by=by).iter_rows(named=True):
        if row["cluster_id"] is not None:
            day = Day(**{name: row[name] for name in ("day", "n", "n_failed", "n_known")})
            found.setdefault(row["cluster_id"], {})[row["day"]] = day
    none = {day: Day(day=day, n=0, n_failed=0, n_known=0) for day in days}
    return {name: tuple(told.get(day, none[day]) for day in days) for name, told in found.items()}


def _summed(rows: pl.DataFrame) -> Count:
    if not rows.height:
        return Count()
    sums = {name: int(rows[name].sum()) for name in ("n", "n_failed", "n_known", "n_users")}
    return Count(**sums, first_ns=int(rows["first_ns"].min()), last_ns=int(rows["last_ns"].max()))  # type: ignore[arg-type]


def _first(one: ClusterNow, sort: Sort) -> tuple[float, ...]:
    match sort:
        case Sort.FAILURES:
            known = one.excess
            return (known is None, -one.count.n_failed if known is None else -known, -one.count.n)
        case Sort.SIZE:
            return (-one.count.n,)
        case Sort.GROWTH:
            ratio = 0.0 if one.finding is None else float(one.finding.body.get("rate_ratio", 0.0))
            return (-ratio, -one.growth)
        case Sort.COST:
            return (-(one.record.said.get("cost_usd") or 0.0) * one.count.n,)
        case Sort.NEWEST:
            return (-one.record.born_at_ns,)
        case _:
            assert_never(sort)
