"""Reads two traces or sessions and aligns them: what the API's trace diff answers."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Final

from core import ids
from core.errors import InvalidInput, NotFound
from evaluators.alignment import Alignment, Difference, Match, Row, Step, align, steps_of
from evaluators.reading import trajectories
from evaluators.records import Trajectory
from store.tenant import TenantStore

MOST_TEXT: Final = 4000  # characters of a text or value in the answer
_MOST_ID: Final = 1000


def read_diff(store: TenantStore, a: str, b: str, *, as_of_ns: int | None = None) -> dict[str, Any]:
    """The sides, and the rows of their alignment. `a` and `b` are a trace's or a session's id each; what is a trace's
    is taken as a trace. Raises InvalidInput; NotFound naming which."""
    asked = {name: _checked(name, text) for name, text in (("a", a), ("b", b))}
    traces = sorted({trace for text in asked.values() if (trace := _trace_id(text))})
    sessions = sorted(set(asked.values()))
    found = trajectories(store, session_ids=sessions, as_of_ns=as_of_ns)
    found_traces = trajectories(store, trace_ids=traces, as_of_ns=as_of_ns) if traces else {}
    sides = {}
    for name, text in asked.items():
        trace = _trace_id(text)
        if trace and trace in found_traces:
            sides[name] = ("trace", trace, found_traces[trace])
        elif text in found:
            sides[name] = ("session", text, found[text])
        else:
            raise NotFound(f"there is no trace or session {name}={text[:80]!r}")
    steps = {name: steps_of(trajectory) for name, (_, _, trajectory) in sides.items()}
    aligned = align(steps["a"], steps["b"])
    told = {name: _side(*side) | {"n_steps": len(steps[name])} for name, side in sides.items()}
    return told | _rows(aligned)


def _checked(name: str, text: str) -> str:
    if not 0 < len(text) <= _MOST_ID or "\0" in text:
        raise InvalidInput(f"{name} is a trace's or a session's id of at most {_MOST_ID} characters", field=name)
    return text


def _trace_id(text: str) -> str | None:
    try:
        return ids.trace_id(text)
    except InvalidInput:
        return None


def _side(kind: str, name: str, trajectory: Trajectory) -> dict[str, Any]:
    models = trajectory.model_calls
    return {
        "id": name,
        "kind": kind,
        "session_id": trajectory.session_id,
        "trace_ids": list(trajectory.trace_ids),
        "app": trajectory.app,
        "release": trajectory.release,
        "start_ns": trajectory.start_ns,
        "duration_ms": trajectory.duration_ms,
        "n_model_calls": len(models),
        "n_tool_calls": len(trajectory.tool_calls),
        "input_tokens": _total(each.input_tokens for each in models),
        "output_tokens": _total(each.output_tokens for each in models),
        "cost_usd": _total(each.cost_usd for each in models),
        "errors": list(trajectory.errors[:10]),
    }


def _total(values: Iterable[float | None]) -> float | None:
    """The sum of what is known; None where nothing is."""
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _rows(aligned: Alignment) -> dict[str, Any]:
    return {
        "rows": [_row(row) for row in aligned.rows],
        "first_difference": aligned.first_difference,
        "first_divergence": aligned.first_divergence,
        "n_equal": aligned.count(Match.EQUAL),
        "n_changed": aligned.count(Match.CHANGED),
        "n_only_a": aligned.count(Match.ONLY_A),
        "n_only_b": aligned.count(Match.ONLY_B),
        "left_off": {"a": aligned.left_off[0], "b": aligned.left_off[1]},
    }


def _row(row: Row) -> dict[str, Any]:
    return {
        "match": row.match.value,
        "a": None if row.a is None else _step(row.a),
        "b": None if row.b is None else _step(row.b),
        "differences": [_difference(each) for each in row.differences],
    }


def _step(step: Step) -> dict[str, Any]:
    return {
        "kind": step.kind.value,
        "name": step.name,
        "text": _cut(step.text),
        "arguments": _cut(dict(step.arguments)),
        "result": _cut(step.result),
        "error": step.error,
        "turn": step.turn,
        "duration_ms": step.duration_ms,
        "input_tokens": step.input_tokens,
        "output_tokens": step.output_tokens,
        "cost_usd": step.cost_usd,
        "trace_id": step.trace_id,
        "span_id": step.span_id,
    }


def _difference(one: Difference) -> dict[str, Any]:
    return {"path": one.path[:200], "a": _cut(one.a), "b": _cut(one.b)}


def _cut(value: Any) -> Any:
    """A value as it is, or the beginning of its text where it is long."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    if len(text) <= MOST_TEXT:
        return value
    return f"{text[:MOST_TEXT]}… ({len(text):,} characters)"
