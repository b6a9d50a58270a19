"""Sessions: lists, and one session with its turns in order.

The sessions table says which sessions there are and when; what is shown is summed over the session's turns, since a
trace belongs to a session as soon as one of its spans says so.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import ibis
import ibis.expr.types as ir
import polars as pl
import pyarrow as pa

from core.windows import Window
from store import said, traces
from store.asked import Asked
from store.engine import slot, table_of
from store.filters import Filters, Shape, on_spans, shape_of, values_of
from store.slices import slices
from store.spans import started_at
from store.tenant import TenantStore, around

# A session's partials are looked for this far around the listed moment.
MARGIN_S: Final = 7 * 86_400
SAME: Final = ("user_id", "app", "release", "variant", "environment")
_OF_FIRST: Final = (*SAME, "trace_id", "root_span_id", "input", "first_ns", "reach_ns")  # the first turn's

ORDER: Final = [
    *("session_id", "app", "release", "variant", "user_id", "start_ns", "end_ns", "started_at", "duration_ms"),
    *("n_turns", "n_spans", "n_errors", "input_tokens", "output_tokens", "cost_usd", "first_input"),
]
_ON_SPANS: Final = frozenset({"kind", "model", "q", "name"})


def list_sessions(store: TenantStore, asked: Asked) -> pl.DataFrame:
    """Rows of `ORDER`'s columns and `listed_ns` (the session's first span), latest first."""
    chosen = _by_spans(store, asked) if _asks_spans(asked.filters) else _by_sessions(store, asked)
    if not chosen.height:
        return _shown(_totals_of(store, [], _NEVER, asked.as_of_ns)).with_columns(listed_ns=pl.col("start_ns"))
    ids = chosen["session_id"].to_list()
    totals = _shown(_totals_of(store, ids, _bounds(chosen), asked.as_of_ns))
    listed = chosen.select("session_id", pl.col("start_ns").alias("listed_ns"))
    return totals.join(listed, on="session_id").sort("listed_ns", "session_id", descending=True)


def session(store: TenantStore, session_id: str, *, as_of_ns: int | None = None) -> pl.DataFrame:
    """One row of `ORDER`'s columns with `cost_usd_exact`; no row when there is no such session."""
    window = session_window(store, session_id, as_of_ns)
    return _shown(_totals_of(store, [session_id], window or _NEVER, as_of_ns))


def turns_of_session(
    store: TenantStore,
    session_id: str,
    *,
    limit: int,
    after: tuple[int, str] | None = None,
    as_of_ns: int | None = None,
) -> pl.DataFrame:
    """The session's turns in order, as trace rows with the root's whole input and output, `error` (what a failed root
    says of it, else null), and `gap_ms` since the end of the turn before (negative where turns overlap; null for the
    first)."""
    window = session_window(store, session_id, as_of_ns) or _NEVER
    given = {"wanted_sessions": pa.table({"session_id": [session_id]})}
    turns = store.frame(_turns(), around(window, traces.MARGIN_S), as_of_ns, given=given)
    turns = turns.sort("start_ns", "trace_id")
    turns = turns.with_columns(gap_ms=(pl.col("start_ns") - pl.col("end_ns").shift(1)) / 1e6)
    if after is not None:
        start, trace_id = after
        later = (pl.col("start_ns") > start) | ((pl.col("start_ns") == start) & (pl.col("trace_id") > trace_id))
        turns = turns.filter(later)
    page = turns.head(limit)
    roots = _roots(store, page, as_of_ns)
    page = page.join(roots, on=["trace_id", "root_span_id"], how="left", maintain_order="left")
    shown = traces.shown(page.with_columns(cost_usd_exact=pl.col("cost_usd").cast(pl.String)))
    return shown.with_columns(page["gap_ms"], page["error"])


def first_said(partials: ir.Table, name: str) -> ir.Value:
    """For groups of rows of `sessions`: what the earliest row says that says any `name`, of rows of one moment the one
    that arrived first. Without a whole order each engine would choose for itself."""
    key = ibis.struct({"at": partials.start_ns, "seq": partials.seq, "said": partials[name]})
    return partials[name].argmin(key, where=partials[name].notnull())


def session_window(store: TenantStore, session_id: str, as_of_ns: int | None) -> Window | None:
    """From the session's first span to its last; None when there is no such session."""
    values: dict[str, object] = {"session_id": session_id}
    found = store.frame(_extent(), None, as_of_ns, values=values)
    return _bounds(found) if found["start_ns"][0] is not None else None


_NEVER: Final = Window(start_ns=-(2**63), end_ns=-(2**63) + 1)


def _asks_spans(filters: Filters) -> bool:
    return bool(filters.needs_spans or filters.name)


def _bounds(frame: pl.DataFrame) -> Window:
    first, last = frame["start_ns"].min(), frame["end_ns"].max()
    assert isinstance(first, int)
    assert isinstance(last, int)
    return Window(start_ns=first, end_ns=max(first, last) + 1)


def _by_sessions(store: TenantStore, asked: Asked) -> pl.DataFrame:
    shape, window = shape_of(asked.filters), asked.remaining
    expr = _listing(shape, asked.limit)
    first = asked.limit * 3 if shape == Shape() else asked.limit * 20
    found, n_found = [], 0
    for part in slices(store.files("sessions", window), window, first):
        bounds: dict[str, object] = {"from_ns": part.start_ns, "until_ns": part.end_ns}
        values = values_of(asked.filters) | asked.after_values | bounds
        found.append(store.frame(expr, around(part, MARGIN_S), asked.as_of_ns, values=values))
        n_found += found[-1].height
        if n_found >= asked.limit:
            break
    return pl.concat(found).head(asked.limit)


def _by_spans(store: TenantStore, asked: Asked) -> pl.DataFrame:
    """Sessions with a span in the window that passes; a session starts no later than its spans."""
    window = asked.remaining
    whole = asked.window
    moved = store.moved_columns([key for key, _ in asked.filters.attr], whole)
    shape = shape_of(asked.filters, moved)
    spans = Shape(asked=shape.asked & _ON_SPANS, attr=shape.attr)
    rest = Shape(asked=shape.asked - _ON_SPANS)
    bounds: dict[str, object] = {"from_ns": whole.start_ns, "until_ns": whole.end_ns}
    values = values_of(asked.filters) | asked.after_values | bounds
    seen: set[str] = set()
    found: list[pl.DataFrame] = []
    # Spans after the page's first moment may belong to sessions before it, so the walk starts at the window's end.
    for part in slices(store.files("spans", whole), whole, traces.FIRST_FILTERED_ROWS):
        ids = store.frame(_matching(spans), part, asked.as_of_ns, values=values)["session_id"].to_list()
        new = [i for i in ids if i not in seen]
        seen.update(new)
        given = {"wanted_sessions": pa.table({"session_id": pa.array(new, pa.string())})}
        wide = around(part, MARGIN_S) if new else _NEVER
        found.append(store.frame(_passing(rest), wide, asked.as_of_ns, values=values, given=given))
        if sum(frame.filter(pl.col("start_ns") >= part.start_ns).height for frame in found) >= asked.limit:
            break
    ordered = pl.concat(found).sort(["start_ns", "session_id"], descending=True)
    return ordered.filter(pl.col("start_ns") < window.end_ns).head(asked.limit)


def _totals_of(store: TenantStore, ids: list[str], window: Window, as_of_ns: int | None) -> pl.DataFrame:
    given = {"wanted_sessions": pa.table({"session_id": pa.array(ids, pa.string())})}
    totals = store.frame(_totals(), around(window, traces.MARGIN_S), as_of_ns, given=given)
    heard = said.completed(store, totals, traces.held_in(totals, "turn_ns", "turn_end_ns"), as_of_ns, preview=True)
    return heard.rename({"input": "first_input"})


def _roots(store: TenantStore, page: pl.DataFrame, as_of_ns: int | None) -> pl.DataFrame:
    """The whole input and output of the page's root spans (store.said has what they leave unsaid), and the `error` of
    those that failed."""
    ids = pa.table({"trace_id": pa.array(page["trace_id"].to_list(), pa.string())})
    first, reach = page["first_ns"].min(), page["reach_ns"].max()
    window = _NEVER
    if isinstance(first, int) and isinstance(reach, int):
        window = Window(start_ns=first, end_ns=max(first, reach) + 1)
    roots = store.frame(_root_texts(), window, as_of_ns, given={"wanted": ids})
    roots = roots.unique(["trace_id", "root_span_id"], keep="first").drop("tenant")
    return said.completed(store, roots, window, as_of_ns)


def _shown(frame: pl.DataFrame) -> pl.DataFrame:
    frame = frame.with_columns(
        started_at=started_at("start_ns"),
        duration_ms=(pl.col("end_ns") - pl.col("start_ns")) / 1e6,
        cost_usd_exact=pl.col("cost_usd").cast(pl.String),
        cost_usd=pl.col("cost_usd").cast(pl.Float64),
    )
    return frame.select(*ORDER, "cost_usd_exact")


def _merged(rows: ir.Table) -> ir.Table:
    merged = rows.group_by("session_id").agg(
        tenant=rows.tenant.max(),
        start_ns=rows.start_ns.min(),
        end_ns=rows.end_ns.max(),
        n_errors=rows.n_errors.sum(),
        **{name: rows[name].min() for name in SAME},
    )
    return merged.mutate(duration_ms=(merged.end_ns - merged.start_ns).cast("float64") / 1e6)


def _passes(shape: Shape, rows: ir.Table) -> list[ir.BooleanValue]:
    order, last = slot("after_order", "int64"), slot("after_id", "string")
    found = [
        rows.start_ns >= slot("from_ns", "int64"),
        rows.start_ns < slot("until_ns", "int64"),
        (rows.start_ns < order) | ((rows.start_ns == order) & (rows.session_id < last)),
    ]
    found += [rows[name] == slot(name, "string") for name in ("session_id", *SAME) if name in shape.asked]
    if "status" in shape.asked:
        found.append((slot("status", "int32") == 2) == (rows.n_errors > 0))
    if "min_duration_ms" in shape.asked:
        found.append(rows.duration_ms >= slot("min_duration_ms", "float64"))
    if "max_duration_ms" in shape.asked:
        found.append(rows.duration_ms <= slot("max_duration_ms", "float64"))
    return found


@lru_cache(maxsize=256)
def _listing(shape: Shape, limit: int) -> ir.Table:
    sessions = table_of("sessions")
    in_slice = [sessions.start_ns >= slot("from_ns", "int64"), sessions.start_ns < slot("until_ns", "int64")]
    rows = _merged(sessions.semi_join(sessions.filter(*in_slice).select("session_id"), "session_id"))
    rows = rows.filter(*_passes(shape, rows)).order_by(ibis.desc("start_ns"), ibis.desc("session_id")).limit(limit)
    return rows.select("session_id", "tenant", "start_ns", "end_ns")


@lru_cache(maxsize=256)
def _passing(shape: Shape) -> ir.Table:
    rows = _merged(_wanted(table_of("sessions")))
    return rows.filter(*_passes(shape, rows)).select("session_id", "tenant", "start_ns", "end_ns")


@lru_cache(maxsize=256)
def _matching(shape: Shape) -> ir.Table:
    spans = table_of("spans")
    rows = spans.filter(spans.session_id.notnull(), *on_spans(shape, spans))
    return rows.select("session_id").distinct()


def _wanted(rows: ir.Table) -> ir.Table:
    return rows.semi_join(ibis.table({"session_id": "string"}, name="wanted_sessions"), "session_id")


@lru_cache(maxsize=1)
def _extent() -> ir.Table:
    sessions = table_of("sessions")
    rows = sessions.filter(sessions.session_id == slot("session_id", "string"))
    return rows.aggregate(start_ns=rows.start_ns.min(), end_ns=rows.end_ns.max())


@lru_cache(maxsize=1)
def _turns() -> ir.Table:
    """The merged turns, without text, of the wanted sessions."""
    turns = table_of("turns")
    rows = turns.semi_join(_wanted(turns).select("trace_id"), "trace_id")
    return _wanted(traces.merged(rows, frozenset(traces.MERGED) - {"input", "output"}))


@lru_cache(maxsize=1)
def _totals() -> ir.Table:
    turns = table_of("turns")
    rows = turns.semi_join(_wanted(turns).select("trace_id"), "trace_id")
    rows = _wanted(traces.merged(rows, frozenset(traces.MERGED) - {"output", "models"}))
    first = ibis.struct({name: rows[name] for name in _OF_FIRST})
    first = first.argmin(ibis.struct({"at": rows.start_ns, "id": rows.trace_id}))
    sums = ("n_spans", "n_errors", "input_tokens", "output_tokens", "cost_usd")
    totals = rows.group_by("session_id").agg(
        tenant=rows.tenant.max(),
        start_ns=rows.start_ns.min(),
        end_ns=rows.end_ns.max(),
        n_turns=rows.count(),
        first=first,
        **{name: rows[name].sum() for name in sums},
    )
    named = {name: totals.first[name] for name in (*SAME, "trace_id", "root_span_id", "input")}
    turn = {"turn_ns": totals.first["first_ns"], "turn_end_ns": totals.first["reach_ns"]}
    unasked = {"output": ibis.literal("")}  # only what the user said first is shown
    return totals.select("session_id", "tenant", "start_ns", "end_ns", "n_turns", *sums, **named, **turn, **unasked)


@lru_cache(maxsize=1)
def _root_texts() -> ir.Table:
    spans = table_of("spans")
    rows = spans.filter(spans.parent_span_id.isnull())
    rows = rows.semi_join(ibis.table({"trace_id": "string"}, name="wanted"), "trace_id").order_by("start_ns", "seq")
    told = ibis.coalesce(rows.status_message.nullif(""), rows.error_type)
    error = ibis.cases((rows.status_code == 2, told))
    return rows.select("trace_id", "tenant", "input", "output", root_span_id=rows.span_id, error=error)
