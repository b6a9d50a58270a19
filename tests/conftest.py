"""Fixtures that every test may ask for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.stack import Stack, running_stack


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The real stack without the dashboard, booted once per test session: use an app name of your own in it."""
    with running_stack(tmp_path_factory.mktemp("stack")) as running:
        yield running
