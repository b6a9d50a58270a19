"""Messages that arrive mid-turn wait for their turn, in order; other sessions do not wait."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from pydantic_ai.messages import ModelMessage, ModelResponse, UserPromptPart
from pydantic_ai.models.function import AgentInfo

from agent_runtime.errors import Busy
from agent_runtime.records import TurnResult
from agent_runtime.sessions import Sessions
from agent_runtime.settings import Settings
from tests.agent_runtime.scripted import calls, last_user, results, says, stand, thinking


def looking(who: str, messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    """Looks once per turn, then answers with the user's words."""
    n_said = sum(isinstance(part, UserPromptPart) for m in messages for part in m.parts)
    if len(results(messages)) < n_said:
        return calls("get_order", order_id="LK-12345")
    return says(last_user(messages))


def test_messages_of_a_session_queue_and_those_of_another_do_not(tmp_path: Path) -> None:
    made = stand(tmp_path, thinking(looking), settings=Settings(data=tmp_path, tool_timeout_s=1000))
    order: list[str] = []

    async def go() -> list[TurnResult]:
        gate = asyncio.Event()
        inside = asyncio.Event()

        async def wait(tool: str) -> None:
            inside.set()
            await gate.wait()

        made.shop.before = wait

        async def say(text: str, session: str) -> TurnResult:
            result: TurnResult = await made.say(text, text, session=session)
            order.append(text)
            return result

        first = asyncio.create_task(say("one", "a"))
        await inside.wait()
        second, third = asyncio.create_task(say("two", "a")), asyncio.create_task(say("three", "a"))
        made.shop.before = lambda tool: None
        await say("other", "b")
        gate.set()
        answers = [await first, await second, await third]
        await made.runtime.close()
        return answers

    assert [(r.index, r.reply) for r in asyncio.run(go())] == [(0, "one"), (1, "two"), (2, "three")]
    assert order == ["other", "one", "two", "three"]


def test_too_many_messages_are_busy_and_idle_sessions_cost_nothing() -> None:
    async def go() -> None:
        sessions = Sessions(1)
        async with sessions.turn("a"):
            waiting = asyncio.create_task(_hold(sessions))
            await asyncio.sleep(0)
            with pytest.raises(Busy):
                async with sessions.turn("a"):
                    pass
            assert sessions.n_busy() == 1
        await waiting
        assert sessions.n_busy() == 0

    asyncio.run(go())


async def _hold(sessions: Sessions) -> None:
    async with sessions.turn("a"):
        pass
