"""The only handle on the lake: `Store.tenant(id)` gives a TenantStore; a query without a tenant cannot be spelled."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import ibis.expr.operations as ops
import ibis.expr.types as ir
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from core.clock import NS_PER_S, Clock, system_clock
from core.errors import Conflict, Corrupt, InvalidInput
from core.ids import TenantId, tenant_id
from core.windows import Window
from store import derive
from store.delta_log import LakeFile
from store.engine import QueryEngine, Source, table_of
from store.lake import TIME_COLUMN, Lake
from store.schema import SPANS, TABLES
from store.trust import LEFT_OUT, Damage, fingerprint

Windows = Window | Mapping[str, Window] | None

TRIES: Final = 4

_TABLES: Final = {name: table_of(name) for name in TIME_COLUMN}
_MOVED: Final = _TABLES["spans"].select("moved_attributes").distinct()
_MOVABLE: Final = frozenset(SPANS.names)


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


@dataclass(frozen=True, kw_only=True)
class _Wanted:
    """Rows of one table that a query asks for; `files` None means all files of the window."""

    window: Window | None = None
    as_of_ns: int | None = None
    files: tuple[LakeFile, ...] | None = None


class TenantStore:
    """Reads and appends rows of one tenant.

    A damaged file is left out of every read, and stands in `left_out` from then on: whoever answers from such reads
    says so (docs/operations.md). No row comes from a file whose bytes were not compared with its hash.
    """

    def __init__(self, tenant: TenantId, lake: Lake, engine: QueryEngine, moved: MovedKeys) -> None:
        self.tenant = tenant
        self._lake = lake
        self._engine = engine
        self._moved = moved
        self._left_out: dict[str, Damage] = {}

    @property
    def left_out(self) -> tuple[Damage, ...]:
        """The damaged files that reads through this handle had to do without, by name."""
        return tuple(damage for _, damage in sorted(self._left_out.items()))

    @property
    def root(self) -> Path:
        """The lake's folder on this machine, where its processes share locks."""
        return self._lake.root

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
        Damaged files are left out and stand in `left_out`. Raises Corrupt when a row of another tenant turns up, when
        the table's log is damaged, or when a file that is as it was written cannot be decoded.
        """
        tables = {str(table.name) for table in expr.op().find(ops.UnboundTable)}
        bound = dict(given or {})
        wanted = {}
        if as_of_ns is not None:
            self._lake.stamps.let_end(as_of_ns)
        for name in tables - set(bound):
            kept = window.get(name) if isinstance(window, Mapping) else window
            if as_of_ns is not None and name in derive.DERIVED:
                bound[name] = self._derived(name, kept, as_of_ns)
            else:
                wanted[name] = _Wanted(window=kept, as_of_ns=as_of_ns)
        return self._own(self._run(expr, wanted, values or {}, bound))

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
        """Appends rows of store/schema.py with `ingested_at` set to now, durable on return.

        Raises InvalidInput for a row of another tenant.
        """
        if not pc.all(pc.equal(rows.column("tenant"), self.tenant)).as_py() and rows.num_rows:
            raise InvalidInput(f"rows of another tenant cannot be written to {self.tenant}", field="tenant")
        with self._lake.stamps.stamped(rows) as stamped:
            return self._lake.append(table, stamped)

    def moved_columns(self, keys: Iterable[str], window: Window) -> dict[str, tuple[str, ...]]:
        """For each attribute key, the span columns into which it was moved in files of `window`."""
        wanted = list(keys)
        files = self._moved.unseen(self.files("spans", window)) if wanted else ()
        if files:
            rows = self._run(_MOVED, {"spans": _Wanted(files=files)}, {}, {})
            files = tuple(file for file in files if f"spans/{file.relative}" not in self._left_out)
            self._moved.learn(files, rows.column("moved_attributes").to_pylist())
        return {key: self._moved.columns(key) for key in wanted}

    def _run(
        self, expr: ir.Table, wanted: Mapping[str, _Wanted], values: Mapping[str, object], given: Mapping[str, pa.Table]
    ) -> pa.Table:
        """The engine's rows, from files that were sound before it read them and are unchanged afterwards."""
        for _ in range(TRIES):
            chosen = {name: self._chosen(name, asked) for name, asked in wanted.items()}
            if not self._engine.reads_objects:
                self._bring(chosen)
            seen = {file.path: fingerprint(file.path) for files in chosen.values() for file in files}
            try:
                sources = {name: self._source(name, asked, chosen[name]) for name, asked in wanted.items()}
            except Conflict:  # a file left its table, and the disk, since the snapshot was taken
                continue
            try:
                rows = self._engine.run(expr, sources=sources, values=values, given=given)
            except Corrupt:
                if not self._compared(sources):
                    raise
                continue
            if all(fingerprint(file.path) == seen[file.path] for source in sources.values() for file in source.files):
                return rows
        raise Corrupt("files of the lake change while they are read; nothing is returned")

    def _bring(self, chosen: Mapping[str, tuple[LakeFile, ...]]) -> None:
        for name, files in chosen.items():
            self._lake.bring(name, files)

    def _chosen(self, name: str, asked: _Wanted) -> tuple[LakeFile, ...]:
        return self.files(name, asked.window) if asked.files is None else asked.files

    def _source(self, name: str, asked: _Wanted, files: tuple[LakeFile, ...]) -> Source:
        """The files that may be read; the damaged ones are kept in mind. Raises Conflict, see Lake.sound."""
        past = self._engine.reads_objects
        sound, damaged = self._lake.not_noted(files) if past else self._lake.sound(name, files)
        told = LEFT_OUT.get()
        for damage in damaged:
            self._left_out[damage.file] = damage
            if told is not None:
                told[damage.file] = damage
        return Source(table=name, tenant=self.tenant, files=sound, window=asked.window, as_of_ns=asked.as_of_ns)

    def _compared(self, sources: Mapping[str, Source]) -> bool:
        """Reads every file of a query that failed, and tells whether one is damaged or has gone."""
        files = [(name, file) for name, source in sources.items() for file in source.files]
        self._bring({name: source.files for name, source in sources.items()})
        try:
            found = [self._lake.trust.compare(name, file) for name, file in files]
        except Conflict:
            return True
        return any(found)

    def _derived(self, name: str, window: Window | None, as_of_ns: int) -> pa.Table:
        """The partial rows that spans stored by `as_of_ns` make, file by file so that memory stays bounded."""
        read = derive.readable(_TABLES["spans"])
        parts = [TABLES[name].empty_table()]
        for file in self.files("spans", window):
            wanted = _Wanted(window=window, as_of_ns=as_of_ns, files=(file,))
            spans = self._own(self._run(read, {"spans": wanted}, {}, {}))
            if spans.num_rows:
                parts.append(derive.derived(name, spans))
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
    """The window widened by `margin_s` seconds on both sides, inside what int64 holds (the end is exclusive)."""
    margin = margin_s * NS_PER_S
    return Window(start_ns=max(window.start_ns - margin, -(2**63)), end_ns=min(window.end_ns + margin, 2**63))
