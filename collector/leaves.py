"""Which model spans count: a wrapper that repeats the usage of the model span inside it must not count twice.

A model span (LLM, embedding, reranker) with tokens is counted unless another model span with tokens is its child; one
without tokens (a failed call, or a wrapper that leaves the usage to the call inside it) unless any model span is. A
child ends before its parent, so exporters send it in the same batch or an earlier one; parents of recent model spans
are therefore remembered. A parent that arrives before its child (a shuffled import across batches) stays counted in
the rollups; trace pages look at the whole trace and get it right.

The gateway's span of a call is the one that counts, also where spans of an HTTP client stand between it and the agent's
own: a model span that reports the same response in the same trace repeats it.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from collector.fingerprints import Fingerprints
from collector.row_hash import row_hashes

# The newest 550,000 to 734,000 in 4 MiB. One in 10^8 that is not among them is taken for one.
SLOTS: Final = 1 << 18
GENERATIONS: Final = 4
GATEWAY_SCOPE: Final = "assay.gateway"
_NEEDED: Final = (
    *("tenant", "trace_id", "span_id", "parent_span_id", "input_tokens", "output_tokens"),
    *("scope_name", "response_id"),
)


class Leaves:
    """Remembers the parents of recent model spans and what the gateway answered. Not thread-safe."""

    def __init__(self) -> None:
        self._of_measured = Fingerprints(slots=SLOTS, generations=GENERATIONS)
        self._of_any = Fingerprints(slots=SLOTS, generations=GENERATIONS)
        # Responses that spans of the gateway report.
        self._answered = Fingerprints(slots=SLOTS, generations=GENERATIONS)

    def count(self, rows: pa.Table) -> pa.Table:
        """`rows` of schema.SPANS with `usage_counted` False on wrappers."""
        model = np.array(rows.column("usage_counted"))
        if not model.any():
            return rows
        calls = rows.select(list(_NEEDED)).filter(pa.array(model))
        measured = _known(calls, "input_tokens") | _known(calls, "output_tokens")
        inside = _known(calls, "parent_span_id")
        parents = row_hashes(calls, ["tenant", "trace_id", "parent_span_id"])
        self._of_any.add(parents[inside])
        self._of_measured.add(parents[inside & measured])
        own = row_hashes(calls, ["tenant", "trace_id", "span_id"])
        wrapper = np.where(measured, self._of_measured.holds(own), self._of_any.holds(own))
        wrapper |= self._repeats(calls)
        if not wrapper.any():
            return rows
        counted = model.copy()
        counted[np.flatnonzero(model)[wrapper]] = False
        place = rows.schema.get_field_index("usage_counted")
        return rows.set_column(place, rows.schema.field(place), pa.array(counted))

    def _repeats(self, calls: pa.Table) -> npt.NDArray[np.bool_]:
        ours = np.array(pc.fill_null(pc.equal(calls.column("scope_name"), GATEWAY_SCOPE), False))
        known = _known(calls, "response_id")
        responses = row_hashes(calls, ["tenant", "trace_id", "response_id"])
        self._answered.add(responses[ours & known])
        repeated: npt.NDArray[np.bool_] = known & ~ours & self._answered.holds(responses)
        return repeated


def _known(rows: pa.Table, name: str) -> npt.NDArray[np.bool_]:
    return np.array(pc.is_valid(rows.column(name)))
