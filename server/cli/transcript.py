"""A session on a terminal: who said what, and what each turn took."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from rich.text import Text

from server.cli.rendering import (
    cell,
    console,
    counted,
    duration,
    message_text,
    moment,
    money,
    print_table,
    spoken,
    status,
    tokens,
)
from server.cli.terminal import plain
from server.cli.trace_tree import score_line

_TEXT: Final = 20_000

Row = Mapping[str, Any]


def print_list(rows: Sequence[Row]) -> None:
    """Sessions, newest first."""
    columns = (
        "started (UTC)",
        "session id",
        "app",
        "release",
        "user",
        "turns",
        "error spans",
        "in > out",
        "cost",
        "first input",
    )
    cells = (
        (
            moment(row.get("started_at")),
            cell(row.get("session_id"), 60),
            cell(row.get("app"), 24),
            cell(row.get("release"), 24),
            cell(row.get("user_id"), 24),
            cell(row.get("n_turns")),
            cell(row.get("n_errors")),
            tokens(row.get("input_tokens"), row.get("output_tokens")),
            money(row.get("cost_usd")),
            cell(message_text(row.get("first_input")), 100),
        )
        for row in rows
    )
    print_table(columns, cells, right=("turns", "error spans", "in > out", "cost"))


def print_session(answer: Mapping[str, Any]) -> None:
    """The session's head, its turns in order, and the scores on the session itself."""
    out, session, turns = console(), answer["session"], answer["turns"]
    out.print(Text("session ", "bold") + cell(session.get("session_id"), 200))
    facts = [
        f"{moment(session.get('started_at'))} UTC",
        duration(session.get("duration_ms")),
        f"{counted(session.get('n_turns'), 'turn')}, {counted(session.get('n_errors'), 'error span')}",
        f"{tokens(session.get('input_tokens'), session.get('output_tokens'))} tokens",
        money(session.get("cost_usd")),
    ]
    out.print(Text("   ".join(facts)))
    for name in ("app", "release", "variant", "user_id"):
        if session.get(name):
            out.print(Text(f"{name:<9}", "bold") + cell(session[name], 200))
    for number, turn in enumerate(turns, start=1):
        out.print()
        out.print(_turn_head(number, turn), soft_wrap=True)
        for who, said, style in _spoken(turn):
            out.print(Text(f"{who:>5} > ", style) + Text(plain(said, _TEXT, block=True)), soft_wrap=True)
        for score in turn.get("scores") or []:
            out.print(Text("        ") + score_line(score), soft_wrap=True)
    if answer.get("next_cursor"):
        out.print(Text("... more turns: raise --limit", "dim"))
    for score in answer.get("scores") or []:
        out.print(score_line(score), soft_wrap=True)


def _spoken(turn: Row) -> Iterator[tuple[str, str, str]]:
    """Who, what and in which style: the user, the agent, and of a failed turn the error; untrusted text."""
    told = {who for who, _ in spoken(turn.get("input"))} == {"system"}  # nothing of the user: it went on by itself
    yield "system" if told else "user", message_text(turn.get("input")) or "(nothing)", "bold green"
    failed, answer = turn.get("status") == "error", message_text(turn.get("output"))
    if answer or not failed:
        yield "agent", answer or "(nothing)", "bold blue"
    if failed:
        yield "error", str(turn.get("error") or "it gave no message"), "bold red"


def _turn_head(number: int, turn: Row) -> Text:
    gap = turn.get("gap_ms")
    facts = [
        moment(turn.get("started_at")),
        duration(turn.get("duration_ms")),
        f"{tokens(turn.get('input_tokens'), turn.get('output_tokens'))} tok",
        money(turn.get("cost_usd")),
        *([f"after {duration(gap)}"] if gap is not None else []),
    ]
    line = Text(f"turn {number}  ", "bold") + Text("  ".join(facts), "dim") + Text("  ") + status(turn.get("status"))
    return line + Text("  ") + cell(turn.get("trace_id"), 32, "dim")
