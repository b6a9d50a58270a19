"""Server-sent events of both wires: however the bytes are cut, the chunks are the same."""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import UpstreamFailed
from gateway.records import Usage
from gateway.upstreams.anthropic_answers import AnthropicEvents
from gateway.upstreams.openai import OpenAIEvents
from gateway.upstreams.sse import EventSplitter, EventTooLong
from gateway.upstreams.wire import EventReader
from tests.thorough import often


def chunk(delta: dict[str, Any], finish: str | None = None, **more: Any) -> dict[str, Any]:
    """A chunk of OpenAI's."""
    head = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    return {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}], **more}


USAGE = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13, "prompt_tokens_details": {"cached_tokens": 2}}
CALL = {"index": 0, "id": "t1", "type": "function", "function": {"name": "find", "arguments": ""}}
OPENAI = [
    chunk({"role": "assistant", "content": ""}),
    chunk({"content": "Grüße 👋\u2028"}),
    chunk({"tool_calls": [CALL]}),
    chunk({"tool_calls": [{"index": 0, "function": {"arguments": '{"q": 1}'}}]}),
    chunk({}, "tool_calls"),
    {**chunk({}), "choices": [], "usage": USAGE},
]
ANTHROPIC: list[dict[str, Any]] = [
    {"type": "message_start", "message": {"id": "m1", "model": "c", "usage": {"input_tokens": 9, "output_tokens": 1}}},
    {"type": "ping"},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "hm"}},
    {"type": "content_block_stop", "index": 0},
    {"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "Grüße 👋"}},
    {"type": "content_block_stop", "index": 1},
    {
        "type": "content_block_start",
        "index": 2,
        "content_block": {"type": "tool_use", "id": "t1", "name": "find", "input": {}},
    },
    {"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": '{"q"'}},
    {"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": ": 1}"}},
    {"type": "content_block_stop", "index": 2},
    {"type": "content_block_start", "index": 3, "content_block": {"type": "tool_use", "id": "t2", "name": "now"}},
    {"type": "content_block_stop", "index": 3},
    {"type": "something_new"},
    {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 4}},
    {"type": "message_stop"},
]


def events(listed: Iterable[dict[str, Any]], end: str = "\n", done: str = "") -> bytes:
    """As a provider sends them."""
    said = [f"event: {one.get('type', '')}{end}data: {json.dumps(one)}{end}{end}" for one in listed]
    return f":hello{end}{end}{''.join(said)}{done}".encode()


def read(reader: EventReader, raw: bytes, cuts: Iterable[int]) -> list[dict[str, Any]]:
    """The chunks of bytes that arrive in pieces."""
    places = [0, *sorted(cuts), len(raw)]
    found: list[dict[str, Any]] = []
    for start, end in pairwise(places):
        found += reader.feed(raw[start:end])
    return found


@settings(max_examples=often(60, 15), deadline=None)
@given(st.data())
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_openais_chunks_do_not_depend_on_where_the_bytes_are_cut(end: str, data: st.DataObject) -> None:
    raw = events(OPENAI, end, f"data: [DONE]{end}{end}")
    reader = OpenAIEvents()
    chunks = read(reader, raw, data.draw(st.lists(st.integers(0, len(raw)), max_size=30)))
    assert chunks + reader.end() == OPENAI
    assert reader.finished
    assert reader.failure is None
    assert reader.usage == Usage(input_tokens=9, output_tokens=4, cached_tokens=2, reported=True)


@settings(max_examples=often(60, 15), deadline=None)
@given(st.data())
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_anthropics_chunks_do_not_depend_on_where_the_bytes_are_cut(end: str, data: st.DataObject) -> None:
    raw = events(ANTHROPIC, end)
    whole = AnthropicEvents(1)
    wanted = whole.feed(raw)
    reader = AnthropicEvents(1)
    assert read(reader, raw, data.draw(st.lists(st.integers(0, len(raw)), max_size=30))) == wanted
    assert reader.finished
    assert reader.usage == Usage(input_tokens=9, output_tokens=4, reported=True)
    assert reader.n_characters == whole.n_characters == len("hm") + len("Grüße 👋") + len('find{"q": 1}now{}')


@settings(max_examples=often(200, 50), deadline=None)
@given(st.binary(max_size=400), st.lists(st.integers(0, 400), max_size=10))
def test_any_bytes_are_read_the_same_however_they_are_cut(raw: bytes, cuts: list[int]) -> None:
    for make in (OpenAIEvents, lambda: AnthropicEvents(1)):
        whole, pieces = make(), make()
        wanted = whole.feed(raw) + whole.end()
        found = read(pieces, raw, [min(cut, len(raw)) for cut in cuts])
        assert found + pieces.end() == wanted
        assert (whole.finished, whole.failure is None) == (pieces.finished, pieces.failure is None)


def test_one_byte_at_a_time() -> None:
    raw = events(OPENAI, "\r\n", "data: [DONE]\r\n\r\n")
    assert read(OpenAIEvents(), raw, range(len(raw))) == OPENAI


def test_anthropics_message_as_openais_chunks() -> None:
    chunks = AnthropicEvents(7).feed(events(ANTHROPIC))
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks if chunk["choices"]]
    assert deltas == [
        {"role": "assistant", "content": "Grüße 👋"},
        {"tool_calls": [{"index": 0, "id": "t1", "type": "function", "function": {"name": "find", "arguments": ""}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"q"'}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": ": 1}"}}]},
        {"tool_calls": [{"index": 1, "id": "t2", "type": "function", "function": {"name": "now", "arguments": ""}}]},
        {"tool_calls": [{"index": 1, "function": {"arguments": "{}"}}]},
        {},
    ]
    assert chunks[-2]["choices"][0]["finish_reason"] == "tool_calls"
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["total_tokens"] == 13
    assert {(chunk["id"], chunk["model"], chunk["created"]) for chunk in chunks} == {("m1", "c", 7)}


def test_data_over_several_lines_a_bom_and_a_last_event_without_its_empty_line() -> None:
    splitter = EventSplitter()
    assert splitter.feed(b"\xef\xbb\xbfevent: x\ndata: a\ndata:b\n\ndata: last") == [(b"x", b"a\nb")]
    assert splitter.end() == [(b"", b"last")]


def test_a_line_is_bounded_and_growing_it_byte_by_byte_is_not_slow() -> None:
    splitter = EventSplitter(most_bytes=100_000)
    for _ in range(100_000):
        splitter.feed(b"x")
    with pytest.raises(EventTooLong):
        splitter.feed(b"x")


def test_many_lines_of_one_event_are_bounded() -> None:
    splitter = EventSplitter(most_bytes=1000)
    for _ in range(83):
        splitter.feed(b"data: 123456\n")
    with pytest.raises(EventTooLong):
        splitter.feed(b"data: 123456\n")


@pytest.mark.parametrize(
    "bad",
    [
        b"data: {\n\n",
        b"data: []\n\n",
        b'data: "x"\n\n',
        b"data: \xff\xfe\n\n",
        b'data: {"choices": [3]}\n\n',
        b'data: {"choices": [{"delta": {"content": 3}}]}\n\n',
        b'data: {"choices": [{"delta": {"tool_calls": 3}}]}\n\n',
    ],
)
def test_what_came_before_garbage_still_counts(bad: bytes) -> None:
    reader = OpenAIEvents()
    good = f"data: {json.dumps(OPENAI[1])}\n\n".encode()
    assert reader.feed(good + bad + good) == [OPENAI[1]]
    assert isinstance(reader.failure, UpstreamFailed)
    assert reader.failure.code == "upstream_garbage"
    assert reader.feed(good) == []


def test_a_stream_without_done_is_whole_when_its_choices_ended() -> None:
    reader = OpenAIEvents()
    reader.feed(events(OPENAI[:4]))
    reader.end()
    assert not reader.finished
    reader = OpenAIEvents()
    reader.feed(events(OPENAI))
    reader.end()
    assert reader.finished


def test_a_message_that_said_why_it_stopped_is_whole() -> None:
    reader, whole = AnthropicEvents(1), AnthropicEvents(1)
    assert reader.feed(events(ANTHROPIC[:-1])) + reader.end() == whole.feed(events(ANTHROPIC))
    assert reader.finished
    reader = AnthropicEvents(1)
    reader.feed(events(ANTHROPIC[:-2]))
    reader.end()
    assert not reader.finished


def test_an_error_event_says_what_the_provider_said() -> None:
    reader = AnthropicEvents(1)
    said = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    assert reader.feed(events([*ANTHROPIC[:7], said])) != []
    assert reader.failure is not None
    assert (reader.failure.status, reader.failure.message) == (503, "Overloaded")
    assert reader.usage == Usage(input_tokens=9, output_tokens=1)
