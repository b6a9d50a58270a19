"""Which engine runs the queries of a process."""

from __future__ import annotations

from store.engine import DuckDBEngine, QueryEngine
from store.lake import Lake


def engine_for(lake: Lake, clickhouse_url: str | None = None) -> QueryEngine:
    """DuckDB in this process, or the ClickHouse at `clickhouse_url` (store/clickhouse.py) over the same lake.

    Raises InvalidInput, StorageFailed.
    """
    if clickhouse_url is None:
        return DuckDBEngine(lake.root)
    from store.clickhouse import ClickHouseEngine

    in_process = clickhouse_url.startswith("chdb:")  # sees this machine's mirror; a server sees the object store
    return ClickHouseEngine(clickhouse_url, lake.root, reads_objects=lake.is_mirrored and not in_process)
