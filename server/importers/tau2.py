"""tau2-bench simulations -> conversations: their real times, tokens, costs and outcomes as spans and a score.

Input is JSONL, one simulation per line with a `_meta` object (domain, arm, agent_llm), or tau2's own results file
(`{"info": ..., "simulations": [...]}`), plain or gzip.

How a simulation becomes spans
------------------------------
* Session: the simulation; session id = simulation id. Turn (one trace): from a user message to the agent's last
  message before the user speaks again. A simulation without a user ("no-user mode") is one turn.
* A message's timestamp is when it was complete. A model or tool call therefore runs from the timestamp of the message
  before it to its own; a turn from the user's message to the agent's last one. The files' timestamps carry no zone:
  they are read as UTC, and the turn says so (`assay.time_zone_assumed`).
* Root `invoke_agent`, one `chat` span per agent message with its tokens and cost as the file has them (a cost of 0
  with tokens means that the price was not known to the harness: flagged `assay.cost_zero_in_source`), one
  `execute_tool` span per tool call of the agent. The scripted greeting is no model call; it opens the chat history.
* What the simulated user did is not the agent's: its cost, tokens and tool calls are attributes `assay.user.*` of the
  turn they led to. A closing message that the agent did not answer is `assay.user.closing_message` of the last turn.
* App = domain, release = arm, variant = control for a base arm and treatment for a fine-tuned one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from core.clock import to_ns
from core.errors import InvalidInput
from server.importers import genai, reading
from server.importers.genai import Conversation, Outcome, Value
from server.importers.messages import Call, Message, ToolResult, Turn
from server.importers.reading import BadLine
from server.importers.turn_spans import spans_of, user_attributes
from server.importers.turns import turns_of

SCOPE: Final = "assay.import.tau2"
EVALUATOR: Final = "tau2_reward"
CUT_SHORT: Final = frozenset({"agent_error", "user_error", "too_many_errors", "max_steps"})


class _Record(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class _Usage(_Record):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class _ToolCall(_Record):
    id: str | None = None
    name: str
    arguments: Any = None


class _Message(_Record):
    role: Literal["assistant", "user", "tool", "system"]
    content: str | None = None
    timestamp: datetime
    tool_calls: list[_ToolCall] | None = None
    requestor: str | None = None
    id: str | None = None
    error: bool | None = None
    errors: list[str] | None = None
    reasoning: str | None = None
    cost: float | None = None
    usage: _Usage | None = None
    raw_data: dict[str, Any] | None = None


class _RewardRecord(_Record):
    reward: float | None = None
    reward_basis: list[str] | None = None
    reward_breakdown: dict[str, Any] | None = None


class _Meta(_Record):
    domain: str | None = None
    arm: str | None = None
    agent_llm: str | None = None
    user_llm: str | None = None


class _Simulation(_Record):
    id: str = Field(min_length=1, max_length=200)
    task_id: str | int | None = None
    trial: int | None = None
    seed: int | None = None
    start_time: datetime
    end_time: datetime
    termination_reason: str | None = None
    agent_cost: float | None = None
    user_cost: float | None = None
    reward_info: _RewardRecord | None = None
    messages: list[_Message]
    meta: _Meta = Field(default_factory=_Meta, alias="_meta")


def conversations(path: Path, *, app: str | None, release: str | None) -> Iterator[Conversation | BadLine]:
    """The simulations of a file in its order; a line that is none is given as the BadLine that says why.

    `app` and `release` replace the domain and the arm. Faults of the whole file are given as a BadLine, too.
    """
    try:
        if _is_results_file(path):
            yield from _of_results_file(path, app, release)
            return
        for line in reading.lines(path):
            try:
                yield _conversation(orjson.loads(line.content), app, release)
            except (InvalidInput, ValueError, TypeError, RecursionError) as error:
                yield BadLine(path, line.number, _reason(error))
    except BadLine as error:
        yield error


def _is_results_file(path: Path) -> bool:
    return path.name.removesuffix(".gz").endswith(".json")


def _of_results_file(path: Path, app: str | None, release: str | None) -> Iterator[Conversation | BadLine]:
    try:
        results = orjson.loads(reading.whole(path))
    except ValueError as error:
        raise BadLine(path, 0, f"is not JSON: {error}") from None
    simulations = results.get("simulations") if isinstance(results, dict) else None
    if not isinstance(simulations, list):
        raise BadLine(
            path, 0, 'has no list "simulations": is it a tau2 results file? (JSONL files must not end in .json)'
        )
    meta = _meta_of_results(results.get("info"))
    for index, simulation in enumerate(simulations):
        try:
            known = simulation if "_meta" in simulation else {**simulation, "_meta": meta}
            yield _conversation(known, app, release)
        except (InvalidInput, ValueError, TypeError, RecursionError) as error:
            yield BadLine(path, 0, f"simulations[{index}]: {_reason(error)}")


def _meta_of_results(about: object) -> dict[str, object]:
    """Domain and models, from where tau2 writes them in a results file."""
    known = about if isinstance(about, dict) else {}
    agent, user, world = (known.get(key) or {} for key in ("agent_info", "user_info", "environment_info"))
    llm = agent.get("llm")
    return {"domain": world.get("domain_name"), "arm": llm, "agent_llm": llm, "user_llm": user.get("llm")}


def _reason(error: Exception) -> str:
    match error:
        case ValidationError():
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "the line"
            more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
            return f"not a tau2 simulation: {where}: {first['msg']}{more}"
        case orjson.JSONDecodeError():
            return f"not JSON: {error}"
        case RecursionError():
            return "nested too deep"
        case _:
            return str(error)


def _conversation(raw: object, app: str | None, release: str | None) -> Conversation:
    simulation = _Simulation.model_validate(raw)
    meta = simulation.meta
    named_app = app or meta.domain
    if not named_app:
        raise InvalidInput("the simulation has no _meta.domain; give the application's name with --app", field="app")
    named_release = release or meta.arm or meta.agent_llm or "unknown"
    turns, greeting = turns_of([_message(one) for one in simulation.messages], start_ns=_ns(simulation.start_time))
    spans = [
        one
        for index, turn in enumerate(turns)
        for one in spans_of(
            turn,
            namespace=("tau2", named_app, named_release, simulation.id),
            agent=named_app,
            agent_version=named_release,
            model=meta.agent_llm or "unknown",
            common=_common(simulation),
            root=_root(simulation, turn, greeting if index == 0 else None, last=index == len(turns) - 1),
            cut_short=_cut_short(simulation, turn) if index == len(turns) - 1 else None,
        )
    ]
    return Conversation(
        session_id=simulation.id,
        app=named_app,
        release=named_release,
        variant=variant_of(meta.arm),
        spans=tuple(spans),
        outcome=_outcome(simulation),
        start_ns=min((one.start_time_unix_nano for one in spans), default=_ns(simulation.end_time)),
        end_ns=max((one.end_time_unix_nano for one in spans), default=_ns(simulation.end_time)),
        resource_attributes={"assay.import.source": "tau2", "assay.import.user_model": meta.user_llm},
    )


def variant_of(arm: str | None) -> str | None:
    """'control' for a base arm, 'treatment' for a fine-tuned (sft) one, None where the arm's name says neither."""
    words = set((arm or "").lower().split("_"))
    if "sft" in words:
        return "treatment"
    return "control" if "base" in words else None


def _common(simulation: _Simulation) -> dict[str, Value]:
    task = simulation.task_id
    return {
        "gen_ai.conversation.id": simulation.id,
        "session.id": simulation.id,
        "assay.task_id": None if task is None else str(task),
        "assay.trial": simulation.trial,
    }


def _root(simulation: _Simulation, turn: Turn, greeting: str | None, *, last: bool) -> dict[str, Value]:
    naive = simulation.start_time.tzinfo is None
    values: dict[str, Value] = {
        "assay.seed": simulation.seed,
        "assay.time_zone_assumed": "UTC" if naive else None,
        "assay.greeting": greeting,
        **user_attributes(turn),
    }
    return {**values, "assay.termination_reason": simulation.termination_reason} if last else values


def _cut_short(simulation: _Simulation, turn: Turn) -> str | None:
    """The error of the last turn: why the simulation was cut, or that the agent never answered."""
    if simulation.termination_reason in CUT_SHORT:
        return simulation.termination_reason
    return None if turn.steps else "no_reply"


def _outcome(simulation: _Simulation) -> Outcome:
    record = simulation.reward_info
    reward = record.reward if record else None
    known = reward is not None and math.isfinite(reward)
    basis = ", ".join(record.reward_basis or []) if record else ""
    return Outcome(
        evaluator=EVALUATOR,
        at_ns=_ns(simulation.end_time),
        value=reward if known else None,
        unscored=None if known else "the file holds no finite reward for this simulation",
        explanation=f"tau2 reward on {basis or 'an unnamed basis'}; ended by {simulation.termination_reason}",
        metadata={
            "task_id": simulation.task_id,
            "trial": simulation.trial,
            "termination_reason": simulation.termination_reason,
            "reward_breakdown": record.reward_breakdown if record else None,
            "agent_cost_usd": simulation.agent_cost,
            "user_cost_usd": simulation.user_cost,
        },
    )


def _message(raw: _Message) -> Message:
    usage = raw.usage or _Usage()
    finish = (raw.raw_data or {}).get("finish_reason")
    return Message(
        role=raw.role,
        text=raw.content,
        at_ns=_ns(raw.timestamp),
        calls=tuple(
            Call(id=one.id, name=one.name, arguments=genai.json_text(one.arguments)) for one in raw.tool_calls or []
        ),
        result=ToolResult(call_id=raw.id, by_user=raw.requestor == "user", is_error=bool(raw.error))
        if raw.role == "tool"
        else None,
        input_tokens=usage.prompt_tokens,
        output_tokens=usage.completion_tokens,
        cost_usd=raw.cost,
        has_usage=raw.usage is not None,
        finish_reason=finish if isinstance(finish, str) else None,
        reasoning=raw.reasoning,
        retries=tuple(raw.errors or []),
    )


def _ns(moment: datetime) -> int:
    return to_ns(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
