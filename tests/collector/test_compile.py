"""Every kernel that Python calls is loaded before the doors open: none is compiled while requests wait."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

from numba.core.dispatcher import Dispatcher

from collector.compile import ROOM, warm


def test_warm_loads_every_kernel_that_python_calls() -> None:
    warm()
    wanted: dict[str, Dispatcher] = {}
    for path in sorted(ROOM.glob("*.py")):
        known = vars(importlib.import_module(f"collector.{path.stem}"))
        called = names_in_python(path)
        wanted |= {f"{path.stem}.{name}": known[name] for name in called if isinstance(known.get(name), Dispatcher)}
    assert len(wanted) > 5
    assert [name for name, kernel in sorted(wanted.items()) if not kernel.signatures] == []


def names_in_python(path: Path) -> set[str]:
    """Every name that functions without a decorator of numba use."""
    found: set[str] = set()
    for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(function, ast.FunctionDef) and not any(is_kernel(d) for d in function.decorator_list):
            found |= {node.id for node in ast.walk(function) if isinstance(node, ast.Name)}
    return found


def is_kernel(decorator: ast.expr) -> bool:
    named = decorator.func if isinstance(decorator, ast.Call) else decorator
    return isinstance(named, ast.Name) and named.id in (
        "kernel",
        "compiled",
        "compiled_into_caller",
        "kernel_as",
        "native",
    )
