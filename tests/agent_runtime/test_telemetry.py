"""The trace of a turn: its tree, its baggage on every span and on the wire, its steps' attributes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from agent_runtime.records import Release, TurnResult, TurnStatus
from agent_runtime.settings import Settings
from agent_runtime.telemetry import BAGGAGE_KEYS, link_to
from tests.agent_runtime.scripted import Stand, calls, routes, says, scripted, stand
from tests.loopback import listening

THOUGHT = "Thought: look first (confidence 0.83; alternatives: find_orders, escalate)"
V2 = Release(name="v2", variant="treatment")


def turned(made: Stand, release: Release | None = V2) -> TurnResult:
    async def go() -> TurnResult:
        try:
            return await made.say("where is LK-12345?", "m1", release)  # type: ignore[no-any-return]
        finally:
            await made.runtime.close()

    return asyncio.run(go())


def looked_up(folder: Path) -> Stand:
    return stand(folder, scripted([calls("get_order", thought=THOUGHT, order_id="LK-12345"), says("It came.")]))


def test_the_tree_of_a_turn(tmp_path: Path) -> None:
    made = looked_up(tmp_path)
    result = turned(made)
    spans = made.spans.get_finished_spans()
    names = {s.context.span_id: s.name for s in spans if s.context}
    tree = {(s.name, names[s.parent.span_id] if s.parent else "") for s in spans}
    assert tree == {
        ("invoke_agent support", ""),
        ("memory recall", "invoke_agent support"),
        ("invoke_agent supervisor", "invoke_agent support"),
        ("chat sim-1", "invoke_agent supervisor"),
        ("invoke_agent order", "invoke_agent support"),
        ("step 1", "invoke_agent order"),
        ("chat sim-1", "step 1"),
        ("execute_tool get_order", "step 1"),
        ("guardrail action.confirmation", "execute_tool get_order"),
        ("step 2", "invoke_agent order"),
        ("chat sim-1", "step 2"),
        ("memory store", "invoke_agent support"),
    }
    assert {f"{s.context.trace_id:032x}" for s in spans if s.context} == {result.trace_id}


def test_every_span_carries_the_baggage(tmp_path: Path) -> None:
    made = looked_up(tmp_path)
    turned(made)
    expected = ("s1", "s1", "u1", "default", "larkspur-support", "v2", "treatment")
    for span in made.spans.get_finished_spans():
        assert tuple((span.attributes or {}).get(key) for key in BAGGAGE_KEYS) == expected, span.name


def test_what_a_step_and_a_turn_say(tmp_path: Path) -> None:
    made = looked_up(tmp_path)
    turned(made)
    step: Mapping[str, Any] = made.span("step 1").attributes or {}
    assert step["assay.step.thought"] == "look first"
    assert step["assay.step.confidence"] == 0.83
    assert step["assay.step.alternatives"] == ("find_orders", "escalate")
    assert step["assay.step.strategy"] == "react"
    assert step["assay.step.latency_ms"] > 0
    root: Mapping[str, Any] = made.span("invoke_agent support").attributes or {}
    assert root["gen_ai.operation.name"] == "invoke_agent"
    assert json.loads(root["gen_ai.input.messages"])[0]["parts"][0]["content"] == "where is LK-12345?"
    assert json.loads(root["gen_ai.output.messages"])[0]["parts"][0]["content"] == "It came."
    assert (root["assay.turn.status"], root["assay.turn.strategy"], root["assay.turn.index"]) == (
        "answered",
        "react",
        0,
    )


@pytest.mark.parametrize("parent", ["", "nonsense", "00-zz-yy-01", "00-" + "g" * 32 + "-" + "1" * 16 + "-01"])
def test_a_link_that_cannot_be_read_is_none(parent: str) -> None:
    assert link_to(parent) == []


class Wire(BaseHTTPRequestHandler):
    """An OpenAI-protocol server that routes, then answers; keeps what it was asked."""

    seen: list[tuple[dict[str, str], dict[str, Any]]] = []
    failures: list[int] = []

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        type(self).seen.append(({k.lower(): v for k, v in self.headers.items()}, body))
        if self.failures:
            self._send(self.failures.pop(), {"error": {"message": "not now"}})
            return
        names = [tool["function"]["name"] for tool in body.get("tools", [])]
        said: dict[str, Any] = {"role": "assistant", "content": "hello"}
        if names == ["route"]:
            arguments = json.dumps({"agent": "order", "intent": "order"})
            call = {"id": "c1", "type": "function", "function": {"name": "route", "arguments": arguments}}
            said = {"role": "assistant", "content": None, "tool_calls": [call]}
        choice = {"index": 0, "message": said, "finish_reason": "stop"}
        usage = {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12}
        self._send(
            200,
            {
                "id": "x",
                "object": "chat.completion",
                "created": 1,
                "model": "sim-1",
                "choices": [choice],
                "usage": usage,
            },
        )

    def _send(self, status: int, answer: dict[str, Any]) -> None:
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args: Any) -> None:
        """Quiet."""


@pytest.mark.parametrize(
    ("failures", "status"),
    [([], TurnStatus.ANSWERED), ([503, 429], TurnStatus.ANSWERED), ([401], TurnStatus.FAILED)],
)
def test_model_requests_carry_trace_and_baggage_and_are_tried_again_when_that_helps(
    tmp_path: Path, failures: list[int], status: TurnStatus
) -> None:
    Wire.seen, Wire.failures = [], list(failures)
    with listening(Wire) as url:
        made = stand(tmp_path, None, settings=Settings(data=tmp_path, openai_base_url=f"{url}/v1"))
        result = turned(made)
    assert result.status is status
    chats = {
        f"{s.context.span_id:016x}" for s in made.spans.get_finished_spans() if s.name == "chat sim-1" and s.context
    }
    for headers, _ in Wire.seen:
        assert headers["traceparent"].split("-")[1] == result.trace_id
        assert headers["traceparent"].split("-")[2] in chats
        assert {"session.id=s1", "assay.release=v2"} <= set(headers["baggage"].split(","))
    assert not any("v2" in json.dumps(body) for _, body in Wire.seen)  # never in the prompt


def test_the_supervisor_sees_no_tool_of_the_shop(tmp_path: Path) -> None:
    made = stand(tmp_path, scripted([says("hi")], routes("account")))
    turned(made)
    chats = [s for s in made.spans.get_finished_spans() if s.name == "chat sim-1"]
    offered = [json.loads(str((s.attributes or {})["gen_ai.tool.definitions"])) for s in chats]
    assert [tool["name"] for tool in offered[0]] == ["route"]
    assert "refund_order" not in [tool["name"] for tool in offered[1]]
