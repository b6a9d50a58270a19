"""Whatever callers send and providers answer, a wire says what is wrong; it never breaks."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.errors import BadCall, CallFailed
from gateway.records import Target
from gateway.streams import Assembly
from gateway.upstreams import billing
from gateway.upstreams.anthropic import AnthropicWire
from gateway.upstreams.openai import OpenAIWire
from gateway.upstreams.wire import Wire
from tests.gateway.upstream_calls import call_of
from tests.thorough import often

WIRES: list[Wire] = [OpenAIWire(), AnthropicWire()]
PLAIN = st.none() | st.booleans() | st.integers(-5, 2**64 - 1) | st.floats(allow_nan=False) | st.text(max_size=8)
_NAMES = """
    choices index delta message content tool_calls function name arguments finish_reason usage prompt_tokens error
    completion_tokens prompt_tokens_details cached_tokens type message_start content_block content_block_start text
    content_block_delta partial_json message_delta stop_reason input_tokens output_tokens id model data role code
    input stop_details explanation image_url url tool_call_id file file_data"""
NAMES = st.sampled_from(_NAMES.split())
_WORDS = """
    message_start content_block_start content_block_delta content_block_stop message_delta message_stop error ping
    text_delta input_json_delta tool_use text thinking end_turn tool_use refusal function image_url file
    data:image/png;base64,AA== https://x/y.png {} [ auto required json_schema"""
WORDS = st.sampled_from(_WORDS.split())
JSON = st.recursive(
    PLAIN | WORDS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=5), max_leaves=14
)
OBJECTS = st.dictionaries(NAMES, JSON, max_size=6)
CHUNKS = st.fixed_dictionaries({"choices": st.lists(OBJECTS, max_size=2)}) | st.fixed_dictionaries(
    {"choices": st.lists(st.fixed_dictionaries({"delta": OBJECTS, "index": JSON}), max_size=2), "usage": JSON}
)
EVENTS = st.fixed_dictionaries(
    {"type": WORDS, "index": JSON, "delta": OBJECTS, "content_block": OBJECTS, "message": OBJECTS, "usage": JSON}
)
MESSAGES = st.fixed_dictionaries(
    {"role": st.sampled_from(["system", "developer", "user", "assistant", "tool", "function"])},
    optional={"content": JSON, "tool_calls": JSON, "tool_call_id": JSON},
)
_PARAMETERS = """
    n logprobs tools tool_choice response_format stop temperature top_p max_tokens user modalities reasoning_effort
    parallel_tool_calls stream_options functions seed"""
PARAMETERS = st.sampled_from(_PARAMETERS.split())
fuzzed = settings(max_examples=often(50, 15), deadline=None, suppress_health_check=[HealthCheck.too_slow])


@fuzzed
@given(st.lists(MESSAGES, min_size=1, max_size=4), st.dictionaries(PARAMETERS, JSON, max_size=4), st.booleans())
@pytest.mark.parametrize("wire", WIRES, ids=lambda wire: wire.provider)
def test_requests(wire: Wire, messages: list[Any], parameters: dict[str, Any], streamed: bool) -> None:
    call = call_of("", streamed=streamed, messages=messages, **parameters)
    try:
        outgoing = wire.request(call, Target(upstream="a", model="m"), "k")
    except BadCall:
        return
    assert orjson.loads(outgoing.body)["model"] == "m"


@fuzzed
@given(JSON | OBJECTS | CHUNKS)
@pytest.mark.parametrize("wire", WIRES, ids=lambda wire: wire.provider)
def test_whole_answers_and_errors(wire: Wire, said: Any) -> None:
    body = orjson.dumps(said)
    call = call_of("")
    billing.of_body(10, body)
    for status in (400, 401, 429, 500):
        assert wire.error(status, body).message
    try:
        answer = wire.answer(call, body)
    except CallFailed:
        return
    billing.of_body(10, orjson.dumps(answer))
    for choice in answer["choices"]:
        assert isinstance(choice["message"], dict)


@fuzzed
@given(st.lists(CHUNKS | EVENTS | OBJECTS, max_size=6))
@pytest.mark.parametrize("wire", WIRES, ids=lambda wire: wire.provider)
def test_streams_are_chunks_that_can_be_put_together_or_failures(wire: Wire, said: list[Any]) -> None:
    reader = wire.reader(call_of(""))
    assembly = Assembly()
    raw = b"".join(b"data: " + orjson.dumps(each) + b"\n\n" for each in said)
    for chunk in [*reader.feed(raw), *reader.end()]:
        assembly.add(chunk)
    assembly.body()
    usage = billing.of_stream(10, reader)
    assert 0 <= usage.input_tokens < 1 << 63
    assert 0 <= usage.output_tokens < 1 << 63
