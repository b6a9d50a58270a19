"""Plan, then execute: steps with preconditions, replanning when one does not hold, undoing when a chain breaks.

A step's `args` may name an earlier result: "$1.order_id" is field order_id of step 1's result. A `precondition` is
"", or FIELD OPERATOR VALUE with FIELD as "1.status" or "get_order.status" and an operator of == != <= >= < >.
One that cannot be read as such is noted on the span and does not hold a step back: the tools guard themselves.
The calls are written into the turn's messages as if the specialist had made them; it then words the answer.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, Final

from opentelemetry.trace import Span
from pydantic import BaseModel, Field
from pydantic_ai import DeferredToolRequests
from pydantic_ai.messages import (
    ModelMessage,
    ModelMessagesTypeAdapter,
    ModelRequest,
    ModelResponse,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)

from agent_runtime.ask import Asker, Question
from agent_runtime.context import PlannedStep, TurnContext
from agent_runtime.errors import ModelFailed
from agent_runtime.ledger import canonical
from agent_runtime.reasoning.react import Loop, guard_written, measured, react
from agent_runtime.records import AgentName, Risk, Strategy
from agent_runtime.telemetry import short_json
from agent_runtime.tools.caps import needs_person, over_cap
from agent_runtime.tools.confirm import says_yes
from agent_runtime.tools.execute import ToolRunner
from agent_runtime.tools.table import TOOLS

_MOST_PLANS: Final = 3


class Plan(BaseModel):
    """The arguments of the planner's output tool `make_plan`."""

    steps: Annotated[list[PlannedStep], Field(max_length=10)]


_PLANNER: Final = Question(
    agent="planner",
    instructions=(
        "Plan the tool calls that serve the customer's last message, in order. Look up before acting; plan an action "
        "that cannot be undone only when the customer has said yes to it. args may use $1.field of an earlier result; "
        'precondition is "" or as 1.status == delivered. No steps when the answer needs none.\n'
    ),
    tool="make_plan",
    answer=Plan,
    what="Gives the plan.",
)
_CONDITION: Final = re.compile(r"^\s*\$?(\w+)\.([\w.]+)\s*(==|!=|<=|>=|<|>)\s*(.+?)\s*$")
_OFFERED: Final = {
    who: "\n".join(f"{t.name}{tuple(t.schema['properties'])}: {t.what}" for t in TOOLS.values() if who in t.agents)
    for who in AgentName
}


async def plan_then_react(
    loop: Loop, asker: Asker, runner: ToolRunner, turn: TurnContext, history: Sequence[ModelMessage]
) -> str | DeferredToolRequests:
    """Plans, executes, replans up to twice, and lets the specialist word the answer from the results."""
    if turn.messages == b"[]":
        turn.messages = ModelMessagesTypeAdapter.dump_json([ModelRequest(parts=[UserPromptPart(turn.text)])])
    while turn.problem or turn.n_plans == 0 or len(turn.plan_results) < len(turn.plan):
        if turn.problem:  # of a killed process, too
            await runner.compensate(turn)
        if (turn.problem or turn.n_plans == 0) and not await _make(loop, asker, turn):
            break
        await _execute(loop, runner, turn)
    turn.problem = ""
    return await react(loop, turn, history)


async def _make(loop: Loop, asker: Asker, turn: TurnContext) -> bool:
    if turn.n_plans == _MOST_PLANS:
        return False
    more = f"Tools:\n{_OFFERED[turn.agent]}"
    if turn.problem:
        more += f"\nThe last plan failed: {turn.problem}. What it did is undone where it can be. "
        more += f"Plan anew from the facts:\n{short_json(turn.plan_results)}"
    try:
        plan = await asker.ask(_PLANNER, turn.recent, turn.text, turn.release, turn.spending, more)
        guard_written(loop, turn, plan.model_dump_json(exclude_defaults=True))
    except ModelFailed:  # its span says so; without a plan the specialist goes on step by step
        return False
    turn.plan, turn.plan_results, turn.n_plans = _ready(plan.steps, turn), [], turn.n_plans + 1
    turn.problem = ""
    await loop.save(turn)
    return bool(turn.plan)


def _ready(steps: Sequence[PlannedStep], turn: TurnContext) -> list[PlannedStep]:
    """The steps that may run now: before a yes, an irreversible plan is cut at its first write."""
    risks = [TOOLS[step.tool].risk if step.tool in TOOLS else Risk.READ for step in steps]
    if Risk.IRREVERSIBLE not in risks or says_yes(turn.text) or not turn.parameters.require_confirmation:
        return list(steps)
    first_write = next(i for i, risk in enumerate(risks) if risk is not Risk.READ)
    return list(steps[:first_write])


async def _execute(loop: Loop, runner: ToolRunner, turn: TurnContext) -> None:
    """Runs the rest of the plan: until it is done, a person or the specialist has to go on, or it has a problem."""
    while len(turn.plan_results) < len(turn.plan) and not turn.problem:
        step = turn.plan[len(turn.plan_results)]
        turn.spending.step()
        number = turn.spending.reasoned()
        attributes = {"assay.step.index": number, "assay.step.strategy": Strategy.PLAN.value}
        with (
            loop.telemetry.span(f"step {number}", attributes) as span,
            measured(span, turn.documents),
        ):
            await _step(loop, runner, turn, step, span)


def _fail(turn: TurnContext, position: int, why: str) -> None:
    turn.problem = f"step {position + 1} {turn.plan[position].tool}: {why}"
    turn.plan = turn.plan[: len(turn.plan_results)]


async def _step(loop: Loop, runner: ToolRunner, turn: TurnContext, step: PlannedStep, span: Span) -> None:
    """Where the specialist has to go on, the rest of the plan is dropped."""
    position = len(turn.plan_results)
    span.set_attribute("assay.step.thought", step.purpose or f"planned: {step.tool}")
    if step.confidence is not None and 0 <= step.confidence <= 1:
        span.set_attribute("assay.step.confidence", step.confidence)
    if step.alternatives:
        span.set_attribute("assay.step.alternatives", step.alternatives)
    span.set_attribute("assay.step.precondition", step.precondition)
    held = holds(step.precondition, turn.plan, turn.plan_results)
    if held is not None:
        span.set_attribute("assay.step.precondition_held", held)
    if held is False:
        _fail(turn, position, f"{step.precondition} does not hold")
        return
    args = {name: resolved(value, turn.plan_results) for name, value in step.args.items()}
    call_id = f"plan-{turn.turn_id[:12]}-{turn.n_plans}-{position + 1}"
    call = ModelResponse(parts=[TextPart(f"Thought: {step.purpose}"), ToolCallPart(step.tool, args, call_id)])
    tool = TOOLS.get(step.tool)
    valid = tool.validated(args) if tool else ["no such tool"]
    capped = not isinstance(valid, dict) or over_cap(step.tool, valid, turn.parameters)
    if not capped and needs_person(args, turn.parameters):  # pydantic-ai defers it when it sees the call
        _append(turn, [call])
        turn.plan = turn.plan[:position]
        return
    attributes = {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": step.tool,
        "gen_ai.tool.call.id": call_id,
    }
    with loop.telemetry.span(f"execute_tool {step.tool}", attributes) as called:
        called.set_attribute("gen_ai.tool.call.arguments", canonical(args))
        result = await runner.run(turn, step.tool, args, call_id)
        called.set_attribute("gen_ai.tool.call.result", canonical(result))
    _append(turn, [call, ModelRequest(parts=[ToolReturnPart(step.tool, result, call_id)])])
    turn.plan_results.append(result)
    why = result.get("refused") or result.get("error")
    if result.get("refused") == "not confirmed":
        turn.plan = turn.plan[: position + 1]
    elif why is not None:
        _fail(turn, position, why)
    await loop.save(turn)


def _append(turn: TurnContext, more: list[ModelMessage]) -> None:
    messages = ModelMessagesTypeAdapter.validate_json(turn.messages)
    turn.messages = ModelMessagesTypeAdapter.dump_json([*messages, *more])


def holds(condition: str, plan: Sequence[PlannedStep], results: Sequence[dict[str, Any]]) -> bool | None:
    """Whether a precondition holds on the results so far; None when it is empty or not of the known form."""
    read = _CONDITION.match(condition)
    if read is None:
        return None
    source, path, operator, value = read.groups()
    positions = [i for i in range(len(results)) if source == str(i + 1) or plan[i].tool == source]
    if not positions:
        return False
    return _compare(_field(results[positions[-1]], path), operator, value.strip("'\""))


def resolved(value: Any, results: Sequence[dict[str, Any]]) -> Any:
    """Replaces "$N.field" by that field of result N; None when there is no such field."""
    found = re.fullmatch(r"\$(\d+)\.([\w.]+)", value) if isinstance(value, str) else None
    if found is None:
        return value
    position = int(found[1]) - 1
    return _field(results[position], found[2]) if 0 <= position < len(results) else None


def _field(result: Any, path: str) -> Any:
    for name in path.split("."):
        if isinstance(result, dict):
            result = result.get(name)
        elif isinstance(result, list) and name.isdigit() and int(name) < len(result):
            result = result[int(name)]
        else:
            return None
    return result


def _compare(left: Any, operator: str, right: str) -> bool:
    try:
        a, b = Decimal(str(left)), Decimal(right)
    except InvalidOperation:
        same = str(left).lower() == right.lower()
        return same if operator == "==" else operator == "!=" and not same
    match operator:
        case "==":
            return a == b
        case "!=":
            return a != b
        case "<":
            return a < b
        case ">":
            return a > b
        case "<=":
            return a <= b
        case _:
            return a >= b
