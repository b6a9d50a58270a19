"""What the live programs sent, kept as OTLP/JSON: each framework's dialect through decode, without installing it."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from collector.decode import decode
from collector.json_body import transcode
from collector.leaves import Leaves
from tests.live.providers import ANSWERING, ASKING, EMBEDDING
from tests.live.replies import Usage

RECORDED = Path(__file__).parent / "recorded"
Row = dict[str, Any]

TURN = [ASKING, ANSWERING]
# Recording -> the answered model calls in it, and how many were refused.
CALLS: dict[str, tuple[list[Usage], int]] = {
    "langgraph_openinference": (TURN, 1),
    "langgraph_openllmetry": (TURN, 1),
    "pydantic_ai": (TURN + TURN, 1),
    "vercel_v6": (TURN + TURN, 1),
    "vercel_v7": ([*TURN, *TURN, EMBEDDING], 1),
    "anthropic_sdk": ([ANSWERING, ANSWERING], 0),
}


def rows_of(name: str) -> list[Row]:
    """The rows a recording becomes."""
    body = transcode((RECORDED / f"{name}.json").read_bytes()).protobuf
    decoded = decode([(1, body)], tenant="recorded", ingested_at_us=1_800_000_000_000_000)
    assert decoded.refused == []
    rows: list[Row] = Leaves().count(decoded.rows).to_pylist()
    return rows


def of_kind(rows: list[Row], *kinds: str) -> list[Row]:
    return sorted((row for row in rows if row["kind"] in kinds), key=lambda row: row["start_ns"])


def counted(rows: list[Row]) -> list[Row]:
    """The model calls that got an answer."""
    return [row for row in of_kind(rows, "LLM", "EMBEDDING") if row["usage_counted"] and row["status_code"] != 2]


@pytest.mark.parametrize("name", CALLS)
def test_every_model_call_and_its_tokens_count_once(name: str) -> None:
    answered, n_refused = CALLS[name]
    rows = rows_of(name)
    calls = counted(rows)
    assert [(c["input_tokens"], c["output_tokens"] or 0, c["cache_read_tokens"] or 0) for c in calls] == [
        (usage.input_tokens, usage.output_tokens, usage.cached_tokens) for usage in answered
    ]
    assert {c["provider"] for c in calls} <= {"openai", "anthropic"}
    assert all(c["cost_usd"] > Decimal(0) for c in calls)
    refused = [row for row in of_kind(rows, "LLM") if row["status_code"] == 2]
    assert len(refused) == n_refused
    assert not any("usage" in issue for row in rows for issue in (row["issues"] or "").split(","))


@pytest.mark.parametrize("name", CALLS)
def test_messages_of_every_answered_call_are_there(name: str) -> None:
    for call in of_kind(counted(rows_of(name)), "LLM"):
        assert "AS12" in call["input"] or "window" in call["input"]
        assert "129 dollars" in call["output"] or "seat_price" in call["output"]


@pytest.mark.parametrize("name", [name for name in CALLS if name != "anthropic_sdk"])
def test_the_tool_is_named_with_what_it_was_asked_and_what_it_said(name: str) -> None:
    tools = of_kind(rows_of(name), "TOOL")
    assert tools
    for tool in tools:
        assert tool["tool_name"] == "seat_price"
        assert "AS12" in tool["input"]
        assert "AS12: 129" in tool["output"]


@pytest.mark.parametrize("name", CALLS)
def test_roots_carry_the_session(name: str) -> None:
    roots = [row for row in rows_of(name) if row["parent_span_id"] is None]
    assert {row["session_id"] for row in roots} == {"session-1"}


def test_a_role_without_content_does_not_hide_the_question_of_a_langgraph_root() -> None:
    rows = rows_of("langgraph_openinference")
    asked = [row["input"] for row in of_kind(rows, "AGENT")]
    assert [json.loads(text)["messages"][0]["content"] for text in asked] == [
        "And with a window?",
        "Please refuse this request.",
    ]


def test_a_pydantic_ai_turn_shows_its_own_question_not_the_history() -> None:
    asked = [json.loads(row["input"])[0] for row in of_kind(rows_of("pydantic_ai"), "AGENT")]
    assert [message["parts"][0]["content"] for message in asked] == [
        "What does a seat on AS12 cost?",
        "And with a window?",
        "Please refuse this request.",
    ]


def test_pydantic_ai_cost_is_what_it_reported() -> None:
    calls = counted(rows_of("pydantic_ai"))
    assert [call["cost_reported_usd"] for call in calls[:2]] == [Decimal("0.000012300"), Decimal("0.000014250")]
    assert [call["reasoning_tokens"] for call in calls[:2]] == [3, 0]


def test_openllmetry_tasks_are_chains_and_belong_to_the_workflow() -> None:
    rows = rows_of("langgraph_openllmetry")
    tasks = [row for row in rows if row["name"].startswith("execute_task ")]
    assert {row["kind"] for row in tasks} == {"CHAIN"}
    assert {row["workflow_name"] for row in tasks} == {"seat-agent"}
    assert {row["user_id"] for row in tasks} == {"user-7"}


def test_vercel_7_session_user_steps_and_first_chunk() -> None:
    rows = rows_of("vercel_v7")
    steps = [row for row in rows if row["name"].startswith("step ")]
    assert {(row["kind"], row["session_id"], row["user_id"]) for row in steps} == {("CHAIN", "session-1", "user-7")}
    streamed = [row["ttft_ms"] for row in of_kind(rows, "LLM") if row["ttft_ms"] is not None]
    assert len(streamed) == 2
    assert all(0 < waited < 10_000 for waited in streamed)


def test_the_anthropic_sdk_says_why_it_stopped_and_what_the_cache_gave() -> None:
    calls = of_kind(rows_of("anthropic_sdk"), "LLM")
    assert {call["finish_reasons"] for call in calls} == {"end_turn"}
    assert {(call["cache_read_tokens"], call["cache_write_tokens"]) for call in calls} == {(16, 0)}
    assert [call["ttft_ms"] is not None for call in calls] == [False, True]
