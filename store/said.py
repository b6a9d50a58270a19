"""What was said in a turn whose root span says nothing itself, as OpenLLMetry's roots of LangGraph and many an
`invoke_agent` span: the input of the root's first child that says one, the output of the last."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import ibis
import ibis.expr.types as ir
import polars as pl

from core.windows import Window
from store.derive import PREVIEW_CHARS
from store.engine import table_of
from store.tenant import TenantStore

# Kinds of spans whose text may be what a user or the agent said: what a tool read or gave was never said to the user.
SPEAKERS: Final = ("AGENT", "CHAIN", "LLM")
MOST_ROWS: Final = 250_000  # spans of the window beyond which a preview is not worth reading them
_ROOT: Final = ["trace_id", "root_span_id"]


def completed(
    store: TenantStore, turns: pl.DataFrame, window: Window, as_of_ns: int | None, *, preview: bool = False
) -> pl.DataFrame:
    """`turns` (trace_id, root_span_id, input, output and any more) with the texts that a root leaves null taken from
    its children, whose spans lie in `window`. With `preview` their first PREVIEW_CHARS characters, and none where the
    files of the window hold more than MOST_ROWS spans: turns far apart in a large lake.
    """
    silent = turns.filter(
        pl.col("root_span_id").is_not_null() & (pl.col("input").is_null() | pl.col("output").is_null())
    ).select(_ROOT)
    if silent.is_empty():
        return turns
    if preview and sum(file.n_rows for file in store.files("spans", window)) > MOST_ROWS:
        return turns
    said = store.frame(_children(preview), window, as_of_ns, given={"silent": silent.to_arrow()})
    first = said.sort("start_ns", "span_id").group_by(_ROOT).agg(first=pl.col("input").drop_nulls().first())
    last = said.sort("end_ns", "span_id").group_by(_ROOT).agg(last=pl.col("output").drop_nulls().last())
    turns = turns.join(first, on=_ROOT, how="left", maintain_order="left")
    turns = turns.join(last, on=_ROOT, how="left", maintain_order="left")
    return turns.with_columns(input=pl.coalesce("input", "first"), output=pl.coalesce("output", "last")).drop(
        "first", "last"
    )


@lru_cache(maxsize=2)
def _children(preview: bool) -> ir.Table:
    """Input and output of the direct children of the root spans in `silent` that speak for an agent."""
    spans = table_of("spans")
    spans = spans.filter(spans.kind.isin(SPEAKERS))
    silent = ibis.table({"trace_id": "string", "root_span_id": "string"}, name="silent")
    rows = spans.mutate(root_span_id=spans.parent_span_id).semi_join(silent, _ROOT)
    text = {name: rows[name].substr(0, PREVIEW_CHARS) if preview else rows[name] for name in ("input", "output")}
    end_ns = rows.start_ns + ibis.coalesce(rows.duration_ns, 0)
    return rows.select("trace_id", "tenant", "root_span_id", "span_id", "start_ns", end_ns=end_ns, **text)
