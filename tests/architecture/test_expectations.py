"""Every test can fail: it asserts, expects, or calls something that does."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Final

TESTS: Final = Path(__file__).resolve().parent.parent
EXPECTING: Final = frozenset({"expect", "raises", "wait_until", "fail", "assert_equal", "raise_for_status"})
Function = ast.FunctionDef | ast.AsyncFunctionDef


def _functions() -> list[tuple[Path, Function]]:
    found: list[tuple[Path, Function]] = []
    for path in sorted(TESTS.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        found += [(path, node) for node in ast.walk(tree) if isinstance(node, Function)]
    return found


def _calls(function: Function) -> set[str]:
    """Names of what it calls; "assert" and "raise" for the statements."""
    found: set[str] = set()
    for node in ast.walk(function):
        match node:
            case ast.Assert():
                found.add("assert")
            case ast.Raise():
                found.add("raise")
            case ast.Call(func=ast.Name(id=name)) | ast.Call(func=ast.Attribute(attr=name)):
                found.add(name)
    return found


def test_every_test_has_an_expectation() -> None:
    functions = [(path, function.name, _calls(function)) for path, function in _functions()]
    expecting = EXPECTING | {"assert", "raise"}
    while more := {name for _, name, calls in functions if calls & expecting} - expecting:
        expecting |= more
    without = [f"{path.name}::{name}" for path, name, calls in functions if not calls & expecting]
    assert not [each for each in without if "::test_" in each]
