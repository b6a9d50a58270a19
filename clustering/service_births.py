"""How often sessions like those of a young cluster came before it was found: the same radius around the same centroid,
over the stored embeddings of the periods before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import polars as pl

from clustering.embedders.embedding import weighted
from clustering.emerging.counting import Born
from clustering.incremental import assign
from clustering.known_share import told_by
from clustering.params import params_of
from clustering.records import Vectors
from clustering.registry import living
from core.clock import NS_PER_S
from core.windows import Window
from store.control.cluster_records import ClusterAppRecord, ClusterRecord
from store.embeddings import N_FACETS, known_embeddings, matrix
from store.memberships import newest_memberships
from store.tenant import TenantStore

DAY_NS: Final = 86_400 * NS_PER_S
_BYTES: Final = 2


def births(
    store: TenantStore,
    line: ClusterAppRecord,
    young: Sequence[ClusterRecord],
    memberships: pl.DataFrame,
    now: Window,
    days: int,
    n_periods: int,
) -> list[Born]:
    """Of each young cluster the failing sessions that came after it was found, and of the `n_periods` periods of `days`
    days before the sessions it was found in. `memberships` are those of `now`."""
    kept, middles, radii = living(young, line.told["space"])
    if not kept:
        return []
    history = np.zeros((len(kept), n_periods), np.int64)
    exposure = np.zeros(n_periods, np.float64)
    for period in range(n_periods):
        start = now.start_ns - (n_periods - period) * days * DAY_NS
        whole = Window(start_ns=start, end_ns=start + days * DAY_NS)
        # Scores are read once a period; vectors, which are a hundred times as large, a day at a time.
        known = newest_memberships(store, line.app, whole, told_by=told_by(line))
        known = known.filter(pl.col("failed").is_not_null()).select("session_id", "at_ns", "failed")
        for day in range(days):
            within = Window(start_ns=start + day * DAY_NS, end_ns=start + (day + 1) * DAY_NS)
            of_day = known.filter(pl.col("at_ns").is_between(within.start_ns, within.end_ns, closed="left"))
            found, n_known = _near(store, line, of_day, within, middles, radii)
            history[:, period] += found
            exposure[period] += n_known
    return [
        born_of(one, memberships, now, history[row].tolist(), exposure.tolist(), days) for row, one in enumerate(kept)
    ]


def born_of(
    one: ClusterRecord,
    memberships: pl.DataFrame,
    now: Window,
    history: Sequence[int],
    exposure: Sequence[float],
    days: int,
) -> Born:
    """A young cluster with what came since it was found."""
    since = memberships.filter(pl.col("at_ns") >= one.born_at_ns, pl.col("failed").is_not_null())
    failing = since.filter((pl.col("cluster_id") == one.cluster_id) & pl.col("failed"))
    length = (now.end_ns - one.born_at_ns) / (days * DAY_NS)
    return Born(
        cluster_id=one.cluster_id,
        now=failing.height,
        exposure_now=float(since.height),
        history=history,
        exposure=exposure,
        n_users=failing["user_hash"].drop_nulls().n_unique(),
        first_seen_ns=one.first_seen_ns,
        length_now=min(1.0, max(length, 1e-3)),
    )


def _near(
    store: TenantStore, line: ClusterAppRecord, rows: pl.DataFrame, within: Window, middles: Vectors, radii: Vectors
) -> tuple[np.ndarray[tuple[int, ...], np.dtype[np.int64]], int]:
    """Failing sessions of a day within the radius of each cluster, and how many are known at all (`rows`)."""
    failing = rows.filter("failed")
    nothing = np.zeros(len(middles), np.int64)
    if not failing.height:
        return nothing, rows.height
    params = params_of(line.told["params"])
    version = line.told["space"].rsplit(" ", 1)[0]
    stored = known_embeddings(store, line.app, version, within).join(failing.select("session_id"), on="session_id")
    if not stored.height:
        return nothing, 0  # nothing can be said of this day
    dims = len(stored["vector"][0]) // (N_FACETS * _BYTES)
    index = assign(weighted(matrix(stored, dims), params.weights), middles, radii).index
    return np.bincount(index[index >= 0], minlength=len(middles)).astype(np.int64), rows.height
