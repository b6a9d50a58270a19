"""Which model spans count: a wrapper that repeats the usage of the model span inside it must not count twice.

A model span (LLM, embedding, reranker) with tokens is counted unless another model span with tokens is its child. A
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
        self._young: set[int] = set()
        self._old: set[int] = set()

    def count(self, rows: pa.Table) -> pa.Table:
        """`rows` of schema.SPANS with `usage_counted` False on wrappers."""
        columns = ["tenant", "trace_id", "span_id", "parent_span_id", "usage_counted", "input_tokens", "output_tokens"]
        frame = pl.from_arrow(rows.select(columns))
        assert isinstance(frame, pl.DataFrame)
        measured = pl.col("input_tokens").is_not_null() | pl.col("output_tokens").is_not_null()
        model = frame["usage_counted"].to_numpy() & frame.select(measured).to_series().to_numpy()
        if not model.any():
            return rows
        calls = frame.filter(pl.Series(model))
        parents = _keys(calls.filter(pl.col("parent_span_id").is_not_null()), "parent_span_id")
        self._remember(parents)
        own = _keys(calls, "span_id")
        wrapper = np.array([key in self._young or key in self._old for key in own.tolist()], bool)
        if not wrapper.any():
            return rows
        counted = frame["usage_counted"].to_numpy().copy()
        counted[np.flatnonzero(model)[wrapper]] = False
        place = rows.schema.get_field_index("usage_counted")
        return rows.set_column(place, rows.schema.field(place), pa.array(counted))

    def _remember(self, parents: npt.NDArray[np.uint64]) -> None:
        self._young.update(parents.tolist())
        if len(self._young) > REMEMBERED:
            self._old, self._young = self._young, set()


def _keys(frame: pl.DataFrame, span: str) -> npt.NDArray[np.uint64]:
    hashed: npt.NDArray[np.uint64] = (
        frame.select("tenant", "trace_id", pl.col(span).alias("span")).hash_rows().to_numpy()
    )
    return hashed
