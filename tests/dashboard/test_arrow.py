"""Grids get Arrow tables without pandas."""

from __future__ import annotations

import subprocess
import sys
from datetime import datetime

from dashboard.parts.arrow import table
from tests.dashboard import hostile


def test_values_arrive_as_they_were() -> None:
    at = datetime(2026, 11, 21, 14, 3, 22, 418000)
    columns: dict[str, list[object]] = {
        "text": [hostile.MARKUP, "two\nlines \u202f🙂"],
        "number": [1, 2.5],
        "list": [["ok"], ["error"]],
        "numbers": [None, [1.0, 2.5]],
        "time": [at, None],
        "nothing": [None, None],
    }
    made = table(columns)
    assert made.to_pydict() == columns


def test_an_empty_list_is_an_empty_table() -> None:
    assert table({"a": [], "b": []}).num_rows == 0


def test_making_one_does_not_import_pandas() -> None:
    code = (
        "import sys; from dashboard.parts.arrow import table; table({'a': ['x'], 'n': [1]}); "
        "sys.exit('pandas' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
