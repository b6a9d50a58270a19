"""Fixtures of the store's tests: the services that stand in for those of a larger installation."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.store.databases import KINDS, ControlDatabase, new_database


@pytest.fixture(params=KINDS)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> ControlDatabase:
    """A control database without a row; the test runs once on SQLite and once on PostgreSQL."""
    return new_database(request.param, tmp_path, request)
