"""A trace on a terminal: its head, its spans as a tree, its scores."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
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

MAX_INDENT: Final = 30  # levels drawn; deeper spans say their depth instead
_PREVIEW: Final = 400
_FULL: Final = 20_000
_COUNTED_KINDS: Final = frozenset({"LLM", "EMBEDDING", "RERANKER"})
_GATEWAY: Final = "assay.gateway"  # the scope of what the gateway says of a call

Row = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Branch:
    """A span's place in the tree: how deep, the rules drawn before it and before the lines below its own, and what is
    odd about its place."""

    span: Row
    depth: int
    rules: str
    below: str = ""
    oddity: str = ""


def print_list(rows: Sequence[Row]) -> None:
    """Traces, newest first."""
    columns = ("started (UTC)", "trace id", "app", "release", "status", "latency", "spans", "in > out", "cost", "input")
    cells = (
        (
            moment(row.get("started_at")),
            cell(row.get("trace_id"), 32),
            cell(row.get("app"), 24),
            cell(row.get("release"), 24),
            status(row.get("status")),
            duration(row.get("duration_ms")),
            cell(row.get("n_spans")),
            tokens(row.get("input_tokens"), row.get("output_tokens")),
            money(row.get("cost_usd")),
            cell(message_text(row.get("input")) or row.get("name"), 120),
        )
        for row in rows
    )
    print_table(columns, cells, right=("latency", "spans", "in > out", "cost"))


def print_trace(trace: Mapping[str, Any], *, full: bool) -> None:
    """The whole trace; `full` with what every span read and wrote."""
    out, head, spans = console(), trace["trace"], trace["spans"]
    out.print(_head(head))
    for name in ("input", "output"):
        if head.get(name):
            out.print(Text(f"{name:<7}", "bold") + cell(message_text(head[name]), _PREVIEW))
    out.print()
    for branch in branches(spans):
        out.print(_line(branch), soft_wrap=True)
        if full:
            for line in _said(branch):
                out.print(line, soft_wrap=True)
    if any(_bracketed(span) for span in spans):
        out.print(Text("(in brackets): counted in another span", "dim"))
    n_spans = trace.get("n_spans") or len(spans)
    if n_spans > len(spans):
        out.print(Text(f"... {counted(n_spans - len(spans), 'more span')}: --limit {n_spans} shows them all", "dim"))
    for score in trace.get("scores") or []:
        out.print(score_line(score), soft_wrap=True)


def print_span(span: Row) -> None:
    """One span with every field and attribute."""
    out = console()
    out.print(_line(Branch(span=span, depth=0, rules="")), soft_wrap=True)
    for name in ("trace_id", "span_id", "parent_span_id", "started_at", "session_id", "user_id", "status_message"):
        if span.get(name):
            out.print(Text(f"{name:<16}", "bold") + cell(span[name], _PREVIEW))
    for name, field in (("system", "system_messages"), ("input", "input"), ("output", "output")):
        if span.get(field):
            out.print(Text(name, "bold"))
            out.print(Text(plain(message_text(span[field]), _FULL, block=True)), soft_wrap=True)
    for name in ("attributes", "resource"):
        if span.get(name):
            out.print(Text(name, "bold"))
            for key, value in span[name].items():
                out.print(Text("  ") + cell(key, 200, "cyan") + Text(" = ") + cell(value, 2000), soft_wrap=True)
    for event in span.get("events") or []:
        out.print(Text("event ", "bold") + cell(event.get("name")) + Text("  ") + cell(event.get("attributes"), 1000))
    for score in span.get("scores") or []:
        out.print(score_line(score), soft_wrap=True)


def branches(spans: Sequence[Row]) -> Iterator[Branch]:
    """Every span once, parents before children, in the order given; iterative, so that no depth is too deep.

    A span whose parent is not among them stands at the top and says so; so does the entry of a cycle.
    """
    first_of: dict[str, int] = {}
    for index, span in enumerate(spans):
        first_of.setdefault(span["span_id"], index)
    children: dict[int, list[int]] = defaultdict(list)
    tops: list[tuple[int, str]] = []
    for index, span in enumerate(spans):
        parent = span.get("parent_span_id")
        if parent and parent in first_of and first_of[parent] != index:
            children[first_of[parent]].append(index)
        else:
            tops.append((index, f"parent {plain(parent, 16)} is missing" if parent else ""))
    seen: set[int] = set()
    for index, oddity in tops:
        yield from _below(index, oddity, spans, children, seen)
    for index in range(len(spans)):
        if index not in seen:
            yield from _below(index, "its ancestors form a cycle", spans, children, seen)


def score_line(score: Row) -> Text:
    """One score: evaluator, label and value, or why there is none, and the explanation."""
    value = score.get("value")
    verdict = " ".join(
        part for part in (plain(score.get("label") or "", 60), "" if value is None else f"{value:g}") if part
    )
    if score.get("unscored"):
        verdict = f"unscored: {plain(score['unscored'], 200)}"
    line = Text("score ", "bold") + cell(score.get("evaluator"), 60, "magenta") + Text(f" = {verdict}")
    return line + (Text("  ") + cell(score["explanation"], 300, "dim") if score.get("explanation") else Text(""))


def _below(
    top: int, oddity: str, spans: Sequence[Row], children: Mapping[int, list[int]], seen: set[int]
) -> Iterator[Branch]:
    # Entries: (span, depth, rules before its own corner, whether it is the last child)
    waiting: list[tuple[int, int, str, bool]] = [(top, 0, "", True)]
    while waiting:
        index, depth, before, last = waiting.pop()
        if index in seen:
            continue
        seen.add(index)
        corner = "" if depth == 0 else "└─ " if last else "├─ "
        rules = before + corner if depth <= MAX_INDENT else f"{before[: MAX_INDENT * 3]}... (depth {depth}) "
        below = before + ("" if depth == 0 else "   " if last else "│  ")
        below = below[: MAX_INDENT * 3]
        kin = [child for child in children.get(index, []) if child not in seen]
        under = below + ("│  " if kin else "   ")
        yield Branch(span=spans[index], depth=depth, rules=rules, below=under, oddity=oddity if index == top else "")
        for position, child in reversed(list(enumerate(kin))):
            waiting.append((child, depth + 1, below, position == len(kin) - 1))


def _head(head: Row) -> Text:
    line = Text("trace ", "bold") + cell(head.get("trace_id"), 32) + Text("  ") + status(head.get("status"))
    facts = [
        f"{moment(head.get('started_at'))} UTC",
        duration(head.get("duration_ms")),
        f"{counted(head.get('n_spans'), 'span')}, {counted(head.get('n_errors'), 'error')}",
        f"{tokens(head.get('input_tokens'), head.get('output_tokens'))} tokens",
        money(head.get("cost_usd")),
    ]
    line += Text("\n" + "   ".join(facts))
    for name in ("app", "release", "variant", "environment", "session_id", "user_id"):
        if head.get(name):
            line += Text(f"\n{name:<12}", "bold") + cell(head[name], 200)
    return line


def _said(branch: Branch) -> Iterator[Text]:
    """What the span read and wrote, message by message with who spoke, every line within the rules of the tree."""
    for name in ("input", "output"):
        label, left = f"{name:>6}  ", _FULL
        for role, said in spoken(branch.span.get(name)):
            who = f"{plain(role, 20)} > " if role else ""
            shown = plain(said, left, block=True)
            for line in shown.split("\n"):
                yield Text(branch.below + label, "dim") + Text(who, "bold") + Text(line)
                label, who = " " * len(label), " " * len(who)
            left -= len(shown)
            if left <= 0:
                break


def _line(branch: Branch) -> Text:
    span = branch.span
    line = (
        Text(branch.rules, "dim") + cell(span.get("kind"), 12, "cyan") + Text(" ") + cell(span.get("name"), 120, "bold")
    )
    line += Text(f"  {duration(span.get('duration_ms'))}")
    if span.get("kind") in _COUNTED_KINDS or span.get("usage_counted"):
        used = f"{tokens(span.get('input_tokens'), span.get('output_tokens'))} tok  {money(span.get('cost_usd'))}"
        line += Text(f"  ({used})", "dim") if _bracketed(span) else Text(f"  {used}")
        line += Text("  ") + cell(span.get("model") or "", 60, "dim")
    if span.get("scope_name") == _GATEWAY:
        line += Text("  via gateway", "dim")
    if span.get("status") == "error":
        why = span.get("status_message") or span.get("error_type") or ""
        line += Text("  ") + status("error") + Text(" ") + cell(why, 200, "red")
    notes = [branch.oddity, *(str(issue) for issue in span.get("issues") or [])]
    shown = ", ".join(plain(note, 60) for note in notes if note)
    return line + (Text(f"  [{shown}]", "yellow") if shown else Text(""))


def _bracketed(span: Row) -> bool:
    """A model span whose tokens and cost another span has too: the trace's totals leave them out."""
    said = any(span.get(name) for name in ("input_tokens", "output_tokens", "cost_usd"))
    return span.get("kind") in _COUNTED_KINDS and span.get("usage_counted") is False and said
