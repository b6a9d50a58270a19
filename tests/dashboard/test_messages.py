"""Messages in the shapes that instrumentations send."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dashboard.parts.messages import PartKind, answer_of, messages_of


def kinds(value: object) -> list[tuple[str, list[PartKind]]]:
    return [(message.role, [part.kind for part in message.parts]) for message in messages_of(value)]


def test_openai_messages() -> None:
    value = [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": [{"type": "text", "text": "Hi"}, {"type": "image_url", "image_url": {"url": "x"}}]},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "find", "arguments": '{"q": 1}'}}],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "found"},
    ]
    assert kinds(value) == [
        ("system", [PartKind.TEXT]),
        ("user", [PartKind.TEXT, PartKind.MEDIA]),
        ("assistant", [PartKind.TOOL_CALL]),
        ("tool", [PartKind.TOOL_RESULT]),
    ]
    call = messages_of(value)[2].parts[0]
    assert (call.name, call.call_id, call.content) == ("find", "c1", {"q": 1})


def test_opentelemetry_parts() -> None:
    value = [
        {
            "role": "assistant",
            "parts": [
                {"type": "reasoning", "content": "Hmm"},
                {"type": "text", "content": "Looking"},
                {"type": "tool_call", "id": "c", "name": "find", "arguments": {"q": 1}},
            ],
            "finish_reason": "tool_calls",
        },
        {"role": "tool", "parts": [{"type": "tool_call_response", "id": "c", "response": {"n": 2}}]},
    ]
    assert kinds(value) == [
        ("assistant", [PartKind.REASONING, PartKind.TEXT, PartKind.TOOL_CALL]),
        ("tool", [PartKind.TOOL_RESULT]),
    ]
    assert messages_of(value)[1].parts[0].content == {"n": 2}


def test_anthropic_blocks() -> None:
    value = '[{"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "find", "input": {"q": 1}}]}]'
    part = messages_of(value)[0].parts[0]
    assert (part.kind, part.name, part.content) == (PartKind.TOOL_CALL, "find", {"q": 1})


@pytest.mark.parametrize("value", [None, "plain text", 3, [], ["a"], [1, 2], {"answer": 42}, [{"x": 1}], '{"a": 1}'])
def test_what_is_no_conversation_is_left_to_others(value: object) -> None:
    assert messages_of(value) == []


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["role", "content", "parts", "type", "tool_calls", "function", "function_call", "message"]),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=20,
)


@given(json_values)
@example({"role": None, "content": None, "tool_calls": 1})
def test_no_shape_raises(value: object) -> None:
    for message in messages_of(value):
        assert isinstance(message.role, str)


def test_messages_of_langchain_in_both_spellings() -> None:
    call = {"name": "weather", "args": {"city": "Oslo"}, "id": "c1"}
    built = [
        {"lc": 1, "type": "constructor", "id": ["HumanMessage"], "kwargs": {"type": "human", "content": "Weather?"}},
        {"lc": 1, "type": "constructor", "kwargs": {"type": "ai", "content": "", "tool_calls": [call]}},
        {"lc": 1, "type": "constructor", "kwargs": {"type": "tool", "content": "4 degrees", "tool_call_id": "c1"}},
    ]
    found = messages_of({"outputs": {"messages": built}, "kwargs": {"tags": []}})
    assert [message.role for message in found] == ["user", "assistant", "tool"]
    assert (found[1].parts[0].kind, found[1].parts[0].name) == (PartKind.TOOL_CALL, "weather")
    assert found[2].parts[0].call_id == "c1"
    dumped = [{"type": "human", "data": {"content": "Weather?", "type": "human"}}]
    assert messages_of({"messages": dumped}) == messages_of({"inputs": {"messages": built[:1]}})


def test_an_answer_starts_after_the_last_question() -> None:
    said = messages_of([{"role": role, "content": role} for role in ("user", "assistant", "user", "tool", "assistant")])
    assert [message.role for message in answer_of(said)] == ["tool", "assistant"]
    assert answer_of(said[:3]) == said[:3]
    assert answer_of(said[1:2]) == said[1:2]
    assert answer_of([]) == []
