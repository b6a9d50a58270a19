"""Which model spans count: a wrapper that repeats the usage of the model span inside it must not count twice.

A model span (LLM, embedding, reranker) with tokens is counted unless another model span with tokens is its child; one
without tokens (a failed call, or a wrapper that leaves the usage to the call inside it) unless any model span is. A
child ends before its parent, so exporters send it in the same batch or an earlier one; parents of recent model spans
are therefore remembered. A parent that arrives before its child (a shuffled import across batches) stays counted in
the rollups; trace pages look at the whole trace and get it right.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

REMEMBERED: Final = 500_000


class Leaves:
    """Remembers the parents of recent model spans. Not thread-safe."""

    def __init__(self) -> None:
        self._of_measured = _Recent()
        self._of_any = _Recent()

    def count(self, rows: pa.Table) -> pa.Table:
        """`rows` of schema.SPANS with `usage_counted` False on wrappers."""
        columns = ["tenant", "trace_id", "span_id", "parent_span_id", "usage_counted", "input_tokens", "output_tokens"]
        frame = pl.from_arrow(rows.select(columns))
        assert isinstance(frame, pl.DataFrame)
        model = frame["usage_counted"].to_numpy()
        if not model.any():
            return rows
        calls = frame.filter(pl.Series(model))
        measured = (calls["input_tokens"].is_not_null() | calls["output_tokens"].is_not_null()).to_numpy()
        inside = calls["parent_span_id"].is_not_null().to_numpy()
        parents = _keys(calls, "parent_span_id")
        self._of_any.add(parents[inside])
        self._of_measured.add(parents[inside & measured])
        own = _keys(calls, "span_id")
        wrapper = np.where(measured, self._of_measured.holds(own), self._of_any.holds(own))
        if not wrapper.any():
            return rows
        counted = model.copy()
        counted[np.flatnonzero(model)[wrapper]] = False
        place = rows.schema.get_field_index("usage_counted")
        return rows.set_column(place, rows.schema.field(place), pa.array(counted))


class _Recent:
    """At least the last REMEMBERED keys, at most twice as many."""

    def __init__(self) -> None:
        self._young: set[int] = set()
        self._old: set[int] = set()

    def add(self, keys: npt.NDArray[np.uint64]) -> None:
        self._young.update(keys.tolist())
        if len(self._young) > REMEMBERED:
            self._old, self._young = self._young, set()

    def holds(self, keys: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
        return np.array([key in self._young or key in self._old for key in keys.tolist()], bool)


def _keys(frame: pl.DataFrame, span: str) -> npt.NDArray[np.uint64]:
    hashed: npt.NDArray[np.uint64] = (
        frame.select("tenant", "trace_id", pl.col(span).alias("span")).hash_rows().to_numpy()
    )
    return hashed
