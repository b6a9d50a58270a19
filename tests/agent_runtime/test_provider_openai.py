"""The simulated provider's OpenAI door, driven by the openai SDK and by pydantic-ai."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any, Literal

import httpx
import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from openai.types.chat import ChatCompletionMessageFunctionToolCall
from pydantic import BaseModel
from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

from agent_runtime.simulation.proposal import Proposal, ProposedCall
from agent_runtime.simulation.provider.rate_limits import RateLimits
from agent_runtime.simulation.provider.server import Provider
from tests.agent_runtime.providing import serving

ORDER_AGENT = "Agent: order\nYou handle orders."
GET_ORDER: Any = {
    "type": "function",
    "function": {
        "name": "get_order",
        "parameters": {"type": "object", "properties": {"order_id": {"type": "string"}}, "required": ["order_id"]},
    },
}
USER: Any = {"role": "user", "content": "Where is my order LK-1023145?"}
SHIPPED = {"order_id": "LK-1023145", "status": "shipped", "items": [{"name": "Cairn boots", "price_usd": "169.00"}]}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving(Provider(seed=7)) as address:
        yield address


@pytest.fixture
def client(url: str) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0) as made:
        yield made


def _ask(client: OpenAI, *messages: Any, **more: Any) -> Any:
    system: Any = {"role": "system", "content": ORDER_AGENT}
    return client.chat.completions.create(model="sim-1", messages=[system, *messages], **more)


def test_a_tool_call_and_the_answer_from_its_result(client: OpenAI) -> None:
    user = {"role": "user", "content": "Where is my order LK-1023145?"}
    first = _ask(client, user, tools=[GET_ORDER])
    message = first.choices[0].message
    assert first.choices[0].finish_reason == "tool_calls"
    assert message.content.startswith("Thought: ")
    call = message.tool_calls[0]
    assert isinstance(call, ChatCompletionMessageFunctionToolCall)
    assert (call.function.name, json.loads(call.function.arguments)) == ("get_order", {"order_id": "LK-1023145"})
    result = {"role": "tool", "tool_call_id": call.id, "content": json.dumps(SHIPPED)}
    second = _ask(client, user, message.model_dump(exclude_none=True), result, tools=[GET_ORDER])
    assert second.choices[0].finish_reason == "stop"
    assert "LK-1023145 (Cairn boots) is shipped" in second.choices[0].message.content
    assert second.usage.prompt_tokens > first.usage.prompt_tokens > 0
    assert second.usage.total_tokens == second.usage.prompt_tokens + second.usage.completion_tokens


def test_everything_says_that_it_is_simulated(client: OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(
        model="sim-1", messages=[{"role": "user", "content": "Hello"}]
    )
    answer = raw.parse()
    assert raw.headers["x-assay-simulated"] == "true"
    assert float(raw.headers["x-assay-simulated-latency-ms"]) > 0
    assert answer.id.startswith("chatcmpl-sim-")
    assert answer.system_fingerprint == "sim-1"
    assert answer.model == "sim-1"
    assert all(model.id.startswith("sim-") for model in client.models.list())


def test_a_stream_is_the_same_answer_with_usage_last(client: OpenAI) -> None:
    user = {"role": "user", "content": "Where is my order LK-1023145?"}
    whole = _ask(client, user, tools=[GET_ORDER])
    chunks = list(_ask(client, user, tools=[GET_ORDER], stream=True, stream_options={"include_usage": True}))
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    arguments = "".join(
        call.function.arguments or "" for c in chunks if c.choices for call in c.choices[0].delta.tool_calls or []
    )
    message = whole.choices[0].message
    assert text == message.content
    assert arguments == message.tool_calls[0].function.arguments
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "tool_calls"
    assert chunks[-1].usage == whole.usage
    assert {c.id for c in chunks} == {whole.id}


def test_no_usage_chunk_unless_asked_for(client: OpenAI) -> None:
    chunks = list(_ask(client, {"role": "user", "content": "Hello"}, stream=True))
    assert all(chunk.usage is None for chunk in chunks)


class Verdict(BaseModel):
    """What a judge might ask for."""

    verdict: Literal["pass", "fail"]
    score: int
    reasons: list[str]


def test_structured_output_follows_its_schema(client: OpenAI) -> None:
    answer = client.chat.completions.parse(
        model="sim-1", messages=[{"role": "user", "content": "Judge this."}], response_format=Verdict
    )
    assert isinstance(answer.choices[0].message.parsed, Verdict)


def test_a_tool_that_must_be_called_is_called(client: OpenAI) -> None:
    choice = {"type": "function", "function": {"name": "get_order"}}
    answer = _ask(client, {"role": "user", "content": "Hello"}, tools=[GET_ORDER], tool_choice=choice)
    assert answer.choices[0].message.tool_calls[0].function.name == "get_order"
    none = _ask(client, {"role": "user", "content": "Where is LK-1023145?"}, tools=[GET_ORDER], tool_choice="none")
    assert none.choices[0].message.tool_calls is None


def test_max_tokens_cuts(client: OpenAI) -> None:
    answer = _ask(client, {"role": "user", "content": "Hello"}, max_tokens=2)
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage.completion_tokens <= 2


def test_equal_requests_are_answered_equally(client: OpenAI) -> None:
    first, second = (_ask(client, {"role": "user", "content": "Thanks!"}) for _ in range(2))
    assert first.model_dump(exclude={"created"}) == second.model_dump(exclude={"created"})


def test_errors_have_the_shape_the_client_knows(client: OpenAI, url: str) -> None:
    with pytest.raises(openai.NotFoundError) as unknown:
        client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "Hello"}])
    assert unknown.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as empty:
        client.chat.completions.create(model="sim-1", messages=[])
    assert empty.value.param == "messages"
    with pytest.raises(openai.BadRequestError) as long:
        _ask(client, {"role": "user", "content": "x" * 600_000})
    assert long.value.code == "context_length_exceeded"
    with pytest.raises(openai.InternalServerError):
        client.chat.completions.create(model="sim-fail-503", messages=[{"role": "user", "content": "Hello"}])
    assert httpx.post(f"{url}/v1/chat/completions", content=b"{").json()["error"]["type"] == "invalid_request_error"
    assert httpx.get(f"{url}/v2").status_code == 404


TOOL_CALL: Any = {"id": "a", "type": "function", "function": {"name": "get_order", "arguments": "{}"}}
MALFORMED: Any = {
    "temperature": ({"temperature": 9}, "temperature"),
    "temperature of words": ({"temperature": "hot"}, "temperature"),
    "stream of words": ({"stream": "yes"}, "stream"),
    "max_tokens": ({"max_tokens": 0}, "max_tokens"),
    "n": ({"n": 2}, "n"),
    "response_format": ({"response_format": {"type": "xml"}}, "response_format.type"),
    "a role": ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role"),
    "a content": ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
    "a result of no call": ({"messages": [{"role": "tool", "tool_call_id": "z", "content": "{}"}]}, "messages"),
    "a call without its result": (
        {"messages": [{"role": "assistant", "tool_calls": [TOOL_CALL]}, {"role": "user", "content": "Well?"}]},
        "messages",
    ),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_request_is_refused_by_its_parameter(client: OpenAI, name: str) -> None:
    more, param = MALFORMED[name]
    with pytest.raises(openai.BadRequestError) as refused:
        client.post("/chat/completions", body={"model": "sim-1", "messages": [USER], **more}, cast_to=object)
    assert (refused.value.type, refused.value.param) == ("invalid_request_error", param)


@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [
        (401, openai.AuthenticationError, "invalid_api_key"),
        (403, openai.PermissionDeniedError, None),
        (429, openai.RateLimitError, "rate_limit_exceeded"),
        (500, openai.InternalServerError, None),
        (503, openai.InternalServerError, None),
    ],
)
def test_a_failure_can_be_ordered(
    client: OpenAI, status: int, kind: type[openai.APIStatusError], code: str | None
) -> None:
    with pytest.raises(kind) as failed:
        client.chat.completions.create(model=f"sim-fail-{status}", messages=[USER])
    assert (failed.value.status_code, failed.value.code) == (status, code)
    assert failed.value.response.headers["x-assay-simulated"] == "true"
    assert ("retry-after" in failed.value.response.headers) is (status in (429, 503))


def test_several_calls_of_one_answer_arrive_whole_and_in_a_stream() -> None:
    """The rules ask for one call at a time; a fault may ask for more, and so may a real model."""
    ids = ["LK-1000001", "LK-1000002", "LK-1000003"]
    asked = Proposal(calls=tuple(ProposedCall(tool="get_order", args={"order_id": each}) for each in ids))
    with (
        serving(Provider(alter=lambda proposal, situation, release: asked)) as url,
        OpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0) as client,
    ):
        message = _ask(client, USER, tools=[GET_ORDER]).choices[0].message
        assert [json.loads(call.function.arguments)["order_id"] for call in message.tool_calls] == ids
        assert len({call.id for call in message.tool_calls}) == 3
        with client.chat.completions.stream(model="sim-1", messages=[USER], tools=[GET_ORDER]) as stream:
            calls = stream.get_final_completion().choices[0].message.tool_calls or []
        assert [json.loads(call.function.arguments)["order_id"] for call in calls] == ids
        results = [{"role": "tool", "tool_call_id": call.id, "content": "{}"} for call in message.tool_calls]
        assert _ask(client, USER, message.model_dump(exclude_none=True), *results, tools=[GET_ORDER]).choices


def test_a_client_that_waits_as_it_is_told_gets_through() -> None:
    """Sixty requests a minute: of 61 at once the last is refused, told to come back in a second, and comes back."""
    provider = Provider(limits=RateLimits(requests_per_minute=60))

    async def ask(url: str) -> list[Any]:
        async with AsyncOpenAI(base_url=f"{url}/v1", api_key="a", max_retries=5) as client:
            asked = [client.chat.completions.create(model="sim-1", messages=[USER]) for _ in range(61)]
            return await asyncio.gather(*asked)

    with serving(provider) as url:
        assert len(asyncio.run(ask(url))) == 61
    assert provider.n_answered > 61


def test_a_rate_limit_says_when_to_come_back() -> None:
    limits = RateLimits(requests_per_minute=2)
    with (
        serving(Provider(limits=limits, now=lambda: 1000.0)) as url,
        OpenAI(base_url=f"{url}/v1", api_key="a", max_retries=0) as client,
    ):
        raw = client.chat.completions.with_raw_response.create(
            model="sim-1", messages=[{"role": "user", "content": "Hello"}]
        )
        assert raw.headers["x-ratelimit-limit-requests"] == "2"
        assert raw.headers["x-ratelimit-remaining-requests"] == "1"
        _ask(client, {"role": "user", "content": "Hello"})
        with pytest.raises(openai.RateLimitError) as refused:
            _ask(client, {"role": "user", "content": "Hello"})
        assert refused.value.code == "rate_limit_exceeded"
        assert refused.value.response.headers["retry-after"] == "30"
        assert refused.value.response.headers["x-assay-simulated"] == "true"
        with OpenAI(base_url=f"{url}/v1", api_key="another", max_retries=0) as other:
            assert _ask(other, {"role": "user", "content": "Hello"}).choices


def test_pydantic_ai_runs_an_agent_on_it(url: str) -> None:
    model = OpenAIChatModel("sim-1", provider=OpenAIProvider(base_url=f"{url}/v1", api_key="any"))
    agent = Agent(model, instructions=ORDER_AGENT)
    asked: list[str] = []

    @agent.tool_plain
    def get_order(order_id: str) -> dict[str, Any]:
        asked.append(order_id)
        return SHIPPED

    result = asyncio.run(agent.run("Where is my order LK-1023145?"))
    assert asked == ["LK-1023145"]
    assert "is shipped" in result.output
    assert result.usage.requests == 2


def test_pydantic_ai_gets_a_typed_output_and_a_stream(url: str) -> None:
    model = OpenAIChatModel("sim-1", provider=OpenAIProvider(base_url=f"{url}/v1", api_key="any"))

    async def both() -> tuple[Verdict, str]:
        typed = await Agent(model, output_type=Verdict).run("Judge this.")
        async with Agent(model, instructions=ORDER_AGENT).run_stream("Hello") as streamed:
            return typed.output, await streamed.get_output()

    verdict, said = asyncio.run(both())
    assert verdict.verdict in ("pass", "fail")
    assert said
