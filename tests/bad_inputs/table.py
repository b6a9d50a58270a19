"""Brings the column of cases in README.md up to date: `python -m tests.bad_inputs.table`."""

from __future__ import annotations

import re
import tomllib
from collections import defaultdict
from pathlib import Path
from typing import Final

README: Final = Path(__file__).parent / "README.md"
CASES: Final = Path(__file__).parent / "cases"


def cases_by_row() -> dict[int, list[str]]:
    """Row of the corpus -> names of its cases, in order of file and place."""
    found: dict[int, list[str]] = defaultdict(list)
    for path in sorted(CASES.glob("*.toml")):
        for case in tomllib.loads(path.read_text(encoding="utf-8"))["case"]:
            found[case["row"]].append(f"{path.stem[:2]}: {case['name']}")
    return found


def updated(text: str) -> str:
    """The page with its column of cases as the files are now."""
    found = cases_by_row()
    return re.sub(
        r"^\| (\d+) \| (.*?) \| .*? \| (.*) \|$",
        lambda row: f"| {row[1]} | {row[2]} | {'; '.join(found[int(row[1])])} | {row[3]} |",
        text,
        flags=re.MULTILINE,
    )


if __name__ == "__main__":
    README.write_text(updated(README.read_text(encoding="utf-8")), encoding="utf-8")
