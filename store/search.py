"""Search over the text of spans: name, input, output and attribute values, inside a tenant and a time window only."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import ibis
import ibis.expr.types as ir
import polars as pl

from core.errors import InvalidInput
from store.asked import Asked
from store.engine import slot, table_of
from store.filters import Shape, on_spans, shape_of, text_columns, values_of
from store.slices import slices
from store.spans import FIRST_FILTERED_ROWS, light, placed_after, row_id_of, shown
from store.tenant import TenantStore

SNIPPET_BEFORE: Final = 60
SNIPPET_CHARS: Final = 200


def search(store: TenantStore, asked: Asked) -> pl.DataFrame:
    """Span rows whose text contains `filters.q`, whatever the case, latest first, with `matched_in` (name, input,
    output or attributes: the first that has it) and `snippet`, the text around the first match.

    Raises InvalidInput for an empty `q`.
    """
    if not asked.filters.q or not asked.filters.q.strip():
        raise InvalidInput("q is empty; say what to look for", field="q")
    moved = store.moved_columns([key for key, _ in asked.filters.attr], asked.window)
    expr = _found(shape_of(asked.filters, moved), asked.limit)
    values = values_of(asked.filters) | asked.after_values
    found, n_found = [], 0
    for window in slices(store.files("spans", asked.remaining), asked.remaining, FIRST_FILTERED_ROWS):
        found.append(store.frame(expr, window, asked.as_of_ns, values=values))
        n_found += found[-1].height
        if n_found >= asked.limit:
            break
    return shown(pl.concat(found)).head(asked.limit)


@lru_cache(maxsize=64)
def _found(shape: Shape, limit: int) -> ir.Table:
    spans = table_of("spans")
    rows = spans.filter(*on_spans(shape, spans), placed_after(spans))
    rows = rows.order_by(ibis.desc("start_ns"), ibis.desc(row_id_of(rows))).limit(limit)
    wanted = slot("q", "string").lower()
    texts = text_columns(rows)
    places = {name: column.lower().find(wanted) for name, column in texts.items()}
    has = [(place.fill_null(-1) >= 0, name) for name, place in places.items()]
    snippets = [
        (place.fill_null(-1) >= 0, texts[name].substr(ibis.greatest(place - SNIPPET_BEFORE, 0), SNIPPET_CHARS))
        for name, place in places.items()
    ]
    return rows.select(**light(rows), matched_in=ibis.cases(*has, else_="input"), snippet=ibis.cases(*snippets))
