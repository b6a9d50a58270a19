"""Reads the single values of a series, and holds the distribution of the last hours against that before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl

from core.windows import Window
from monitors.grids import Row
from monitors.sampling import Held, Samples, sample_rows
from monitors.series import SAMPLED, Source, key_of
from store import monitor_samples as read
from store.monitor_series import BucketsAsked
from store.tenant import TenantStore

if TYPE_CHECKING:
    from monitors.service_series import Wanted

MOST_GROUPS: Final = 50  # of which distributions are held against each other; of more those with the most values


def distributed(store: TenantStore, wanted: Wanted, kinds: Sequence[str]) -> list[Row]:
    """The figure of every bucket, of each group that the monitor splits by. `kinds`: of one evaluator's scores the
    first kind that there is counts."""
    is_vectors = wanted.spec.source is Source.EMBEDDINGS
    held = Held.of(wanted.band, vectors=is_vectors)
    window = Window(start_ns=wanted.window.start_ns - held.windows.back_ns, end_ns=wanted.window.end_ns)
    if is_vectors:
        told = read.vectors(store, wanted.app, window, wanted.spec.of)
        groups = [(None, Samples(at_ns=told.at_ns, values=told.vectors))] if len(told.at_ns) else []
    else:
        groups = _groups(_values(store, wanted, window, kinds))
    return [
        row
        for split, samples in groups
        for row in sample_rows(
            key_of(wanted.spec.name, wanted.by, split), samples, wanted.window, wanted.step_s, held, wanted.level
        )
    ]


def _values(store: TenantStore, wanted: Wanted, window: Window, kinds: Sequence[str]) -> pl.DataFrame:
    """at_ns, split, value, in order of time."""
    asked = BucketsAsked(window=window, step_s=wanted.step_s, by=wanted.by)
    spec = wanted.spec
    if spec.source is Source.TURNS:
        return read.turn_values(store, wanted.app, asked, SAMPLED[spec.source][spec.figure])
    if spec.source is Source.SESSIONS:
        return read.session_values(store, wanted.app, asked, SAMPLED[spec.source][spec.figure])
    found = read.score_values(store, wanted.app, asked, spec.evaluators)
    for name in spec.evaluators:
        mine = found.filter(pl.col("evaluator") == name)
        for kind in kinds:
            told = mine.filter(pl.col("kind") == kind)
            if told.height:
                return told
    return found.clear()


def _groups(values: pl.DataFrame) -> list[tuple[str | None, Samples]]:
    sizes = values.group_by("split").len().sort("len", "split", descending=[True, False])
    made = []
    for split in sizes["split"].head(MOST_GROUPS).to_list():
        mine = values.filter(pl.col("split").eq_missing(pl.lit(split, pl.String)))
        at_ns = mine["at_ns"].to_numpy().astype(np.int64)
        made.append((split, Samples(at_ns=at_ns, values=mine["value"].to_numpy().astype(np.float64))))
    return made
