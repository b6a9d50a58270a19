"""Masking at the door: before a provider that says what it was told, one character at a time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from tests.gateway.live import USER, Live, live
from tests.loopback import listening

EMAIL, CARD, KEY = (
    "ann.lee@example.org",
    "4111 1111 1111 1111",
    "-----BEGIN PRIVATE KEY-----\nMIIEab12\n-----END PRIVATE KEY-----",
)
TOLD = f"I am {EMAIL}, my card is {CARD}."


@dataclass
class Echo:
    """A provider that answers with the last message, as text and as an argument; it keeps what it was sent."""

    url: str = ""
    bodies: list[str] = field(default_factory=list)


@contextmanager
def echo() -> Iterator[Echo]:
    """Serves until the end of the block."""
    found = Echo()

    class Door(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["content-length"]))
            found.bodies.append(raw.decode())
            body = json.loads(raw)
            said = body["messages"][-1]["content"]
            streamed = bool(body.get("stream"))
            events = (
                [f"data: {json.dumps(each)}\n\n" for each in chunks(said)] if streamed else [json.dumps(whole(said))]
            )
            content = "".join([*events, "data: [DONE]\n\n"] if streamed else events).encode()
            self.send_response(200)
            self.send_header("content-type", "text/event-stream" if streamed else "application/json")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            """Says nothing."""

    with listening(Door) as url:
        found.url = f"{url}/v1"
        yield found


HEAD = {"id": "x", "created": 1, "model": "m"}
USAGE = {"prompt_tokens": 9, "completion_tokens": 9, "total_tokens": 18}


def whole(said: str) -> dict[str, Any]:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": json.dumps({"told": said})}}
    message = {"role": "assistant", "content": said, "tool_calls": [call]}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return {**HEAD, "object": "chat.completion", "choices": [choice], "usage": USAGE}


def chunks(said: str) -> list[dict[str, Any]]:
    head = {**HEAD, "object": "chat.completion.chunk"}
    call = {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": ""}}
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}, *({"content": letter} for letter in said)]
    deltas.append({"tool_calls": [call]})
    arguments = json.dumps({"told": said})
    deltas += [{"tool_calls": [{"index": 0, "function": {"arguments": letter}}]} for letter in arguments]
    made = [{**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    made.append({**head, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    return [*made, {**head, "choices": [], "usage": USAGE}]


@pytest.fixture
def provider() -> Iterator[Echo]:
    """A provider that says what it was told."""
    with echo() as found:
        yield found


@pytest.fixture
def gateway(tmp_path: Path, provider: Echo) -> Iterator[Live]:
    """A gateway before it."""
    upstreams = {"sim": {"base_url": provider.url, "keys": ["k"]}}
    masking = {"output": "pass", "off_for_tenants": ["open"]}
    with live(tmp_path, upstreams=upstreams, policies={"masking": masking}) as running:
        yield running


def client(gateway: Live) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=USER, max_retries=0)


@pytest.mark.parametrize("told", [TOLD, f"The key is {KEY} of {EMAIL}."])
def test_the_provider_is_sent_no_value_and_the_caller_gets_each_back(gateway: Live, provider: Echo, told: str) -> None:
    messages: Any = [{"role": "user", "content": told}]
    answer = client(gateway).chat.completions.create(model="fast", messages=messages, user=EMAIL)
    message = answer.choices[0].message
    assert message.content == told
    assert message.tool_calls
    assert json.loads(message.tool_calls[0].function.arguments) == {"told": told}  # type: ignore[union-attr]
    assert not [value for value in (EMAIL, CARD, "MIIEab12") if value in "".join(provider.bodies)]


def test_a_streamed_answer_of_single_characters_comes_back_whole(gateway: Live, provider: Echo) -> None:
    messages: Any = [{"role": "user", "content": TOLD}]
    text, arguments = "", ""
    for chunk in client(gateway).chat.completions.create(model="fast", messages=messages, stream=True):
        for choice in chunk.choices:
            text += choice.delta.content or ""
            arguments += "".join(
                each.function.arguments or "" for each in choice.delta.tool_calls or () if each.function
            )
    assert text == TOLD
    assert json.loads(arguments) == {"told": TOLD}
    assert EMAIL not in "".join(provider.bodies)
    span = gateway.calls()[-1]
    assert EMAIL not in json.dumps(span)
    assert "<EMAIL_1>" in span["gen_ai.output.messages"]
    assert (span["assay.gateway.masked.email"], span["assay.gateway.masked.card"]) == (1, 1)


def test_a_tenant_may_be_left_out(gateway: Live, provider: Echo) -> None:
    body = {"model": "fast", "messages": [{"role": "user", "content": TOLD}]}
    url = f"{gateway.url}/v1/chat/completions"
    answer = httpx.post(url, json=body, headers={"authorization": "Bearer open:user"}, timeout=30)
    assert answer.json()["choices"][0]["message"]["content"] == TOLD
    assert EMAIL in provider.bodies[-1]
