"""Fixtures of the store's tests: the services that stand in for those of a larger installation."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.store.databases import KINDS, ControlDatabase, new_database
from tests.store.places import CHOSEN, ENDPOINT, ENGINES


@pytest.fixture(params=KINDS)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> ControlDatabase:
    """A control database without a row; the test runs once on SQLite and once on PostgreSQL."""
    return new_database(request.param, tmp_path, request)


@pytest.fixture(params=ENGINES)
def each_engine(request: pytest.FixtureRequest) -> Iterator[str]:
    """The test runs once on DuckDB, once on ClickHouse's engine with every answer compared with DuckDB's, and once on
    a lake in S3."""
    if request.param == "clickhouse":
        pytest.importorskip("chdb", reason="ClickHouse's engine for tests comes with chdb (make setup)")
    if request.param == "duckdb-s3":
        request.getfixturevalue("bucket")
        ENDPOINT.set(request.getfixturevalue("s3"))
    token = CHOSEN.set(request.param)
    yield request.param
    CHOSEN.reset(token)
