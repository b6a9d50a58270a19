"""Fixtures that every test may ask for."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from functools import cache

import httpcore2
import pytest
from hypothesis import HealthCheck, settings

from tests.engines import ENGINES, chosen
from tests.stack import Stack, running_stack
from tests.store.buckets import environment, new_bucket, s3_server
from tests.store.databases import PostgreSQL, postgres_server
from tests.thorough import EXAMPLES

# How long an example takes says nothing on a machine that has other things to do.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=EXAMPLES)
settings.load_profile("untimed")


@pytest.fixture(scope="session", autouse=True)
def _certificates_read_once() -> Iterator[None]:
    """Each HTTP client that is made reads every certificate authority anew, which takes longer than most calls over
    loopback: here they are read once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ssl, "create_default_context", cache(ssl.create_default_context))
        patch.setattr(httpcore2, "default_ssl_context", cache(httpcore2.default_ssl_context))
        yield


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The real stack without the dashboard, booted once per test session: use an app name of your own in it."""
    with running_stack(tmp_path_factory.mktemp("stack")) as running:
        yield running


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgreSQL]:
    """A real PostgreSQL, started once per session."""
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    """The endpoint of a real S3 door, started once per session."""
    with s3_server() as endpoint:
        yield endpoint


@pytest.fixture
def bucket(s3: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of a lake in a bucket of one's own, with the environment that leads to it."""
    for name, value in environment(s3).items():
        monkeypatch.setenv(name, value)
    return new_bucket(s3)


@pytest.fixture(params=ENGINES)
def each_engine(request: pytest.FixtureRequest) -> Iterator[str]:
    """The test runs once on DuckDB, once on ClickHouse's engine with every answer compared with DuckDB's, and once on
    a lake in S3."""
    with chosen(request.param, lambda: str(request.getfixturevalue("s3"))) as engine:
        yield engine


@pytest.fixture(params=ENGINES, scope="module")
def each_engine_once(request: pytest.FixtureRequest) -> Iterator[str]:
    """As `each_engine`, for a module whose tests share one lake."""
    with chosen(request.param, lambda: str(request.getfixturevalue("s3"))) as engine:
        yield engine
