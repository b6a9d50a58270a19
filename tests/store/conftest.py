"""Fixtures of the store's tests: the services that stand in for those of a larger installation."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.store.databases import KINDS, ControlDatabase, PostgreSQL, new_database, postgres_server
from tests.store.places import CHOSEN, ENGINES


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgreSQL]:
    """A real PostgreSQL, started once per session."""
    with postgres_server(tmp_path_factory.mktemp("pg")) as server:
        yield server


@pytest.fixture(params=KINDS)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> ControlDatabase:
    """An empty control database; the test runs once on SQLite and once on PostgreSQL."""
    return new_database(request.param, tmp_path, request)


@pytest.fixture(params=ENGINES)
def each_engine(request: pytest.FixtureRequest) -> Iterator[str]:
    """The test runs once on DuckDB, and once on ClickHouse's engine with every answer compared with DuckDB's."""
    if request.param == "clickhouse":
        pytest.importorskip("chdb", reason="ClickHouse's engine for tests comes with chdb (make setup)")
    token = CHOSEN.set(request.param)
    yield request.param
    CHOSEN.reset(token)
