"""From counts by cluster and day to what is tested."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import polars as pl

from clustering.emerging.looks import DAY_NS
from clustering.emerging.records import Counts, Floats, Ints
from core.errors import InvalidInput


@dataclass(frozen=True, kw_only=True)
class Born:
    """A cluster found by clustering sessions of the window that is now.

    Those sessions are dense there because that is how it was found, and say nothing of growth. So `now`, `exposure_now`
    and `n_users` are of sessions that came after it was found; `history` and `exposure` (m,) of the periods before the
    sessions it was found in, oldest first, counted by the same radius around the same centroid (incremental.assign).
    `length_now`: the time since it was found, in periods, at most 1.
    """

    cluster_id: str
    now: int
    exposure_now: float
    history: Sequence[int]
    exposure: Sequence[float]
    n_users: int
    first_seen_ns: int
    length_now: float


def counted(
    daily: pl.DataFrame,
    *,
    end: date,
    n_users: Mapping[str, int],
    first_seen_ns: Mapping[str, int],
    days: int = 7,
    n_periods: int = 4,
    born: Sequence[Born] = (),
    found_in: Mapping[str, tuple[date, date]] | None = None,
) -> Counts:
    """Counts of the `days` days before `end` (exclusive) against `n_periods` periods of as many days before those.

    `daily` has cluster_id (null: noise), day (YYYY-MM-DD), n_failed and n_known: store.memberships.daily_counts of
    these days and, as exposure, of the whole app. A session counts where it is known whether it failed, so that
    outcomes that begin to be recorded are no growth. Clusters are those of `first_seen_ns`, with 0 where they have no
    row, but for `born`, which bring their own counts. `n_users` are the distinct users that failed now.

    `found_in`: the days (from, until) of the sessions a cluster was found in, where that was not long ago. Of days
    before, memberships say nothing of it: periods that begin before `from` are left out, and it is not tested while now
    begins before `until`. Raises InvalidInput where the history of one born is not as long as that of the others.
    """
    names = sorted(set(first_seen_ns) - {one.cluster_id for one in born})
    placed = _placed(daily, end, days, n_periods)
    exposure: Floats = np.bincount(placed["period"], placed["n_known"], n_periods + 1).astype(np.float64)
    failed = _failed(placed, names, n_periods)
    told_of = [_told_of((found_in or {}).get(name), end, days, n_periods) for name in names]
    whole = np.array(told_of).reshape(len(names), n_periods + 1) * exposure
    failed[whole == 0] = 0
    told = Counts(
        cluster_ids=tuple(names), now=failed[:, -1], exposure_now=whole[:, -1],
        history=failed[:, :-1], exposure=whole[:, :-1],
        n_users=_of(n_users, names),
        first_seen_ns=_of(first_seen_ns, names),
        born=np.zeros(len(names), dtype=np.bool_),
        length_now=np.ones(len(names)),
    )  # fmt: skip
    return _joined(told, born)


def _of(numbers: Mapping[str, int], names: Sequence[str]) -> Ints:
    return np.array([numbers.get(name, 0) for name in names], dtype=np.int64)


def born_since(
    cluster_id: str,
    sessions: pl.DataFrame,
    *,
    found_ns: tuple[int, int],
    until_ns: int,
    days: int = 7,
    n_periods: int = 4,
) -> Born:
    """Of a cluster found in the sessions that began in [from, until) = `found_ns`, the counts it may be tested on.

    `sessions` has at_ns, failed (null: not known), user and inside (whether it lies within the cluster's radius): the
    app's sessions from `n_periods` periods of `days` days before `from` to `until_ns`, those it was found in may be
    missing. A sample of those before serves as well: exposure is the number of those looked at.
    """
    start, found = found_ns
    length = days * DAY_NS
    known = sessions.filter(pl.col("failed").is_not_null())
    now = known.filter((pl.col("at_ns") >= found) & (pl.col("at_ns") < until_ns))
    before = known.filter(pl.col("at_ns") < start).with_columns(ago=(start - 1 - pl.col("at_ns")) // length)
    failing = pl.col("failed") & pl.col("inside")
    by_period = [before.filter(pl.col("ago") == ago) for ago in reversed(range(n_periods))]
    hits = now.filter(failing)
    first = known.filter(failing)["at_ns"].min()
    return Born(
        cluster_id=cluster_id,
        now=hits.height,
        exposure_now=float(now.height),
        history=[one.filter(failing).height for one in by_period],
        exposure=[float(one.height) for one in by_period],
        n_users=hits["user"].drop_nulls().n_unique(),
        first_seen_ns=start if first is None else int(str(first)),
        length_now=min(1.0, max(1, until_ns - found) / length),
    )


def _told_of(found_in: tuple[date, date] | None, end: date, days: int, n_periods: int) -> Floats:
    """1 for each period, now the last, in which memberships tell of a cluster found in these days, else 0."""
    if found_in is None:
        return np.ones(n_periods + 1)
    starts = [end - timedelta(days=days * (n_periods + 1 - period)) for period in range(n_periods + 1)]
    told = [float(start >= found_in[0]) for start in starts]
    told[-1] = float(starts[-1] >= found_in[1])
    return np.array(told)


def _placed(daily: pl.DataFrame, end: date, days: int, n_periods: int) -> pl.DataFrame:
    """The rows of these days, with their period: 0 the oldest, n_periods now."""
    ago = (pl.lit(end) - pl.col("day").str.to_date("%Y-%m-%d")).dt.total_days() - 1
    period = n_periods - ago // days
    return daily.with_columns(period=period).filter((ago >= 0) & (pl.col("period") >= 0))


def _failed(placed: pl.DataFrame, names: Sequence[str], n_periods: int) -> Ints:
    """(K, n_periods + 1)."""
    rows = {name: row for row, name in enumerate(names)}
    found = np.zeros((len(names), n_periods + 1), dtype=np.int64)
    for name, period, n in placed.select("cluster_id", "period", "n_failed").iter_rows():
        if name in rows:
            found[rows[name], period] += n
    return found


def _joined(counts: Counts, born: Sequence[Born]) -> Counts:
    if not born:
        return counts
    width = counts.history.shape[1]
    if any(len(one.history) != width or len(one.exposure) != width for one in born):
        raise InvalidInput(f"a cluster that was born needs {width} periods of history", field="born")
    history: Ints = np.array([one.history for one in born], dtype=np.int64)
    exposure: Floats = np.array([one.exposure for one in born], dtype=np.float64)
    return Counts(
        cluster_ids=(*counts.cluster_ids, *(one.cluster_id for one in born)),
        now=np.append(counts.now, [one.now for one in born]).astype(np.int64),
        exposure_now=np.append(counts.exposure_now, [one.exposure_now for one in born]),
        history=np.vstack([counts.history, history]),
        exposure=np.vstack([counts.exposure, exposure]),
        n_users=np.append(counts.n_users, [one.n_users for one in born]).astype(np.int64),
        first_seen_ns=np.append(counts.first_seen_ns, [one.first_seen_ns for one in born]).astype(np.int64),
        born=np.append(counts.born, np.ones(len(born), dtype=np.bool_)),
        length_now=np.append(counts.length_now, [one.length_now for one in born]),
    )
