"""A store over a lake in a temporary folder, for tests of this folder, on the engine that the test runs for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ibis.expr.operations as ops
import ibis.expr.types as ir
import pyarrow as pa

from core.clock import NS_PER_S
from core.windows import Window
from store.clickhouse import ClickHouseEngine
from store.engine import DuckDBEngine, QueryEngine, Source
from store.lake import Lake
from store.tenant import Store
from tests.engines import CHOSEN, ENDPOINT
from tests.first_start import begun_lake
from tests.store.buckets import new_bucket
from tests.store.build import T0

WINDOW = Window(start_ns=T0 - 86_400 * NS_PER_S, end_ns=T0 + 86_400 * NS_PER_S)


def lake_at(folder: Path) -> Lake:
    """An empty lake: in a folder, or in a bucket with its mirror in the folder."""
    if CHOSEN.get() == "duckdb-s3":
        return Lake(new_bucket(ENDPOINT.get()), cache=folder / "cache")
    return Lake(begun_lake(folder / "lake"))


def store_at(folder: Path) -> tuple[Lake, Store]:
    """An empty lake and the store that reads it."""
    lake = lake_at(folder)
    return lake, Store(lake, engine_at(lake.root), lambda: T0)


def engine_at(root: Path) -> QueryEngine:
    """The engine that the test runs for; see `each_engine` in tests/conftest.py."""
    duckdb = DuckDBEngine(root)
    if CHOSEN.get() != "clickhouse":
        return duckdb
    return BothEngines(clickhouse=ClickHouseEngine("chdb://memory", root, n_threads=2), duckdb=duckdb)


@dataclass(frozen=True, kw_only=True)
class BothEngines:
    """Answers with ClickHouse's rows, after comparing them with DuckDB's: every query gives the same frame."""

    clickhouse: QueryEngine
    duckdb: QueryEngine
    reads_objects: bool = False

    def run(
        self,
        expr: ir.Table,
        *,
        sources: Mapping[str, Source],
        values: Mapping[str, object],
        given: Mapping[str, pa.Table],
    ) -> pa.Table:
        found = self.clickhouse.run(expr, sources=sources, values=values, given=given)
        expected = self.duckdb.run(expr, sources=sources, values=values, given=given)
        assert found.schema == expected.schema
        assert found.num_rows == expected.num_rows
        node = expr.op()
        ordered = isinstance(node, ops.Limit | ops.Sort)
        if isinstance(node, ops.Limit) and not node.find(ops.Sort):  # any rows will do that are there without the limit
            whole = self.duckdb.run(node.parent.to_expr(), sources=sources, values=values, given=given)
            assert not Counter(_rows(found, ordered)) - Counter(_rows(whole, ordered))
        else:
            assert _rows(found, ordered) == _rows(expected, ordered)
        return found

    def close(self) -> None:
        self.clickhouse.close()
        self.duckdb.close()


def _rows(table: pa.Table, ordered: bool) -> list[str]:
    """Each row as text. What an aggregate collects has no order, and sums of floats their order's last digits; what is
    empty in a map is nothing."""
    rows = [repr({name: _plain(name, value) for name, value in row.items()}) for row in table.to_pylist()]
    return rows if ordered else sorted(rows)


def _plain(name: str, value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.12g}")
    if name == "models" and isinstance(value, str):
        return sorted(value.split(","))
    if isinstance(value, list) and name in ("releases", "environments", "variants"):
        return sorted(value)
    return [] if value is None and name in ("attributes", "releases", "environments", "variants") else value
