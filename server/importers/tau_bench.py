"""tau-bench v1 trajectories -> conversations: messages, tool calls and outcomes; their times are synthetic.

Input is JSONL, one trajectory per line: `task_id`, `trial`, `reward`, `traj` (OpenAI-style messages), `info`, `_meta`.

The files hold no time, no token count and no agent cost. So that turns have an order and a place, a synthetic clock
stands in, the same at every import: a trajectory starts at SYNTHETIC_START (the "current time" of the benchmark's
policy) + (100 x trial + task) x 10 minutes; a user's message takes 5 s, a model call 1 s, a tool call 100 ms.
Every span says so (`assay.time_synthetic`): durations mean nothing here. Tokens and cost stay unknown.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from core.clock import NS_PER_MS, NS_PER_S
from core.errors import InvalidInput
from server.importers import reading
from server.importers.genai import Conversation, Outcome, Value
from server.importers.messages import Call, Message, ToolResult
from server.importers.reading import BadLine
from server.importers.turn_spans import spans_of, user_attributes
from server.importers.turns import turns_of

SCOPE: Final = "assay.import.tau_bench"
EVALUATOR: Final = "tau_bench_reward"
SYNTHETIC_START: Final = 1_715_803_200 * NS_PER_S  # 2024-05-15T20:00:00Z = 15:00 EST
_SPACING_NS: Final = 600 * NS_PER_S
_TAKES_NS: Final = {"system": 0, "user": 5 * NS_PER_S, "assistant": NS_PER_S, "tool": 100 * NS_PER_MS}


class _Record(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class _Function(_Record):
    name: str
    arguments: str = "{}"


class _ToolCall(_Record):
    id: str | None = None
    function: _Function


class _Message(_Record):
    role: Literal["system", "user", "assistant", "tool"]
    content: str | None = None
    tool_calls: list[_ToolCall] | None = None
    tool_call_id: str | None = None


class _Task(_Record):
    user_id: str | None = None


class _About(_Record):
    task: _Task | None = None
    user_cost: float | None = None


class _Meta(_Record):
    model: str | None = None
    domain: str | None = None
    strategy: str | None = None


class _Trajectory(_Record):
    task_id: int
    trial: int = 0
    reward: float | None
    traj: list[_Message]
    info: _About = Field(default_factory=_About)
    meta: _Meta = Field(default_factory=_Meta, alias="_meta")


def conversations(path: Path, *, app: str | None, release: str | None) -> Iterator[Conversation | BadLine]:
    """The trajectories of a file in its order; a line that is none is given as the BadLine that says why.

    `app` and `release` replace the domain and the model.
    """
    try:
        for line in reading.lines(path):
            try:
                yield _conversation(_Trajectory.model_validate(orjson.loads(line.content)), app, release)
            except ValidationError as error:
                first = error.errors(include_url=False, include_input=False)[0]
                where = ".".join(str(part) for part in first["loc"]) or "the line"
                yield BadLine(path, line.number, f"not a tau-bench trajectory: {where}: {first['msg']}")
            except orjson.JSONDecodeError as error:
                yield BadLine(path, line.number, f"not JSON: {error}")
            except (InvalidInput, ValueError, TypeError, RecursionError) as error:
                yield BadLine(path, line.number, str(error))
    except BadLine as error:
        yield error


def session_of(domain: str, model: str, task_id: int, trial: int) -> str:
    """The session id: trajectories have none of their own, but these four tell them apart."""
    return f"tau-bench-{domain}-{model}-task{task_id}-trial{trial}"


def _conversation(trajectory: _Trajectory, app: str | None, release: str | None) -> Conversation:
    meta = trajectory.meta
    named_app = app or meta.domain
    if not named_app:
        raise InvalidInput("the trajectory has no _meta.domain; give the application's name with --app", field="app")
    model = meta.model or "unknown"
    session = session_of(meta.domain or named_app, model, trajectory.task_id, trajectory.trial)
    start_ns = SYNTHETIC_START + (100 * trajectory.trial + trajectory.task_id) * _SPACING_NS
    turns, greeting = turns_of(_timed(trajectory.traj, start_ns), start_ns=start_ns)
    spans = [
        one
        for index, turn in enumerate(turns)
        for one in spans_of(
            turn,
            namespace=("tau_bench", named_app, release or model, session),
            agent=named_app,
            agent_version=release or model,
            model=model,
            common=_common(trajectory, session),
            root={
                "assay.greeting": greeting if index == 0 else None,
                "assay.user.session_cost_usd": trajectory.info.user_cost if index == len(turns) - 1 else None,
                **user_attributes(turn),
            },
            cut_short=None if turn.steps else "no_reply",
        )
    ]
    return Conversation(
        session_id=session,
        app=named_app,
        release=release or model,
        variant=None,
        spans=tuple(spans),
        outcome=_outcome(trajectory, max((one.end_time_unix_nano for one in spans), default=start_ns)),
        start_ns=min((one.start_time_unix_nano for one in spans), default=start_ns),
        end_ns=max((one.end_time_unix_nano for one in spans), default=start_ns),
        time_is_synthetic=True,
        resource_attributes={"assay.import.source": "tau-bench", "assay.import.strategy": meta.strategy},
    )


def _common(trajectory: _Trajectory, session: str) -> dict[str, Value]:
    task = trajectory.info.task
    return {
        "gen_ai.conversation.id": session,
        "session.id": session,
        "user.id": task.user_id if task else None,
        "assay.task_id": str(trajectory.task_id),
        "assay.trial": trajectory.trial,
        "assay.time_synthetic": True,
    }


def _timed(raw: list[_Message], start_ns: int) -> list[Message]:
    """The messages on the synthetic clock."""
    timed, at_ns = [], start_ns
    for one in raw:
        at_ns += _TAKES_NS[one.role]
        is_error = (one.content or "").startswith("Error:")
        timed.append(
            Message(
                role=one.role,
                text=one.content,
                at_ns=at_ns,
                calls=tuple(
                    Call(id=call.id, name=call.function.name, arguments=call.function.arguments)
                    for call in one.tool_calls or []
                ),
                result=ToolResult(call_id=one.tool_call_id, by_user=False, is_error=is_error)
                if one.role == "tool"
                else None,
            )
        )
    return timed


def _outcome(trajectory: _Trajectory, at_ns: int) -> Outcome:
    reward = trajectory.reward
    known = reward is not None and math.isfinite(reward)
    return Outcome(
        evaluator=EVALUATOR,
        at_ns=at_ns,
        value=reward if known else None,
        unscored=None if known else "the file holds no finite reward for this trajectory",
        explanation=f"tau-bench reward of task {trajectory.task_id}, trial {trajectory.trial}",
        metadata={"task_id": trajectory.task_id, "trial": trajectory.trial, "user_cost_usd": trajectory.info.user_cost},
    )
