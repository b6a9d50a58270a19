"""Spans: lists, counts, the spans of a trace, one span whole."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

import ibis
import ibis.expr.types as ir
import polars as pl

from core.clock import NS_PER_MS
from core.errors import NotFound
from core.windows import Window
from store.asked import Asked
from store.engine import slot, table_of
from store.filters import Shape, on_spans, shape_of, values_of
from store.slices import slices
from store.tenant import TenantStore

PREVIEW_CHARS: Final = 300
# A filter that few spans pass still fills a page from few slices when the first one is this large.
FIRST_FILTERED_ROWS: Final = 4_000
STATUS_NAMES: Final = ["unset", "ok", "error"]

LIGHT: Final = [
    *("trace_id", "span_id", "parent_span_id", "name", "kind", "start_ns", "end_ns", "duration_ms", "status_message"),
    *("app", "release", "variant", "environment", "session_id", "user_id", "provider", "input_tokens", "output_tokens"),
    *("total_tokens", "cache_read_tokens", "reasoning_tokens", "cost_usd", "usage_counted", "ttft_ms", "agent_name"),
    *("tool_name", "error_type", "issues", "scope_name", "seq", "content_hash", "tenant"),
]
ORDER: Final = [
    *("trace_id", "span_id", "parent_span_id", "name", "kind", "start_ns", "end_ns", "started_at", "duration_ms"),
    *("status", "status_message", "app", "release", "variant", "environment", "session_id", "user_id", "provider"),
    *("model", "input_tokens", "output_tokens", "total_tokens", "cache_read_tokens", "reasoning_tokens", "cost_usd"),
    *("usage_counted", "ttft_ms", "agent_name", "tool_name", "error_type", "issues", "scope_name"),
    *("input_preview", "output_preview", "row_id"),
]

_OF_QUERIES: Final = ("tenant", "n_same", "status_code", "content_hash")


def list_spans(store: TenantStore, asked: Asked) -> pl.DataFrame:
    """Rows of `ORDER`'s columns, latest start first; `row_id` continues the list."""
    moved = store.moved_columns([key for key, _ in asked.filters.attr], asked.window)
    shape = shape_of(asked.filters, moved)
    expr = _listing(shape, asked.limit)
    values = values_of(asked.filters) | asked.after_values
    first = FIRST_FILTERED_ROWS if shape != Shape() else asked.limit + asked.limit // 2
    found, n_found = [], 0
    for window in slices(store.files("spans", asked.remaining), asked.remaining, first):
        found.append(store.frame(expr, window, asked.as_of_ns, values=values))
        n_found += found[-1].height
        if n_found >= asked.limit:
            break
    return shown(pl.concat(found)).head(asked.limit)


def count_spans(store: TenantStore, asked: Asked) -> int:
    """How many spans start in the window and pass the filters."""
    moved = store.moved_columns([key for key, _ in asked.filters.attr], asked.window)
    expr = _count(shape_of(asked.filters, moved))
    counted = store.frame(expr, asked.window, asked.as_of_ns, values=values_of(asked.filters))
    return int(counted["n"][0])


def spans_of_trace(
    store: TenantStore,
    trace_id: str,
    *,
    within: Window | None,
    limit: int,
    after: tuple[int, str] | None = None,
    full: bool = False,
    as_of_ns: int | None = None,
) -> pl.DataFrame:
    """The trace's spans in order of start. `full` adds input, output and the attributes' raw columns."""
    order, row_id = after if after is not None else (-(2**63), "")
    values = {"trace_id": trace_id, "after_order": order, "after_id": row_id}
    return shown(store.frame(_of_trace(limit, full), within, as_of_ns, values=values))


def whole_span(
    store: TenantStore, trace_id: str, span_id: str, *, within: Window | None, as_of_ns: int | None = None
) -> dict[str, Any]:
    """Every column of one span, the one stored last where its id was used more than once (`n_same` says how often).

    Raises NotFound.
    """
    values = {"trace_id": trace_id, "span_id": span_id}
    found = store.frame(_whole(), within, as_of_ns, values=values)
    if not found.height:
        raise NotFound(f"there is no span {span_id} in trace {trace_id}")
    return dict(found.row(0, named=True))


def row_of_whole(whole: dict[str, Any]) -> dict[str, Any]:
    """The span row of a span read whole."""
    previews = {f"{name}_preview": (whole[name] or "")[:PREVIEW_CHARS] or None for name in ("input", "output")}
    model = whole["model_response"] or whole["model_request"]
    extra = {"n_same": whole["n_same"], "status_code": whole["status_code"] or 0, "model": model}
    light_row = {name: whole[name] for name in LIGHT} | previews | extra
    frame = pl.DataFrame([light_row], schema_overrides={"cost_usd": pl.Decimal(18, 9), "issues": pl.String})
    row = shown(frame.cast({"ttft_ms": pl.Float64})).row(0, named=True)
    return {name: row[name] for name in ORDER if name != "row_id"}


def shown(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame of a light query in the shape that is shown: times and money as text and float, issues as a list."""
    issues = pl.col("issues").fill_null("").str.split(",").list.filter(pl.element() != "")
    if "n_same" in frame.columns:
        issues = pl.when(pl.col("n_same") > 1).then(issues.list.concat([pl.lit("id_reused")])).otherwise(issues)
    frame = frame.with_columns(
        started_at=started_at("start_ns"),
        status=pl.col("status_code").replace_strict(dict(enumerate(STATUS_NAMES)), default="unset"),
        cost_usd=pl.col("cost_usd").cast(pl.Float64),
        ttft_ms=pl.when(pl.col("ttft_ms").is_finite()).then("ttft_ms"),
        issues=issues.list.unique(maintain_order=True),
        row_id=row_id(),
    )
    extra = [name for name in frame.columns if name not in ORDER and name not in _OF_QUERIES]
    return frame.select(*ORDER, *extra)


def started_at(column: str) -> pl.Expr:
    """RFC 3339 in UTC with microseconds."""
    return pl.from_epoch(pl.col(column) // 1000, time_unit="us").dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ")


def row_id() -> pl.Expr:
    """What orders spans that start together, as `row_id_of` does in a query. No two spans share it: versions of a span
    that came in one request have the same ids and `seq`, and differ in content."""
    numbers = [pl.col(name).cast(pl.String) for name in ("seq", "content_hash")]
    return pl.concat_str("trace_id", "span_id", *numbers, separator="-")


def light(spans: ir.Table) -> dict[str, ir.Value]:
    """The columns of a span row, without the long text."""
    return {
        **{name: spans[name] for name in LIGHT},
        "status_code": spans.status_code.fill_null(0),
        "model": ibis.coalesce(spans.model_response, spans.model_request),
        "input_preview": spans.input.substr(0, PREVIEW_CHARS),
        "output_preview": spans.output.substr(0, PREVIEW_CHARS),
    }


def trace_window(start_ns: int, end_ns: int) -> Window:
    """The window that holds every span of a trace with these bounds."""
    return Window(start_ns=start_ns - NS_PER_MS, end_ns=max(start_ns, end_ns) + NS_PER_MS)


def placed_after(spans: ir.Table) -> ir.BooleanValue:
    """Comes after the slots `after_order` and `after_id` in a list that goes back in time."""
    order, last = slot("after_order", "int64"), slot("after_id", "string")
    return (spans.start_ns < order) | ((spans.start_ns == order) & (row_id_of(spans) < last))


def row_id_of(spans: ir.Table) -> ir.StringValue:
    """What orders spans that start together, as `row_id` makes it of a frame."""
    numbers = [spans[name].cast("string") for name in ("seq", "content_hash")]
    return ibis.literal("-").join([spans.trace_id, spans.span_id, *numbers])


@lru_cache(maxsize=256)
def _listing(shape: Shape, limit: int) -> ir.Table:
    spans = table_of("spans")
    rows = spans.filter(*on_spans(shape, spans), placed_after(spans))
    return rows.order_by(ibis.desc("start_ns"), ibis.desc(row_id_of(rows))).limit(limit).select(**light(rows))


@lru_cache(maxsize=256)
def _count(shape: Shape) -> ir.Table:
    spans = table_of("spans")
    predicates = on_spans(shape, spans)
    return (spans.filter(*predicates) if predicates else spans).aggregate(n=lambda t: t.count())


@lru_cache(maxsize=64)
def _of_trace(limit: int, full: bool) -> ir.Table:
    spans = table_of("spans")
    rows = spans.filter(spans.trace_id == slot("trace_id", "string"))
    chosen = light(rows) | {"n_same": rows.count().over(group_by=rows.span_id)}
    if full:
        long = ("input", "output", "attributes", "attribute_types", "moved_attributes")
        chosen |= {name: rows[name] for name in long}
    rows = rows.select(**chosen)
    order, last = slot("after_order", "int64"), slot("after_id", "string")
    rows = rows.filter((rows.start_ns > order) | ((rows.start_ns == order) & (row_id_of(rows) > last)))
    return rows.order_by("start_ns", row_id_of(rows)).limit(limit)


@lru_cache(maxsize=1)
def _whole() -> ir.Table:
    spans = table_of("spans")
    rows = spans.filter(spans.trace_id == slot("trace_id", "string"), spans.span_id == slot("span_id", "string"))
    return rows.mutate(n_same=rows.count().over()).order_by(ibis.desc("seq"), ibis.desc("content_hash")).limit(1)
