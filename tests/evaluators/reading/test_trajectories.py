"""Trajectories read from what real instrumentations, importers and the gateway stored."""

from __future__ import annotations

import itertools
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from core.records import TargetKind
from evaluators.reading import targets, trajectories
from evaluators.records import Expected, Trajectory
from server.importers import tau2, tau_bench
from store.engine import DuckDBEngine
from store.lake import Lake
from store.tenant import Store
from tests.evaluators.reading.stored import TENANT, of_conversations, of_sample, store_of
from tests.first_start import begun
from tests.importers.recorded import OTEL_SAMPLES, TAU_BENCH, good, needs_recordings, tau2_files
from tests.store.build import T0, agent_trace, fill, row, trace


def read(folder: Path, rows: list[dict[str, Any]], *ids: str, batches: int = 1) -> dict[str, Trajectory]:
    """The trajectories of these sessions from rows."""
    lake = Lake(begun(folder) / "lake")
    fill(lake, rows, batches=batches)
    return trajectories(Store(lake, DuckDBEngine(lake.root), lambda: T0).tenant(TENANT), session_ids=ids)


def sampled(folder: Path, name: str) -> list[Trajectory]:
    """The trajectories of every trace in a captured request."""
    store = store_of(folder, of_sample(OTEL_SAMPLES / name))
    ids = store.frame(store.table("turns").select("trace_id", "tenant"))["trace_id"].unique(maintain_order=True)
    return sorted(trajectories(store, trace_ids=ids.to_list()).values(), key=lambda one: one.start_ns or 0)


def spoken(one: Trajectory) -> list[tuple[str, str]]:
    return [(message.role, message.text) for message in one.messages]


@needs_recordings
def test_tau_bench_as_it_was_recorded(tmp_path: Path) -> None:
    known = [good(one) for one in itertools.islice(tau_bench.conversations(TAU_BENCH, app=None, release=None), 4)]
    store = store_of(tmp_path, *of_conversations(known))
    found = trajectories(store, session_ids=[*(one.session_id for one in known), "nobody"])
    assert list(found) == sorted(one.session_id for one in known)
    first = found[known[0].session_id]
    assert first.n_spans == len(known[0].spans)
    assert (first.app, first.release, first.user_id) == ("airline", "gpt-4o", "mia_li_3668")
    assert [call.name for call in first.tool_calls] == [
        *("get_user_details", "search_direct_flight", "search_onestop_flight", "calculate"),
        *("book_reservation", "think", "calculate", "book_reservation"),
    ]
    assert first.tool_calls[0].arguments == {"user_id": "mia_li_3668"}
    failed, booked = first.tool_calls[4], first.tool_calls[-1]
    assert failed.error == "Error: payment amount does not add up, total price is 305, but paid 255"
    assert booked.error is None
    assert booked.result["reservation_id"] == "HATHAT"
    assert [message.turn for message in first.messages] == [n for n in range(7) for _ in range(2)]
    assert first.messages[1].text.startswith("To assist you with booking a flight")
    assert first.answer is not None
    assert first.answer.startswith("Your flight from New York (JFK) to Seattle (SEA) has been successfully booked")
    assert first.attributes["assay.task_id"] == "0"
    assert all(call.input_tokens is None for call in first.model_calls)


@needs_recordings
def test_tau2_has_real_times_tokens_and_costs(tmp_path: Path) -> None:
    known = [good(one) for one in itertools.islice(tau2.conversations(tau2_files()[0], app=None, release=None), 3)]
    store = store_of(tmp_path, *of_conversations(known))
    for one in known:
        found = trajectories(store, session_ids=[one.session_id])[one.session_id]
        chats = [span for span in one.spans if span.name.startswith("chat ")]
        assert len(found.model_calls) == len(chats)
        assert sum(call.input_tokens or 0 for call in found.model_calls) > 0
        assert len(found.tool_calls) == sum(span.name.startswith("execute_tool ") for span in one.spans)
        assert (found.start_ns, found.end_ns) == (one.start_ns, one.end_ns)


@needs_recordings
@pytest.mark.parametrize(
    ("name", "question", "answer", "tools", "n_model_calls"),
    [
        pytest.param(
            "logfire_tests/openai_agents__test_responses.json",
            "Generate a random number then, hand off to agent2.",
            "The random number generated is 4, and it's been handed off to agent2.",
            [("random_number", {}, 4)],
            2,
            id="openai agents through logfire",
        ),
        pytest.param(
            "logfire_tests/claude_agent_sdk__test_basic_conversation_cassette.json",
            "What is 2+2?",
            "4",
            [],
            1,
            id="claude agent sdk, genai conventions",
        ),
        pytest.param(
            "logfire_tests/dspy__test_dspy_instrumentation.json",
            "What is the capital of France?",
            "Paris",
            [],
            1,
            id="dspy, openinference under a silent root",
        ),
        pytest.param(
            "openinference_vercel_v6/ai-generateText.json",
            "And what is 3 + 3?",
            "3 + 3 equals 6.",
            [],
            0,
            id="vercel",
        ),
        pytest.param(
            "logfire_tests/pydantic_ai_mcp__test_pydantic_ai_mcp_sampling.json",
            "tell a joke about socks",
            'Why did the sock break up with the shoe?\n\nBecause it found something more "sole-ful!"',
            [("joker", {"theme": "socks"}, None)],
            4,
            id="pydantic-ai with mcp",
        ),
    ],
)
def test_dialects(
    tmp_path: Path, name: str, question: str, answer: str, tools: list[tuple[str, Any, Any]], n_model_calls: int
) -> None:
    (found,) = [one for one in sampled(tmp_path, name) if ("user", question) in spoken(one)]
    assert spoken(found) == [("user", question), ("assistant", answer)]
    assert [(call.name, call.arguments) for call in found.tool_calls] == [(name, given) for name, given, _ in tools]
    assert len(found.model_calls) == n_model_calls


@needs_recordings
def test_tool_calls_of_messages_where_nobody_traces_tools(tmp_path: Path) -> None:
    asked, answered = sampled(tmp_path, "logfire_tests/openai__test_responses_api.json")
    assert [(one.name, one.arguments) for one in asked.tool_calls] == [("get_weather", {"location": "Paris, France"})]
    assert spoken(asked) == [("user", "What is the weather like in Paris today?")]
    assert answered.tool_calls == ()
    assert [role for role, _ in spoken(answered)] == ["assistant"]  # it goes on from the tool's answer


def call_of(name: str, call_id: str) -> dict[str, Any]:
    return {"type": "tool_call", "id": call_id, "name": name, "arguments": {"n": 1}}


def test_results_of_tool_calls_in_messages_come_from_the_next_call(tmp_path: Path) -> None:
    said = {"role": "assistant", "parts": [call_of("look", "c1")]}
    result = {"role": "tool", "parts": [{"type": "tool_call_response", "id": "c1", "response": {"found": 2}}]}
    question = {"role": "user", "parts": [{"type": "text", "content": "how many?"}]}
    first = row(span_id=2, parent=1, kind="LLM", at_s=1, input=json.dumps([question]), output=json.dumps([said]))
    second = row(span_id=3, parent=1, kind="LLM", at_s=2, input=json.dumps([question, said, result]), output="two")
    root = row(span_id=1, kind="AGENT", ms=3000, session_id="s", input="how many?", output="two")
    found = read(tmp_path, [root, first, second], "s")["s"]
    (call,) = found.tool_calls
    assert (call.name, call.arguments, call.result, call.span_id) == ("look", {"n": 1}, {"found": 2}, f"{2:016x}")
    assert spoken(found) == [("user", "how many?"), ("assistant", "two")]


def test_a_call_that_agent_and_gateway_report_counts_once(tmp_path: Path) -> None:
    usage = {"kind": "LLM", "input_tokens": 100, "output_tokens": 10, "cost_usd": Decimal("0.5"), "usage_counted": True}
    agent = row(span_id=2, parent=1, at_s=0.1, **usage)  # it came before the gateway's, and stayed counted
    gateway = row(span_id=3, parent=2, at_s=0.2, scope_name="assay.gateway", ttft_ms=20.0, **usage)
    found = read(tmp_path, [row(span_id=1, kind="AGENT", session_id="s"), agent, gateway], "s", batches=3)["s"]
    (call,) = found.model_calls
    assert (call.span_id, call.cost_usd, call.ttft_ms) == (f"{3:016x}", 0.5, 20.0)


def test_a_tool_that_two_layers_report_counts_once_and_repeats_count(tmp_path: Path) -> None:
    root = row(span_id=1, kind="AGENT", session_id="s", ms=5000)
    outer = row(span_id=2, parent=1, kind="TOOL", tool_name="look", tool_call_id="c", at_s=1, input='{"a": 1}')
    inner = row(span_id=3, parent=2, kind="TOOL", name="tools/call look", tool_call_id="c", at_s=1.1)
    again = row(span_id=4, parent=1, kind="TOOL", tool_name="look", tool_call_id="c", at_s=2, status_code=2)
    found = read(tmp_path, [root, outer, inner, again], "s")["s"]
    assert [(one.name, one.arguments, one.error) for one in found.tool_calls] == [
        ("look", {"a": 1}, None),
        ("look", {}, "error"),
    ]


def test_a_span_that_was_sent_in_two_versions_is_read_as_it_was_stored_last(tmp_path: Path) -> None:
    early = row(span_id=1, kind="AGENT", session_id="s", input="hi", output="partial", seq=1)
    late = row(span_id=1, kind="AGENT", session_id="s", input="hi", output="whole", seq=2, content_hash=7)
    found = read(tmp_path, [early, late], "s", batches=2)["s"]
    assert (found.answer, found.n_spans) == ("whole", 1)


def test_turns_are_in_order_and_belong_by_any_of_their_spans(tmp_path: Path) -> None:
    second, first = agent_trace(1, at_s=100), agent_trace(2, at_s=50, session_id="s")
    second[1]["session_id"] = "s"
    found = read(tmp_path, second + first + agent_trace(3, session_id="other"), "s", batches=3)["s"]
    assert found.trace_ids == (trace(2), trace(1))
    assert spoken(found) == [
        ("user", "question 2"),
        ("assistant", "answer 2"),
        ("user", "question 1"),
        ("assistant", "answer 1"),
    ]
    assert [call.turn for call in found.model_calls] == [0, 0, 1, 1]
    assert found.errors == ("tool: error",)


def test_documents_of_retrievals_in_order_of_rank(tmp_path: Path) -> None:
    documents = json.dumps([{"id": "d2", "content": "two", "score": 0.9}, {"document": {"id": 7}, "score": "x"}, "raw"])
    rows = [
        row(span_id=1, kind="AGENT", session_id="s", ms=5000),
        row(span_id=2, parent=1, kind="RETRIEVER", documents=documents),
        row(span_id=3, parent=2, kind="RETRIEVER", documents=documents),
        row(span_id=4, parent=1, kind="RERANKER", documents=documents),
    ]
    found = read(tmp_path, rows, "s")["s"].documents
    assert [(one.document_id, one.text, one.score) for one in found] == [
        ("d2", "two", 0.9),
        ("7", "", None),
        ("2", "raw", None),
    ]


def test_the_end_state_is_what_the_last_root_says(tmp_path: Path) -> None:
    rows = [
        row(trace_id=1, span_id=1, session_id="s", attributes={"assay.end_state": '{"orders": 1}', "a": "1"}),
        row(trace_id=2, span_id=2, session_id="s", at_s=9, attributes={"assay.end_state": '{"orders": 2}'}),
    ]
    found = read(tmp_path, rows, "s")["s"]
    assert found.end_state == {"orders": 2}
    assert found.attributes["a"] == "1"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[",
        "[[[[",
        '{"messages": 3}',
        "[1, null]",
        '[{"role": 5, "content": {"x": 1}}]',
        "NaN",
        '[{"type": "text"}]',
    ],
)
def test_texts_that_are_no_messages_break_nothing(tmp_path: Path, text: str) -> None:
    rows = [
        row(span_id=1, kind="AGENT", session_id="s", input=text, output=text, documents=text),
        row(span_id=2, parent=1, kind="TOOL", input=text, output=text, tool_name=""),
        row(span_id=3, parent=1, kind="RETRIEVER", documents=text),
        row(span_id=4, parent=1, kind="LLM", input=text, output=text),
    ]
    assert read(tmp_path, rows, "s")["s"].n_spans == 4


def test_targets_say_what_is_expected(tmp_path: Path) -> None:
    lake = Lake(begun(tmp_path) / "lake")
    fill(lake, agent_trace(1, session_id="s"))
    store = Store(lake, DuckDBEngine(lake.root), lambda: T0).tenant(TENANT)
    found = targets(store, session_ids=["s"], trace_ids=[trace(1)], expected={"s": Expected(answer="yes")})
    assert {name: one.kind for name, one in found.items()} == {"s": TargetKind.SESSION, trace(1): TargetKind.TURN}
    assert found["s"].expected == Expected(answer="yes")
    assert found[trace(1)].trajectory.session_id == "s"
