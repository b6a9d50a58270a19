"""Partial rows of turns, sessions and rollups from a batch of span rows. Pure functions on polars frames.

A partial row stands for the spans of one batch only; readers merge the partials of a trace (session, cell), so that
neither the order nor the cutting of batches changes what they see. What the columns mean:

* A root is a span without parent. A turn's own fields (name, status, duration, input, output, and app, release,
  session, ... where the root has them) come from its earliest root; what the root lacks is the least value among the
  other spans. A trace whose root says something else than its other spans, or that has several roots, therefore gets
  one partial per root and one for the rest: a partial with `root_span_id` speaks for that root.
* Tokens and cost count on rows with `usage_counted` only; they are null, not 0, where no such row knew any.
* Times: a start outside the years 2000 to 2199 takes no part in a turn's bounds unless no span has a better one; a span
  without a valid duration ends at its start.
* Rollup level "turn" counts roots (n, errors, latency, TTFT) beside the tokens and cost of all spans of the cell;
  the other levels are span kinds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import polars as pl
import pyarrow as pa

from core.records import MODEL_KINDS, SpanKind
from store import schema, sketch

if TYPE_CHECKING:  # the collector derives and never reads: it need not load ibis
    import ibis.expr.types as ir

NS_PER_MINUTE: Final = 60_000_000_000
PREVIEW_CHARS: Final = 500
# More tokens than this in one span is no measurement (the sum of a day must stay an int64).
MOST_TOKENS: Final = 10**12
MOST_USD: Final = 10**6
# The years 2000 to 2199, as store.lake.partition_date has them.
USABLE_START_NS: Final = (946_684_800_000_000_000, 7_258_118_400_000_000_000)

_PLACE: Final = ["tenant", "date"]
_TURN_DIMS: Final = ["session_id", "user_id", "app", "release", "variant", "environment"]
_SESSION_DIMS: Final = ["user_id", "app", "release", "variant", "environment"]
_TRACE: Final = [*_PLACE, "trace_id"]
_ROOT_FIELDS: Final = ["root_span_id", "name", "root_status", "root_duration_ns", "input", "output"]
_ROOT_COLUMNS: Final = [*_ROOT_FIELDS, "root_start", *[f"root_{name}" for name in _TURN_DIMS]]
_MODEL_KINDS: Final = sorted(str(kind) for kind in MODEL_KINDS)


# What the derivations read of a span row.
COLUMNS: Final = [
    *("tenant", "date", "seq", "trace_id", "span_id", "parent_span_id", "name", "kind", "start_ns", "duration_ns"),
    *("status_code", "session_id", "user_id", "app", "release", "variant", "environment", "model_request"),
    *("model_response", "input_tokens", "output_tokens", "cost_usd", "usage_counted", "ttft_ms", "input", "output"),
]


def frame_of(spans: pa.Table) -> pl.DataFrame:
    """The columns of an Arrow table of SPANS that the derivations read."""
    frame = pl.from_arrow(spans.select(COLUMNS))
    assert isinstance(frame, pl.DataFrame)
    return frame


def readable(spans: ir.Table) -> ir.Table:
    """The columns that the derivations read, long text cut to what they keep of it."""
    long = ("input", "output")
    short = {name: spans[name].substr(0, PREVIEW_CHARS) for name in long}
    return spans.select(*[spans[name] for name in COLUMNS if name not in long], **short)


def turns_of(spans: pl.DataFrame) -> pl.DataFrame:
    """Partial rows of store.schema.TURNS from rows of store.schema.SPANS (COLUMNS are read)."""
    rows = _measured(spans)
    whole = _partials(rows, _TRACE)
    roots = _roots(spans, rows)
    first = roots.group_by(_TRACE).agg(pl.len().alias("n_roots"), *[pl.col(c).first() for c in _ROOT_COLUMNS])
    whole = whole.join(first, on=_TRACE, how="left")
    agrees = (
        (pl.col("n_roots") == 1)
        & (pl.col("root_start") == pl.col("start_ns"))
        & pl.all_horizontal([pl.col(c).eq_missing(pl.col(f"root_{c}")) for c in _TURN_DIMS])
    )
    has_roots = pl.col("n_roots").is_not_null()
    parts = [whole.filter(agrees | ~has_roots)]
    split = whole.filter(has_roots & ~agrees).select(_TRACE)
    if split.height:
        told = rows.join(split, on=_TRACE, how="semi")
        alone = _partials(told.filter("is_root"), [*_TRACE, "row"])
        parts += [_partials(told.filter(~pl.col("is_root")), _TRACE), alone.join(roots.drop(_TRACE), on="row")]
    return _shaped(pl.concat(parts, how="diagonal_relaxed"), schema.TURNS)


def sessions_of(spans: pl.DataFrame) -> pl.DataFrame:
    """Partial rows of store.schema.SESSIONS: the spans of the batch that name a session themselves.

    A session's full totals are those of its turns (a trace belongs to a session once one of its spans says so).
    """
    rows = _measured(spans).filter(pl.col("session_id").is_not_null())
    grouped = rows.group_by(*_PLACE, "session_id").agg(
        *_sums(),
        *[pl.col(name).min() for name in _SESSION_DIMS],
        pl.col("is_root").sum().alias("n_turns"),
    )
    return _shaped(grouped, schema.SESSIONS)


def rollups_of(spans: pl.DataFrame) -> pl.DataFrame:
    """Partial rows of store.schema.ROLLUPS, one per minute, level, app, release, variant and model.

    The sketches are lists of {"key", "value"} structs, the layout of an Arrow map; `to_table` makes them maps.
    """
    cells = _cells(_measured(spans))
    keys = [*_PLACE, "minute_ns", "level", "app", "release", "variant", "model"]
    grouped = cells.group_by(keys).agg(
        pl.col("seq").max(),
        pl.col("counts").sum().cast(pl.Int64).alias("n"),
        (pl.col("is_error") & pl.col("counts")).sum().cast(pl.Int64).alias("n_errors"),
        *_usage_sums(),
    )
    for column, bucket in (("latency_sketch", "latency_bucket"), ("ttft_sketch", "ttft_bucket")):
        grouped = grouped.join(
            _sketches(cells.filter("counts"), keys, bucket, column), on=keys, how="left", nulls_equal=True
        )
        grouped = grouped.with_columns(pl.col(column).fill_null([]))
    return _shaped(grouped, schema.ROLLUPS)


def derived(table: str, spans: pa.Table) -> pa.Table:
    """The partial rows of one of DERIVED for rows of schema.SPANS (COLUMNS are read), with that table's schema."""
    if not spans.num_rows:
        return schema.TABLES[table].empty_table()
    return to_table(DERIVED[table](frame_of(spans)), schema.TABLES[table])


def to_table(frame: pl.DataFrame, arrow_schema: pa.Schema) -> pa.Table:
    """The frame as an Arrow table of exactly `arrow_schema`: column order, types, and maps for lists of pairs."""
    columns = []
    for field in arrow_schema:
        array = frame[field.name].to_arrow()
        if pa.types.is_map(field.type):
            array = _map_array(array, field.type)
        columns.append(array.cast(field.type))
    return pa.Table.from_arrays(columns, schema=arrow_schema)


def _measured(spans: pl.DataFrame) -> pl.DataFrame:
    """The columns the derivations share, with unusable times and amounts set to null."""
    start, duration, counted = pl.col("start_ns"), pl.col("duration_ns"), pl.col("usage_counted").fill_null(False)
    cost = pl.col("cost_usd")
    end = pl.when(duration.is_null()).then(start).otherwise(start + duration)
    usable = start.is_between(*USABLE_START_NS, closed="left")
    return spans.with_row_index("row").select(
        "row",
        *_TRACE,
        "seq",
        "kind",
        *_TURN_DIMS,
        start=start,
        end=end,
        usable_start=pl.when(usable).then(start),
        usable_end=pl.when(usable).then(end),
        duration_ms=duration / 1e6,
        ttft_ms=pl.col("ttft_ms"),
        is_root=pl.col("parent_span_id").is_null(),
        is_error=pl.col("status_code").fill_null(0) == 2,
        is_model_call=pl.col("kind").is_in(_MODEL_KINDS) & counted,
        model=pl.coalesce("model_response", "model_request"),
        **{
            name: pl.when(counted & pl.col(name).is_between(0, MOST_TOKENS)).then(pl.col(name))
            for name in ("input_tokens", "output_tokens")
        },
        cost_usd=pl.when(counted & (cost >= 0) & (cost <= MOST_USD)).then(cost),
    )


def _known_sum(name: str) -> pl.Expr:
    """The sum, or null where nothing is known."""
    column = pl.col(name)
    return pl.when(column.count() > 0).then(column.sum()).alias(name)


def _usage_sums() -> list[pl.Expr]:
    return [_known_sum("input_tokens"), _known_sum("output_tokens"), _known_sum("cost_usd")]


def _sums() -> list[pl.Expr]:
    start, end = pl.col("usable_start"), pl.col("usable_end")
    return [
        pl.col("seq").max(),
        start.min().fill_null(pl.col("start").min()).alias("start_ns"),
        end.max().fill_null(pl.col("end").max()).alias("end_ns"),
        pl.len().cast(pl.Int64).alias("n_spans"),
        pl.col("is_error").sum().cast(pl.Int64).alias("n_errors"),
        *_usage_sums(),
    ]


def _turn_sums() -> list[pl.Expr]:
    return [
        *_sums(),
        pl.col("is_model_call").sum().cast(pl.Int64).alias("n_model_calls"),
        (pl.col("kind") == SpanKind.TOOL.value).sum().cast(pl.Int64).alias("n_tool_calls"),
        pl.col("model").filter("is_model_call").drop_nulls().unique().sort().str.join(",").alias("models"),
    ]


def _partials(rows: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    """The additive part of a turn: counts, sums, times, and the least of each dimension."""
    return rows.group_by(keys).agg(*_turn_sums(), *[pl.col(c).min() for c in _TURN_DIMS])


def _roots(spans: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """One row per root span with the fields a turn takes from it."""
    is_root = rows["is_root"]
    own = rows.filter(is_root).select(*_TRACE, "row", *[pl.col(c).alias(f"root_{c}") for c in ("start", *_TURN_DIMS)])
    fields = spans.filter(is_root).select(
        pl.col("span_id").alias("root_span_id"),
        "name",
        pl.col("status_code").fill_null(0).alias("root_status"),
        pl.col("duration_ns").alias("root_duration_ns"),
        pl.col("input").str.slice(0, PREVIEW_CHARS),
        pl.col("output").str.slice(0, PREVIEW_CHARS),
    )
    return own.hstack(fields)


def _cells(rows: pl.DataFrame) -> pl.DataFrame:
    """One row per span at its kind's level, and one at level "turn" per root or span with usage."""
    ms = rows["duration_ms"].to_numpy()
    rows = rows.with_columns(
        minute_ns=pl.col("start") // NS_PER_MINUTE * NS_PER_MINUTE,
        latency_bucket=pl.Series(sketch.bucket_indexes(ms)),
        ttft_bucket=pl.Series(sketch.bucket_indexes(rows["ttft_ms"].to_numpy())),
    )
    by_kind = rows.with_columns(level=pl.col("kind"), counts=pl.lit(True))
    has_usage = pl.any_horizontal([pl.col(n).is_not_null() for n in ("input_tokens", "output_tokens", "cost_usd")])
    by_turn = rows.filter(pl.col("is_root") | has_usage).with_columns(
        level=pl.lit("turn"), counts=pl.col("is_root"), model=pl.lit(None, dtype=pl.String)
    )
    return pl.concat([by_kind, by_turn])


def _sketches(cells: pl.DataFrame, keys: list[str], bucket: str, column: str) -> pl.DataFrame:
    pairs = cells.filter(pl.col(bucket) != sketch.NO_BUCKET).group_by(*keys, bucket).len()
    pair = pl.struct(pl.col(bucket).alias("key"), pl.col("len").cast(pl.Int64).alias("value")).alias(column)
    return pairs.sort(bucket).group_by(keys, maintain_order=True).agg(pair)


def _shaped(frame: pl.DataFrame, arrow_schema: pa.Schema) -> pl.DataFrame:
    return frame.select(pl.col(field.name).cast(_polars_type(field.type)) for field in arrow_schema)


def _polars_type(arrow_type: pa.DataType) -> pl.DataType:
    if pa.types.is_map(arrow_type):
        pair = {"key": _polars_type(arrow_type.key_type), "value": _polars_type(arrow_type.item_type)}
        return pl.List(pl.Struct(pair))
    if pa.types.is_decimal(arrow_type):
        return pl.Decimal(arrow_type.precision, arrow_type.scale)
    return {pa.string(): pl.String(), pa.int64(): pl.Int64(), pa.int32(): pl.Int32()}[arrow_type]


def _map_array(lists: pa.Array, map_type: pa.DataType) -> pa.Array:
    lists = lists.cast(pa.list_(pa.struct([("key", map_type.key_type), ("value", map_type.item_type)])))
    entries = lists.values
    return pa.MapArray.from_arrays(lists.offsets, entries.field("key"), entries.field("value"), type=map_type)


DERIVED: Final = {"turns": turns_of, "sessions": sessions_of, "rollups": rollups_of}
