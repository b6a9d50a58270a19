"""Vercel's `ai.prompt` and `ai.prompt.messages` become messages; anything else in them stays as it was sent."""

from __future__ import annotations

import json
from typing import Any

import pytest

from collector import unflatten


def asked(prompt: object, key: str = "ai.prompt") -> Any:
    """The input column of a span that carries the prompt."""
    return json.loads(unflatten.fill([(key, json.dumps(prompt))])["input"])


def text(words: str) -> dict[str, str]:
    return {"type": "text", "content": words}


def test_system_and_prompt_are_two_messages() -> None:
    assert asked({"system": "Be brief.", "prompt": "Hello"}) == [
        {"role": "system", "parts": [text("Be brief.")]},
        {"role": "user", "parts": [text("Hello")]},
    ]


def test_a_prompt_may_be_a_list_of_messages() -> None:
    assert asked({"prompt": [{"role": "user", "content": "Hello"}]}) == [{"role": "user", "parts": [text("Hello")]}]


def test_a_conversation_with_tools_keeps_calls_and_results() -> None:
    call = {"type": "tool-call", "toolCallId": "c1", "toolName": "weather", "input": {"city": "Oslo"}}
    result = {
        "type": "tool-result",
        "toolCallId": "c1",
        "toolName": "weather",
        "output": {"type": "json", "value": {"celsius": 4}},
    }
    found = asked(
        {
            "system": "Be brief.",
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": "Weather in Oslo?"}]},
                {"role": "assistant", "content": [call]},
                {"role": "tool", "content": [result]},
            ],
        }
    )
    assert [each["role"] for each in found] == ["system", "user", "assistant", "tool"]
    assert found[1]["parts"] == [text("Weather in Oslo?")]
    assert found[2]["parts"] == [{"type": "tool_call", "id": "c1", "name": "weather", "arguments": {"city": "Oslo"}}]
    assert found[3]["parts"] == [{"type": "tool_call_response", "id": "c1", "response": {"celsius": 4}}]


def test_the_spelling_of_version_4_is_read_too() -> None:
    call = {"type": "tool-call", "toolCallId": "c1", "toolName": "weather", "args": {"city": "Oslo"}}
    answer = {"type": "tool-result", "toolCallId": "c1", "toolName": "weather", "result": "4 degrees"}
    sent = [{"role": "assistant", "content": [call]}, {"role": "tool", "content": [answer]}]
    found = asked(sent, "ai.prompt.messages")
    assert found[0]["parts"][0]["arguments"] == {"city": "Oslo"}
    assert found[1]["parts"][0]["response"] == "4 degrees"


def test_messages_of_the_genai_conventions_come_first() -> None:
    filled = unflatten.fill([("ai.prompt", '{"prompt":"Hello"}'), ("gen_ai.input.messages", "[]")])
    assert "input" not in filled


@pytest.mark.parametrize(
    "sent",
    [
        *("plain words", "{}", "[]", "3", "null", '{"prompt":7}', '{"messages":{"role":"user"}}', '[{"content":"x"}]'),
        *("[1]", '{"a":' * 5_000, "[" * 200_000, '{"system":""}', '[{"role":7,"content":"x"}]'),
    ],
)
def test_what_is_no_prompt_is_left_as_it_was_sent(sent: str) -> None:
    assert "input" not in unflatten.fill([("ai.prompt", sent)])


def test_an_unknown_part_is_kept_whole() -> None:
    image = {"type": "image", "image": "https://example.invalid/a.png"}
    (message,) = asked([{"role": "user", "content": [image, {"colour": "red"}, 7]}], "ai.prompt.messages")
    assert message["parts"] == [image, {"type": "unknown", "content": {"colour": "red"}}, text("7")]
