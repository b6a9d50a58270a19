"""Agents on frameworks that nobody here wrote, through the real collector and API: counted once, named, joined."""

from __future__ import annotations

from decimal import Decimal

import pytest

from tests.live.providers import Call, Providers
from tests.live.replies import Usage
from tests.live.running import Program, Ran, Runtime, assert_nothing_lost
from tests.live.stored import Row, Stored, assert_tree_connected, stored
from tests.stack import Stack

# Dollars per million tokens: input, cached input, output.
PRICES = {
    "gpt-4o-mini": (Decimal("0.15"), Decimal("0.075"), Decimal("0.6")),
    "text-embedding-3-small": (Decimal("0.02"), Decimal(0), Decimal(0)),
    "claude-haiku-4-5": (Decimal(1), Decimal("0.1"), Decimal(5)),
}
CONTENT = {"ANTHROPIC_OPEN_TELEMETRY_TRACES_CONTENT_MODE": "content"}
FIRST, SECOND = "What does a seat on AS12 cost?", "And with a window?"


def price(model: str, usage: Usage) -> Decimal:
    """Dollars of one call."""
    fresh, cached, out = PRICES[model]
    million = (
        (usage.input_tokens - usage.cached_tokens) * fresh + usage.cached_tokens * cached + usage.output_tokens * out
    )
    return million / 1_000_000


def assert_calls_counted_once(found: Stored, asked: list[Call]) -> None:
    """Assay's model calls are the provider's, one for one, in every place that shows totals."""
    answered = [call for call in asked if call.status == 200]
    assert [(s["model"], s["input_tokens"], s["output_tokens"] or 0) for s in found.answered] == [
        (call.model, call.usage.input_tokens, call.usage.output_tokens) for call in answered
    ]
    cost = sum(price(call.model, call.usage) for call in answered)
    traces = found.traces
    assert sum(trace["n_model_calls"] for trace in traces) == len(asked)
    assert sum(trace["input_tokens"] or 0 for trace in traces) == sum(c.usage.input_tokens for c in answered)
    assert sum(trace["output_tokens"] or 0 for trace in traces) == sum(c.usage.output_tokens for c in answered)
    exact = [found.get(f"/traces/{trace['trace_id']}")["trace"]["cost_usd_exact"] for trace in traces]
    assert sum(Decimal(text) for text in exact if text) == cost


def assert_refusals_are_errors(found: Stored, asked: list[Call]) -> None:
    """Each refused call is a failed model span without usage that says why, and its turn is an error."""
    refused = [span for span in found.of_kind("LLM") if span["status"] == "error" and span["usage_counted"]]
    assert len(refused) == len([call for call in asked if call.status != 200])
    for span in refused:
        assert span["input_tokens"] is None
        thrown = [event for event in found.full(span)["events"] if event["name"] == "exception"]
        assert len(thrown) == 1 or span["error_type"], span["name"]
    failed = {trace["trace_id"] for trace in found.traces if trace["status"] == "error"}
    assert failed == {span["trace_id"] for span in refused}


def assert_tools_told(found: Stored, n_calls: int) -> None:
    """Every tool call has its name, its arguments and its result."""
    tools = found.of_kind("TOOL")
    assert len(tools) == n_calls
    for tool in tools:
        whole = found.full(tool)
        assert whole["tool_name"] == "seat_price"
        assert "AS12" in str(whole["input"])
        assert "AS12: 129" in str(whole["output"])


def assert_messages_there(found: Stored) -> None:
    """Every answered chat call has the user's message among its inputs, and a text or a tool call as output.

    Where a framework wraps a client that writes spans too, the framework's own span is the one with the messages.
    """
    answered = [span for span in found.of_kind("LLM") if span["status"] != "error"]
    outermost = {span["span_id"] for span in answered}
    for span in answered:
        if span["parent_span_id"] in outermost:
            continue
        whole = found.full(span)
        assert FIRST in str(whole["input"]) or SECOND in str(whole["input"])
        assert whole["input_messages"], span["name"]
        assert "129 dollars" in str(whole["output"]) or "seat_price" in str(whole["output"])


def assert_session_joins(found: Stored, ran: Ran, n_turns: int) -> Row:
    """The session holds its turns in order, with the totals of all of them."""
    answer = found.get(f"/sessions/{ran.session}")
    session: Row = answer["session"]
    assert session["n_turns"] == n_turns
    starts = [turn["start_ns"] for turn in answer["turns"]]
    assert starts == sorted(starts)
    assert len(starts) == n_turns
    listed = found.get("/sessions", app=ran.app, since="1d")["items"]
    assert [row["session_id"] for row in listed] == [ran.session]
    assert session["input_tokens"] == sum(span["input_tokens"] for span in found.answered)
    assert session["output_tokens"] == sum(span["output_tokens"] or 0 for span in found.answered)
    return session


def check(stack: Stack, providers: Providers, ran: Ran, *, n_turns: int, n_tools: int) -> Stored:
    """What holds for every agent program."""
    assert_nothing_lost(ran)
    found = stored(stack, ran)
    asked = providers.calls(ran.app)
    assert asked
    assert_tree_connected(found.spans)
    assert_calls_counted_once(found, asked)
    assert_refusals_are_errors(found, asked)
    assert_tools_told(found, n_tools)
    assert_messages_there(found)
    assert_session_joins(found, ran, n_turns)
    assert {span["provider"] for span in found.answered} <= {"openai", "anthropic"}
    return found


def test_langgraph_under_openinference(
    live_python: Runtime, program: Program, stack: Stack, providers: Providers
) -> None:
    ran = program.run(live_python, "langgraph_openinference.py", "langgraph-openinference")
    found = check(stack, providers, ran, n_turns=3, n_tools=2)
    roots = [span for span in found.spans if span["parent_span_id"] is None]
    assert {(root["name"], root["kind"], root["user_id"]) for root in roots} == {("seat-agent", "AGENT", "user-7")}
    assert [FIRST in root["input_preview"] for root in roots] == [True, False, False]
    assert SECOND in roots[1]["input_preview"]


def test_langgraph_under_openllmetry(
    live_python: Runtime, program: Program, stack: Stack, providers: Providers
) -> None:
    ran = program.run(live_python, "langgraph_openllmetry.py", "langgraph-openllmetry")
    found = check(stack, providers, ran, n_turns=3, n_tools=2)
    assert {span["kind"] for span in found.spans if span["name"].startswith("execute_task")} == {"CHAIN"}
    assert {span["agent_name"] for span in found.of_kind("AGENT")} == {"seat-agent"}


@pytest.mark.parametrize("api", ["openai", "openai-chat"])
def test_pydantic_ai(live_python: Runtime, program: Program, stack: Stack, providers: Providers, api: str) -> None:
    ran = program.run(live_python, "pydantic_agent.py", f"pydantic-ai-{api}", LIVE_API=api)
    found = check(stack, providers, ran, n_turns=4, n_tools=3)
    assert {span["agent_name"] for span in found.of_kind("AGENT")} == {"seat-agent"}
    second = found.traces[1]
    assert SECOND in second["input"]
    assert FIRST not in second["input"]


def test_pydantic_ai_on_anthropic(live_python: Runtime, program: Program, stack: Stack, providers: Providers) -> None:
    """pydantic-ai and the Anthropic SDK below it both write a model span for each call: one of them counts."""
    more = {"LIVE_API": "anthropic", "LIVE_MODEL": "claude-haiku-4-5", **CONTENT}
    ran = program.run(live_python, "pydantic_agent.py", "pydantic-ai-anthropic", **more)
    found = check(stack, providers, ran, n_turns=4, n_tools=3)
    calls = found.of_kind("LLM")
    assert len(calls) == 2 * len(providers.calls(ran.app))
    assert {call["name"] for call in calls if call["usage_counted"]} == {"anthropic.messages.create"}


@pytest.mark.parametrize("dialect", ["openinference", "openllmetry"])
def test_the_openai_client(
    live_python: Runtime, program: Program, stack: Stack, providers: Providers, dialect: str
) -> None:
    ran = program.run(live_python, "clients.py", f"openai-{dialect}", LIVE_DIALECT=dialect)
    found = check(stack, providers, ran, n_turns=1, n_tools=0)
    assert [span["kind"] for span in found.answered] == ["LLM", "LLM", "LLM", "EMBEDDING"]


def test_the_anthropic_client_s_own_spans(
    live_python: Runtime, program: Program, stack: Stack, providers: Providers
) -> None:
    more = {"LIVE_DIALECT": "anthropic", "LIVE_MODEL": "claude-haiku-4-5"}
    ran = program.run(live_python, "clients.py", "anthropic-sdk", **more, **CONTENT)
    found = check(stack, providers, ran, n_turns=1, n_tools=0)
    assert [span["ttft_ms"] is not None for span in found.answered] == [False, True]


@pytest.mark.parametrize("protocol", ["http/json", "http/protobuf"])
@pytest.mark.parametrize(("version", "api"), [("6", "responses"), ("6", "chat"), ("7", "responses")])
def test_vercel_ai_sdk(
    live_node: Runtime, program: Program, stack: Stack, providers: Providers, version: str, api: str, protocol: str
) -> None:
    app = f"vercel-{version}-{api}-{protocol.removeprefix('http/')}"
    more = {"LIVE_API": api, "OTEL_EXPORTER_OTLP_PROTOCOL": protocol}
    ran = program.run(live_node, f"vercel_v{version}.mjs", app, **more)
    found = check(stack, providers, ran, n_turns=4, n_tools=2)
    streamed = [span for span in found.of_kind("LLM") if span["ttft_ms"] is not None]
    assert len(streamed) == 2
    assert found.traces[1]["input"].find(SECOND) >= 0
