"""A store over a lake in a temporary folder, for tests of this folder."""

from __future__ import annotations

from pathlib import Path

from core.clock import NS_PER_S
from core.windows import Window
from store.engine import DuckDBEngine
from store.lake import Lake
from store.tenant import Store
from tests.store.build import T0

WINDOW = Window(start_ns=T0 - 86_400 * NS_PER_S, end_ns=T0 + 86_400 * NS_PER_S)


def store_at(folder: Path) -> tuple[Lake, Store]:
    """An empty lake and the store that reads it."""
    lake = Lake(folder / "lake")
    return lake, Store(lake, DuckDBEngine(folder / "lake"), lambda: T0)
