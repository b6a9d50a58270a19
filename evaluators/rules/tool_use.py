"""How tools were used, without anything expected: calls repeated in vain, loops, failures and what came after."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Final

import polars as pl

from evaluators.records import Dimension, Direction, EvaluatorSpec, Score, Scored, Target, ToolCall, shortened
from evaluators.rules.rule import WHOLE, FrameRule, Rule, not_applicable
from evaluators.rules.validity import VALIDITY
from evaluators.rules.values import call_key
from evaluators.rules.writes import writes

LONGEST_BLOCK: Final = 4  # calls that may repeat as one
LEAST_TIMES: Final = 3  # in a row, to be a loop


def find_loop(keys: Sequence[Hashable]) -> tuple[int, int, int] | None:
    """(begin, length of the block, times) of the block of up to LONGEST_BLOCK calls that repeats most in a row, if it
    does at least LEAST_TIMES times; the shortest block and then the first of several. None: no loop."""
    best: tuple[int, int, int] | None = None
    for length in range(1, LONGEST_BLOCK + 1):
        run = 0  # calls in a row that equal the one `length` before them
        for at in range(length, len(keys)):
            run = run + 1 if keys[at] == keys[at - length] else 0
            times = run // length + 1
            if times >= LEAST_TIMES and (best is None or times > best[2]):
                best = (at - run - length + 1, length, times)
    return best


def redundant(calls: Sequence[ToolCall]) -> list[int]:
    """The places of calls that repeat an earlier one that succeeded, with no write in between."""
    seen: set[Hashable] = set()
    found = []
    for at, call in enumerate(calls):
        key = call_key(call)
        if key in seen:
            found.append(at)
        if call.error is None:
            if writes(call.name):
                seen.clear()
            seen.add(key)
    return found


def recovered(calls: Sequence[ToolCall]) -> tuple[int, int]:
    """(tools whose last failure was followed by a success of the same tool, tools that ever failed)."""
    last: dict[str, bool] = {}
    failed: set[str] = set()
    for call in calls:
        last[call.name] = call.error is None
        if call.error is not None:
            failed.add(call.name)
    return sum(last[name] for name in failed), len(failed)


def _loop_free(target: Target) -> Scored:
    calls = target.trajectory.tool_calls
    loop = find_loop([call_key(one) for one in calls])
    if loop is None:
        return Score(value=1.0, passed=True)
    begin, length, times = loop
    block = [one.name for one in calls[begin : begin + length]]
    return Score(
        value=0.0,
        passed=False,
        explanation=f"{shortened(block)} {times} times in a row with the same arguments",
        parts={"begin": begin, "length": length, "times": times, "block": block},
        span_id=calls[begin].span_id,
    )


def _redundant(target: Target) -> Scored:
    calls = target.trajectory.tool_calls
    if not calls:
        return not_applicable("no tool was called")
    found = redundant(calls)
    return Score(
        value=len(found) / len(calls),
        explanation=f"{len(found)} of {len(calls)} calls repeat one that succeeded: "
        + (shortened([calls[at].name for at in found]) or "none"),
        parts={"n_redundant": len(found), "n_made": len(calls), "places": found[:100]},
        span_id=calls[found[0]].span_id if found else None,
    )


def _recovery(target: Target) -> Scored:
    n_recovered, n_failed = recovered(target.trajectory.tool_calls)
    if not n_failed:
        return not_applicable("no tool call failed")
    return Score(
        value=n_recovered / n_failed,
        explanation=f"{n_recovered} of {n_failed} tools that failed succeeded afterwards",
        parts={"n_recovered": n_recovered, "n_failed": n_failed},
    )


def _error_rate(target: Target) -> Scored:
    calls = target.trajectory.tool_calls
    if not calls:
        return not_applicable("no tool was called")
    failed = [one for one in calls if one.error is not None]
    return Score(
        value=len(failed) / len(calls),
        explanation=f"{len(failed)} of {len(calls)} calls failed",
        parts={"n_failed": len(failed), "n_made": len(calls)},
        span_id=failed[0].span_id if failed else None,
    )


def _spec(name: str, summary: str, *failure_modes: str, lower: bool, binary: bool = False) -> EvaluatorSpec:
    return EvaluatorSpec(
        name=name,
        version="1",
        dimension=Dimension.RELIABILITY,
        summary=summary,
        failure_modes=failure_modes,
        targets=WHOLE,
        direction=Direction.LOWER if lower else Direction.HIGHER,
        binary=binary,
        validity=VALIDITY.get(name),
    )


LOOP_FREE: Final = Rule(
    spec=_spec(
        "loop_free",
        f"No block of up to {LONGEST_BLOCK} tool calls with the same arguments repeats {LEAST_TIMES} times in a row.",
        "polling a job until it is done looks like a loop",
        "a loop whose arguments change a little each time is not seen",
        lower=False,
        binary=True,
    ),
    score=_loop_free,
)
REDUNDANT_CALLS: Final = Rule(
    spec=_spec(
        "redundant_calls",
        "The share of tool calls that repeat one that succeeded, same tool and arguments, with no write in between.",
        "what the world changed by itself is worth another look",
        "whether a call writes is told by the first word of its tool's name",
        lower=True,
    ),
    score=_redundant,
)
RECOVERY_RATE: Final = Rule(
    spec=_spec(
        "recovery_rate",
        "Of the tools that failed, the share whose last call succeeded.",
        "an agent that rightly does something else after a failure counts as not recovered",
        "an error that the tool tells in its result, not as an error, is not seen",
        lower=False,
    ),
    score=_recovery,
)
TOOL_ERROR_RATE: Final = FrameRule(
    spec=_spec(
        "tool_error_rate",
        "The share of tool calls that failed.",
        "a refusal that is right, as of a refund that policy forbids, counts as a failure where the tool says error",
        "an error that the tool tells in its result, not as an error, is not seen",
        lower=True,
    ),
    score=_error_rate,
    expression=lambda: pl.when(pl.col("n_tool_calls") > 0).then(pl.col("n_tool_errors") / pl.col("n_tool_calls")),
)
