"""Azure's wire: OpenAI's bodies at a deployment's address."""

from __future__ import annotations

import asyncio

import orjson

from gateway.records import Target
from gateway.upstreams.azure import AzureWire
from gateway.upstreams.openai import OpenAIWire
from tests.gateway.upstream_calls import KEY, call_of, faulty, text_of


def test_the_deployment_is_in_the_path_and_cannot_leave_it() -> None:
    wire = AzureWire("2024-10-21")
    call, target = call_of("hello"), Target(upstream="main", model="gpt 4/../x")
    outgoing = wire.request(call, target, KEY)
    assert outgoing.path == "/openai/deployments/gpt%204%2F..%2Fx/chat/completions?api-version=2024-10-21"
    assert outgoing.headers == {"content-type": "application/json", "api-key": KEY}
    assert outgoing.body == OpenAIWire().request(call, target, KEY).body
    embeds = wire.request(call_of("", input="a"), Target(upstream="main", model="e"), KEY)
    assert embeds.path == "/openai/deployments/e/embeddings?api-version=2024-10-21"


def test_a_call_through_the_pool() -> None:
    async def run() -> None:
        async with faulty(wire="azure", api_version="2024-10-21") as (pool, upstream):
            call = call_of("words=2")
            assert text_of(await pool.ask(call)) == "word000 word001 "
            assert call.provider == "azure.ai.openai"
            assert upstream.asked[0].headers["api-key"] == KEY

    asyncio.run(run())


def test_a_content_filter_is_told_to_the_caller() -> None:
    said = {
        "error": {"code": "content_filter", "message": "The response was filtered", "param": "prompt", "status": 400}
    }
    error = AzureWire("v").error(400, orjson.dumps(said))
    assert (error.status, error.code, error.param) == (400, "content_filter", "prompt")
