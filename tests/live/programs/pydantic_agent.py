# mypy: ignore-errors
"""A pydantic-ai agent with its own telemetry: two turns of one session, one refused, one streamed."""

import asyncio
import os

import questions
import tracing
from pydantic_ai import Agent
from pydantic_ai.models.instrumented import InstrumentationSettings

provider, counter = tracing.start()
Agent.instrument_all(InstrumentationSettings(tracer_provider=provider, include_content=True))
agent = Agent(f"{os.environ['LIVE_API']}:{os.environ['LIVE_MODEL']}", name="seat-agent", instructions="Sell seats.")


@agent.tool_plain
def seat_price(flight: str) -> str:
    """The price of a seat on a flight, in dollars."""
    return f"{flight}: 129"


async def main() -> None:
    """Two turns with one conversation id, a refusal, and a streamed turn."""
    session = os.environ["LIVE_SESSION"]
    first = await agent.run(questions.FIRST, conversation_id=session)
    print(first.output)
    second = await agent.run(questions.SECOND, message_history=first.all_messages(), conversation_id=session)
    print(second.output)
    try:
        await agent.run(questions.REFUSED, conversation_id=session)
    except Exception as error:
        print(type(error).__name__)
    async with agent.run_stream(questions.FIRST, conversation_id=session) as streamed:
        print(await streamed.get_output())


asyncio.run(main())
tracing.finish(provider, counter)
