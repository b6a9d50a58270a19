"""Processes that die. `python -m tests.agent_runtime.killed FOLDER` is killed between a refund and its answer;
`... FOLDER STORY` tells a story once per moment at which it can be killed, each in a folder of its own.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

from pydantic_ai.messages import ModelMessage, ModelResponse
from pydantic_ai.models.function import AgentInfo, FunctionModel

from agent_runtime.errors import BackendUnavailable
from agent_runtime.records import Limits, Parameters, Release, Strategy, TurnResult, TurnStatus
from tests.agent_runtime.scripted import Stand, calls, last_user, results, routes, says, stand, thinking

QUESTION = "Shall I refund $45.00 for order LK-12345?"
RETURN: Final[dict[str, Any]] = {"order_id": "LK-12345", "item_ids": ["i1"]}


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


async def refund(made: Stand) -> TurnResult:
    """Two turns; a caller who knows of nothing sends both again."""
    await made.say("refund my order", "m1")
    return await made.say("yes", "m2")  # type: ignore[no-any-return]


def large(who: str, messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    """Refunds so much that a person has to approve it."""
    args: dict[str, Any] = {"order_id": "LK-12345", "item_ids": ["i1"], "amount_usd": "150.00", "reason": "broken"}
    if who == "planner":
        return calls("make_plan", steps=[{"tool": "get_order", "args": {"order_id": "LK-12345"}},
                                         {"tool": "refund_order", "args": args}])  # fmt: skip
    if last_user(messages) != "yes":
        return says("Shall I refund $150.00 for order LK-12345?")
    if any(tool == "refund_order" for tool, _ in results(messages)):
        return says("Your $150.00 are on their way.")
    return calls("refund_order", **args)


async def approved(made: Stand) -> TurnResult:
    """The second turn is planned and waits for a person, who says yes."""
    await made.say("refund my order", "m1")
    planned = Release(name="planned", parameters=Parameters(strategy=Strategy.PLAN))
    waiting = await made.say("yes", "m2", planned)
    if waiting.status is not TurnStatus.WAITING_APPROVAL:  # decided before the kill
        return waiting  # type: ignore[no-any-return]
    return await made.runtime.approve(waiting.approvals[0].approval_id, True, "kim")


def chained(who: str, messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    """Plans a chain that breaks, then one that only looks."""
    look = {"tool": "get_order", "args": {"order_id": "LK-12345"}}
    if who == "planner":
        first = "The last plan failed" not in (info.instructions or "")
        return calls("make_plan", steps=[{"tool": "create_return", "args": RETURN}, look] if first else [look])
    done = [tool for tool, content in results(messages) if "error" not in content]
    return says(f"done: {', '.join(done)}")


async def broken(made: Stand) -> TurnResult:
    """A return is opened, the next step fails, the return is withdrawn and all is planned anew."""

    def down(tool: str) -> None:
        if tool == "get_order" and not made.shop.effects("cancel_return"):
            raise BackendUnavailable("down")

    made.shop.before = down
    return await made.say("return it", "m1", Release(name="p", parameters=Parameters(strategy=Strategy.PLAN)))  # type: ignore[no-any-return]


def circling(who: str, messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    """Opens a return, then looks at the same order for ever."""
    return calls("get_order", order_id="LK-12345") if results(messages) else calls("create_return", **RETURN)


async def limited(made: Stand) -> TurnResult:
    """A turn that ends at its limit; what it had begun is undone."""
    limits = Limits(repeated_calls=1)
    return await made.say("return it", "m1", Release(name="l", parameters=Parameters(limits=limits)))  # type: ignore[no-any-return]


Story = tuple[Callable[[], FunctionModel], Callable[[Stand], Awaitable[TurnResult]]]
STORIES: Final[dict[str, Story]] = {
    "refund": (model, refund),
    "approved": (lambda: thinking(large, routes("order", "refund")), approved),
    "broken": (lambda: thinking(chained, routes("order", "order")), broken),
    "limited": (lambda: thinking(circling, routes("order", "order")), limited),
}


def opened(folder: Path, story: str) -> tuple[Stand, Callable[[Stand], Awaitable[TurnResult]]]:
    """A runtime for a story. What is written survives a kill without an fsync; hundreds of them would take minutes."""
    make, go = STORIES[story]
    made = stand(folder, make())
    made.state._connection.execute("PRAGMA synchronous = OFF")
    return made, go


def tell(folder: Path, story: str, dies_at: int) -> None:
    """Tells a story in this process and dies before its N-th write or after a call of the shop: what leaves traces."""
    moments = 0

    def moment() -> None:
        nonlocal moments
        moments += 1
        if moments == dies_at:
            os.kill(os.getpid(), signal.SIGKILL)

    folder.mkdir()
    made, go = opened(folder, story)
    run, call = made.state.run, made.shop.call

    async def written(job: Any) -> Any:
        moment()
        return await run(job)

    async def called(*args: Any, **more: Any) -> Any:
        value = await call(*args, **more)
        moment()
        return value

    made.state.run, made.shop.call = written, called  # type: ignore[method-assign]
    asyncio.run(go(made))  # type: ignore[arg-type]


def tell_and_die_everywhere(folder: Path, story: str) -> int:
    """A folder 1, 2, ... per moment, each left by a process that was killed there; gives how many."""
    for number in range(1, 1000):
        child = os.fork()
        if child == 0:
            try:
                tell(folder / str(number), story, number)
                os._exit(0)
            finally:
                os._exit(1)
        _, status = os.waitpid(child, 0)
        if os.WIFEXITED(status):
            assert os.WEXITSTATUS(status) == 0, f"moment {number} failed"
            return number - 1
    raise AssertionError("the story does not end")


async def main(folder: Path) -> None:
    """Two turns; the second does not end."""
    made = stand(folder, model())
    made.shop.after = die
    await refund(made)


if __name__ == "__main__":
    if len(sys.argv) == 3:
        tell_and_die_everywhere(Path(sys.argv[1]), sys.argv[2])
    else:
        asyncio.run(main(Path(sys.argv[1])))
