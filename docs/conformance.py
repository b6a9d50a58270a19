"""Brings the tests column of docs/otlp-conformance.md up to date: `python docs/conformance.py`.

A test belongs to an item by its name: test_o17_... , test_o39_o40_... for two.
"""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "otlp-conformance.md"


def tests_by_item() -> dict[str, list[str]]:
    """Item (O-17) -> names of its tests, in order of file and place."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for name in re.findall(r"def (test_(?:o\d\d_)+\w+)", path.read_text(encoding="utf-8")):
            for number in re.findall(r"(?<=[_])o(\d\d)(?=_)", name):
                if name not in found[f"O-{number}"]:
                    found[f"O-{number}"].append(name)
    return found


def updated(text: str) -> str:
    """The page with its third column as the tests are now."""
    tests = tests_by_item()

    def row(match: re.Match[str]) -> str:
        names = ", ".join(f"`{name}`" for name in tests.get(match[1], [])) or "not tested yet"
        return f"| {match[1]} | {match[2]} | {names} |"

    return re.sub(r"^\| (O-\d\d) \| (.+?) \| .+ \|$", row, text, flags=re.MULTILINE)


if __name__ == "__main__":
    PAGE.write_text(updated(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
