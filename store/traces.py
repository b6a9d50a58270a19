"""Traces (turns): partial rows merged, lists, and the totals of one trace."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import ibis
import ibis.expr.types as ir
import polars as pl
import pyarrow as pa

from core.clock import NS_PER_S
from core.windows import Window
from store import derive, said
from store.asked import Asked
from store.derive import USABLE_START_NS
from store.engine import slot, table_of
from store.filters import SAME_ON_TURNS, Filters, Shape, on_spans, on_turns, shape_of, values_of
from store.slices import slices
from store.spans import STATUS_NAMES, started_at
from store.tenant import TenantStore, around

# Partials of a trace are looked for this far around the listed moment; one trace seen by itself has no such bound.
MARGIN_S: Final = 6 * 3600
FIRST_FILTERED_ROWS: Final = 8_000

ORDER: Final = [
    *("trace_id", "name", "app", "release", "variant", "environment", "session_id", "user_id", "start_ns", "end_ns"),
    *("started_at", "duration_ms", "status", "n_spans", "n_errors", "n_model_calls", "n_tool_calls", "input_tokens"),
    *("output_tokens", "cost_usd", "models", "input", "output", "root_missing"),
]
_SUMS: Final = ("n_spans", "n_errors", "n_model_calls", "n_tool_calls", "input_tokens", "output_tokens", "cost_usd")
_MERGED_ALWAYS: Final = ("trace_id", "tenant", "first_ns", "last_ns", "reach_ns", "start_ns", "end_ns")
MERGED: Final = (
    *(*_SUMS, *SAME_ON_TURNS),
    *("models", "name", "root_span_id", "input", "output", "status_code", "duration_ms"),
)


def list_traces(store: TenantStore, asked: Asked) -> pl.DataFrame:
    """Rows of `ORDER`'s columns, latest start first. Filters on kind, model, attr and q ask for a trace with a span
    that passes them; the others speak of the turn itself."""
    if asked.filters.needs_spans:
        return shown(_by_spans(store, asked))
    return shown(_by_turns(store, asked))


def trace(store: TenantStore, trace_id: str, *, as_of_ns: int | None = None) -> pl.DataFrame:
    """One row of `ORDER`'s columns with `cost_usd_exact` and the bounds of all its spans; no row when unknown.

    A trace whose partials are not committed yet, and one as of a moment, is derived from its spans.
    """
    if as_of_ns is None:
        found = traces_by_id(store, [trace_id], None, None)
        if found.height:
            return found
    spans = store.arrow(_derivable(), None, as_of_ns, values={"trace_id": trace_id})
    turns = derive.derived("turns", spans)
    return _exact(store.frame(merged(table_of("turns")), given={"turns": turns}))


def traces_by_id(store: TenantStore, ids: list[str], window: Window | None, as_of_ns: int | None) -> pl.DataFrame:
    """The traces with these ids whose partials lie in `window`, as `trace` has them, in no order."""
    wanted = pa.table({"trace_id": pa.array(ids, pa.string())})
    return _exact(store.frame(_of_ids(), window, as_of_ns, given={"wanted": wanted}))


def _exact(found: pl.DataFrame) -> pl.DataFrame:
    return shown(found.with_columns(cost_usd_exact=pl.col("cost_usd").cast(pl.String)))


def shown(frame: pl.DataFrame) -> pl.DataFrame:
    """Merged turns in the shape that is shown."""
    models = pl.col("models").fill_null("").str.split(",").list.filter(pl.element() != "").list.unique().list.sort()
    frame = frame.with_columns(
        started_at=started_at("start_ns"),
        status=pl.col("status_code").replace_strict(dict(enumerate(STATUS_NAMES)), default="unset"),
        cost_usd=pl.col("cost_usd").cast(pl.Float64),
        models=models,
        root_missing=pl.col("root_span_id").is_null(),
    )
    extra = [
        name for name in ("cost_usd_exact", "first_ns", "last_ns", "reach_ns", "root_span_id") if name in frame.columns
    ]
    return frame.select(*ORDER, *extra)


def merged(turns: ir.Table, only: frozenset[str] = frozenset(MERGED)) -> ir.Table:
    """One row per trace from partial rows: see store/derive.py for what a partial says. `only` names the columns wanted
    beside trace_id, tenant, start_ns, end_ns, and the bounds of all its partials (`first_ns` and `last_ns` of their
    starts, `reach_ns` of their ends); fewer cost less.

    The earliest root speaks for the turn; what it leaves unsaid is the least value any partial has. Without a root the
    status is `error` when any span failed, and the duration spans all spans.
    """
    said = [name for name in _ROOT_SAYS if _NEEDS.get(name, {name}) & only]
    sums = [name for name in _SUMS if name in only or (name == "n_errors" and "status_code" in only)]
    same = [name for name in SAME_ON_TURNS if name in only]
    key = ibis.struct({"at": turns.start_ns, "id": turns.root_span_id})
    root = ibis.struct({name: turns[name] for name in said}) if said else None
    usable = turns.start_ns.between(USABLE_START_NS[0], USABLE_START_NS[1] - 1)
    rows = turns.group_by("trace_id").agg(
        tenant=turns.tenant.max(),
        first_ns=turns.start_ns.min(),
        last_ns=turns.start_ns.max(),
        reach_ns=turns.end_ns.max(),
        start_ns=ibis.coalesce(turns.start_ns.min(where=usable), turns.start_ns.min()),
        end_ns=ibis.coalesce(turns.end_ns.max(where=usable), turns.end_ns.max()),
        **({} if root is None else {"root": root.argmin(key, where=turns.root_span_id.notnull())}),
        **({"models": turns.models.group_concat(",")} if "models" in only else {}),
        **{name: turns[name].sum() for name in sums},
        **{f"any_{name}": turns[name].min() for name in same},
    )
    return rows.select(*_MERGED_ALWAYS, **_told(rows, only, sums, same))


def _told(rows: ir.Table, only: frozenset[str], sums: Sequence[str], same: Sequence[str]) -> dict[str, ir.Value]:
    """The wanted columns of a turn from its root and its sums."""
    told: dict[str, ir.Value] = {name: rows[name] for name in (*sums, "models") if name in only}
    told |= {name: ibis.coalesce(rows.root[name], rows[f"any_{name}"]) for name in same}
    told |= {name: rows.root[name] for name in ("name", "root_span_id", "input", "output") if name in only}
    if "status_code" in only:
        failed = ibis.ifelse(rows.n_errors > 0, 2, 0)
        status = ibis.ifelse(rows.root["root_span_id"].isnull(), failed, rows.root["root_status"])
        told["status_code"] = status.cast("int32")
    if "duration_ms" in only:
        spans_ms = (rows.end_ns - rows.start_ns).cast("float64") / 1e6
        root_ms = rows.root["root_duration_ns"].cast("float64") / 1e6
        told["duration_ms"] = ibis.ifelse(rows.root["root_span_id"].isnull(), spans_ms, root_ms)
    return told


# Which wanted columns need a field of the root.
_ROOT_SAYS: Final = (*SAME_ON_TURNS, "name", "root_status", "root_duration_ns", "root_span_id", "input", "output")
_NEEDS: Final[dict[str, set[str]]] = {
    "root_status": {"status_code"},
    "root_duration_ns": {"duration_ms"},
    "root_span_id": {"root_span_id", "status_code", "duration_ms"},
}
_FOUND_BY_ID: Final = ("session_id", "user_id")
_NEVER: Final = Window(start_ns=-(2**63), end_ns=-(2**63) + 1)


def _by_turns(store: TenantStore, asked: Asked) -> pl.DataFrame:
    """Walks the turns table; a slice's traces are those that start in it, whatever partials they have around.

    A session's or user's turns are few and found by their id at once, in one slice.
    """
    shape, window = shape_of(asked.filters), asked.remaining
    first = asked.limit * 2 if shape == Shape() else asked.limit * 20
    by_id = shape.asked & set(_FOUND_BY_ID)
    parts = [window] if by_id else slices(store.files("turns", window), window, first)
    found, n_found = [], 0
    for part in parts:
        found.append(_slice(store, asked, shape, part))
        n_found += found[-1].height
        if n_found >= asked.limit:
            break
    return pl.concat(found).head(asked.limit)


def _slice(store: TenantStore, asked: Asked, shape: Shape, part: Window) -> pl.DataFrame:
    """The listed traces that start in `part`: first which they are, by few columns; then these whole."""
    bounds: dict[str, object] = {"from_ns": part.start_ns, "until_ns": part.end_ns}
    values = values_of(asked.filters) | asked.after_values | bounds
    chosen = store.frame(_choosing(shape, asked.limit), around(part, MARGIN_S), asked.as_of_ns, values=values)
    return _whole(store, asked, chosen)


def _whole(store: TenantStore, asked: Asked, chosen: pl.DataFrame) -> pl.DataFrame:
    """The merged turns of the chosen ids, read from where their partials lie, latest start first."""
    ids = pa.table({"trace_id": pa.array(chosen["trace_id"].to_list(), pa.string())})
    whole = store.frame(_of_ids(), held_in(chosen, "first_ns", "last_ns"), asked.as_of_ns, given={"wanted": ids})
    whole = whole.sort("start_ns", "trace_id", descending=True)
    return said.completed(store, whole, held_in(whole, "first_ns", "reach_ns"), asked.as_of_ns, preview=True)


def held_in(turns: pl.DataFrame, first: str, last: str) -> Window:
    """From the least of the column `first` to the greatest of `last`; an empty window for no turns."""
    start, end = turns[first].min(), turns[last].max()
    if not isinstance(start, int) or not isinstance(end, int):
        return _NEVER
    return Window(start_ns=start, end_ns=max(start, end) + 1)


def _by_spans(store: TenantStore, asked: Asked) -> pl.DataFrame:
    """Walks the spans for matches and merges their traces.

    A trace starts no later than its matching span, so once the walk has passed a moment every matching trace that
    starts after it is known.
    """
    window = asked.remaining
    seen = set(_overlapping(store, asked))
    found = [_passing(store, asked, sorted(seen), window)] if seen else []
    for part in slices(store.files("spans", window), window, FIRST_FILTERED_ROWS):
        ids = [i for i in matching_traces(store, asked, part) if i not in seen]
        seen.update(ids)
        found += [_passing(store, asked, ids, part)] if ids else []
        if sum(frame.filter(pl.col("start_ns") >= part.start_ns).height for frame in found) >= asked.limit:
            break
    found = found or [_passing(store, asked, [], window)]
    chosen = pl.concat(found).sort(["start_ns", "trace_id"], descending=True).head(asked.limit)
    return _whole(store, asked, chosen)


def _passing(store: TenantStore, asked: Asked, ids: list[str], part: Window) -> pl.DataFrame:
    """Those of the ids whose turns pass the filters that turns answer, with their bounds."""
    shape = turn_shape(asked.filters)
    bounds: dict[str, object] = {"from_ns": asked.window.start_ns, "until_ns": asked.window.end_ns}
    values = values_of(asked.filters) | asked.after_values | bounds
    given = {"wanted": pa.table({"trace_id": pa.array(ids, pa.string())})}
    wide = around(part, MARGIN_S) if ids else _NEVER
    return store.frame(_passing_ids(shape), wide, asked.as_of_ns, values=values, given=given)


def matching_traces(store: TenantStore, asked: Asked, window: Window, only: list[str] | None = None) -> list[str]:
    """Ids of traces with a span in `window` that passes the filters on kind, model, attr and q; of `only`, if given."""
    moved = store.moved_columns([key for key, _ in asked.filters.attr], window)
    given = {} if only is None else {"wanted": pa.table({"trace_id": pa.array(only, pa.string())})}
    expr = _matching(span_shape(asked.filters, moved), only is not None)
    found = store.frame(expr, window, asked.as_of_ns, values=values_of(asked.filters), given=given)
    return list(found["trace_id"])


def span_shape(filters: Filters, moved: dict[str, tuple[str, ...]]) -> Shape:
    """The part of the filters' shape that spans answer."""
    shape = shape_of(filters, moved)
    return Shape(asked=shape.asked & {"kind", "model", "q"}, attr=shape.attr)


def turn_shape(filters: Filters) -> Shape:
    """The part of the filters' shape that merged turns answer."""
    return Shape(asked=shape_of(filters).asked - {"kind", "model", "q"})


def _overlapping(store: TenantStore, asked: Asked) -> list[str]:
    """Matches among the traces that start before the walk's first moment but have spans after it."""
    end = asked.remaining.end_ns
    later = Window(start_ns=end, end_ns=end + MARGIN_S * NS_PER_S)
    if asked.as_of_ns is None and not store.files("spans", later):
        return []
    last = around(Window(start_ns=end - 1, end_ns=end), MARGIN_S)
    longer = list(store.frame(_reaching_over(), last, asked.as_of_ns, values={"until_ns": end})["trace_id"])
    return matching_traces(store, asked, later, longer) if longer else []


def _placed(rows: ir.Table) -> list[ir.BooleanValue]:
    """Starts in [from_ns, until_ns), and after the page before."""
    order, last = slot("after_order", "int64"), slot("after_id", "string")
    return [
        rows.start_ns >= slot("from_ns", "int64"),
        rows.start_ns < slot("until_ns", "int64"),
        (rows.start_ns < order) | ((rows.start_ns == order) & (rows.trace_id < last)),
    ]


@lru_cache(maxsize=256)
def _choosing(shape: Shape, limit: int) -> ir.Table:
    """The ids of the traces of a slice, with the bounds of their partials.

    A trace can only pass when one of its partials is of the session (user, app, ...) that is asked for.
    """
    turns = table_of("turns")
    rows = turns
    for name in SAME_ON_TURNS:
        if name in shape.asked:
            saying = turns.filter(turns[name] == slot(name, "string"))
            rows = rows.semi_join(saying.select("trace_id"), "trace_id")
    if not shape.asked & set(_FOUND_BY_ID):
        in_slice = [turns.start_ns >= slot("from_ns", "int64"), turns.start_ns < slot("until_ns", "int64")]
        rows = rows.semi_join(turns.filter(*in_slice).select("trace_id"), "trace_id")
    rows = merged(rows, needed_by(shape))
    rows = rows.filter(*_placed(rows), *on_turns(shape, rows))
    chosen = rows.order_by(ibis.desc("start_ns"), ibis.desc("trace_id")).limit(limit)
    return chosen.select("trace_id", "first_ns", "last_ns")


def needed_by(shape: Shape) -> frozenset[str]:
    """The columns of merged turns that `on_turns` reads for this shape."""
    names = {"status": "status_code", "min_duration_ms": "duration_ms", "max_duration_ms": "duration_ms"}
    return frozenset(names.get(name, name) for name in shape.asked) & frozenset(MERGED)


def _wanted(turns: ir.Table) -> ir.Table:
    return turns.semi_join(ibis.table({"trace_id": "string"}, name="wanted"), "trace_id")


@lru_cache(maxsize=1)
def _derivable() -> ir.Table:
    """What turns are derived from, of one trace."""
    spans = table_of("spans")
    return derive.readable(spans.filter(spans.trace_id == slot("trace_id", "string")))


@lru_cache(maxsize=1)
def _of_ids() -> ir.Table:
    return merged(_wanted(table_of("turns")))


@lru_cache(maxsize=256)
def _passing_ids(shape: Shape) -> ir.Table:
    rows = merged(_wanted(table_of("turns")), needed_by(shape))
    rows = rows.filter(*_placed(rows), *on_turns(shape, rows))
    return rows.select("trace_id", "start_ns", "first_ns", "last_ns")


@lru_cache(maxsize=256)
def _matching(shape: Shape, only: bool) -> ir.Table:
    spans = table_of("spans")
    rows = spans.semi_join(ibis.table({"trace_id": "string"}, name="wanted"), "trace_id") if only else spans
    predicates = on_spans(shape, rows)
    return (rows.filter(*predicates) if predicates else rows).select("trace_id").distinct()


@lru_cache(maxsize=1)
def _reaching_over() -> ir.Table:
    turns = table_of("turns")
    until = slot("until_ns", "int64")
    rows = turns.group_by("trace_id").agg(start_ns=turns.start_ns.min(), end_ns=turns.end_ns.max())
    return rows.filter(rows.start_ns < until, rows.end_ns >= until).select("trace_id")
