"""Figures, messages and tables as the client commands print them. Pure, but for the console itself."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from server.cli.terminal import plain

WIDTH_OF_A_PIPE: Final = 200  # columns, where output goes to a file or another program
LEAST_WIDTH: Final = 12
STATUS_STYLE: Final = {"ok": "green", "error": "bold red", "unset": "dim", "warn": "yellow", "fail": "bold red"}
_MAX_PARTS: Final = 1000


def console() -> Console:
    """Standard output: as wide as the terminal, or WIDTH_OF_A_PIPE; text is never markup."""
    width = None if sys.stdout.isatty() else WIDTH_OF_A_PIPE
    return Console(width=width, highlight=False, markup=False, emoji=False)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Text | str]], right: Sequence[str] = ()) -> None:
    """A borderless table, one line per row. Ids and figures are never cut; the last column takes the room that is left,
    and at least LEAST_WIDTH: a narrower terminal wraps the line itself."""
    made = Table(box=None, pad_edge=False, header_style="bold")
    cells = [[Text(one) if isinstance(one, str) else one for one in row] for row in rows]
    out, used = console(), 0
    for index, name in enumerate(columns[:-1]):
        width = max([len(name), *(row[index].cell_len for row in cells)])
        made.add_column(name, justify="right" if name in right else "left", no_wrap=True, width=width)
        used += width + 2
    rest = max(LEAST_WIDTH, out.width - used)
    made.add_column(columns[-1], no_wrap=True, overflow="ellipsis", width=rest)
    for row in cells:
        made.add_row(*row)
    wide = out if out.width >= used + rest else Console(width=used + rest, highlight=False, markup=False, emoji=False)
    wide.print(made, soft_wrap=True)


def cell(text: object, limit: int = 200, style: str = "") -> Text:
    """Untrusted text for a table cell or line: one line, harmless, never markup."""
    return Text("" if text is None else plain(text, limit), style=style)


def status(value: object) -> Text:
    """A status in its colour."""
    return Text(plain(value, 20), style=STATUS_STYLE.get(str(value), ""))


def duration(ms: float | None) -> str:
    """'12.3 ms', '4.56 s', '3 min 07 s', '2 h 05 min'; a dash when it is not known."""
    if ms is None:
        return "-"
    if ms < 1000:
        return f"{ms:.1f} ms"
    if ms < 60_000:
        return f"{ms / 1000:.2f} s"
    seconds = round(ms / 1000)
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60:02d} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60:02d} min"


def money(usd: float | None) -> str:
    """US dollars with enough digits for one model call; a dash when it is not known."""
    if usd is None:
        return "-"
    return f"${usd:.2f}" if usd >= 100 else f"${usd:.4f}" if usd >= 0.01 or usd == 0 else f"${usd:.6f}"


def tokens(given: int | None, made: int | None) -> str:
    """'3,346 > 57': input and output tokens; a dash when neither is known."""
    if given is None and made is None:
        return "-"
    return f"{given or 0:,} > {made or 0:,}"


def counted(number: int | None, name: str) -> str:
    """'1 turn', '1,234 turns', '0 turns'."""
    return f"{number or 0:,} {name}" + ("" if number == 1 else "s")


def moment(at: object) -> str:
    """An RFC 3339 time of the API as 'YYYY-MM-DD HH:MM:SS' (UTC)."""
    return plain(at, 40).replace("T", " ")[:19] if at else "-"


def message_text(value: object) -> str:
    """The readable part of an input or output: the texts of GenAI or OpenAI style messages, else the value itself.

    Tool calls show as name(arguments). Not neutralised: pass it through `plain` to print.
    """
    return "\n".join(text for _, text in spoken(value))


def spoken(value: object) -> list[tuple[str, str]]:
    """The messages of an input or output as (role, text), as `message_text` reads them; the role is empty where none
    is told. Neither is neutralised."""
    if value is None:
        return []
    try:
        parsed = json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError):
        return [("", str(value))]
    if isinstance(parsed, dict | list):
        found = [(who, text) for who, text in _texts(parsed if isinstance(parsed, list) else [parsed]) if text]
        if found:
            return found
    return [("", value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))]


def print_json(value: object) -> None:
    """Machine-readable output: pure ASCII, so that no control character of a trace reaches a terminal."""
    print(json.dumps(value, indent=2))


def _texts(messages: list[Any]) -> Iterator[tuple[str, str]]:
    for message in messages[:_MAX_PARTS]:
        if not isinstance(message, dict):
            continue
        content, role = message.get("content"), message.get("role")
        who = role if isinstance(role, str) else ""
        if isinstance(content, str):
            yield who, content
        parts = message.get("parts") or (content if isinstance(content, list) else [])
        yield from ((who, _part(part)) for part in parts[:_MAX_PARTS] if isinstance(part, dict))


def _part(part: dict[str, Any]) -> str:
    match part.get("type"):
        case "tool_call":
            return f"{part.get('name')}({json.dumps(part.get('arguments'), ensure_ascii=False)})"
        case "tool_call_response":
            return str(part.get("response", part.get("result", "")))
        case _:
            return str(part.get("content") or part.get("text") or "")
