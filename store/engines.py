"""Which engine runs the queries of a process."""

from __future__ import annotations

from store.engine import DuckDBEngine, QueryEngine


def engine_for(lake_root: str, clickhouse_url: str | None = None) -> QueryEngine:
    """DuckDB in this process, or the ClickHouse at `clickhouse_url` (store/clickhouse.py) over the same lake.

    Raises InvalidInput, StorageFailed.
    """
    if clickhouse_url is None:
        return DuckDBEngine(lake_root)
    from store.clickhouse import ClickHouseEngine

    return ClickHouseEngine(clickhouse_url, lake_root)
