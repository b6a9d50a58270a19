"""Sessions on a terminal: the transcript in order, every figure, and no escape from any field."""

from __future__ import annotations

import json
from typing import Any

import pytest

from server.cli import transcript
from tests.server.test_cli_traces import ESCAPES


def turn(**fields: Any) -> dict[str, Any]:
    said = json.dumps([{"role": "user", "parts": [{"type": "text", "content": "Where is it?"}]}])
    return {
        "trace_id": "1" * 32,
        "started_at": "2025-08-01T16:20:45.582555Z",
        "duration_ms": 1132.2,
        "status": "ok",
        "input": said,
        "output": "On its way.",
        "input_tokens": 3346,
        "output_tokens": 57,
        "cost_usd": 0.002348,
        "gap_ms": None,
        "scores": [],
    } | fields


def test_a_transcript_reads_like_one(capsys: pytest.CaptureFixture[str]) -> None:
    score = {"evaluator": "tau2_reward", "label": "pass", "value": 1.0, "explanation": "on DB"}
    session = {"session_id": "sim-1", "n_turns": 2, "cost_usd": 0.0047, "started_at": "2025-08-01T16:20:45Z"}
    turns = [turn(), turn(gap_ms=2000.0, output=None)]
    transcript.print_session({"session": session, "turns": turns, "scores": [score], "next_cursor": None})
    printed = capsys.readouterr().out
    assert " user > Where is it?" in printed
    assert "agent > On its way." in printed
    assert "agent > (nothing)" in printed
    assert "1.13 s" in printed
    assert "3,346 > 57 tok" in printed
    assert "after 2.00 s" in printed
    assert "score tau2_reward = pass 1  on DB" in printed
    assert printed.index("turn 1") < printed.index("turn 2")


def test_a_failed_turn_says_its_error_and_not_that_the_agent_said_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    failed = turn(output=None, status="error", error="rate limit exceeded")
    half = turn(output="One moment.", status="error", error=None)
    transcript.print_session({"session": {}, "turns": [failed, half], "scores": []})
    first, second = capsys.readouterr().out.split("turn 2")
    assert "error > rate limit exceeded" in first
    assert "agent >" not in first
    assert "agent > One moment." in second
    assert "error > it gave no message" in second


def test_a_turn_that_went_on_after_an_approval_is_not_the_users(capsys: pytest.CaptureFixture[str]) -> None:
    told = json.dumps([{"role": "system", "parts": [{"type": "text", "content": "Resumed after approval"}]}])
    transcript.print_session({"session": {}, "turns": [turn(), turn(input=told)], "scores": []})
    printed = capsys.readouterr().out
    assert "system > Resumed after approval" in printed
    assert printed.count("user >") == 1


def test_no_field_of_a_session_reaches_the_terminal_raw(capsys: pytest.CaptureFixture[str]) -> None:
    fields = ("session_id", "app", "release", "variant", "user_id", "started_at", "first_input")
    session: dict[str, Any] = dict.fromkeys(fields, ESCAPES)
    hostile = turn(input=ESCAPES, output=ESCAPES, status=ESCAPES, started_at=ESCAPES, trace_id=ESCAPES)
    failed = turn(status="error", error=ESCAPES)
    transcript.print_session({"session": session, "turns": [hostile, failed], "scores": []})
    transcript.print_list([session])
    printed = capsys.readouterr().out
    assert "owned" in printed
    assert not set(printed) & set("\x1b\x9b\x07\x00\u202e\u200b")
