"""A process that dies: `python -m tests.agent_runtime.killed FOLDER` is killed between a refund and its answer."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

from pydantic_ai.messages import ModelMessage, ModelResponse
from pydantic_ai.models.function import AgentInfo, FunctionModel

from tests.agent_runtime.scripted import calls, last_user, results, routes, says, stand, thinking

QUESTION = "Shall I refund $45.00 for order LK-12345?"


def brain(who: str, messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    """Asks, refunds on a yes, tells the result; a pure function of the messages."""
    if last_user(messages) != "yes":
        return says(QUESTION)
    if any(tool == "refund_order" for tool, _ in results(messages)):
        return says("Your $45.00 are on their way.")
    if not results(messages):
        return calls("get_order", order_id="LK-12345")
    return calls("refund_order", order_id="LK-12345", item_ids=["i1"], amount_usd="45.00", reason="broken")


def model() -> FunctionModel:
    """The same in the process that dies and in the one after it."""
    return thinking(brain, routes("order", "refund"))


def die(tool: str, result: dict[str, Any]) -> dict[str, Any]:
    """Kills this very process once the shop has refunded."""
    if tool == "refund_order":
        os.kill(os.getpid(), signal.SIGKILL)
    return result


async def main(folder: Path) -> None:
    """Two turns; the second does not end."""
    made = stand(folder, model())
    made.shop.after = die
    await made.say("refund my order", "m1")
    await made.say("yes", "m2")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
