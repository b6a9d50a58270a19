"""The queries on ClickHouse's engine: the same expressions, over the same files of the same snapshot.

A ClickHouse server reads the lake where it lies (its own disk at the lake's path, or an object store) and does the work
that one machine cannot; `chdb://memory` is that engine inside this process, for tests and for a first look. Nothing is
loaded into ClickHouse and nothing is written by it. See docs/scaling.md for when it pays.

Where its SQL says another thing than DuckDB's under the same name, `_Compiler` says what DuckDB means: text is counted
and lowered by characters, not bytes; map keys and values unnest side by side, not crosswise.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Final

import ibis
import ibis.expr.datatypes as dt
import ibis.expr.operations as ops
import ibis.expr.types as ir
import pyarrow as pa
import sqlglot.expressions as sge
from ibis.backends.sql.compilers.clickhouse import ClickHouseCompiler
from ibis.backends.sql.datatypes import ClickHouseType
from ibis.backends.sql.dialects import ClickHouse

from core.errors import Corrupt, InvalidInput, StorageFailed
from store.engine import COMPILED_KEPT, Slot, Source, floor_divided, with_ctes
from store.lake import TIME_COLUMN
from store.schema import TABLES
from store.trust import fingerprint

COLLECTION: Final = "assay_lake"
GIVEN_MOST_BYTES: Final = 256 << 20  # of a query's text, which carries the given tables
# What says something about a file (https://github.com/ClickHouse/ClickHouse/blob/master/src/Common/ErrorCodes.cpp).
_OF_A_FILE: Final = frozenset({8, 32, 33, 40, 74, 76, 79, 107, 117, 246, 271, 354, 432, 499, 636, 1001, 1002})
_SETTINGS: Final = {
    "join_use_nulls": 1,  # a row without a partner has nulls, not zeros
    "prefer_column_name_to_alias": 1,  # max(tenant) AS tenant leaves the column's name alone
    "use_hive_partitioning": 0,  # tenant and date are taken from the path as text
    "input_format_parquet_allow_missing_columns": 1,
    "output_format_decimal_trailing_zeros": 1,
    "output_format_arrow_string_as_string": 1,
    "session_timezone": "UTC",
    "glob_expansion_max_elements": 1_000_000,
    "max_query_size": GIVEN_MOST_BYTES,
    "max_parser_depth": 10_000,
}


class _Compiler(ClickHouseCompiler):  # type: ignore[misc]
    """ClickHouse's SQL with DuckDB's meaning, and with placeholders for what is bound."""

    __slots__ = ()
    SIMPLE_OPS: ClassVar[dict[type[ops.Node], str]] = {}  # else ibis would define those again over the methods below

    def visit_Slot(self, op: Slot, *, slot: str, dtype: dt.DataType) -> Any:  # noqa: N802
        """{name: Type}"""
        return sge.Placeholder(this=f"slot_{slot}", kind=self.type_mapper.to_string(dtype.copy(nullable=False)))

    def visit_Lowercase(self, op: ops.Lowercase, *, arg: sge.Expression) -> Any:  # noqa: N802
        """Of every alphabet, not of ASCII alone."""
        return self.f.anon.lowerUTF8(arg)

    def visit_Uppercase(self, op: ops.Uppercase, *, arg: sge.Expression) -> Any:  # noqa: N802
        """Of every alphabet, not of ASCII alone."""
        return self.f.anon.upperUTF8(arg)

    def visit_HexDigest(self, op: ops.HexDigest, *, arg: sge.Expression, how: str) -> Any:  # noqa: N802
        """In small hex digits."""
        digest = {"md5": self.f.anon.MD5, "sha256": self.f.anon.SHA256}[how]
        return self.f.anon.lower(self.f.anon.hex(digest(arg)))

    def visit_StringLength(self, op: ops.StringLength, *, arg: sge.Expression) -> Any:  # noqa: N802
        """In characters."""
        return self.f.anon.lengthUTF8(arg)

    def visit_Substring(  # noqa: N802
        self, op: ops.Substring, *, arg: sge.Expression, start: sge.Expression, length: sge.Expression | None
    ) -> Any:
        """In characters, from 0."""
        parts = [arg, start + 1] if length is None else [arg, start + 1, length]
        return self.f.anon.substringUTF8(*parts)

    def visit_StringFind(self, op: ops.StringFind, **given: Any) -> Any:  # noqa: N802
        """In characters; ibis counts from 0 in its own rewrite."""
        return self.f.anon.positionUTF8(given["arg"], given["substr"])

    def visit_RegexExtract(  # noqa: N802
        self, op: ops.RegexExtract, *, arg: sge.Expression, pattern: sge.Expression, index: sge.Expression
    ) -> Any:
        """Empty where nothing is found, null of null: ibis fails at a null, even of a row that a filter drops."""
        groups = self.f.anon.extractGroups(self.f.anon.ifNull(arg, ""), self.f.anon.concat("(", pattern, ")"))
        found = self.f.anon.arrayElement(groups, sge.paren(index) + 1)
        return self.if_(self.f.anon.isNull(arg), sge.null(), found)

    def visit_FloorDivide(self, op: ops.FloorDivide, *, left: sge.Expression, right: sge.Expression) -> Any:  # noqa: N802
        """Of integers to the last digit, as on DuckDB."""
        rounded: sge.Expression = super().visit_FloorDivide(op, left=left, right=right)
        return floor_divided(op, left, right, self.f.anon.intDiv) or rounded

    def visit_CountDistinct(self, op: ops.CountDistinct, *, arg: Any, where: Any) -> Any:  # noqa: N802
        """Exactly, not by an estimate."""
        return self.agg.uniqExact(arg, where=where)

    def visit_Unnest(self, op: ops.Unnest, *, arg: sge.Expression) -> Any:  # noqa: N802
        """Keys and values of one map become rows side by side: both are parts of one arrayJoin."""
        part = {ops.MapKeys: 1, ops.MapValues: 2}.get(type(op.arg))
        if part is None:
            return self.f.anon.arrayJoin(arg)
        (pairs,) = arg.args["expressions"] if arg.args.get("expressions") else (arg.this,)
        return sge.Dot(this=self.f.anon.arrayJoin(pairs), expression=sge.convert(part))


_COMPILER: Final = _Compiler()
_COMPILING: Final = threading.Lock()


@dataclass(frozen=True, kw_only=True)
class _Compiled:
    sql: str
    tables: Mapping[str, ibis.Schema]
    slots: frozenset[str]
    schema: pa.Schema


class ClickHouseEngine:
    """A ClickHouse server, or the engine in this process (`chdb://memory`). Threads share it; see QueryEngine.

    `url` is clickhouse-connect's: `clickhouse://user:password@host:8123/` (`clickhouses://` with TLS). The lake lies at
    `root`, which the server sees under the same name; or, with `reads_objects`, where the server's named collection
    COLLECTION says, with the credentials that stand there.
    """

    @property
    def reads_objects(self) -> bool:
        """See QueryEngine."""
        return self._reads_objects

    def __init__(
        self, url: str, root: str | Path, *, reads_objects: bool = False, memory_limit: int = 0, n_threads: int = 0
    ) -> None:
        """Raises InvalidInput for a root with wildcards or without the package, StorageFailed without a server."""
        if any(letter in str(root) for letter in "*?{}[]"):
            raise InvalidInput(
                f"the lake's path {root} has wildcards in it, which ClickHouse would expand", field="lake"
            )
        self._root = str(Path(root).absolute())
        self._reads_objects = reads_objects
        self._url = url
        self._settings = _SETTINGS | {"max_threads": n_threads, "max_memory_usage": memory_limit}
        self._idle: list[Any] = []
        self._lock = threading.Lock()
        with self._client():
            pass

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
        bound: dict[str, object] = {f"slot_{name}": values[name] for name in compiled.slots}
        for name, declared in sorted(compiled.tables.items()):
            if name in given:
                ctes.append(f'"{name}" AS ({_given(given[name], declared)})')
            else:
                body, more = self._relation(sources[name])
                ctes.append(f'"{name}" AS ({body})')
                bound |= more
        rows = self._rows(with_ctes(ctes, compiled.sql), bound)
        files = [file for name, source in sources.items() if name in compiled.tables for file in source.files]
        gone = [] if self._reads_objects else [file.path for file in files if fingerprint(file.path) is None]
        if gone:  # of several files on a disk, ClickHouse leaves a missing one out without a word; of objects not
            raise Corrupt(f"{gone[0]} went away while it was read")
        return rows.select(compiled.schema.names).cast(compiled.schema)

    def close(self) -> None:
        """See QueryEngine."""
        with self._lock:
            clients, self._idle = self._idle, []
        for client in clients:
            client.close()

    # -- talking to it ---------------------------------------------------------------------------------------------

    def _rows(self, sql: str, bound: Mapping[str, object]) -> pa.Table:
        from clickhouse_connect.driver.exceptions import ClickHouseError

        with self._client() as client:
            try:
                found: pa.Table = client.query_arrow(sql, parameters=dict(bound), settings=self._settings)
            except ClickHouseError as error:
                if getattr(error, "code", None) in _OF_A_FILE:
                    raise Corrupt(f"a file of the lake cannot be read: {str(error)[:300]}") from error
                raise StorageFailed(f"ClickHouse refused a query: {str(error)[:300]}") from error
        return found

    @contextmanager
    def _client(self) -> Iterator[Any]:
        """A client for one query at a time. One whose query failed is not used again: chdb prefixes its next answer
        with what is left of the failed one."""
        with self._lock:
            client = self._idle.pop() if self._idle else None
        client = client or self._connected()
        try:
            yield client
        except BaseException:
            with suppress(OSError):
                client.close()
            raise
        with self._lock:
            self._idle.append(client)

    def _connected(self) -> Any:
        try:
            import clickhouse_connect
            from clickhouse_connect.driver.exceptions import ClickHouseError
        except ModuleNotFoundError as error:
            raise InvalidInput(
                "queries on ClickHouse need the package clickhouse-connect, which is not installed; run `make setup`, "
                "or pip install clickhouse-connect",
                field="clickhouse_url",
            ) from error
        try:
            if self._url.startswith("chdb:"):
                return clickhouse_connect.get_client(dsn=self._url)
            return clickhouse_connect.get_client(dsn=self._url, autogenerate_session_id=False, query_limit=0)
        except (ClickHouseError, OSError, ImportError) as error:
            raise StorageFailed(f"ClickHouse cannot be reached: {str(error)[:300]}") from error

    # -- saying it -------------------------------------------------------------------------------------------------

    def _relation(self, source: Source) -> tuple[str, dict[str, object]]:
        """The SELECT behind a table name, and its bound values."""
        stored = [field for field in TABLES[source.table] if field.name not in ("tenant", "date")]
        columns = [f'"{field.name}"' for field in TABLES[source.table]] + _computed(source.table)
        if not source.files:
            nulls = [f'CAST(NULL AS {_type(field)}) AS "{field.name}"' for field in stored if not _is_map(field)]
            nulls += [f'CAST(map() AS {_type(field)}) AS "{field.name}"' for field in stored if _is_map(field)]
            partition = ["CAST(NULL AS Nullable(String)) AS tenant", "CAST(NULL AS Nullable(String)) AS date"]
            return f"SELECT {', '.join(columns)} FROM (SELECT {', '.join(partition + nulls)} WHERE 0)", {}
        structure = ", ".join(f"{field.name} {_type(field)}" for field in stored)
        partition = [f"extract(_path, '/{name}=([^/]+)/') AS {name}" for name in ("tenant", "date")]
        rows = f"SELECT *, {', '.join(partition)} FROM {self._files(source, structure)}"
        wheres, bound = _wheres(source)
        return f"SELECT {', '.join(columns)} FROM ({rows}) WHERE {' AND '.join(wheres)}", bound

    def _files(self, source: Source, structure: str) -> str:
        """The table function that reads exactly these files."""
        names = ",".join(file.relative for file in source.files)
        chosen = f"{{{names}}}" if len(source.files) > 1 else names
        if self._reads_objects:
            where = f"filename = {_text(f'{source.table}/{chosen}')}"
            return f"s3({COLLECTION}, {where}, format = 'Parquet', structure = {_text(structure)})"
        return f"file({_text(f'{self._root}/{source.table}/{chosen}')}, 'Parquet', {_text(structure)})"


def _compile(expr: ir.Table) -> _Compiled:
    with _COMPILING:
        return _compiled(expr.op())


@lru_cache(maxsize=COMPILED_KEPT)
def _compiled(node: ops.Node) -> _Compiled:
    """The same for every engine of a process: it depends on nothing but the expression."""
    expr = node.to_expr()
    return _Compiled(
        sql=_COMPILER.to_sqlglot(expr).sql(ClickHouse),
        tables={str(table.name): table.schema for table in node.find(ops.UnboundTable)},
        slots=frozenset(str(found.slot) for found in node.find(Slot)),
        schema=expr.schema().to_pyarrow(),
    )


def _wheres(source: Source) -> tuple[list[str], dict[str, object]]:
    table = source.table
    wheres = [f"tenant = {{tenant_{table}: String}}"]
    values: dict[str, object] = {f"tenant_{table}": str(source.tenant)}
    if source.window is not None:
        column = TIME_COLUMN[table]
        wheres += [f'"{column}" >= {{from_{table}: Int64}}', f'"{column}" <= {{last_{table}: Int64}}']
        values |= {f"from_{table}": source.window.start_ns, f"last_{table}": source.window.end_ns - 1}
    if source.as_of_ns is not None:
        wheres.append(f'toUnixTimestamp64Micro("ingested_at") <= {{as_of_{table}: Int64}}')
        values[f"as_of_{table}"] = source.as_of_ns // 1000
    return wheres, values


def _computed(table: str) -> list[str]:
    """The added columns of store.engine.table_of. ClickHouse's times end in 1900 and 2299; `_ns` columns do not."""
    time_column = TIME_COLUMN[table]
    added = []
    if time_column != "seq":
        added.append(f'fromUnixTimestamp64Micro(intDiv("{time_column}", 1000), \'UTC\') AS "started_at"')
    if table == "spans":
        added.append('"duration_ns" / 1e6 AS "duration_ms"')
    return added


def _given(rows: pa.Table, declared: ibis.Schema) -> str:
    """A table that came with the query, inside its text: chdb takes no data beside it."""
    wanted = [field for field in declared.to_pyarrow() if field.name in rows.column_names]
    plain = rows.select([field.name for field in wanted]).cast(pa.schema(wanted))
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, plain.schema) as stream:
        stream.write_table(plain)
    structure = ", ".join(f"{field.name} {_type(field)}" for field in wanted)
    return f"SELECT * FROM format('ArrowStream', {_text(structure)}, unhex('{sink.getvalue().hex()}'))"


def _is_map(field: pa.Field) -> bool:
    return bool(pa.types.is_map(field.type))


def _type(field: pa.Field) -> str:
    """ClickHouse's type of a column. Maps cannot be null there; they are empty instead."""
    return str(ClickHouseType.to_string(ibis.Schema.from_pyarrow(pa.schema([field]))[field.name]))


def _text(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
