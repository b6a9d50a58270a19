"""Query engines: an ibis expression over named tables, run on exactly the files it is given.

An engine never lists a folder and never sees a table's name on disk. It gets, for every table of the expression, a
`Source`: the files of one tenant in one snapshot with the time window to keep. `DuckDBEngine` runs it in process.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Protocol

import duckdb
import ibis
import ibis.expr.datashape as ds
import ibis.expr.datatypes as dt
import ibis.expr.operations as ops
import ibis.expr.types as ir
import pyarrow as pa
import sqlglot.expressions as sge
from ibis.backends.sql.compilers.duckdb import DuckDBCompiler

from core.errors import Corrupt
from core.ids import TenantId
from core.windows import Window
from store.delta_log import LakeFile
from store.held import HeldRows, worth_holding
from store.lake import TIME_COLUMN
from store.schema import TABLES

_NOT_THE_FILES: Final = (
    duckdb.BinderException,
    duckdb.CatalogException,
    duckdb.ParserException,
    duckdb.OutOfMemoryException,
    duckdb.InterruptException,
    duckdb.ConversionException,
    duckdb.OutOfRangeException,
)
COMPILED_KEPT: Final = 512
# DuckDB 2.0 keeps something of every statement for as long as its database lives, cursor closed or not: 14 KB of a list
# of traces, which asks two. Footers of files that are gone stay as long. Making another database takes 20 ms. After
# each 250 of 2,000 lists a process held 262 to 277 MiB with 500 statements: more than the slope that a soak is to see.
RUNS_OF_A_DATABASE: Final = 200


@dataclass(frozen=True, kw_only=True)
class Source:
    """What stands behind one table name in a query: files of one tenant, and the rows of them that are visible."""

    table: str
    tenant: TenantId
    files: tuple[LakeFile, ...]
    window: Window | None = None
    as_of_ns: int | None = None


class Slot(ops.Value):  # type: ignore[misc]
    """A value that is bound when the query runs: the expression, and its SQL, stay the same for every value."""

    slot: str
    dtype: dt.DataType
    shape = ds.scalar

    @property
    def name(self) -> str:
        """The name of the bound value."""
        return str(self.slot)


def slot(name: str, dtype: str) -> ir.Scalar:
    """An ibis scalar of type `dtype` whose value comes from `values[name]` when the query runs."""
    return Slot(slot=name, dtype=dt.dtype(dtype)).to_expr()


class QueryEngine(Protocol):
    """Runs expressions over sources."""

    @property
    def reads_objects(self) -> bool:
        """Whether it fetches the files of a lake in an object store itself, past this machine's mirror."""
        ...

    def run(
        self,
        expr: ir.Table,
        *,
        sources: Mapping[str, Source],
        values: Mapping[str, object],
        given: Mapping[str, pa.Table],
    ) -> pa.Table:
        """The rows, with the column names and types that the expression declares.

        `given` holds further tables by name. Raises Corrupt where a file cannot be read.
        """
        ...

    def close(self) -> None:
        """Gives back memory and files."""
        ...


def table_of(name: str) -> ir.Table:
    """The unbound ibis table of a lake table: its columns, `started_at` (timestamp) where it has a time, and
    `duration_ms` for spans."""
    columns = dict(ibis.Schema.from_pyarrow(TABLES[name]).items())
    columns |= dict.fromkeys(_computed(name), "float64")
    if "started_at" in columns:
        columns["started_at"] = "timestamp(6)"
    return ibis.table(columns, name=name)


def _computed(name: str) -> dict[str, str]:
    """Added columns and their SQL."""
    time_column = TIME_COLUMN[name]
    added = {} if time_column == "seq" else {"started_at": f'make_timestamp("{time_column}" // 1000)'}
    if name == "spans":
        added["duration_ms"] = '"duration_ns" / 1e6'
    return added


def floor_divided(
    op: ops.FloorDivide, left: sge.Expression, right: sge.Expression, truncated: Callable[..., sge.Expression]
) -> sge.Expression | None:
    """The SQL of `left // right` of integers, rounded down, by a division that rounds towards zero; None where
    they are no integers."""
    if not (op.left.dtype.is_integer() and op.right.dtype.is_integer()):
        return None
    whole, by = sge.paren(left), sge.paren(right)
    zero, rest = sge.convert(0), sge.paren(sge.Mod(this=whole, expression=by))
    signs = [sge.paren(sge.LT(this=each, expression=zero)) for each in (rest, by)]
    other = sge.And(this=sge.NEQ(this=rest, expression=zero), expression=sge.NEQ(this=signs[0], expression=signs[1]))
    less = sge.Case(ifs=[sge.If(this=other, true=sge.convert(1))], default=zero)
    return sge.paren(sge.Sub(this=sge.paren(truncated(whole, by)), expression=sge.paren(less)))


class _Compiler(DuckDBCompiler):  # type: ignore[misc]
    """DuckDB's SQL, with parameters left as placeholders so that the text can be kept."""

    __slots__ = ()

    def visit_Slot(self, op: Slot, *, slot: str, dtype: Any) -> sge.Expression:  # noqa: N802
        """$name, with the type where DuckDB would guess another."""
        placeholder = sge.Placeholder(this=f"slot_{slot}")
        return self.cast(placeholder, dtype) if not (dtype.is_string() or dtype.is_integer()) else placeholder

    def visit_FloorDivide(self, op: ops.FloorDivide, *, left: sge.Expression, right: sge.Expression) -> Any:  # noqa: N802
        """Of integers to the last digit: ibis divides doubles, which round the nanoseconds of our time."""
        rounded: sge.Expression = super().visit_FloorDivide(op, left=left, right=right)
        return floor_divided(op, left, right, lambda whole, by: sge.IntDiv(this=whole, expression=by)) or rounded


_COMPILER: Final = _Compiler()
_COMPILING: Final = threading.Lock()


@dataclass(frozen=True, kw_only=True)
class _Compiled:
    sql: str
    tables: frozenset[str]
    slots: frozenset[str]
    schema: pa.Schema


class DuckDBEngine:
    """DuckDB in this process. Every run has a cursor of its own, so threads share it.

    It may read below `root` and nowhere else: no other path, no network, no extension, and its configuration is
    locked once made. `memory_limit` bounds its working memory, `n_threads` its share of the machine. Small files of
    short rows are decoded once and held (store/held.py). After RUNS_OF_A_DATABASE statements another database takes the
    place of the one before, as soon as nothing runs, or after twice as many, and then the one before goes with
    its last cursor. (A database that ends stops the threads by which the allocator of all of them gives pages back.)
    """

    reads_objects: Final = False

    def __init__(self, root: str | Path, *, memory_limit: str = "512MB", n_threads: int = 2) -> None:
        self._root = Path(root).absolute()
        self._memory_limit, self._n_threads = memory_limit, n_threads
        self._connection, self._runs, self._n_open = self._database(), 0, 0
        self._held = HeldRows()
        self._lock = threading.Lock()

    def _database(self) -> duckdb.DuckDBPyConnection:
        """A database without tables, set up and locked."""
        connection = duckdb.connect(":memory:", config={"threads": self._n_threads, "memory_limit": self._memory_limit})
        for statement in (
            f"SET allowed_directories = [{_text(str(self._root))}]",
            "SET temp_directory = ''",
            "SET parquet_metadata_cache = true",
            # Else its allocator gives pages back when somebody asks for others, or not at all.
            "SET allocator_background_threads = true",
            "SET TimeZone = 'UTC'",
            "SET autoinstall_known_extensions = false",
            "SET autoload_known_extensions = false",
            "SET enable_external_access = false",
            "SET lock_configuration = true",
        ):
            connection.execute(statement)
        return connection

    def _cursor(self) -> duckdb.DuckDBPyConnection:
        """A cursor for one statement."""
        with self._lock:
            if self._runs >= RUNS_OF_A_DATABASE * (1 if self._n_open == 0 else 2):
                if self._n_open == 0:
                    self._connection.close()  # before the next is made; its cursors would end with it
                self._connection, self._runs = self._database(), 0
            cursor = self._connection.cursor()
            self._runs, self._n_open = self._runs + 1, self._n_open + 1
            return cursor

    def _closed(self, cursor: duckdb.DuckDBPyConnection) -> None:
        with self._lock:
            self._n_open -= 1
            cursor.close()

    def run(
        self,
        expr: ir.Table,
        *,
        sources: Mapping[str, Source],
        values: Mapping[str, object],
        given: Mapping[str, pa.Table],
    ) -> pa.Table:
        """See QueryEngine."""
        compiled = _compile(expr)
        ctes: list[str] = []
        tables = {name: given[name] for name in compiled.tables & set(given)}
        bound: dict[str, object] = {f"slot_{name}": values[name] for name in compiled.slots}
        for name in sorted(compiled.tables - set(given)):
            held = self._held_rows(sources[name])
            body, more = _relation(sources[name], _of_files(sources[name]) if held is None else f'"held_{name}"')
            ctes.append(f'"{name}" AS NOT MATERIALIZED ({body})')
            tables |= {} if held is None else {f"held_{name}": held}
            bound |= more
        sql = with_ctes(ctes, compiled.sql)
        return self._rows(sql, bound, tables).select(compiled.schema.names).cast(compiled.schema)

    def _rows(self, sql: str, bound: Mapping[str, object], tables: Mapping[str, pa.Table]) -> pa.Table:
        """The rows of a statement over files and the given tables. Raises Corrupt where a file cannot be read."""
        cursor = self._cursor()
        try:
            for name, rows in tables.items():
                cursor.register(name, rows)
            return cursor.sql(sql, params=bound).to_arrow_table()
        except duckdb.Error as error:
            if isinstance(error, _NOT_THE_FILES):
                raise
            raise Corrupt(f"a file of the lake cannot be read: {str(error)[:300]}") from error
        finally:
            self._closed(cursor)

    def _held_rows(self, source: Source) -> pa.Table | None:
        """All rows of the source's files as they were stored, where these are held."""
        if not worth_holding(source.table, source.files):
            return None
        return pa.concat_tables([self._held.rows(file, lambda f: self._decoded(source, f)) for file in source.files])

    def _decoded(self, source: Source, file: LakeFile) -> pa.Table:
        columns = ", ".join(f'"{field.name}"' for field in TABLES[source.table])
        one = Source(table=source.table, tenant=source.tenant, files=(file,))
        return self._rows(f"SELECT {columns} FROM {_of_files(one)}", {}, {})

    def close(self) -> None:
        """See QueryEngine."""
        self._connection.close()


def _compile(expr: ir.Table) -> _Compiled:
    with _COMPILING:
        return _compiled(expr.op())


@lru_cache(maxsize=COMPILED_KEPT)
def _compiled(node: ops.Node) -> _Compiled:
    """The same for every engine of a process: it depends on nothing but the expression."""
    expr = node.to_expr()
    return _Compiled(
        sql=_COMPILER.to_sqlglot(expr).sql("duckdb"),
        tables=frozenset(str(table.name) for table in node.find(ops.UnboundTable)),
        slots=frozenset(str(found.slot) for found in node.find(Slot)),
        schema=expr.schema().to_pyarrow(),
    )


def _relation(source: Source, rows: str) -> tuple[str, dict[str, object]]:
    """The SELECT behind a table name, from the SQL of its stored rows, and its bound values."""
    columns = [f'"{field.name}"' for field in TABLES[source.table]]
    columns += [f'{sql} AS "{name}"' for name, sql in _computed(source.table).items()]
    if not source.files:
        return f"SELECT {', '.join(columns)} FROM ({_no_rows(source.table)})", {}
    wheres = [f'"tenant" = $tenant_{source.table}']
    bound: dict[str, object] = {f"tenant_{source.table}": str(source.tenant)}
    if source.window is not None:
        column = TIME_COLUMN[source.table]
        wheres += [f'"{column}" >= $from_{source.table}', f'"{column}" < $until_{source.table}']
        bound[f"from_{source.table}"] = source.window.start_ns
        bound[f"until_{source.table}"] = source.window.end_ns
    if source.as_of_ns is not None:
        wheres.append(f'epoch_us("ingested_at") <= $as_of_{source.table}')
        bound[f"as_of_{source.table}"] = source.as_of_ns // 1000
    return f"SELECT {', '.join(columns)} FROM {rows} WHERE {' AND '.join(wheres)}", bound


def with_ctes(ctes: list[str], sql: str) -> str:
    """The statement with further common table expressions before its own."""
    if not ctes:
        return sql
    own = sql.removeprefix("WITH ")
    return f"WITH {', '.join(ctes)}{' ' if own == sql else ', '}{own}"


def _of_files(source: Source) -> str:
    """The stored rows of the source's files, in SQL."""
    paths = ", ".join(_text(file.path) for file in source.files)
    return f"read_parquet([{paths}], hive_partitioning = true, hive_types = {{'tenant': VARCHAR, 'date': VARCHAR}})"


def _no_rows(table: str) -> str:
    types = ibis.Schema.from_pyarrow(TABLES[table])
    nulls = [
        f'CAST(NULL AS {DuckDBCompiler.type_mapper.to_string(dtype)}) AS "{name}"' for name, dtype in types.items()
    ]
    return f"SELECT {', '.join(nulls)} WHERE false"


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
