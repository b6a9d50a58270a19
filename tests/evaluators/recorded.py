"""The recorded conversations of ../shared/data as targets, each with its checked reward."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from core.records import TargetKind
from evaluators.records import Expected, Message, ModelCall, Target, ToolCall, Trajectory

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
WRITES = (  # of the airline, the shop and the telephone company of tau-bench
    *("book_reservation", "cancel_reservation", "update_reservation_*", "send_certificate"),
    *("cancel_pending_order", "modify_*", "return_delivered_order_items", "exchange_delivered_order_items"),
    *("refuel_data", "enable_roaming", "disable_roaming", "suspend_line", "resume_line", "send_payment_request"),
)


def needs(folder: str) -> None:
    """Skips where the data are not there."""
    if not (DATA / folder).is_dir():
        pytest.skip(f"{folder} is not in ../shared/data")


@cache
def tau2(pattern: str = "*") -> list[tuple[Target, float]]:
    """(session, reward) of the 404 simulations, or of those in files of this pattern."""
    needs("tau2_trajectories")
    found = []
    for path in sorted((DATA / "tau2_trajectories").glob(f"{pattern}.jsonl.gz")):
        for row in _rows(path):
            found.append((_target(_of_tau2(row)), float(row["reward_info"]["reward"])))
    return found


@cache
def tau1() -> list[tuple[Target, float]]:
    """(session, reward) of the 120 airline conversations, which have their system prompts."""
    needs("tau_bench_v1")
    rows = _rows(DATA / "tau_bench_v1" / "gpt-4o_airline.jsonl.gz")
    return [(_target(_of_tau1(row)), float(row["reward"])) for row in rows]


def auc(scored: Sequence[tuple[float, float]]) -> float:
    """How probably a passed one has a higher value than a failed one; ties count half."""
    passed = [value for value, reward in scored if reward == 1.0]
    failed = [value for value, reward in scored if reward != 1.0]
    wins = sum((p > f) + 0.5 * (p == f) for p in passed for f in failed)
    return wins / (len(passed) * len(failed))


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def _target(trajectory: Trajectory) -> Target:
    expected = Expected(policy={"irreversible_tools": list(WRITES)})
    return Target(kind=TargetKind.SESSION, trajectory=trajectory, expected=expected)


def _parsed(text: Any) -> Any:
    try:
        return json.loads(text)
    except (TypeError, ValueError):
        return text


def _of_tau2(row: dict[str, Any]) -> Trajectory:
    messages, calls, models, turn = [], [], [], 0
    results = {one["id"]: one for one in row["messages"] if one["role"] == "tool"}
    for one in row["messages"]:
        if one["role"] == "tool":
            continue
        if one["role"] == "user" and one["content"]:
            turn += 1
        if one["content"]:
            messages.append(Message(role=one["role"], text=one["content"], turn=turn, at_ns=_ns(one["timestamp"])))
        if one["role"] != "assistant":
            continue
        if usage := one.get("usage"):
            models.append(
                ModelCall(
                    input_tokens=usage["prompt_tokens"],
                    output_tokens=usage["completion_tokens"],
                    cost_usd=one["cost"],
                    turn=turn,
                )
            )
        for call in one["tool_calls"] or ():
            given = results.get(call["id"], {})
            text = given.get("content")
            calls.append(
                ToolCall(
                    name=call["name"],
                    arguments=call["arguments"],
                    result=_parsed(text),
                    error=str(text)[:200] if given.get("error") else None,
                    turn=turn,
                )
            )
    return Trajectory(
        session_id=row["id"],
        messages=tuple(messages),
        tool_calls=tuple(calls),
        model_calls=tuple(models),
        start_ns=_ns(row["start_time"]),
        end_ns=_ns(row["end_time"]),
    )


def _ns(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1e6) * 1000


def _of_tau1(row: dict[str, Any]) -> Trajectory:
    messages, calls, turn = [], [], 0
    results = [one["content"] for one in row["traj"] if one["role"] == "tool"]
    for one in row["traj"]:
        turn += one["role"] == "user"
        if one["role"] != "tool" and one["content"]:
            messages.append(Message(role=one["role"], text=one["content"], turn=turn))
        for call in one.get("tool_calls") or ():
            made = call["function"]
            calls.append(
                ToolCall(
                    name=made["name"],
                    arguments=_parsed(made["arguments"]),
                    result=_parsed(results.pop(0)) if results else None,
                    turn=turn,
                )
            )
    session = f"tau1-{row['task_id']}-{row['trial']}"
    return Trajectory(session_id=session, messages=tuple(messages), tool_calls=tuple(calls))
