"""Real trajectories with a checked reward as targets: tau-bench v1 and tau2, from ../shared/data.

What the agent called and said is the trajectory, the task's gold actions are what is expected; the reward is what the
benchmark computed from the state of its database, so none of it is ours.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from core.records import TargetKind
from evaluators.records import Expected, Message, Target, ToolCall, Trajectory

SHARED: Final = Path(__file__).resolve().parents[3] / "shared" / "data"
TAU_BENCH: Final = SHARED / "tau_bench_v1" / "gpt-4o_airline.jsonl.gz"
TAU2: Final = SHARED / "tau2_trajectories"


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """One trajectory. `group` is its task, by which its trials hang together; `passed` is its reward."""

    target: Target
    group: str
    domain: str
    passed: bool


def tau_bench() -> list[Recorded]:
    """120 trajectories of gpt-4o in the airline domain, 30 tasks x 4 trials."""
    return [_tau_bench(line) for line in _lines(TAU_BENCH)]


def tau2() -> list[Recorded]:
    """404 simulations in three domains, without those that have no gold actions of the agent's.

    Gold actions of the simulated user (telecom) are left out, and so are its calls.
    """
    tasks = {
        (domain, task["id"]): task
        for domain in ("airline", "retail", "telecom")
        for task in _lines(TAU2 / "tasks" / f"{domain}_tasks.jsonl.gz")
    }
    found = []
    for path in sorted(TAU2.glob("*.jsonl.gz")):
        for line in _lines(path):
            task = tasks.get((line["_meta"]["domain"], line["task_id"]))
            if task is not None:
                found.append(_tau2(line, task, path.name))
    return found


def _tau_bench(line: Mapping[str, Any]) -> Recorded:
    task = line["info"]["task"]
    messages, calls = _messages(line["traj"])
    expected = Expected(
        tool_calls=tuple(ToolCall(name=one["name"], arguments=one["kwargs"]) for one in task["actions"]),
        contains=tuple(task["outputs"]),
    )
    name = f"tau-bench-airline-{line['task_id']}"
    return _recorded(line, name, "airline", messages, calls, expected, line["reward"])


def _tau2(line: Mapping[str, Any], task: Mapping[str, Any], file: str) -> Recorded:
    domain = line["_meta"]["domain"]
    criteria = task["evaluation_criteria"]
    actions = [one for one in criteria["actions"] or [] if one.get("requestor", "assistant") == "assistant"]
    messages, calls = _messages(line["messages"])
    expected = Expected(
        tool_calls=tuple(ToolCall(name=one["name"], arguments=one["arguments"]) for one in actions),
        contains=tuple(criteria.get("communicate_info") or ()),
    )
    name = f"{domain}-{line['task_id']}"
    return _recorded(line, name, domain, messages, calls, expected, line["reward_info"]["reward"], file)


def _recorded(
    line: Mapping[str, Any],
    name: str,
    domain: str,
    messages: tuple[Message, ...],
    calls: tuple[ToolCall, ...],
    expected: Expected,
    reward: float,
    file: str = "",
) -> Recorded:
    session = f"{file}{name}-{line.get('trial', 0)}"
    trajectory = Trajectory(session_id=session, app=domain, messages=messages, tool_calls=calls)
    target = Target(
        kind=TargetKind.EXAMPLE, trajectory=trajectory, expected=expected, example_id=name, trial=line.get("trial", 0)
    )
    return Recorded(target=target, group=name, domain=domain, passed=reward >= 1)


def _messages(lines: list[dict[str, Any]]) -> tuple[tuple[Message, ...], tuple[ToolCall, ...]]:
    """What was said and what the agent called, with the result that bears the call's id."""
    results = {one.get("tool_call_id") or one.get("id"): one for one in lines if one["role"] == "tool"}
    messages: list[Message] = []
    calls: list[ToolCall] = []
    turn = -1
    for line in lines:
        if line["role"] == "user" and line.get("content"):
            turn += 1
        if line["role"] in {"user", "assistant"} and line.get("content"):
            messages.append(Message(role=line["role"], text=line["content"], turn=max(turn, 0)))
        if line["role"] == "assistant":
            calls += [_call(one, results, max(turn, 0)) for one in line.get("tool_calls") or []]
    return tuple(messages), tuple(calls)


def _call(one: Mapping[str, Any], results: Mapping[Any, Mapping[str, Any]], turn: int) -> ToolCall:
    called = one.get("function", one)
    arguments = called["arguments"]
    result = results.get(one["id"], {})
    text = result.get("content") or ""
    failed = bool(result.get("error")) or text.startswith("Error")
    return ToolCall(
        name=called["name"],
        arguments=_json(arguments) if isinstance(arguments, str) else arguments,
        result=None if failed else _json(text),
        error=text[:300] if failed else None,
        turn=turn,
    )


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        yield from map(json.loads, file)
