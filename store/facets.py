"""How many traces each value of a field has, under the filters of a list."""

from __future__ import annotations

from enum import StrEnum
from functools import lru_cache
from typing import Final

import ibis
import ibis.expr.types as ir
import polars as pl
import pyarrow as pa

from store import traces
from store.asked import Asked
from store.engine import slot, table_of
from store.filters import Shape, on_spans, on_turns, shape_of, values_of
from store.spans import STATUS_NAMES
from store.tenant import TenantStore

MOST_VALUES: Final = 200


class FacetField(StrEnum):
    """What traces can be counted by."""

    APP = "app"
    RELEASE = "release"
    VARIANT = "variant"
    ENVIRONMENT = "environment"
    MODEL = "model"
    KIND = "kind"
    STATUS = "status"
    NAME = "name"


_OF_SPANS: Final = frozenset({FacetField.MODEL, FacetField.KIND})


def facets(store: TenantStore, asked: Asked, field: FacetField) -> pl.DataFrame:
    """Columns value (null where the trace has none) and count, most frequent first, at most 200.

    For model and kind a trace counts once for each value among its spans that pass the filters.
    """
    moved = store.moved_columns([key for key, _ in asked.filters.attr], asked.window)
    shape = shape_of(asked.filters, moved)
    bounds: dict[str, object] = {"from_ns": asked.window.start_ns, "until_ns": asked.window.end_ns}
    values = values_of(asked.filters) | asked.after_values | bounds
    if field in _OF_SPANS:
        return store.frame(_of_spans(field, shape), asked.window, asked.as_of_ns, values=values)
    given: dict[str, pa.Table] = {}
    if asked.filters.needs_spans:
        ids = traces.matching_traces(store, asked, asked.window)
        given["wanted"] = pa.table({"trace_id": pa.array(ids, pa.string())})
    expr = _of_turns(field, traces.turn_shape(asked.filters), bool(given))
    found = store.frame(expr, asked.window, asked.as_of_ns, values=values, given=given)
    if field is FacetField.STATUS:
        names = dict(enumerate(STATUS_NAMES))
        found = found.with_columns(pl.col("value").cast(pl.Int64).replace_strict(names, default="unset"))
        found = found.group_by("value").agg(pl.col("count").sum()).sort("count", descending=True)
    return found


@lru_cache(maxsize=128)
def _of_turns(field: FacetField, shape: Shape, only: bool) -> ir.Table:
    column = "status_code" if field is FacetField.STATUS else field.value
    turns = table_of("turns")
    rows = turns.semi_join(ibis.table({"trace_id": "string"}, name="wanted"), "trace_id") if only else turns
    rows = traces.merged(rows, traces.needed_by(shape) | {column})
    predicates = [rows.start_ns >= slot("from_ns", "int64"), rows.start_ns < slot("until_ns", "int64")]
    rows = rows.filter(*predicates, *on_turns(shape, rows))
    return _counted(rows.group_by(value=rows[column].cast("string")).agg(count=rows.count()))


@lru_cache(maxsize=128)
def _of_spans(field: FacetField, shape: Shape) -> ir.Table:
    spans = table_of("spans")
    predicates = on_spans(shape, spans)
    rows = spans.filter(*predicates) if predicates else spans
    value = rows.kind if field is FacetField.KIND else ibis.coalesce(rows.model_response, rows.model_request)
    rows = rows.select("trace_id", value=value)
    rows = rows.filter(rows.value.notnull()).distinct()
    return _counted(rows.group_by("value").agg(count=rows.count()))


def _counted(rows: ir.Table) -> ir.Table:
    return rows.order_by(ibis.desc("count"), "value").limit(MOST_VALUES)
