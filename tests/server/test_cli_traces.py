"""Traces on a terminal: hostile text is shown and never obeyed, odd trees are drawn whole."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.cli import rendering, trace_tree, traces
from server.cli.outcome import CommandFailed, ExitCode
from server.cli.terminal import plain

ESCAPES = "\x1b[2J\x1b]0;owned\x07 \x9b31m red \u202egnp.exe \r overwritten \x00 \u200bzero \U000e0041tag \ud83d"


def span(span_id: str, parent: str | None = None, **fields: Any) -> dict[str, Any]:
    return {
        "span_id": span_id,
        "parent_span_id": parent,
        "name": f"span {span_id}",
        "kind": "SPAN",
        "duration_ms": 1.5,
        "status": "unset",
        "issues": [],
    } | fields


def drawn(spans: list[dict[str, Any]]) -> list[str]:
    return [f"{branch.rules}{branch.span['span_id']}{branch.oddity and ' !'}" for branch in trace_tree.branches(spans)]


@pytest.mark.parametrize("block", [False, True])
def test_nothing_a_terminal_obeys_is_left(block: bool) -> None:
    shown = plain(ESCAPES, block=block)
    assert "owned" in shown
    assert not set(shown) & set("\x1b\x9b\x07\x00\r\u202e\u200b\U000e0041\ud83d")
    assert "␛[2J" in shown
    assert "<U+202E>" in shown


@given(st.text(st.characters()), st.booleans())
def test_whatever_the_text_only_line_ends_and_tabs_of_a_block_are_controls(text: str, block: bool) -> None:
    shown = plain(text, block=block)
    shown.encode()
    assert all(character >= " " or (block and character in "\n\t") for character in shown)
    assert not any("\x7f" <= character <= "\x9f" or "\u202a" <= character <= "\u202e" for character in shown)


def test_ordinary_text_of_the_world_is_left_alone() -> None:
    text = "naïve café — 日本語 עברית 👍🏽 family 👨\u200d👩\u200d👧 [bold]x[/bold] <b>"
    assert plain(text) == text
    assert plain("one\r\ntwo\tthree") == "one two three"
    assert plain("abcdef", 4) == "abc…"


def test_a_printed_trace_holds_no_escape_from_any_field(capsys: pytest.CaptureFixture[str]) -> None:
    fields = ("name", "kind", "status", "status_message", "model", "error_type", "input", "output")
    hostile = span("a" * 16, **dict.fromkeys(fields, ESCAPES), issues=[ESCAPES], usage_counted=True)
    head_fields = ("app", "release", "variant", "environment", "session_id", "user_id", "input", "output", "status")
    head = {"trace_id": "1" * 32, **dict.fromkeys(head_fields, ESCAPES), "started_at": ESCAPES}
    score = {"evaluator": ESCAPES, "label": ESCAPES, "value": 1.0, "explanation": ESCAPES}
    trace_tree.print_trace({"trace": head, "spans": [hostile], "scores": [score]}, full=True)
    trace_tree.print_span(hostile | {"attributes": {ESCAPES: ESCAPES}, "resource": {}, "events": [{"name": ESCAPES}]})
    trace_tree.print_list([head | {"n_spans": 1}])
    printed = capsys.readouterr().out
    assert "owned" in printed
    assert not set(printed) & set("\x1b\x9b\x07\x00\u202e\u200b")


def test_the_full_tree_says_who_spoke_and_keeps_its_rules(capsys: pytest.CaptureFixture[str]) -> None:
    talk = [
        {"role": "system", "parts": [{"type": "text", "content": "Be kind."}]},
        {"role": "user", "content": "Where is\nmy order?"},
        {"role": "assistant", "parts": [{"type": "tool_call", "name": "find", "arguments": {"id": 7}}]},
    ]
    spans = [
        span("r", input="plain words"),
        span("b", "r", input=json.dumps(talk), output="[]"),
        span("c", "b", output="7\n8"),
        span("d", "r"),
    ]
    trace_tree.print_trace({"trace": {"trace_id": "1" * 32}, "spans": spans}, full=True)
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    drawn_lines = lines[next(place for place, line in enumerate(lines) if "span r" in line) :]
    assert drawn_lines == [
        "SPAN span r  1.5 ms",
        "│   input  plain words",
        "├─ SPAN span b  1.5 ms",
        "│  │   input  system > Be kind.",
        "│  │          user > Where is",
        "│  │                 my order?",
        '│  │          assistant > find({"id": 7})',
        "│  │  output  []",
        "│  └─ SPAN span c  1.5 ms",
        "│        output  7",
        "│                8",
        "└─ SPAN span d  1.5 ms",
    ]


def test_the_tree_draws_children_under_parents_in_order() -> None:
    spans = [span("r"), span("b", "r"), span("c", "b"), span("d", "r")]
    assert drawn(spans) == ["r", "├─ b", "│  └─ c", "└─ d"]


def test_spans_without_their_parent_stand_at_the_top_and_say_so() -> None:
    found = list(trace_tree.branches([span("x", "gone"), span("y", "x")]))
    assert [branch.depth for branch in found] == [0, 1]
    assert "gone is missing" in found[0].oddity


def test_o41_cycles_self_parents_and_reused_ids_are_drawn_once_each() -> None:
    assert drawn([span("a", "c"), span("b", "a"), span("c", "b")]) == ["a !", "└─ b", "   └─ c"]
    assert drawn([span("a", "a")]) == ["a !"]
    assert drawn([span("r"), span("r"), span("k", "r")]) == ["r", "└─ k", "r"]


def test_o41_a_chain_of_20000_spans_is_drawn_without_recursion_and_stays_narrow() -> None:
    chain = [span(f"{n:016x}", f"{n - 1:016x}" if n else None) for n in range(20_000)]
    found = list(trace_tree.branches(chain))
    assert len(found) == 20_000
    assert found[-1].depth == 19_999
    assert max(len(branch.rules) for branch in found) < 130


def test_messages_show_as_their_texts_and_calls() -> None:
    parts = [{"type": "text", "content": "hello"}, {"type": "tool_call", "name": "f", "arguments": {"a": 1}}]
    assert rendering.message_text(json.dumps([{"role": "assistant", "parts": parts}])) == 'hello\nf({"a": 1})'
    assert rendering.message_text('[{"role": "user", "content": "hi"}]') == "hi"
    assert rendering.message_text("not json") == "not json"
    assert rendering.message_text('{"a": 1}') == '{"a": 1}'
    assert rendering.message_text(None) == ""
    assert rendering.message_text("[" * 100_000) == "[" * 100_000


@pytest.mark.parametrize(
    ("ms", "text"),
    [(None, "-"), (0.25, "0.2 ms"), (1500, "1.50 s"), (187_000, "3 min 07 s"), (7_500_000, "2 h 05 min")],
)
def test_durations(ms: float | None, text: str) -> None:
    assert rendering.duration(ms) == text


@pytest.mark.parametrize(
    ("usd", "text"), [(None, "-"), (0, "$0.0000"), (0.0000123, "$0.000012"), (0.0274, "$0.0274"), (250.0, "$250.00")]
)
def test_money(usd: float | None, text: str) -> None:
    assert rendering.money(usd) == text


@pytest.mark.parametrize("text", ["", "xyz", "1" * 31, "g" * 32, "1" * 33, "../../etc"])
def test_an_id_that_is_none_is_a_usage_error(text: str) -> None:
    with pytest.raises(CommandFailed, match="32 hexadecimal digits") as caught:
        traces._hex_id(text, 32, "TRACE_ID")
    assert caught.value.code == ExitCode.USAGE


def test_an_id_may_be_written_as_a_uuid() -> None:
    assert traces._hex_id("0AF76519-16CD-43DD-8448-EB211C80319C", 32, "TRACE_ID") == "0af7651916cd43dd8448eb211c80319c"


def test_the_system_instructions_of_a_span_stand_before_its_input(capsys: pytest.CaptureFixture[str]) -> None:
    said = [{"role": "system", "parts": [{"type": "text", "content": f"Be kind. {ESCAPES}"}]}]
    trace_tree.print_span(span("a", system_messages=said, input="Hi", output="Hello"))
    printed = capsys.readouterr().out
    assert printed.index("\nsystem\nBe kind.") < printed.index("\ninput\nHi") < printed.index("\noutput\nHello")
    assert not set(printed) & set("\x1b\x9b\x07\x00")


def test_the_span_of_the_gateway_says_so_and_what_counts_elsewhere_is_in_brackets(
    capsys: pytest.CaptureFixture[str],
) -> None:
    used: dict[str, Any] = {"kind": "LLM", "input_tokens": 100, "output_tokens": 10, "cost_usd": 0.5, "model": "m"}
    spans = [
        span("a", usage_counted=False, scope_name="pydantic-ai", **used),
        span("b", "a", usage_counted=True, scope_name="assay.gateway", **used),
    ]
    trace_tree.print_trace({"trace": {"trace_id": "1" * 32}, "spans": spans}, full=False)
    agents, ours, caption = [line.strip() for line in capsys.readouterr().out.splitlines() if line.strip()][-3:]
    assert agents.endswith("  (100 > 10 tok  $0.5000)  m")
    assert ours.endswith("  100 > 10 tok  $0.5000  m  via gateway")
    assert caption == "(in brackets): counted in another span"
    trace_tree.print_trace({"trace": {"trace_id": "1" * 32}, "spans": spans[1:]}, full=False)
    assert "brackets" not in capsys.readouterr().out
