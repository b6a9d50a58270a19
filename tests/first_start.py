"""A data folder as a first start leaves it: every migration and every table, made once a process and copied.

That they are made is shown in tests/store and by every stack that is started; the other tests only need them.
"""

from __future__ import annotations

import shutil
import tempfile
from functools import cache
from pathlib import Path

from store.control.control import Control
from store.lake import Lake


def begun(data: Path, lake: Path | None = None) -> Path:
    """Gives `data` an empty control database and an empty lake (at `lake`, if it is elsewhere), each unless there is
    one, and returns it."""
    data.mkdir(parents=True, exist_ok=True)
    if not (data / "control.db").exists():
        shutil.copy(_made().name + "/control.db", data)
    begun_lake(lake or data / "lake")
    return data


def begun_lake(lake: Path) -> Path:
    """Gives `lake` its empty tables, unless it is there, and returns it."""
    if not lake.exists():
        shutil.copytree(_made_lake().name + "/lake", lake)
    return lake


@cache
def _made() -> tempfile.TemporaryDirectory[str]:
    """The folder to copy; gone with this process."""
    made = tempfile.TemporaryDirectory(prefix="first-start-")
    Control.open(f"sqlite:///{made.name}/control.db", pepper=bytes(32)).close()
    return made


@cache
def _made_lake() -> tempfile.TemporaryDirectory[str]:
    """As _made: the lake in it."""
    made = tempfile.TemporaryDirectory(prefix="first-lake-")
    Lake(f"{made.name}/lake")
    return made
