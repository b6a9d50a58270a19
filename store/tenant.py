"""The only handle on the lake: `Store.tenant(id)` gives a TenantStore; a query without a tenant cannot be spelled."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from typing import Final

import ibis.expr.operations as ops
import ibis.expr.types as ir
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from core.clock import NS_PER_S, Clock, system_clock
from core.errors import Corrupt, InvalidInput
from core.ids import TenantId, tenant_id
from core.windows import Window
from store import derive
from store.delta_log import LakeFile
from store.engine import QueryEngine, Source, table_of
from store.lake import TIME_COLUMN, Lake
from store.schema import ROLLUPS, SESSIONS, SPANS, TURNS

Windows = Window | Mapping[str, Window] | None

_TABLES: Final = {name: table_of(name) for name in TIME_COLUMN}
_MOVED: Final = _TABLES["spans"].select("moved_attributes").distinct()
_MOVABLE: Final = frozenset(SPANS.names)
_DERIVED: Final = {
    "turns": (derive.turns_of, TURNS),
    "sessions": (derive.sessions_of, SESSIONS),
    "rollups": (derive.rollups_of, ROLLUPS),
}


class Store:
    """The lake with a query engine. Thread-safe where both are."""

    def __init__(self, lake: Lake, engine: QueryEngine, clock: Clock = system_clock) -> None:
        self._lake = lake
        self._engine = engine
        self.clock = clock
        self._moved: dict[TenantId, MovedKeys] = {}

    def tenant(self, name: str) -> TenantStore:
        """The handle of one tenant. Raises InvalidInput for a name that cannot be one."""
        checked = tenant_id(name)
        moved = self._moved.setdefault(checked, MovedKeys())
        return TenantStore(checked, self._lake, self._engine, moved)


class MovedKeys:
    """Into which columns attribute keys were moved, as learned from the files seen so far. Thread-safe.

    Files never change, so each is asked once. A column too many costs a comparison; each row says for itself.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: frozenset[str] = frozenset()
        self._columns: dict[str, frozenset[str]] = {}

    def unseen(self, files: tuple[LakeFile, ...]) -> tuple[LakeFile, ...]:
        """The files that were not learned from yet."""
        return tuple(file for file in files if file.path not in self._seen)

    def learn(self, files: tuple[LakeFile, ...], moved_attributes: list[str | None]) -> None:
        """Takes in the distinct `moved_attributes` of some files."""
        with self._lock:
            for text in moved_attributes:
                for line in (text or "").splitlines():
                    key, _, column = line.rpartition("=")
                    if column in _MOVABLE:
                        self._columns[key] = self._columns.get(key, frozenset()) | {column}
            self._seen |= {file.path for file in files}

    def columns(self, key: str) -> tuple[str, ...]:
        """The columns that may hold the attribute `key`."""
        return tuple(sorted(self._columns.get(key, ())))


class TenantStore:
    """Reads and appends rows of one tenant."""

    def __init__(self, tenant: TenantId, lake: Lake, engine: QueryEngine, moved: MovedKeys) -> None:
        self.tenant = tenant
        self._lake = lake
        self._engine = engine
        self._moved = moved

    def table(self, name: str) -> ir.Table:
        """The unbound ibis table: the columns of store/schema.py, `started_at`, and `duration_ms` for spans."""
        return _TABLES[name]

    def files(self, name: str, window: Window | None = None) -> tuple[LakeFile, ...]:
        """The tenant's files of a table that can hold rows of `window`, newest rows first."""
        found = tuple(self._lake.snapshot(name).select(self.tenant, window))
        if any(file.tenant != self.tenant for file in found):
            raise Corrupt(f"the snapshot of {name} names a file of another tenant")
        return found

    def arrow(
        self,
        expr: ir.Table,
        window: Windows = None,
        as_of_ns: int | None = None,
        *,
        values: Mapping[str, object] | None = None,
        given: Mapping[str, pa.Table] | None = None,
    ) -> pa.Table:
        """Runs an expression over this tenant's tables.

        `window` keeps rows by each table's time column (one window for all tables, or one by table name).
        `as_of_ns` keeps rows that were stored by then; turns, sessions and rollups are then derived from those spans.
        `values` are the values of the expression's slots, `given` further tables it names.
        Raises Corrupt when a file is damaged or a row of another tenant turns up.
        """
        tables = {str(table.name) for table in expr.op().find(ops.UnboundTable)}
        bound = dict(given or {})
        sources = {}
        for name in tables - set(bound):
            kept = window.get(name) if isinstance(window, Mapping) else window
            if as_of_ns is not None and name in _DERIVED:
                bound[name] = self._derived(name, kept, as_of_ns)
            else:
                sources[name] = self._source(name, kept, as_of_ns)
        rows = self._engine.run(expr, sources=sources, values=values or {}, given=bound)
        return self._own(rows)

    def frame(
        self,
        expr: ir.Table,
        window: Windows = None,
        as_of_ns: int | None = None,
        *,
        values: Mapping[str, object] | None = None,
        given: Mapping[str, pa.Table] | None = None,
    ) -> pl.DataFrame:
        """The rows of `arrow` as polars."""
        frame = pl.from_arrow(self.arrow(expr, window, as_of_ns, values=values, given=given))
        assert isinstance(frame, pl.DataFrame)
        return frame

    def append(self, table: str, rows: pa.Table) -> int:
        """Appends rows of store/schema.py, durable on return. Raises InvalidInput for a row of another tenant."""
        if not pc.all(pc.equal(rows.column("tenant"), self.tenant)).as_py() and rows.num_rows:
            raise InvalidInput(f"rows of another tenant cannot be written to {self.tenant}", field="tenant")
        return self._lake.append(table, rows)

    def moved_columns(self, keys: Iterable[str], window: Window) -> dict[str, tuple[str, ...]]:
        """For each attribute key, the span columns into which it was moved in files of `window`."""
        wanted = list(keys)
        files = self._moved.unseen(self.files("spans", window)) if wanted else ()
        if files:
            source = Source(table="spans", tenant=self.tenant, files=files)
            rows = self._engine.run(_MOVED, sources={"spans": source}, values={}, given={})
            self._moved.learn(files, rows.column("moved_attributes").to_pylist())
        return {key: self._moved.columns(key) for key in wanted}

    def _source(self, name: str, window: Window | None, as_of_ns: int | None) -> Source:
        return Source(table=name, tenant=self.tenant, files=self.files(name, window), window=window, as_of_ns=as_of_ns)

    def _derived(self, name: str, window: Window | None, as_of_ns: int) -> pa.Table:
        """The partial rows that spans stored by `as_of_ns` make, file by file so that memory stays bounded."""
        make, schema = _DERIVED[name]
        read = derive.readable(_TABLES["spans"])
        parts = [schema.empty_table()]
        for file in self.files("spans", window):
            source = Source(table="spans", tenant=self.tenant, files=(file,), window=window, as_of_ns=as_of_ns)
            spans = self._own(self._engine.run(read, sources={"spans": source}, values={}, given={}))
            if spans.num_rows:
                parts.append(derive.to_table(make(derive.frame_of(spans)), schema))
        rows = pa.concat_tables(parts)
        started = pc.divide(rows.column(TIME_COLUMN[name]), 1000).cast(pa.timestamp("us"))
        return rows.append_column("started_at", started)

    def _own(self, rows: pa.Table) -> pa.Table:
        """Fails closed: a row of another tenant is an error, never an answer."""
        if "tenant" in rows.column_names and rows.num_rows:
            strangers = pc.any(pc.not_equal(rows.column("tenant"), self.tenant)).as_py()
            if strangers or rows.column("tenant").null_count:
                raise Corrupt(f"a query of tenant {self.tenant} found rows that are not its own; nothing is returned")
        return rows


def around(window: Window, margin_s: int) -> Window:
    """The window widened by `margin_s` seconds on both sides, inside int64."""
    margin = margin_s * NS_PER_S
    return Window(start_ns=max(window.start_ns - margin, -(2**63)), end_ns=min(window.end_ns + margin, 2**63 - 1))
