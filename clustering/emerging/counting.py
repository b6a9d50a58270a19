"""From counts by cluster and day to what is tested."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl

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
) -> Counts:
    """Counts of the `days` days before `end` (exclusive) against `n_periods` periods of as many days before those.

    `daily` has cluster_id (null: noise), day (YYYY-MM-DD), n_failed and n_known: store.memberships.daily_counts of
    these days and, as exposure, of the whole app. A session counts where it is known whether it failed, so that
    outcomes that begin to be recorded are no growth. Clusters are those of `first_seen_ns`, with 0 where they have
    no row, but for `born`, which bring their own counts. `n_users` are the distinct users that failed now. Raises
    InvalidInput where the history of one born is not as long.
    """
    names = sorted(set(first_seen_ns) - {one.cluster_id for one in born})
    placed = _placed(daily, end, days, n_periods)
    exposure = np.bincount(placed["period"], placed["n_known"], n_periods + 1)
    failed = _failed(placed, names, n_periods)
    told = Counts(
        cluster_ids=tuple(names),
        now=failed[:, -1],
        exposure_now=np.full(len(names), exposure[-1]),
        history=failed[:, :-1],
        exposure=np.tile(exposure[:-1], (len(names), 1)),
        n_users=np.array([n_users.get(name, 0) for name in names], dtype=np.int64),
        first_seen_ns=np.array([first_seen_ns[name] for name in names], dtype=np.int64),
        born=np.zeros(len(names), dtype=np.bool_),
        length_now=np.ones(len(names)),
    )
    return _joined(told, born)


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
