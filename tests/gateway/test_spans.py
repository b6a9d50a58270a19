"""The span of a call: what it says, of whom it is the child, and what it never holds."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from core.clock import NS_PER_MS
from gateway.records import Attempt, CacheOutcome, Call, CallKind, Usage
from gateway.span_messages import MOST_BYTES, input_messages, output_messages
from gateway.spans import parent_of, span_of
from tests.gateway.calls import MAIN, SPARE, answered, caller

NOW_NS = 1_790_000_000_123_456_789
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01"


def value(given: Any) -> Any:
    """What an AnyValue holds."""
    kind = given.WhichOneof("value")
    return [each.string_value for each in given.array_value.values] if kind == "array_value" else getattr(given, kind)


def read(call: Call, *, content: bool = True) -> tuple[list[Span], dict[str, Any], dict[str, Any]]:
    """(spans, attributes of the first, attributes of the resource)."""
    request = ExportTraceServiceRequest.FromString(span_of(call, content=content))
    (group,) = request.resource_spans
    (scope,) = group.scope_spans
    assert scope.scope.name == "assay.gateway"
    spans = list(scope.spans)
    said = {each.key: value(each.value) for each in spans[0].attributes}
    assert len(said) == len(spans[0].attributes), "an attribute is there twice"
    return spans, said, {each.key: value(each.value) for each in group.resource.attributes}


def test_the_span_of_an_answered_call() -> None:
    spans, said, resource = read(answered(NOW_NS, flags=["over_budget:support"]))
    (span,) = spans
    assert (span.name, span.kind) == ("chat sim-1", Span.SpanKind.SPAN_KIND_CLIENT)
    assert (span.start_time_unix_nano, span.end_time_unix_nano) == (NOW_NS, NOW_NS + 20 * NS_PER_MS)
    assert span.status.code == 0
    assert resource == {"service.name": "my-agent", "service.version": "v2"}
    messages = {name: orjson.loads(said.pop(f"gen_ai.{name}.messages")) for name in ("input", "output")}
    assert messages["input"] == [{"role": "user", "parts": [{"type": "text", "content": "Where is <EMAIL_1>?"}]}]
    assert messages["output"] == [
        {"role": "assistant", "parts": [{"type": "text", "content": "Gone."}], "finish_reason": "stop"}
    ]
    call_id = said.pop("assay.gateway.call_id")
    assert call_id.startswith("call_")
    assert said == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "sim-1",
        "gen_ai.response.model": "sim-1",
        "gen_ai.response.id": "chatcmpl-1",
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.usage.input_tokens": 100,
        "gen_ai.usage.output_tokens": 10,
        "gen_ai.usage.cache_read.input_tokens": 40,
        "gen_ai.usage.cost": 0.00125,
        "gen_ai.conversation.id": "s1",
        "session.id": "s1",
        "user.id": "u1",
        "assay.release": "v2",
        "assay.variant": "treatment",
        "assay.gateway.upstream": "main",
        "assay.gateway.virtual_model": "support-fast",
        "assay.gateway.cache": "miss",
        "assay.gateway.team": "support",
        "assay.gateway.key_id": "k1",
        "assay.gateway.n_attempts": 1,
        "assay.gateway.overhead_ms": 1.0,
        "assay.gateway.policy_ms.masking": 0.25,
        "assay.gateway.policy_ms.limits": 0.01,
        "assay.gateway.masked.email": 1,
        "assay.gateway.flags": ["over_budget:support"],
        "http.response.status_code": 200,
    }


def test_parent_of() -> None:
    assert parent_of(TRACEPARENT) == (bytes.fromhex(TRACE), bytes.fromhex(PARENT))
    assert parent_of(f"01-{TRACE}-{PARENT}-01-more") == (bytes.fromhex(TRACE), bytes.fromhex(PARENT))


@pytest.mark.parametrize(
    "text",
    [
        "nonsense",
        TRACEPARENT[:-1],
        TRACEPARENT + "-more",
        TRACEPARENT.upper(),
        f"ff-{TRACE}-{PARENT}-01",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}-{PARENT}-01\n00-x",
        "00-" + "é" * 32 + f"-{PARENT}-01",
    ],
)
def test_a_traceparent_that_is_not_valid_begins_a_new_trace(text: str) -> None:
    assert parent_of(text) is None
    (span,), _, _ = read(answered(NOW_NS, caller=caller(parent=text)))
    assert len(span.trace_id) == 16
    assert any(span.trace_id)
    assert span.trace_id.hex() != TRACE
    assert span.parent_span_id == b""


def test_it_is_the_child_of_the_callers_span() -> None:
    (span,), _, _ = read(answered(NOW_NS, caller=caller(parent=TRACEPARENT)))
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, PARENT)
    assert len(span.span_id) == 8
    assert span.span_id.hex() != PARENT


def test_attempts_are_spans_only_where_there_were_several() -> None:
    first = Attempt(target=MAIN, started_ns=NOW_NS, ended_ns=NOW_NS + 5, status=503, error="upstream_503", key=2)
    second = Attempt(target=SPARE, started_ns=NOW_NS + 6, ended_ns=NOW_NS + 9, status=200)
    call = answered(NOW_NS, attempts=[first, second], answered_by=SPARE, fallback_reason="upstream_503")
    (span, one, two), said, _ = read(call)
    assert (said["assay.gateway.upstream"], said["gen_ai.request.model"]) == ("spare", "sim-1-mini")
    assert (said["assay.gateway.n_attempts"], said["assay.gateway.fallback_reason"]) == (2, "upstream_503")
    assert [each.name for each in (one, two)] == ["attempt main", "attempt spare"]
    for each in (one, two):
        assert (each.trace_id, each.parent_span_id) == (span.trace_id, span.span_id)
        assert not any(attribute.key.startswith("gen_ai.") for attribute in each.attributes)
    assert {each.key: value(each.value) for each in one.attributes} == {
        "assay.gateway.upstream": "main",
        "assay.gateway.attempt.model": "sim-1",
        "assay.gateway.attempt.key": 2,
        "http.response.status_code": 503,
        "error.type": "upstream_503",
    }
    assert (one.status.code, two.status.code) == (2, 0)
    assert len({span.span_id, one.span_id, two.span_id}) == 3


def test_a_refused_call_says_why_and_nothing_that_was_not_masked() -> None:
    call = answered(
        NOW_NS, attempts=[], answered_by=None, provider="", usage=Usage(), cost_usd=None, response_id="",
        response_model="", finish_reasons=[], output=[], status=403, refused="content", error="content",
        error_message="refused by the rule no-weapons", policy_ms={"limits": 0.01, "content": 0.1}, masked={},
        cache=CacheOutcome.OFF, body={"messages": [{"role": "user", "content": "I am ann@example.com"}]},
    )  # fmt: skip
    (span,), said, _ = read(call)
    assert (span.status.code, span.status.message) == (2, "refused by the rule no-weapons")
    assert (said["error.type"], said["assay.gateway.refused"]) == ("content", "content")
    assert said["gen_ai.request.model"] == "sim-1"
    assert not {key for key in said if "usage" in key or "messages" in key or "upstream" in key}
    assert b"ann@example.com" not in span_of(call, content=True)


@pytest.mark.parametrize("change", [{"policy_ms": {"limits": 0.1}}, {"error": "masking_broke", "status": 500}])
def test_no_content_before_masking_or_when_it_broke(change: dict[str, Any]) -> None:
    _, said, _ = read(answered(NOW_NS, **change))
    assert not {key for key in said if "messages" in key}


def test_no_content_where_none_is_wanted() -> None:
    assert b"Gone." in span_of(answered(NOW_NS), content=True)
    assert b"Gone." not in span_of(answered(NOW_NS), content=False)


def test_an_aborted_stream_has_its_partial_answer() -> None:
    call = answered(
        NOW_NS, streamed=True, aborted=True, status=499, error="aborted", error_message="the caller went away",
        output=[{"role": "assistant", "content": "Go"}], finish_reasons=[], first_token_ns=NOW_NS + 3 * NS_PER_MS,
        usage=Usage(input_tokens=9, output_tokens=1),
    )  # fmt: skip
    (span,), said, _ = read(call)
    assert span.status.code == 2
    assert orjson.loads(said["gen_ai.output.messages"])[0]["parts"] == [{"type": "text", "content": "Go"}]
    assert said["error.type"] == "aborted"
    assert said["assay.gateway.aborted"] is said["assay.gateway.streamed"] is True
    assert said["assay.gateway.usage_estimated"] is True
    assert said["gen_ai.response.time_to_first_chunk"] == pytest.approx(0.003)


def test_an_answer_from_the_cache_says_that_it_took_no_tokens() -> None:
    call = answered(
        NOW_NS, cache=CacheOutcome.EXACT, attempts=[], answered_by=None, usage=Usage(), cost_usd=0.0, provider=""
    )
    _, said, _ = read(call)
    assert (said["gen_ai.usage.input_tokens"], said["gen_ai.usage.output_tokens"]) == (0, 0)
    assert (said["gen_ai.usage.cost"], said["assay.gateway.cache"]) == (0.0, "exact")
    assert "assay.gateway.usage_estimated" not in said


def test_embeddings() -> None:
    call = answered(NOW_NS, kind=CallKind.EMBEDDINGS, body={"input": ["one", "two"]}, output=[], finish_reasons=[])
    (span,), said, _ = read(call)
    assert (span.name, said["gen_ai.operation.name"]) == ("embeddings sim-1", "embeddings")
    texts = [message["parts"][0]["content"] for message in orjson.loads(said["gen_ai.input.messages"])]
    assert texts == ["one", "two"]


# --- messages ---------------------------------------------------------------------------------------------------------


def test_tool_calls_and_their_answers() -> None:
    function = {"name": "get_order", "arguments": '{"id": "LK-1"}'}
    asked = [
        {"role": "assistant", "content": None, "tool_calls": [{"id": "c1", "type": "function", "function": function}]},
        {"role": "tool", "tool_call_id": "c1", "content": "sent"},
        {"role": "tool", "tool_call_id": "c2", "content": [{"type": "text", "text": text} for text in "ab"]},
    ]
    text, cut = input_messages({"messages": asked})
    call, first, second = orjson.loads(text)
    assert not cut
    assert call["parts"] == [{"type": "tool_call", "name": "get_order", "id": "c1", "arguments": {"id": "LK-1"}}]
    assert first["parts"] == [{"type": "tool_call_response", "id": "c1", "response": "sent"}]
    assert second["parts"][0]["response"] == "a\nb"


def test_arguments_that_are_no_json_stay_a_text() -> None:
    call = {"id": "c1", "function": {"name": "f", "arguments": '{"half": '}}
    text, _ = output_messages([{"role": "assistant", "tool_calls": [call]}], ["tool_calls"])
    assert orjson.loads(text)[0]["parts"][0]["arguments"] == '{"half": '


def test_files_are_named_and_not_kept() -> None:
    parts = [
        {"type": "text", "text": "what is this?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 100_000}},
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
        {"type": "input_audio", "input_audio": {"data": "B" * 100_000, "format": "wav"}},
    ]
    text, cut = input_messages({"messages": [{"role": "user", "content": parts}]})
    assert not cut
    assert len(text) < 400
    assert orjson.loads(text)[0]["parts"] == [
        {"type": "text", "content": "what is this?"},
        {"type": "blob", "modality": "image", "mime_type": "image/png"},
        {"type": "uri", "modality": "image", "uri": "https://example.com/a.png"},
        {"type": "input_audio"},
    ]


@pytest.mark.parametrize("letter", ["a", "\n", "é", "𝄞", "\x01"])
def test_long_content_is_cut_and_the_newest_stays(letter: str) -> None:
    messages = [{"role": "user", "content": f"{n}:" + letter * 9_000} for n in range(40)]
    call = answered(NOW_NS, body={"messages": messages})
    _, said, _ = read(call)
    kept = said["gen_ai.input.messages"]
    assert len(kept.encode()) <= MOST_BYTES
    assert said["assay.gateway.content_cut"] is True
    assert orjson.loads(kept)[-1]["parts"][0]["content"].startswith("39:")


def test_no_number_of_parts_gets_around_the_bound() -> None:
    empty = [{"type": "text", "text": ""}] * 200_000
    files = [{"type": "image_url", "image_url": {"url": "https://example.com/" + "a" * 300}}] * 10_000
    many = [{"role": "user", "content": "", "name": "n" * 500}] * 200_000
    calls = [{"id": "i" * 500, "function": {"name": "f" * 500, "arguments": ""}}] * 10_000
    for messages in (
        [{"role": "user", "content": empty}],
        [{"role": "user", "content": files}],
        many,
        [{"role": "assistant", "content": "", "tool_calls": calls}],
        [{"role": "r" * 10**6, "content": [{"type": "t" * 10**6}] * 100}],
    ):
        text, cut = input_messages({"messages": messages})
        assert len(text) <= MOST_BYTES
        assert cut or len(messages[0]["content"]) == 100
        orjson.loads(text)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(st.sampled_from(["role", "content", "type", "text", "tool_calls", "function", "name", "arguments",
                                       "image_url", "url", "id", "tool_call_id", "refusal", "reasoning"]), inner,
                      max_size=6),
    max_leaves=30,
)  # fmt: skip


@given(st.lists(_JSON, max_size=6), st.lists(st.text(max_size=5), max_size=3))
def test_any_json_is_written(messages: list[Any], reasons: list[str]) -> None:
    for text, _ in (input_messages({"messages": messages, "input": messages}), output_messages(messages, reasons)):
        assert all({"role", "parts"} <= message.keys() for message in orjson.loads(text))


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "user", "content": [1, None, {"type": 7}, {"type": "text", "text": 3}]}],
        [{"role": "assistant", "tool_calls": ["x", {"function": "y"}, {"function": {"name": 1, "arguments": 2}}]}],
        [{"role": "tool", "content": None}],
        [{"role": {"a": 1}, "content": {"b": 2}}, None, 7],
        [{"role": "user", "content": [{"type": "image_url", "image_url": 5}]}],
        [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "[" * 900 + "]" * 900}}]}],
    ],
)
def test_messages_of_any_shape_are_written(messages: list[Any]) -> None:
    _, said, _ = read(answered(NOW_NS, body={"messages": messages}, output=messages))
    orjson.loads(said["gen_ai.input.messages"])
    orjson.loads(said["gen_ai.output.messages"])
