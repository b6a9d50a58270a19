"""OpenAI's own client and frameworks work on the gateway unchanged: they are given another address and a key."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel
from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

from tests.gateway.live import USER, Live, live

ASK: Any = [{"role": "user", "content": "Where is order A-1001? Thanks."}]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """One gateway for all tests of this file."""
    with live(tmp_path_factory.mktemp("gateway")) as running:
        yield running


@pytest.fixture
def client(gateway: Live) -> Iterator[OpenAI]:
    """OpenAI's client with a user's key."""
    with OpenAI(base_url=f"{gateway.url}/v1", api_key=USER, max_retries=0) as made:
        yield made


def test_a_completion(client: OpenAI, gateway: Live) -> None:
    answer = client.chat.completions.with_raw_response.create(model="fast", messages=ASK)
    found = answer.parse()
    assert found.choices[0].message.content
    assert found.usage is not None
    assert found.usage.prompt_tokens > 0
    assert answer.headers["x-assay-upstream"] == "sim"
    assert answer.headers["x-assay-model"] == "sim-1-mini"
    assert float(answer.headers["x-assay-cost-usd"]) > 0
    call = next(each for each in gateway.calls() if each["assay.gateway.call_id"] == answer.headers["x-assay-call-id"])
    assert call["gen_ai.usage.input_tokens"] == found.usage.prompt_tokens
    assert call["gen_ai.usage.output_tokens"] == found.usage.completion_tokens
    assert call["gen_ai.usage.cost"] == pytest.approx(float(answer.headers["x-assay-cost-usd"]))
    assert call["assay.gateway.virtual_model"] == "fast"


def test_a_stream_says_what_the_whole_answer_says(client: OpenAI) -> None:
    whole = client.chat.completions.create(model="fast", messages=ASK).choices[0].message.content
    stream = client.chat.completions.create(model="fast", messages=ASK, stream=True)
    chunks = list(stream)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == whole
    assert all(chunk.usage is None for chunk in chunks)


def test_a_stream_tells_usage_to_those_who_ask(client: OpenAI, gateway: Live) -> None:
    n_before = len(gateway.calls(0))
    stream = client.chat.completions.create(
        model="fast", messages=ASK, stream=True, stream_options={"include_usage": True}
    )
    usages = [chunk.usage for chunk in stream if chunk.usage is not None]
    assert len(usages) == 1
    call = gateway.calls(n_before + 1)[-1]
    assert call["gen_ai.usage.output_tokens"] == usages[0].completion_tokens
    assert call["assay.gateway.streamed"]


def test_the_asynchronous_client_many_at_once(gateway: Live) -> None:
    async def ask_all() -> list[str]:
        async with AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=USER, max_retries=0) as client:
            many = (client.chat.completions.create(model="fast", messages=ASK) for _ in range(40))
            return [each.id for each in await asyncio.gather(*many)]

    assert len(asyncio.run(ask_all())) == 40


def test_the_models_are_the_virtual_ones(client: OpenAI) -> None:
    assert {model.id for model in client.models.list()} == {"fast", "large"}
    assert client.models.retrieve("fast").owned_by == "assay"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("sim-1-mini")


def test_errors_are_those_that_the_client_knows(gateway: Live, client: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="these answer chat: fast, large"):
        client.chat.completions.create(model="sim-1-mini", messages=ASK)
    with pytest.raises(openai.BadRequestError, match="at least one message"):
        client.chat.completions.create(model="fast", messages=[])
    with pytest.raises(openai.AuthenticationError):
        OpenAI(base_url=f"{gateway.url}/v1", api_key="wrong").models.list()
    viewer = OpenAI(base_url=f"{gateway.url}/v1", api_key="acme:viewer", max_retries=0)
    assert len(viewer.models.list().data) == 2
    with pytest.raises(openai.PermissionDeniedError, match="may not call models"):
        viewer.chat.completions.create(model="fast", messages=ASK)


class City(BaseModel):
    """A structured answer."""

    name: str
    n_people: int


def test_pydantic_ai_with_tools_structured_output_and_streams(gateway: Live) -> None:
    provider = OpenAIProvider(base_url=f"{gateway.url}/v1", api_key=USER)
    model = OpenAIChatModel("fast", provider=provider)

    agent = Agent(model, output_type=City)
    assert isinstance(agent.run_sync("Name a city.").output, City)

    talking = Agent(model)

    @talking.tool_plain
    def get_order(order_id: str) -> dict[str, str]:
        """Looks an order up."""
        return {"order_id": order_id, "status": "shipped"}

    assert talking.run_sync("Where is order A-1001?").output

    async def stream() -> str:
        async with talking.run_stream("Hello") as answer:
            return "".join([piece async for piece in answer.stream_text(delta=True)])

    assert asyncio.run(stream())
