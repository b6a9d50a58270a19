"""When sessions began, and with which app, release and variant: as their first turn says."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import ibis
import ibis.expr.types as ir
import polars as pl
import pyarrow as pa

from store import traces
from store.engine import table_of
from store.tenant import TenantStore

COLUMNS: Final = ("session_id", "start_ns", "app", "release", "variant")
_WANTED: Final = frozenset({"app", "release", "variant", "session_id"})


def session_starts(store: TenantStore, session_ids: Sequence[str], *, as_of_ns: int | None = None) -> pl.DataFrame:
    """COLUMNS of those of these sessions that have a turn, in no order."""
    wanted = {"wanted_sessions": pa.table({"session_id": pa.array(list(session_ids), pa.string())})}
    return store.frame(_starts(), None, as_of_ns, given=wanted).select(COLUMNS)


@lru_cache(maxsize=1)
def _starts() -> ir.Table:
    wanted = ibis.table({"session_id": "string"}, name="wanted_sessions")
    turns = table_of("turns")
    partial = turns.semi_join(turns.semi_join(wanted, "session_id").select("trace_id"), "trace_id")
    rows = traces.merged(partial, _WANTED).semi_join(wanted, "session_id")
    key = ibis.struct({"at": rows.start_ns, "id": rows.trace_id})
    return rows.group_by("session_id").agg(
        tenant=rows.tenant.max(),
        **{name: rows[name].argmin(key) for name in ("app", "release", "variant")},
        start_ns=rows.start_ns.min(),
    )
