"""Anthropic's wire: what is sent for a call, and that its answers are the same as those of OpenAI's wire."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest
from anthropic.types import MessageParam, OutputConfigParam, ToolChoiceParam, ToolParam
from pydantic import TypeAdapter

from agent_runtime.simulation.provider.running import running_provider
from agent_runtime.simulation.provider.server import Provider
from gateway.errors import BadCall, CallFailed, UpstreamFailed
from gateway.records import Answer, Call, Target, Usage
from gateway.streams import Assembly
from gateway.upstreams.anthropic import MAX_TOKENS, AnthropicWire
from gateway.upstreams.pool import Pool
from tests.gateway.upstream_calls import KEY, asked, call_of, pool_of

TARGET = Target(upstream="main", model="claude-x")
PNG = "data:image/png;base64,iVBORw0KGgo="
FIND = {
    "type": "function",
    "function": {
        "name": "find_order",
        "description": "Finds an order.",
        "parameters": {"type": "object", "properties": {"id": {"type": "string"}}, "required": ["id"]},
    },
}


def sent(call: Call, version: str = "") -> dict[str, Any]:
    """The body that is sent; its parts are what Anthropic's own library takes them for."""
    body: dict[str, Any] = orjson.loads(AnthropicWire(version).request(call, TARGET, KEY).body)
    for message in body["messages"]:
        TypeAdapter(MessageParam).validate_python(message)
    for tool in body.get("tools", ()):
        TypeAdapter(ToolParam).validate_python(tool)
    TypeAdapter(ToolChoiceParam).validate_python(body.get("tool_choice", {"type": "auto"}))
    TypeAdapter(OutputConfigParam).validate_python(body.get("output_config", {}))
    return body


def conversation(*messages: dict[str, Any], **body: Any) -> Call:
    """A call with these messages."""
    return call_of("", messages=list(messages), **body)


def said(role: str, content: Any, **more: Any) -> dict[str, Any]:
    """One message."""
    return {"role": role, "content": content, **more}


def called(arguments: str) -> dict[str, Any]:
    """An assistant's message that calls a tool."""
    function = {"name": "find_order", "arguments": arguments}
    return said("assistant", None, tool_calls=[{"id": "t1", "type": "function", "function": function}])


def test_the_address_the_key_and_the_version() -> None:
    outgoing = AnthropicWire().request(call_of("hello"), TARGET, KEY)
    assert outgoing.path == "/v1/messages"
    assert outgoing.headers["x-api-key"] == KEY
    assert outgoing.headers["anthropic-version"] == "2026-10-21"


def test_a_plain_question() -> None:
    assert sent(call_of("hello", user="u1")) == {
        "model": "claude-x",
        "max_tokens": MAX_TOKENS,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "hello"}]}],
        "metadata": {"user_id": "u1"},
    }
    assert sent(call_of("hello", streamed=True, max_tokens=9))["stream"] is True
    assert sent(call_of("hello", max_tokens=9, max_completion_tokens=7))["max_tokens"] == 7


def test_system_texts_stand_apart_and_turns_of_one_side_together() -> None:
    body = sent(
        conversation(
            said("system", "Be brief."),
            said("developer", [{"type": "text", "text": "Be kind."}]),
            said("user", "one"),
            said("user", ""),
            said("user", "two"),
            said("assistant", "yes"),
        )
    )
    assert body["system"] == "Be brief.\n\nBe kind."
    assert [(turn["role"], [block["text"] for block in turn["content"]]) for turn in body["messages"]] == [
        ("user", ["one", "two"]),
        ("assistant", ["yes"]),
    ]


def test_calls_of_tools_and_their_results() -> None:
    again = called('{"id": "2"}')
    again["tool_calls"].append({**again["tool_calls"][0], "id": "t2"})
    body = sent(
        conversation(
            said("user", "where?"),
            again,
            said("tool", "lost", tool_call_id="t1"),
            said("tool", [{"type": "text", "text": "found"}], tool_call_id="t2"),
            said("user", "so?"),
        )
    )
    assert body["messages"][1]["content"][0] == {
        "type": "tool_use",
        "id": "t1",
        "name": "find_order",
        "input": {"id": "2"},
    }
    assert body["messages"][2]["content"] == [
        {"type": "tool_result", "tool_use_id": "t1", "content": "lost"},
        {"type": "tool_result", "tool_use_id": "t2", "content": [{"type": "text", "text": "found"}]},
        {"type": "text", "text": "so?"},
    ]


@pytest.mark.parametrize("arguments", ['{"id": ', "[1]", "nothing"])
def test_arguments_that_are_no_json_object_are_passed_on_and_flagged(arguments: str) -> None:
    call = conversation(said("user", "x"), called(arguments), said("tool", "ok", tool_call_id="t1"))
    assert sent(call)["messages"][1]["content"][0]["input"] == {"invalid_arguments": arguments}
    sent(call)
    assert call.flags == ["tool_arguments_invalid"]


@pytest.mark.parametrize(
    ("url", "source"),
    [
        (PNG, {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}),
        ("https://example.org/a.png", {"type": "url", "url": "https://example.org/a.png"}),
    ],
)
def test_images(url: str, source: dict[str, str]) -> None:
    part = {"type": "image_url", "image_url": {"url": url}}
    body = sent(conversation(said("user", [{"type": "text", "text": "what?"}, part])))
    assert body["messages"][0]["content"][1] == {"type": "image", "source": source}


def test_tools_and_which_of_them() -> None:
    def choice(given: Any, **more: Any) -> Any:
        return sent(call_of("x", tools=[FIND], tool_choice=given, **more)).get("tool_choice")

    tool = sent(call_of("x", tools=[FIND]))["tools"][0]
    assert tool["input_schema"] == FIND["function"]["parameters"]  # type: ignore[index]
    assert choice(None) is choice("auto") is None
    assert choice("none") == {"type": "none"}
    assert choice("required") == {"type": "any"}
    named = {"type": "function", "function": {"name": "find_order"}}
    assert choice(named) == {"type": "tool", "name": "find_order"}
    assert choice(None, parallel_tool_calls=False) == {"type": "auto", "disable_parallel_tool_use": True}
    assert "tool_choice" not in sent(call_of("x", tool_choice="none"))


def test_structured_output() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "object", "properties": {}}}}
    wanted = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}
    body = sent(call_of("x", response_format=wanted, reasoning_effort="minimal"))
    closed = {
        "type": "object",
        "properties": {"a": {"type": "object", "properties": {}, "additionalProperties": False}},
        "additionalProperties": False,
    }
    assert body["output_config"] == {"effort": "low", "format": {"type": "json_schema", "schema": closed}}
    assert "JSON" in sent(call_of("x", response_format={"type": "json_object"}))["system"]
    assert "output_config" not in sent(call_of("x", response_format={"type": "text"}))


def test_what_only_shapes_the_sampling_is_left_out_and_flagged() -> None:
    call = call_of("x", temperature=1.5, top_p=0.5, seed=1, stop=["a", "b"])
    body = sent(call)
    assert body["stop_sequences"] == ["a", "b"]
    assert not {"temperature", "top_p", "seed"} & set(body)
    assert sorted(call.flags) == ["dropped:seed", "dropped:temperature", "dropped:top_p"]
    call = call_of("x", temperature=1.5, stop="a")
    body = sent(call, version="2023-06-01")
    assert (body["temperature"], body["stop_sequences"], call.flags) == (1, ["a"], [])


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"n": 2}, "n"),
        ({"logprobs": True}, "logprobs"),
        ({"functions": [{}]}, "functions"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"tools": [{"type": "custom"}]}, "tools[0]"),
        ({"tools": [FIND], "tool_choice": {"type": "allowed_tools"}}, "tool_choice"),
        ({"response_format": {"type": "json_schema"}}, "response_format"),
        ({"input": ["a"]}, "model"),
        ({"messages": [said("system", "x")]}, "messages"),
        ({"messages": [said("function", "x")]}, "messages[0].role"),
        ({"messages": [said("tool", "x")]}, "messages[0].tool_call_id"),
        ({"messages": [said("user", [{"type": "input_audio"}])]}, "messages[0].content[0]"),
        ({"messages": [said("user", [{"type": "image_url", "image_url": {"url": "file:///etc"}}])]}, None),
        ({"messages": [said("user", [{"type": "image_url", "image_url": {"url": "data:text/html;base64,x"}}])]}, None),
        ({"messages": [{**called("{}"), "tool_calls": [{"id": "t1"}]}]}, "messages[0].tool_calls[0]"),
    ],
)
def test_what_anthropic_cannot_do_is_refused(body: dict[str, Any], param: str | None) -> None:
    with pytest.raises(BadCall) as refused:
        sent(call_of("x", **body))
    assert refused.value.param == (param or "messages[0].content[0]")


def test_a_target_that_cannot_do_it_does_not_hide_one_that_can() -> None:
    async def run() -> None:
        async with running_provider(Provider()) as url:
            configs = {"claude": {"wire": "anthropic", "base_url": url}, "openai": {"base_url": f"{url}/v1"}}
            async with pool_of(configs) as pool:
                call = call_of("x", on=("claude", "openai"), logprobs=True)
                call = _with_model(call, "sim-1")
                assert isinstance(await asked(pool, call), Answer)
                assert (call.fallback_reason, call.provider) == ("unsupported", "openai")
                failed = await asked(pool, _with_model(call_of("x", on=("claude",), n=2), "sim-1"))
                assert isinstance(failed, BadCall)

    asyncio.run(run())


# --- answers ----------------------------------------------------------------------------------------------------------


def _with_model(call: Call, model: str) -> Call:
    targets = tuple(Target(upstream=target.upstream, model=model) for target in call.model.targets)
    call.model = type(call.model)(name="m", kind=call.model.kind, targets=targets)
    return call


@asynccontextmanager
async def both() -> AsyncIterator[Pool]:
    """The simulated provider behind both wires."""
    async with running_provider(Provider()) as url:
        configs = {"claude": {"wire": "anthropic", "base_url": url}, "openai": {"base_url": f"{url}/v1"}}
        async with pool_of(configs) as pool:
            yield pool


async def answered(pool: Pool, on: str, streamed: bool, **body: Any) -> tuple[dict[str, Any], Call]:
    """The whole answer, put together if it was streamed."""
    call = _with_model(call_of("Where is my order?", on=(on,), streamed=streamed, **body), "sim-1-mini")
    if not streamed:
        return (await pool.ask(call)).body, call
    stream, assembly = await pool.open(call), Assembly()
    async for chunks in stream:
        for chunk in chunks:
            assembly.add(chunk)
    await stream.close()
    return assembly.body(), call


def calls_in(choice: dict[str, Any]) -> list[tuple[str, Any]]:
    """Names and arguments of the tools that are called."""
    functions = [call["function"] for call in choice["message"].get("tool_calls", ())]
    return [(function["name"], orjson.loads(function["arguments"])) for function in functions]


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    "body",
    [
        {},
        {"tools": [FIND], "tool_choice": "required"},
        {"max_tokens": 3},
        {
            "messages": [
                said("system", "You help."),
                said("user", "Where is order 7?"),
                called('{"id": "7"}'),
                said("tool", '{"status": "sent"}', tool_call_id="t1"),
            ],
            "tools": [FIND],
        },
    ],
)
def test_answers_are_the_same_as_those_of_openais_wire(body: dict[str, Any], streamed: bool) -> None:
    async def run() -> None:
        async with both() as pool:
            (ours, call), (theirs, other) = [await answered(pool, on, streamed, **body) for on in ("claude", "openai")]
            mine, wanted = ours["choices"][0], theirs["choices"][0]
            assert mine["finish_reason"] == wanted["finish_reason"]
            assert mine["message"].get("content") == wanted["message"].get("content")
            assert calls_in(mine) == calls_in(wanted)
            assert call.usage == other.usage
            assert call.usage.reported
            assert ours["usage"]["total_tokens"] == call.usage.input_tokens + call.usage.output_tokens
            assert call.simulated
            assert (call.provider, other.provider) == ("anthropic", "openai")

    asyncio.run(run())


def whole(**fields: Any) -> dict[str, Any]:
    """A message that is read as a chat completion."""
    usage = {"input_tokens": 5, "cache_read_input_tokens": 20, "cache_creation_input_tokens": 3, "output_tokens": 7}
    message = {"id": "m1", "type": "message", "model": "c", "content": [], "stop_reason": "end_turn", "usage": usage}
    return AnthropicWire().answer(call_of("x"), orjson.dumps({**message, **fields}))


def test_what_was_read_from_the_cache_and_written_to_it_is_part_of_the_input() -> None:
    usage = whole()["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"]) == (28, 7, 35)
    assert usage["prompt_tokens_details"] == {"cached_tokens": 20, "cache_creation_tokens": 3}


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("tool_use", "tool_calls"),
        ("refusal", "content_filter"),
        ("pause_turn", "stop"),
        ("something_new", "stop"),
    ],
)
def test_why_it_stopped(reason: str, finish: str) -> None:
    assert whole(stop_reason=reason)["choices"][0]["finish_reason"] == finish


def test_a_refusal_says_why() -> None:
    details = {"type": "refusal", "explanation": "I must not."}
    message = whole(stop_reason="refusal", stop_details=details)["choices"][0]["message"]
    assert (message["content"], message["refusal"]) == (None, "I must not.")


DEEP = b'{"content": [{"type": "tool_use", "input": %s}]}' % (b"[" * 250 + b"]" * 250)


@pytest.mark.parametrize("body", [b"{", b"<html>", b"[]", b'{"content": 3}', b'{"content": ["x"]}', b"\xff", DEEP])
def test_what_is_no_message_is_garbage(body: bytes) -> None:
    with pytest.raises(UpstreamFailed) as failed:
        AnthropicWire().answer(call_of("x"), body)
    assert failed.value.code == "upstream_garbage"


@pytest.mark.parametrize(
    ("status", "kind", "told", "is_bad"),
    [
        (400, "invalid_request_error", 400, True),
        (413, "request_too_large", 413, True),
        (429, "rate_limit_error", 429, False),
        (529, "overloaded_error", 503, False),
        (500, "api_error", 502, False),
        (504, "timeout_error", 504, False),
    ],
)
def test_errors(status: int, kind: str, told: int, is_bad: bool) -> None:
    said = {"type": "error", "error": {"type": kind, "message": "No."}, "request_id": "r"}
    error = AnthropicWire().error(status, orjson.dumps(said))
    assert isinstance(error, CallFailed)
    assert (error.status, error.message, isinstance(error, BadCall)) == (told, "No.", is_bad)
    with pytest.raises(CallFailed) as failed:
        AnthropicWire().answer(call_of("x"), orjson.dumps(said))
    assert failed.value.status == told


def test_usage_of_a_stream_that_breaks_off_has_the_input_that_was_reported() -> None:
    reader = AnthropicWire().reader(call_of("x"))
    start = {"type": "message_start", "message": {"id": "m", "usage": {"input_tokens": 50, "output_tokens": 1}}}
    reader.feed(b"data: " + orjson.dumps(start) + b"\n\n")
    assert reader.usage == Usage(input_tokens=50, output_tokens=1)
