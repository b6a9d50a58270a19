"""A filled world for every test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from agent_runtime.simulation.seed import open_world
from agent_runtime.simulation.world import World


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One per module: sessions have rows of their own."""
    opened = open_world(Path(tmp_path_factory.mktemp("world")) / "world.db")
    yield opened
    opened.close()
