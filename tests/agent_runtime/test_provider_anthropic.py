"""The simulated provider's Anthropic door, driven by the anthropic SDK and by pydantic-ai."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import anthropic
import httpx
import pytest
from anthropic import Anthropic
from pydantic_ai import Agent
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.providers.anthropic import AnthropicProvider

from agent_runtime.simulation.proposal import Proposal, ProposedCall
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


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"temperature": 2}, "temperature"),
        ({"stream": "yes"}, "stream"),
        ({"max_tokens": None}, "max_tokens: Field required"),
        ({"messages": [{"role": "system", "content": "x"}]}, "unknown role"),
        ({"tools": [{"input_schema": {}}]}, "tools.0.name"),
        ({"messages": [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "z"}]}]}, "tool_use_id"),
        (
            {
                "messages": [
                    {
                        "role": "assistant",
                        "content": [{"type": "tool_use", "id": "a", "name": "get_order", "input": {}}],
                    },
                    {"role": "user", "content": "Well?"},
                ]
            },
            "without `tool_result`",
        ),
    ],
)
def test_a_malformed_request_is_refused(client: Anthropic, more: Any, said: str) -> None:
    body = {"model": "sim-1", "max_tokens": 50, "messages": [USER], **more}
    with pytest.raises(anthropic.BadRequestError, match=said) as refused:
        client.post("/v1/messages", body=body, cast_to=object)
    assert refused.value.body["error"]["type"] == "invalid_request_error"  # type: ignore[index]


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, "authentication_error"),
        (403, "permission_error"),
        (413, "request_too_large"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (529, "overloaded_error"),
    ],
)
def test_a_failure_has_anthropics_name(client: Anthropic, status: int, kind: str) -> None:
    with pytest.raises(anthropic.APIStatusError) as failed:
        client.messages.create(model=f"sim-fail-{status}", max_tokens=5, messages=[USER])
    body: Any = failed.value.body
    assert (failed.value.status_code, body["error"]["type"]) == (status, kind)
    assert failed.value.response.headers["x-assay-simulated"] == "true"


def test_a_body_too_large_has_anthropics_name(url: str) -> None:
    answer = httpx.post(f"{url}/v1/messages", content=b" " * (9 * 2**20), timeout=60)
    assert (answer.status_code, answer.json()["error"]["type"]) == (413, "request_too_large")


def test_several_calls_of_one_answer_arrive_whole_and_in_a_stream() -> None:
    ids = ["LK-1000001", "LK-1000002"]
    asked = Proposal(calls=tuple(ProposedCall(tool="get_order", args={"order_id": each}) for each in ids))
    with (
        serving(Provider(alter=lambda proposal, situation, release: asked)) as url,
        Anthropic(base_url=url, api_key="any", max_retries=0) as client,
    ):
        whole = _ask(client, USER, tools=[GET_ORDER])
        with client.messages.stream(
            model="sim-1", max_tokens=500, system=ORDER_AGENT, messages=[USER], tools=[GET_ORDER]
        ) as stream:
            streamed: Any = stream.get_final_message()
    for answer in (whole, streamed):
        assert [block.input["order_id"] for block in answer.content] == ids
        assert len({block.id for block in answer.content}) == 2


def test_structured_output_follows_its_schema(client: Anthropic) -> None:
    answer = client.messages.parse(model="sim-1", max_tokens=500, messages=[USER], output_format=Verdict)
    assert isinstance(answer.parsed_output, Verdict)


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
