"""From counts by cluster and day to what is tested."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

import polars as pl

from clustering.emerging.records import Counts


def counted(
    daily: pl.DataFrame,
    sessions: pl.DataFrame,
    *,
    end: date,
    n_users: Mapping[str, int],
    first_seen_ns: Mapping[str, int],
    days: int = 7,
    n_periods: int = 4,
) -> Counts:
    """Counts of the `days` days before `end` (exclusive) against `n_periods` periods of as many days before those.

    `daily` has cluster_id, day, n_failed (memberships.daily_counts), `sessions` day and n_known of the whole app, noise
    included. Clusters of `first_seen_ns` are all there, with 0 where they have no row. Periods before the app's first
    known session are left out.
    """
    raise NotImplementedError
