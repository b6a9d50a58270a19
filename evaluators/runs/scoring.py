"""From a trial to the rows of its scores. Pure: what an evaluator lacks or breaks is a row too."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from core.records import TargetKind
from evaluators.protocol import Evaluator, evaluate_safely
from evaluators.records import (
    Document,
    Expected,
    Message,
    ModelCall,
    Reason,
    Score,
    Scored,
    Target,
    ToolCall,
    Trajectory,
    Unscored,
)
from store.control.run_records import RunRecord, TrialRecord, TrialStatus
from store.scores import NewScore

MOST_TEXT: Final = 20_000
MOST_UNSCORED: Final = 1_000
_MOST_PARTS: Final = 12_000  # characters of JSON


def scores_of(
    run: RunRecord,
    trial: TrialRecord,
    trajectory: Trajectory | None,
    expected: Expected | None,
    evaluators: Sequence[Evaluator],
) -> list[NewScore]:
    """One row per evaluator. A trial that failed, or without a trajectory, is unscored by all of them."""
    return [_row(run, trial, one, _scored(trial, trajectory, expected, one)) for one in evaluators]


def trajectory_of(run: RunRecord, trial: TrialRecord, turns: Sequence[str] = ()) -> Trajectory:
    """What a trial's own row says of it, for trials without spans: `turns` are what the user said."""
    detail = trial.detail
    replies = detail.get("turns") or ([{"text": trial.output}] if trial.output is not None else [])
    messages: list[Message] = []
    for n in range(max(len(turns), len(replies))):
        if n < len(turns):
            messages.append(Message(role="user", text=turns[n], turn=n))
        if n < len(replies):
            messages.append(Message(role="assistant", text=str(replies[n].get("text") or ""), turn=n))
    model = ModelCall(
        input_tokens=trial.input_tokens,
        output_tokens=trial.output_tokens,
        cost_usd=trial.cost_usd,
        duration_ms=trial.latency_ms,
    )
    known = (trial.input_tokens, trial.output_tokens, trial.cost_usd) != (None, None, None)
    end_ns = None if trial.latency_ms is None else round(trial.latency_ms * 1e6)
    return Trajectory(
        session_id=trial.session_id,
        trace_ids=trial.trace_ids,
        app=run.spec.app,
        release=run.spec.release,
        messages=tuple(messages),
        tool_calls=tuple(_calls(detail, replies)),
        model_calls=(model,) if known else (),
        documents=tuple(Document(**one) for one in detail.get("documents", ())),
        start_ns=None if end_ns is None else 0,
        end_ns=end_ns,
        errors=tuple(str(one["error"]) for one in replies if one.get("error")),
        end_state=detail.get("end_state"),
    )


def joined(stored: Trajectory | None, told: Trajectory) -> Trajectory:
    """The stored trajectory, with the answers that were told where its spans keep none."""
    if stored is None:
        return told
    heard = sum(one.role == "assistant" for one in stored.messages)
    said = sum(one.role == "assistant" for one in told.messages)
    messages = stored.messages if heard >= said else told.messages
    calls = stored.tool_calls if stored.tool_calls or not told.tool_calls else told.tool_calls
    return replace(stored, messages=messages, tool_calls=calls, end_state=stored.end_state or told.end_state)


def _calls(detail: Any, replies: Sequence[Any]) -> list[ToolCall]:
    found = [ToolCall(**one) for one in detail.get("tool_calls", ())]
    for n, reply in enumerate(replies):
        for one in reply.get("tools") or ():
            name, arguments = one.get("tool", one.get("name")), one.get("args", one.get("arguments"))
            if isinstance(name, str):
                given = arguments if isinstance(arguments, dict) else {}
                found.append(ToolCall(name=name, arguments=given, result=one.get("result"), turn=n))
    return found


def _scored(trial: TrialRecord, trajectory: Trajectory | None, expected: Expected | None, by: Evaluator) -> Scored:
    if trial.status is not TrialStatus.DONE:
        return Unscored(reason=Reason.NOT_FINISHED, detail=f"the trial failed: {trial.error or ''}"[:300])
    if trajectory is None:
        return Unscored(reason=Reason.NOT_RECORDED, detail="the trial's trace is not stored")
    kind = TargetKind.EXAMPLE if TargetKind.EXAMPLE in by.spec.targets else TargetKind.SESSION
    target = Target(kind=kind, trajectory=trajectory, expected=expected, example_id=trial.example_id, trial=trial.trial)
    return evaluate_safely(by, target)


def _row(run: RunRecord, trial: TrialRecord, by: Evaluator, found: Scored) -> NewScore:
    known: dict[str, Any] = {"run_id": run.run_id, "example_id": trial.example_id, "trial": trial.trial}
    spec = by.spec
    common: dict[str, Any] = {
        "evaluator": spec.name,
        "evaluator_version": spec.version,
        "evaluator_kind": spec.kind,
        "target": TargetKind.EXAMPLE,
        "session_id": trial.session_id,
        "trace_id": trial.trace_ids[0] if len(trial.trace_ids) == 1 else None,
    }
    if isinstance(found, Unscored):
        return NewScore(**common, unscored=found.text[:MOST_UNSCORED], metadata=known)
    more = {"passed": found.passed, "parts": _parts(found), "span_id": found.span_id}
    return NewScore(
        **common,
        value=float(found.value),
        label=found.label[:200] if found.label else None,
        explanation=found.explanation[:MOST_TEXT] or None,
        metadata=known | {name: value for name, value in more.items() if value not in (None, {})},
    )


def _parts(score: Score) -> dict[str, Any]:
    """The figures behind a score, if they are plain JSON and no book."""
    try:
        text = json.dumps(dict(score.parts), allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return {"left_out": "no plain JSON"}
    return json.loads(text) if len(text) <= _MOST_PARTS else {"left_out": f"{len(text):,} characters"}
