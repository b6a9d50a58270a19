"""On which engine, and over which kind of lake, the stores of a test are made."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

import pytest

from tests.store.buckets import environment

ENGINES: Final = ("duckdb", "clickhouse", "duckdb-s3")
CHOSEN: ContextVar[str] = ContextVar("CHOSEN", default="duckdb")
ENDPOINT: ContextVar[str] = ContextVar("ENDPOINT")


@contextmanager
def chosen(engine: str, s3: Callable[[], str]) -> Iterator[str]:
    """Stores made inside (tests/store/places.py) are of this one of ENGINES; `s3` gives the endpoint of an S3."""
    if engine == "clickhouse":
        pytest.importorskip("chdb", reason="ClickHouse's engine for tests comes with chdb (make setup)")
    with pytest.MonkeyPatch.context() as patch:
        if engine == "duckdb-s3":
            endpoint = s3()
            ENDPOINT.set(endpoint)
            for name, value in environment(endpoint).items():
                patch.setenv(name, value)
        token = CHOSEN.set(engine)
        try:
            yield engine
        finally:
            CHOSEN.reset(token)
