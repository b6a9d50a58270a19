"""The simulated provider's Anthropic door, driven by the anthropic SDK and by pydantic-ai."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import anthropic
import pytest
from anthropic import Anthropic
from pydantic_ai import Agent
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.providers.anthropic import AnthropicProvider

from agent_runtime.simulation.provider.rate_limits import RateLimits
from agent_runtime.simulation.provider.server import Provider
from tests.agent_runtime.providing import serving
from tests.agent_runtime.test_provider_openai import ORDER_AGENT, SHIPPED, Verdict

GET_ORDER: Any = {
    "name": "get_order",
    "input_schema": {"type": "object", "properties": {"order_id": {"type": "string"}}, "required": ["order_id"]},
}
USER: Any = {"role": "user", "content": "Where is my order LK-1023145?"}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving(Provider(seed=7)) as address:
        yield address


@pytest.fixture
def client(url: str) -> Iterator[Anthropic]:
    with Anthropic(base_url=url, api_key="any", max_retries=0) as made:
        yield made


def _ask(client: Anthropic, *messages: Any, **more: Any) -> Any:
    return client.messages.create(model="sim-1", max_tokens=500, system=ORDER_AGENT, messages=list(messages), **more)


def test_a_tool_use_and_the_answer_from_its_result(client: Anthropic) -> None:
    first = _ask(client, USER, tools=[GET_ORDER])
    assert first.stop_reason == "tool_use"
    assert first.id.startswith("msg_sim_")
    text, call = first.content
    assert text.text.startswith("Thought: ")
    assert (call.name, call.input) == ("get_order", {"order_id": "LK-1023145"})
    said = {"role": "assistant", "content": [block.model_dump(exclude_none=True) for block in first.content]}
    result = {"type": "tool_result", "tool_use_id": call.id, "content": json.dumps(SHIPPED)}
    second = _ask(client, USER, said, {"role": "user", "content": [result]}, tools=[GET_ORDER])
    assert second.stop_reason == "end_turn"
    assert "is shipped" in second.content[0].text
    assert second.usage.input_tokens > first.usage.input_tokens > 0


def test_a_stream_is_the_same_answer(client: Anthropic) -> None:
    whole = _ask(client, USER, tools=[GET_ORDER])
    with client.messages.stream(
        model="sim-1", max_tokens=500, system=ORDER_AGENT, messages=[USER], tools=[GET_ORDER]
    ) as stream:
        streamed = stream.get_final_message()
    assert [block.to_dict() for block in streamed.content] == [block.to_dict() for block in whole.content]
    assert (streamed.id, streamed.stop_reason) == (whole.id, whole.stop_reason)
    assert streamed.usage.output_tokens == whole.usage.output_tokens


def test_tokens_can_be_counted_first(client: Anthropic) -> None:
    counted = client.messages.count_tokens(model="sim-1", system=ORDER_AGENT, messages=[USER])
    assert counted.input_tokens == _ask(client, USER).usage.input_tokens


def test_errors_have_the_shape_the_client_knows(client: Anthropic, url: str) -> None:
    with pytest.raises(anthropic.NotFoundError) as unknown:
        client.messages.create(model="claude-x", max_tokens=5, messages=[USER])
    body: Any = unknown.value.body
    assert (body["type"], body["error"]["type"]) == ("error", "not_found_error")
    with pytest.raises(anthropic.BadRequestError):
        client.messages.create(model="sim-1", max_tokens=5, messages=[])
    with pytest.raises(anthropic.InternalServerError):
        client.messages.create(model="sim-fail-529", max_tokens=5, messages=[USER])


def test_a_rate_limit_says_when_to_come_back() -> None:
    limits = RateLimits(tokens_per_minute=30)
    with (
        serving(Provider(limits=limits, now=lambda: 0.0)) as url,
        Anthropic(base_url=url, api_key="a", max_retries=0) as client,
    ):
        _ask(client, USER)
        with pytest.raises(anthropic.RateLimitError) as refused:
            _ask(client, USER)
        headers = refused.value.response.headers
        assert int(headers["retry-after"]) >= 1
        assert headers["anthropic-ratelimit-tokens-limit"] == "30"
        assert headers["x-assay-simulated"] == "true"


def test_pydantic_ai_runs_an_agent_on_it(url: str) -> None:
    model = AnthropicModel("sim-1", provider=AnthropicProvider(base_url=url, api_key="any"))
    agent = Agent(model, instructions=ORDER_AGENT)

    @agent.tool_plain
    def get_order(order_id: str) -> dict[str, Any]:
        return {**SHIPPED, "order_id": order_id}

    async def run() -> tuple[Any, Any]:
        return await agent.run(USER["content"]), await Agent(model, output_type=Verdict).run("Judge this.")

    told, typed = asyncio.run(run())
    assert "LK-1023145 (Cairn boots) is shipped" in told.output
    assert isinstance(typed.output, Verdict)
