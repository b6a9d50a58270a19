"""What changed in a cluster's failures when they grew: release, model, document, prompt, tenant attribute.

A hint of where to look, not a cause: sessions are taken as independent, and what rose in the whole app rose here too,
which the share of the rest shows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import polars as pl
from scipy import stats

from clustering.emerging.records import Change

FEWEST: Final = 5  # failing sessions before, to be held against


def changed(
    levels: pl.DataFrame, totals: Mapping[str, tuple[int, int, int]], *, level: float = 0.95, most: int = 5
) -> tuple[Change, ...]:
    """The levels that became more frequent, by the largest lower bound of their log odds, at most `most`.

    `levels` has kind, name, before, after, rest (sessions with this level: the cluster's failing ones before and now,
    the app's others now) and at_ns (when the app first saw it, or null); `totals` of each kind the numbers of sessions
    of the three in which the kind is known. A session may have several levels of a kind (documents, tools). With fewer
    than five before, now is held against the rest. Told is a level whose interval is above 0, Bonferroni over all
    levels that could be told. Log odds with 1/2 added to each count and their variance: Gart 1966, Biometrika 53:611.
    """
    rows = [row for row in levels.iter_rows(named=True) if row["kind"] in totals and row["after"] > 0]
    if not rows:
        return ()
    z = float(stats.norm.isf((1 - level) / 2 / len(rows)))
    found = [one for row in rows if (one := _change(row, totals[row["kind"]], z)) is not None and one.low > 0]
    return tuple(sorted(found, key=lambda one: (-one.low, one.kind, one.name))[:most])


@dataclass(frozen=True, kw_only=True)
class LevelsOfAll:
    """What `changed` takes, of every cluster at once: the sessions' levels are joined once, however many clusters are
    asked about. `by_name` and `by_kind`: cluster_id, (kind, name), before, after, n (its sessions now);
    `whole` the app's sessions now by kind and name, with at_ns; `kinds` by kind."""

    by_name: pl.DataFrame
    by_kind: pl.DataFrame
    whole: pl.DataFrame
    kinds: pl.DataFrame

    def of(self, cluster_id: str) -> tuple[pl.DataFrame, dict[str, tuple[int, int, int]]]:
        """What `changed` takes of one cluster, whose rest is every other session of now."""
        counts = self._beside(self.whole, self.by_name, cluster_id, ["kind", "name"])
        counts = counts.filter(pl.any_horizontal(pl.col("before", "after", "rest") > 0))
        totals = self._beside(self.kinds, self.by_kind, cluster_id, ["kind"])
        told = ("kind", "name", "before", "after", "rest", "at_ns")
        found = totals.select("kind", "before", "after", "rest").iter_rows()
        return counts.select(told).sort("kind", "name"), {kind: (a, b, c) for kind, a, b, c in found}

    def _beside(self, whole: pl.DataFrame, parts: pl.DataFrame, cluster_id: str, by: list[str]) -> pl.DataFrame:
        mine = parts.filter(pl.col("cluster_id") == cluster_id).drop("cluster_id")
        joined = whole.join(mine, on=by, how="left").with_columns(pl.col("before", "after", "n").fill_null(0))
        return joined.with_columns(rest=pl.col("whole") - pl.col("n"))


def levels_of_all(now: pl.DataFrame, before: pl.DataFrame, levels: pl.DataFrame) -> LevelsOfAll:
    """Of `now` (session_id, cluster_id, failed: the app's sessions), `before` (session_id, cluster_id: failing ones of
    before) and `levels` (session_id, kind, name, at_ns: the session's start), a row for each level that a session has.

    `at_ns` is the first start among all rows of `levels`, which may hold sessions of neither.
    """
    failing = pl.col("failed").fill_null(False)
    seen = levels.join(now.with_columns(failing=failing), on="session_id").with_columns(is_now=pl.lit(True))
    past = levels.join(before, on="session_id").with_columns(failing=pl.lit(True), is_now=pl.lit(False))
    columns = ["session_id", "kind", "name", "cluster_id", "failing", "is_now"]
    rows = pl.concat([seen.select(columns), past.select(columns)]).unique(["session_id", "kind", "name"])
    first = levels.group_by("kind", "name").agg(at_ns=pl.col("at_ns").min())
    of_kind = rows.unique(["session_id", "kind"])
    now_rows = pl.col("is_now").sum().cast(pl.Int64)
    return LevelsOfAll(
        by_name=_by_cluster(rows, ["kind", "name"]),
        by_kind=_by_cluster(of_kind, ["kind"]),
        whole=rows.group_by("kind", "name").agg(whole=now_rows).join(first, on=["kind", "name"]),
        kinds=of_kind.group_by("kind").agg(whole=now_rows),
    )


def _by_cluster(rows: pl.DataFrame, by: list[str]) -> pl.DataFrame:
    is_now, failing = pl.col("is_now"), pl.col("failing")
    return (
        rows.filter(pl.col("cluster_id").is_not_null())
        .group_by("cluster_id", *by)
        .agg(
            before=(~is_now).sum().cast(pl.Int64),
            after=(is_now & failing).sum().cast(pl.Int64),
            n=is_now.sum().cast(pl.Int64),
        )
    )


def _change(row: Mapping[str, object], total: tuple[int, int, int], z: float) -> Change | None:
    """None where there is neither a before nor a rest to hold it against."""
    before, after, rest = (int(str(row[name])) for name in ("before", "after", "rest"))
    n_before, n_after, n_rest = total
    if n_before < FEWEST and n_rest < FEWEST:
        return None
    against, n_against = (before, n_before) if n_before >= FEWEST else (rest, n_rest)
    cells = (after, n_after - after, against, n_against - against)
    a, b, c, d = (cell + 0.5 for cell in cells)
    odds, half = math.log(a * d / (b * c)), z * math.sqrt(1 / a + 1 / b + 1 / c + 1 / d)
    shares = (before / n_before if n_before >= FEWEST else None, after / n_after, rest / n_rest if n_rest else None)
    at = row["at_ns"]
    at_ns = None if at is None else int(str(at))
    return Change(
        kind=str(row["kind"]),
        name=str(row["name"]),
        share_before=shares[0],
        share_after=shares[1],
        share_rest=shares[2],
        log_odds=odds,
        low=odds - half,
        high=odds + half,
        at_ns=at_ns,
        text=_text(str(row["kind"]), str(row["name"]), shares, at_ns),
    )


def _text(kind: str, name: str, shares: tuple[float | None, float, float | None], at_ns: int | None) -> str:
    before, after, rest = shares
    said = f"{kind} {name}: {after:.0%} of the failing sessions"
    if before is not None:
        said += f", {before:.0%} before"
    if rest is not None:
        said += f"; {rest:.0%} of the app's others now"
    if at_ns is not None:
        said += f"; first seen {datetime.fromtimestamp(at_ns / 1e9, UTC):%Y-%m-%d %H:%M} UTC"
    return said
