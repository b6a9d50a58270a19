"""Content rules and the cache at the door, on streams too."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from gateway.config import GatewayConfig
from tests.gateway.live import Live, config_of, live

POLICIES: dict[str, Any] = {
    "content": [
        {"name": "no-orders", "on": "output", "tenant": "strict", "pattern": r"A-\d{4}"},
        {"name": "ids", "on": "both", "tenant": "shy", "pattern": r"A-\d{4}", "then": "redact"},
    ],
    "cache": {"semantic": {"threshold": 0.9}, "ttl_s": 600, "max_temperature": 0.5},
}
QUESTION = "Where is order A-1001?"


@pytest.fixture
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A fresh gateway."""
    with live(tmp_path_factory.mktemp("gateway"), policies=POLICIES) as running:
        yield running


def ask(gateway: Live, text: str, tenant: str = "acme", **more: Any) -> httpx.Response:
    """One question at temperature 0."""
    body = {"model": "fast", "temperature": 0, "messages": [{"role": "user", "content": text}], **more}
    headers = {"authorization": f"Bearer {tenant}:user"}
    return httpx.post(f"{gateway.url}/v1/chat/completions", json=body, headers=headers, timeout=30)


def events_of(answer: httpx.Response) -> list[dict[str, Any]]:
    """The chunks of a stream, and its error."""
    lines = [line[6:] for line in answer.text.split("\n") if line.startswith("data: ")]
    return [json.loads(line) for line in lines if line != "[DONE]"]


def said(answer: httpx.Response) -> str:
    """The text of a stream."""
    choices = [choice for event in events_of(answer) for choice in event.get("choices", ())]
    return "".join(choice["delta"].get("content") or "" for choice in choices)


def test_a_streamed_answer_is_kept_for_the_whole_ones(gateway: Live) -> None:
    streamed = ask(gateway, QUESTION, stream=True)
    whole = ask(gateway, QUESTION)
    assert [each.headers["x-assay-cache"] for each in (streamed, whole)] == ["miss", "exact"]
    assert whole.json()["choices"][0]["message"]["content"] == said(streamed)
    assert whole.json()["usage"]["total_tokens"] == 0


def test_a_similar_question_is_answered_from_the_cache_and_marked(gateway: Live) -> None:
    first = ask(gateway, "How do I cancel my order?")
    again = ask(gateway, "Hi, how can I cancel an order please")
    assert again.headers["x-assay-cache"] == "semantic"
    assert "similar:" in again.headers["x-assay-flags"]
    assert again.json()["choices"] == first.json()["choices"]
    assert ask(gateway, "how can I cancel the order", tenant="other").headers["x-assay-cache"] == "miss"


def _use(gateway: Live, provider: str, key: str) -> None:
    given = config_of(provider, policies=POLICIES)
    given["upstreams"]["sim"]["keys"] = [key]

    async def use() -> None:
        gateway.service.use(GatewayConfig.model_validate(given))

    asyncio.run_coroutine_threadsafe(use(), gateway.loop).result(20)


def test_answers_outlive_a_new_key_and_not_a_new_address(gateway: Live) -> None:
    ask(gateway, QUESTION)
    _use(gateway, gateway.provider, "sk-another-0123456789")
    assert ask(gateway, QUESTION).headers["x-assay-cache"] == "exact"
    _use(gateway, gateway.provider.replace("127.0.0.1", "localhost"), "sk-another-0123456789")
    assert ask(gateway, QUESTION).headers["x-assay-cache"] == "miss"


def test_a_refusal_in_a_stream_is_its_last_event_and_the_answer_is_not_kept(gateway: Live) -> None:
    for n in (1, 2):
        answer = ask(gateway, QUESTION, tenant="strict", stream=True)
        assert answer.headers["x-assay-cache"] == "miss"
        assert events_of(answer)[-1]["error"]["code"] == "content"
        assert "A-1001" not in answer.text
        assert gateway.calls(n, "strict")[-1]["assay.gateway.refused"] == "content"
    assert ask(gateway, QUESTION, tenant="strict").status_code == 403


@pytest.mark.parametrize("stream", [False, True])
def test_what_is_redacted_reaches_neither_the_model_nor_the_caller_nor_the_span(gateway: Live, stream: bool) -> None:
    answer = ask(gateway, QUESTION, tenant="shy", stream=stream)
    assert answer.status_code == 200
    assert "A-1001" not in answer.text
    call = gateway.calls(tenant="shy")[-1]
    assert "A-1001" not in call["gen_ai.input.messages"]
    assert "[REDACTED:ids]" in call["gen_ai.input.messages"]
    assert "content:ids" in call["assay.gateway.flags"]
