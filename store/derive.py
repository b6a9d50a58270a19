"""Partial rows of turns, sessions and rollups from a batch of span rows. Pure functions on Arrow tables.

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
  the other levels are span kinds. Of a model call that several spans report (an agent's, a gateway's), the one with
  `usage_counted` counts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from core.records import MODEL_KINDS, SpanKind
from store import schema, sketch
from store.grouping import Ints, groups_of, is_first, renumbered

if TYPE_CHECKING:  # the collector derives and never reads: it need not load ibis
    import ibis.expr.types as ir

NS_PER_MINUTE: Final = 60_000_000_000
PREVIEW_CHARS: Final = 500
# More tokens than this in one span is no measurement (the sum of a day must stay an int64).
MOST_TOKENS: Final = 10**12
MOST_USD: Final = 10**6
MOST_SUM_USD: Final = Decimal("999999999.999999999")  # what decimal(18, 9) holds
# The years 2000 to 2199, as store.lake.partition_date has them.
USABLE_START_NS: Final = (946_684_800_000_000_000, 7_258_118_400_000_000_000)

_PLACE: Final = ["tenant", "date"]
_TURN_DIMS: Final = ["session_id", "user_id", "app", "release", "variant", "environment"]
_SESSION_DIMS: Final = ["user_id", "app", "release", "variant", "environment"]
_TRACE: Final = [*_PLACE, "trace_id"]
_CELL: Final = [*_PLACE, "minute_ns", "level", "app", "release", "variant", "model"]
_USAGE: Final = ["input_tokens", "output_tokens", "cost_usd"]
_SKETCHES: Final = ["latency_sketch", "ttft_sketch"]
_MODEL_KINDS: Final = sorted(str(kind) for kind in MODEL_KINDS)


# What the derivations read of a span row.
COLUMNS: Final = [
    *("tenant", "date", "seq", "trace_id", "span_id", "parent_span_id", "name", "kind", "start_ns", "duration_ns"),
    *("status_code", "session_id", "user_id", "app", "release", "variant", "environment", "model_request"),
    *("model_response", "input_tokens", "output_tokens", "cost_usd", "usage_counted", "ttft_ms", "input", "output"),
]
_TEXTS: Final = ["input", "output"]


def readable(spans: ir.Table) -> ir.Table:
    """The columns that the derivations read, long text cut to what they keep of it."""
    short = {name: spans[name].substr(0, PREVIEW_CHARS) for name in _TEXTS}
    return spans.select(*[spans[name] for name in COLUMNS if name not in _TEXTS], **short)


def turns_of(spans: pa.Table) -> pa.Table:
    """Partial rows of store.schema.TURNS from rows of store.schema.SPANS (COLUMNS are read)."""
    rows = _measured(spans)
    is_root = _marks(rows, "is_root")
    trace = groups_of(rows, _TRACE)
    whole = _partials(rows, trace)
    at = np.flatnonzero(is_root)
    n_roots = np.bincount(trace[at], minlength=whole.num_rows)
    root = np.full(whole.num_rows, -1)
    root[trace[at]] = at
    alone = (n_roots == 1) & _agrees(whole, _taken(rows, np.where(n_roots == 1, root, -1)))
    together = alone | (n_roots == 0)
    found = [_with_root(whole.filter(pa.array(together)), spans, root[together])]
    if not together.all():
        apart = np.flatnonzero(~together[trace])
        part = renumbered(np.where(is_root[apart], apart, -1 - trace[apart]))  # each root, and the rest of each trace
        first = apart[is_first(part)]
        found.append(_with_root(_partials(rows.take(apart), part), spans, np.where(is_root[first], first, -1)))
    return pa.concat_tables(found)


def sessions_of(spans: pa.Table) -> pa.Table:
    """Partial rows of store.schema.SESSIONS: the spans of the batch that name a session themselves.

    A session's full totals are those of its turns (a trace belongs to a session once one of its spans says so).
    """
    rows = _measured(spans)
    rows = rows.filter(pc.is_valid(rows.column("session_id")))
    keys = [*_PLACE, "session_id"]
    group = groups_of(rows, keys)
    sums = _sums(rows, group, _SESSION_DIMS, ["is_root"])
    return _shaped({**_of_first(rows, group, keys), **sums, "n_turns": sums["is_root"]}, schema.SESSIONS)


def rollups_of(spans: pa.Table) -> pa.Table:
    """Partial rows of store.schema.ROLLUPS, one per minute, level, app, release, variant and model."""
    cells = _cells(_measured(spans))
    cell = groups_of(cells, _CELL)
    added = _aggregated(cells, cell, [("seq", "max"), *[(name, "sum") for name in ("counts", "failed", *_USAGE)]])
    counts = _marks(cells, "counts")
    n = added.num_rows
    columns = {
        **_of_first(cells, cell, _CELL),
        "seq": added.column("seq_max"),
        "n": added.column("counts_sum"),
        "n_errors": added.column("failed_sum"),
        **{name: added.column(f"{name}_sum") for name in _USAGE},
        "cost_usd": _at_most(added.column("cost_usd_sum")),
        "latency_sketch": _sketches(cell[counts], _floats(cells, "duration_ms")[counts], n),
        "ttft_sketch": _sketches(cell[counts], _floats(cells, "ttft_ms")[counts], n),
    }
    return _shaped(columns, schema.ROLLUPS)


def added_rollups(rows: pa.Table) -> pa.Table:
    """Rows of store.schema.ROLLUPS with those of one cell added into one. Exact: counts, sums and buckets only add.

    Raises pyarrow.ArrowInvalid for a sum that its column cannot hold.
    """
    cell = groups_of(rows, _CELL)
    sums = [(name, "sum") for name in ("n", "n_errors", *_USAGE)]
    added = _aggregated(rows.drop_columns(_SKETCHES), cell, [("seq", "max"), *sums])
    columns = {
        **_of_first(rows, cell, _CELL),
        "seq": added.column("seq_max"),
        **{name: added.column(f"{name}_sum") for name, _ in sums},
        **{name: _added_sketches(rows.column(name), cell, added.num_rows) for name in _SKETCHES},
    }
    return _shaped(columns, schema.ROLLUPS)


def derived(table: str, spans: pa.Table) -> pa.Table:
    """The partial rows of one of DERIVED for rows of schema.SPANS (COLUMNS are read), with that table's schema."""
    if not spans.num_rows:
        return schema.TABLES[table].empty_table()
    return DERIVED[table](spans)


def _measured(spans: pa.Table) -> pa.Table:
    """The columns the derivations share, with unusable times and amounts set to null."""
    rows = spans.select([name for name in COLUMNS if name not in _TEXTS]).combine_chunks()
    column = {name: rows.column(name) for name in rows.column_names}
    start, duration, kind = column["start_ns"], column["duration_ns"], column["kind"]
    counted = pc.fill_null(column["usage_counted"], False)
    end = pc.coalesce(pc.add(start, duration), start)
    usable = _between(start, USABLE_START_NS[0], USABLE_START_NS[1] - 1)
    nothing_costs, most = (pa.scalar(Decimal(usd), schema.USD) for usd in (0, MOST_USD))
    limits: Mapping[str, tuple[Any, Any]] = {
        "input_tokens": (0, MOST_TOKENS),
        "output_tokens": (0, MOST_TOKENS),
        "cost_usd": (nothing_costs, most),
    }
    return pa.table(
        {
            **{name: column[name] for name in (*_TRACE, "seq", "kind", *_TURN_DIMS, "ttft_ms")},
            "start": start,
            "end": end,
            "usable_start": _where(usable, start),
            "usable_end": _where(usable, end),
            "duration_ms": pc.divide(duration.cast(pa.float64(), safe=False), 1e6),
            "is_root": pc.is_null(column["parent_span_id"]),
            "is_error": pc.equal(pc.fill_null(column["status_code"], 0), 2),
            "is_model_call": pc.and_(pc.is_in(kind, value_set=pa.array(_MODEL_KINDS)), counted),
            "is_tool_call": pc.fill_null(pc.equal(kind, SpanKind.TOOL.value), False),
            "model": pc.coalesce(column["model_response"], column["model_request"]),
            **{name: _where(pc.and_(counted, _between(column[name], *limits[name])), column[name]) for name in _USAGE},
        }
    )


def _between(values: pa.ChunkedArray, low: Any, high: Any) -> pa.ChunkedArray:
    return pc.and_(pc.greater_equal(values, low), pc.less_equal(values, high))


def _where(mask: pa.ChunkedArray, values: pa.ChunkedArray) -> pa.ChunkedArray:
    """The values where the mask is true, else null."""
    return pc.if_else(mask, values, pa.scalar(None, values.type))


def _aggregated(rows: pa.Table, group: Ints, what: list[tuple[Any, str]]) -> pa.Table:
    """One row per group, in their order. The sum, least and greatest of nothing but nulls is null."""
    return rows.append_column("group", pa.array(group)).group_by("group", use_threads=False).aggregate(what)


def _at_most(usd: pa.ChunkedArray) -> pa.ChunkedArray:
    """Sums of money that their column can hold: a thousand absurd amounts in one batch must not stop the others."""
    return pc.min_element_wise(usd, pa.scalar(MOST_SUM_USD, usd.type), skip_nulls=False)


def _of_first(rows: pa.Table, group: Ints, names: list[str]) -> dict[str, pa.ChunkedArray]:
    """What the first row of each group says."""
    firsts = rows.select(names).filter(pa.array(is_first(group)))
    return {name: firsts.column(name) for name in names}


def _sums(rows: pa.Table, group: Ints, dims: list[str], marks: list[str]) -> dict[str, pa.ChunkedArray]:
    """What adds up of each group: counts (of `marks` too), sums, times, and the least of each dimension."""
    bounds = [("seq", "max"), ("usable_start", "min"), ("start", "min"), ("usable_end", "max"), ("end", "max")]
    added = [(name, "sum") for name in ("is_error", *marks, *_USAGE)]
    least = [(name, "min") for name in dims]
    found = _aggregated(rows, group, [*bounds, *added, *least, ([], "count_all")])
    return {
        **{name: found.column(f"{name}_{what}") for name, what in (*added, *least, ("seq", "max"))},
        "cost_usd": _at_most(found.column("cost_usd_sum")),
        "start_ns": pc.coalesce(found.column("usable_start_min"), found.column("start_min")),
        "end_ns": pc.coalesce(found.column("usable_end_max"), found.column("end_max")),
        "n_spans": found.column("count_all"),
        "n_errors": found.column("is_error_sum"),
    }


def _partials(rows: pa.Table, part: Ints) -> pa.Table:
    """Turns without the columns of their roots."""
    sums = _sums(rows, part, _TURN_DIMS, ["is_model_call", "is_tool_call"])
    columns = {
        **_of_first(rows, part, _TRACE),
        **sums,
        "n_model_calls": sums["is_model_call"],
        "n_tool_calls": sums["is_tool_call"],
        "models": _models(rows, part, len(sums["seq"])),
    }
    return _shaped(columns, pa.schema([field for field in schema.TURNS if field.name in columns]))


def _models(rows: pa.Table, part: Ints, n: int) -> pa.Array:
    """The names of the models that each part called, sorted, comma-separated."""
    called = pc.and_(rows.column("is_model_call"), pc.is_valid(rows.column("model")))
    coded = rows.column("model").filter(called).combine_chunks().dictionary_encode()
    order = pc.array_sort_indices(coded.dictionary).to_numpy()
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    size = max(1, len(order))
    pairs = np.unique(part[called.to_numpy()] * size + rank[coded.indices.to_numpy()])
    names = coded.dictionary.take(pa.array(order)).take(pa.array(pairs % size))
    return pc.binary_join(pa.ListArray.from_arrays(_offsets(pairs // size, n), names), ",")


def _agrees(whole: pa.Table, roots: pa.Table) -> npt.NDArray[np.bool_]:
    """Whether the root says of every dimension, and of the start, what its trace says."""
    agrees = pc.fill_null(pc.equal(whole.column("start_ns"), roots.column("start")), False)
    for name in _TURN_DIMS:
        ours, theirs = whole.column(name), roots.column(name)
        both_null = pc.and_(pc.is_null(ours), pc.is_null(theirs))
        agrees = pc.and_(agrees, pc.or_(both_null, pc.fill_null(pc.equal(ours, theirs), False)))
    return np.asarray(agrees.to_numpy())


def _with_root(partials: pa.Table, spans: pa.Table, roots: Ints) -> pa.Table:
    """Turns with what their root says, which is the row of `spans` of that number; nothing where it is -1."""
    fields = _taken(spans.select(["span_id", "name", "status_code", "duration_ns", *_TEXTS]), roots)
    status = pc.fill_null(fields.column("status_code"), 0)
    columns = {
        **{name: partials.column(name) for name in partials.column_names},
        "root_span_id": fields.column("span_id"),
        "name": fields.column("name"),
        "root_status": _where(pa.array(roots >= 0), status),
        "root_duration_ns": fields.column("duration_ns"),
        **{name: pc.utf8_slice_codeunits(fields.column(name), 0, PREVIEW_CHARS) for name in _TEXTS},
    }
    return _shaped(columns, schema.TURNS)


def _cells(rows: pa.Table) -> pa.Table:
    """One row per span at its kind's level, and one at level "turn" per root or span with usage."""
    minute = rows.column("start").to_numpy() // NS_PER_MINUTE * NS_PER_MINUTE
    rows = rows.append_column("minute_ns", pa.array(minute))
    has_usage = [pc.is_valid(rows.column(name)) for name in _USAGE]
    of_turns = rows.filter(pc.or_(rows.column("is_root"), pc.or_(has_usage[0], pc.or_(has_usage[1], has_usage[2]))))
    n, kind, is_root = of_turns.num_rows, rows.column("kind"), of_turns.column("is_root")
    return pa.concat_tables(
        [
            _cells_at(rows, kind, rows.column("model"), _of_their_own(rows)),
            _cells_at(of_turns, pa.repeat("turn", n), pa.nulls(n, pa.string()), is_root),
        ]
    )


def _of_their_own(rows: pa.Table) -> pa.ChunkedArray:
    """Whether a span stands for work of its own: of a model call that several spans report, one does."""
    is_model = pc.is_in(rows.column("kind"), value_set=pa.array(_MODEL_KINDS))
    return pc.or_(pc.invert(is_model), rows.column("is_model_call"))


def _cells_at(rows: pa.Table, level: pa.Array, model: pa.Array, counts: pa.Array) -> pa.Table:
    names = [*_PLACE, "minute_ns", "app", "release", "variant", "seq", "duration_ms", "ttft_ms", *_USAGE]
    columns = {"level": level, "model": model, "counts": counts, "failed": pc.and_(rows.column("is_error"), counts)}
    return pa.table({**{name: rows.column(name) for name in names}, **columns})


def _sketches(cell: Ints, values: npt.NDArray[np.float64], n: int) -> pa.Array:
    """The sketch of the values of each of `n` cells, as a map."""
    bucket = sketch.bucket_indexes(values).astype(np.int64)
    measured = bucket != sketch.NO_BUCKET
    pairs, counts = np.unique((cell[measured] << 32) + bucket[measured] - sketch.ZERO_BUCKET, return_counts=True)
    return _maps(pairs, counts, n)


def _added_sketches(sketches: pa.ChunkedArray, cell: Ints, n: int) -> pa.Array:
    """The sketches of the rows of each of `n` cells, added."""
    maps = pa.concat_arrays(sketches.chunks)
    offsets = maps.offsets.to_numpy()
    told = slice(offsets[0], offsets[-1])
    pairs = (np.repeat(cell, np.diff(offsets)) << 32) + maps.keys.to_numpy()[told] - sketch.ZERO_BUCKET
    order = np.argsort(pairs, kind="stable")
    pairs, counts = pairs[order], maps.items.to_numpy()[told][order]
    firsts = np.flatnonzero(np.diff(pairs, prepend=-1))
    return _maps(pairs[firsts], np.add.reduceat(counts, firsts), n)


def _maps(pairs: Ints, counts: Ints, n: int) -> pa.Array:
    """The maps of `n` cells from sorted pairs: the cell in the upper half, its bucket in the lower one."""
    keys = ((pairs & 0xFFFF_FFFF) + sketch.ZERO_BUCKET).astype(np.int32)
    return pa.MapArray.from_arrays(_offsets(pairs >> 32, n), pa.array(keys), pa.array(counts, pa.int64()))


def _offsets(group: Ints, n: int) -> pa.Array:
    """Where each of `n` groups begins, and the end; `group` is sorted."""
    return pa.array(np.searchsorted(group, np.arange(n + 1)), pa.int32())


def _marks(rows: pa.Table, name: str) -> npt.NDArray[np.bool_]:
    return np.asarray(rows.column(name).to_numpy())


def _floats(rows: pa.Table, name: str) -> npt.NDArray[np.float64]:
    """A column of doubles, NaN for null."""
    return np.asarray(rows.column(name).to_numpy())


def _taken(rows: pa.Table, places: Ints) -> pa.Table:
    """The rows of these numbers, nulls for -1."""
    return rows.take(pa.array(places, mask=places < 0))


def _shaped(columns: Mapping[str, pa.ChunkedArray], arrow_schema: pa.Schema) -> pa.Table:
    return pa.Table.from_arrays([columns[field.name].cast(field.type) for field in arrow_schema], schema=arrow_schema)


DERIVED: Final[dict[str, Callable[[pa.Table], pa.Table]]] = {
    "turns": turns_of,
    "sessions": sessions_of,
    "rollups": rollups_of,
}
