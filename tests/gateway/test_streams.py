"""Streams are put together, replayed and filtered."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.streams import Assembly, Filters, chunks_of

TEXT = st.text(max_size=20)
CALLS = st.lists(
    st.fixed_dictionaries(
        {
            "id": st.text(min_size=1, max_size=8),
            "type": st.just("function"),
            "function": st.fixed_dictionaries({"name": st.text(min_size=1, max_size=8), "arguments": TEXT}),
        }
    ),
    max_size=3,
)


@st.composite
def bodies(draw: st.DrawFn) -> dict[str, Any]:
    """Whole chat answers."""
    choices = []
    for index in range(draw(st.integers(1, 3))):
        message: dict[str, Any] = {"role": "assistant", "content": draw(TEXT) or None}
        if calls := draw(CALLS):
            message["tool_calls"] = calls
        reason = draw(st.sampled_from(["stop", "length", "tool_calls"]))
        choices.append({"index": index, "message": message, "finish_reason": reason})
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    return {"id": "a", "object": "chat.completion", "created": 1, "model": "m", "choices": choices, "usage": usage}


@given(bodies())
def test_an_answer_as_chunks_and_put_together_again_is_the_answer(body: dict[str, Any]) -> None:
    assembly = Assembly()
    for chunk in chunks_of(body):
        assembly.add(json.loads(json.dumps(chunk)))
    assert assembly.body() == body
    assert assembly.whole
    assert assembly.finish_reasons == [choice["finish_reason"] for choice in body["choices"]]


def test_an_answer_that_breaks_off_is_not_whole() -> None:
    assembly = Assembly()
    assembly.add({"id": "a", "model": "m", "choices": [{"index": 0, "delta": {"content": "half"}}]})
    assert not assembly.whole
    assert assembly.messages() == [{"role": "assistant", "content": "half"}]


def test_a_finish_reason_is_text_whatever_the_upstream_says() -> None:
    assembly = Assembly()
    assembly.add({"id": "a", "model": "m", "choices": [{"index": 0, "delta": {}, "finish_reason": {"a": 1}}]})
    assert assembly.finish_reasons == ["{'a': 1}"]  # a call's span can be written


def test_usage_reaches_only_those_who_asked_for_it() -> None:
    usage = {"id": "a", "choices": [], "usage": {"prompt_tokens": 1}}
    both = {"id": "a", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": {"prompt_tokens": 1}}
    assert Filters((), wants_usage=False, policy_ms={}).feed([usage]) == b""
    assert b"usage" not in Filters((), wants_usage=False, policy_ms={}).feed([both])
    assert b"finish_reason" in Filters((), wants_usage=False, policy_ms={}).feed([both])
    assert Filters((), wants_usage=True, policy_ms={}).feed([usage]).count(b"usage") == 1


class _Held:
    """Holds everything back until the end."""

    def __init__(self) -> None:
        self._held: list[dict[str, Any]] = []

    def feed(self, chunk: dict[str, Any]) -> list[dict[str, Any]]:
        self._held.append(chunk)
        return []

    def end(self) -> list[dict[str, Any]]:
        return self._held


class _Marked:
    """Marks what passes."""

    def feed(self, chunk: dict[str, Any]) -> list[dict[str, Any]]:
        return [{**chunk, "marked": True}]

    def end(self) -> list[dict[str, Any]]:
        return []


def test_what_one_filter_held_back_passes_those_after_it() -> None:
    spent: dict[str, float] = {}
    filters = Filters((("held", _Held()), ("marked", _Marked())), wants_usage=False, policy_ms=spent)
    assert filters.feed([{"n": 1}]) == b""
    assert filters.end() == b'data: {"n":1,"marked":true}\n\n'
    assert set(spent) == {"held", "marked"}
