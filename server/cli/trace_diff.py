"""Two aligned trajectories on a terminal: side by side, equal steps folded, the first divergence marked."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from rich.console import Console
from rich.text import Text

from server.cli.rendering import console, counted, duration, money, tokens
from server.cli.terminal import plain

_MARKS: Final = {"equal": " ", "changed": "~", "only_a": "<", "only_b": ">"}
_STYLES: Final = {"equal": "dim", "changed": "yellow", "only_a": "red", "only_b": "green"}
_SHOWN_AROUND: Final = 1  # equal steps beside others, the rest of a run is folded
_LEAST: Final = 20  # columns of a side
_MOST_PATHS: Final = 8
_VALUE: Final = 120

Row = Mapping[str, Any]


def print_diff(diff: Row, *, whole: bool) -> None:
    """Heads, rows and what differs; `whole` folds nothing."""
    out = console()
    width = max(_LEAST, (out.width - 8) // 2)
    _heads(out, diff, width)
    rows: Sequence[Row] = diff["rows"]
    first = diff["first_divergence"]
    for start, end in [(0, len(rows))] if whole else _parts(rows, first):
        if start < 0:
            out.print(Text(f"    ⋮ {counted(end, 'equal step')}", "dim"))
            continue
        for number in range(start, end):
            if number == first:
                out.print(Text("── first divergence ".ljust(out.width - 1, "─"), "bold red"), soft_wrap=True)
            _row(out, rows[number], width)
    out.print(Text(_summary(diff), "bold"))


def _heads(out: Console, diff: Row, width: int) -> None:
    lines = [_head(diff[side]) for side in ("a", "b")]
    for left, right in zip(*lines, strict=True):
        out.print(Text(f"    {_cut(left, width)} │ {_cut(right, width)}", "bold"), soft_wrap=True)


def _head(side: Row) -> list[str]:
    release = " ".join(str(side[name]) for name in ("app", "release") if side.get(name))
    spent = f"{tokens(side['input_tokens'], side['output_tokens'])} tokens, {money(side['cost_usd'])}"
    return [f"{side['kind']} {side['id']}", release, f"{duration(side['duration_ms'])}, {spent}"]


def _parts(rows: Sequence[Row], first: int | None) -> Iterator[tuple[int, int]]:
    """Ranges of rows to show, and (-1, n) for n equal ones that are folded between them."""
    near = {n + d for n, row in enumerate(rows) if row["match"] != "equal" for d in (-_SHOWN_AROUND, 0, _SHOWN_AROUND)}
    near |= set() if first is None else {first}
    at = 0
    while at < len(rows):
        end = at
        while end < len(rows) and (end in near) == (at in near):
            end += 1
        yield (at, end) if at in near or end - at == 1 else (-1, end - at)
        at = end


def _row(out: Console, row: Row, width: int) -> None:
    match = str(row["match"])
    left, right = (_cut("" if row[side] is None else step_words(row[side]), width) for side in ("a", "b"))
    out.print(Text(f"  {_MARKS[match]} {left} │ {right}", _STYLES[match]), soft_wrap=True)
    told_below = [one for one in row["differences"] if one["path"] != "text"]
    for one in told_below[:_MOST_PATHS]:
        told = f"        {plain(one['path'], 60)}: {_value(one['a'])} → {_value(one['b'])}"
        out.print(Text(told, "yellow"), soft_wrap=True)
    if (more := len(told_below) - _MOST_PATHS) > 0:
        out.print(Text(f"        and {counted(more, 'difference')} more", "yellow"))


def step_words(step: Row) -> str:
    """A step in a line: who speaks, or the call with its arguments. Untrusted: not neutralised."""
    if step["kind"] == "tool":
        given = step["arguments"]
        said = ", ".join(f"{k}={_short(v)}" for k, v in given.items()) if isinstance(given, Mapping) else str(given)
        return f"{step['name']}({said})" + (f" ✗ {step['error']}" if step.get("error") else "")
    if step["kind"] == "model":
        return f"model {step['name']}" + (f" ✗ {step['error']}" if step.get("error") else "")
    return f"{step['kind']}: {step['text']}"


def _summary(diff: Row) -> str:
    told = f"{counted(diff['n_equal'], 'step')} equal, {diff['n_changed']:,} changed, "
    told += f"{diff['n_only_a']:,} only in A, {diff['n_only_b']:,} only in B"
    left_off = diff["left_off"]
    if left_off["a"] or left_off["b"]:
        told += f"; {left_off['a']:,} steps of A and {left_off['b']:,} of B beyond the limit were not compared"
    return told


def _cut(text: str, width: int) -> str:
    return plain(text, width).ljust(width)


def _value(value: Any) -> str:
    return "(absent)" if value is None else plain(_short(value), _VALUE)


def _short(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
