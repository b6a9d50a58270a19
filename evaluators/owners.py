"""Which traces make up a session, and when their spans begin."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import ibis
import ibis.expr.types as ir
import polars as pl
import pyarrow as pa

from core.windows import Window
from store import traces
from store.engine import slot, table_of
from store.sessions import MARGIN_S
from store.tenant import TenantStore, around

OWNERS: Final = {"target": pl.String, "trace_id": pl.String, "turn": pl.Int64}


def of_sessions(
    store: TenantStore, session_ids: Sequence[str], window: Window | None, as_of_ns: int | None
) -> tuple[pl.DataFrame, Window | None]:
    """The traces of these sessions as target (the session), trace_id and turn; and the window in which all their spans
    begin, None where there are none."""
    given = {"wanted_sessions": pa.table({"session_id": pa.array(list(session_ids), pa.string())})}
    if window is None:
        found = store.frame(_extent(), None, as_of_ns, given=given)
        if found.is_empty():
            return pl.DataFrame(schema=OWNERS), None
        window = around(traces.held_in(found, "start_ns", "end_ns"), traces.MARGIN_S)
    return _in_turns(store.frame(_of_sessions(), window, as_of_ns, given=given))


def of_traces(
    store: TenantStore, trace_ids: Sequence[str], window: Window | None, as_of_ns: int | None
) -> tuple[pl.DataFrame, Window | None]:
    """Each of these traces as its own target, as `of_sessions`."""
    given = {"wanted": pa.table({"trace_id": pa.array(list(trace_ids), pa.string())})}
    return _in_turns(store.frame(_of_traces(), window, as_of_ns, given=given))


def beginning_in(store: TenantStore, window: Window, app: str | None, as_of_ns: int | None) -> pl.DataFrame:
    """session_id, start_ns and end_ns of the sessions (of an app) whose first span begins in `window`."""
    values: dict[str, object] = {"from_ns": window.start_ns, "until_ns": window.end_ns}
    values |= {} if app is None else {"app": app}
    return store.frame(_beginning(app is not None), around(window, MARGIN_S), as_of_ns, values=values)


def _in_turns(found: pl.DataFrame) -> tuple[pl.DataFrame, Window | None]:
    turn = pl.int_range(pl.len()).over("target")
    owners = found.sort("target", "start_ns", "trace_id").with_columns(turn=turn)
    window = traces.held_in(found, "first_ns", "reach_ns") if found.height else None
    return owners.select(list(OWNERS)).cast(OWNERS), window  # type: ignore[arg-type]


@lru_cache(maxsize=1)
def _extent() -> ir.Table:
    sessions = table_of("sessions")
    rows = sessions.semi_join(_wanted(), "session_id")
    return rows.aggregate(tenant=rows.tenant.max(), start_ns=rows.start_ns.min(), end_ns=rows.end_ns.max()).filter(
        lambda t: t.start_ns.notnull()
    )


@lru_cache(maxsize=1)
def _of_sessions() -> ir.Table:
    turns = table_of("turns")
    rows = turns.semi_join(turns.semi_join(_wanted(), "session_id").select("trace_id"), "trace_id")
    rows = traces.merged(rows, frozenset({"session_id"})).semi_join(_wanted(), "session_id")
    return rows.select("trace_id", "tenant", "start_ns", "first_ns", "reach_ns", target=rows.session_id)


@lru_cache(maxsize=1)
def _of_traces() -> ir.Table:
    turns = table_of("turns")
    rows = turns.semi_join(ibis.table({"trace_id": "string"}, name="wanted"), "trace_id")
    rows = traces.merged(rows, frozenset())
    return rows.select("trace_id", "tenant", "start_ns", "first_ns", "reach_ns", target=rows.trace_id)


@lru_cache(maxsize=2)
def _beginning(by_app: bool) -> ir.Table:
    sessions = table_of("sessions")
    rows = sessions.group_by("session_id").agg(
        tenant=sessions.tenant.max(),
        app=sessions.app.min(),
        start_ns=sessions.start_ns.min(),
        end_ns=sessions.end_ns.max(),
    )
    kept = [rows.start_ns >= slot("from_ns", "int64"), rows.start_ns < slot("until_ns", "int64")]
    kept += [rows.app == slot("app", "string")] if by_app else []
    return rows.filter(*kept).select("session_id", "tenant", "start_ns", "end_ns")


def _wanted() -> ir.Table:
    return ibis.table({"session_id": "string"}, name="wanted_sessions")
