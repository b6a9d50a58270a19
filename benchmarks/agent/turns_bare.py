"""The same turns with pydantic-ai alone: a router and an agent, the history in memory, nothing else.

`traced` as the second argument adds pydantic-ai's own spans, sent to a collector in batches.
"""

from __future__ import annotations

import asyncio
import sys
from collections import defaultdict

import httpx2
from openai import AsyncOpenAI
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from pydantic_ai import Agent, Tool, ToolOutput
from pydantic_ai.messages import ModelMessage
from pydantic_ai.models.instrumented import InstrumentationSettings
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

from agent_runtime.context import Route
from benchmarks.agent import worker


def instrument(url: str) -> None:
    """Spans of every agent to the collector."""
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=f"{url}/v1/traces")))
    Agent.instrument_all(InstrumentationSettings(tracer_provider=provider))


async def main() -> None:
    """Plays until the parent is done."""
    given = worker.job()
    if "traced" in sys.argv[2:]:
        instrument(given["url"])
    client = AsyncOpenAI(base_url=f"{given['url']}/v1", api_key="none", http_client=httpx2.AsyncClient())
    model = OpenAIChatModel("sim-1", provider=OpenAIProvider(openai_client=client))
    tools = [
        Tool.from_schema(worker.tool, name=t["name"], description=t["description"], json_schema=t["parameters"])
        for t in given["tools"]
    ]
    routed = ToolOutput(Route, name="route", description=given["route"]["description"])
    router = Agent(model, output_type=routed, instructions=given["router"], name="supervisor")
    agent = Agent(model, tools=tools, instructions=given["agent"], name="order")
    histories: dict[str, list[ModelMessage]] = defaultdict(list)

    async def turn(session: str, number: int) -> str:
        history = histories[session]
        route = (await router.run(given["text"], message_history=history)).output
        if route.agent != "order":
            raise RuntimeError(f"routed to {route.agent}")
        done = await agent.run(given["text"], message_history=history)
        histories[session] = done.all_messages()
        return done.output

    await worker.serve(turn, given["answer"])


if __name__ == "__main__":
    worker.measure_requests(httpx2)
    asyncio.run(main())
