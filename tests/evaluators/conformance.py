"""What every evaluator has to keep to, whoever wrote it: `conforms(evaluator, target)` and `well_described(evaluator)`.

test_conformance.py asks all of the catalogue. A custom evaluator may be asked the same.
"""

from __future__ import annotations

import copy
import json
import math
import re
from dataclasses import fields
from typing import Any, Final

import polars as pl
from hypothesis import strategies as st

from core.records import TargetKind
from evaluators.catalogue import VERSION
from evaluators.protocol import Evaluator, FrameEvaluator
from evaluators.records import (
    Document,
    EvaluatorSpec,
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
from evaluators.sessions import SESSION_COLUMNS

UNITS: Final = {"share", "ms", "usd", "tokens", "count"}
EXPECTED_FIELDS: Final = {one.name for one in fields(Expected)}
MOST_TEXT: Final = 5000  # characters of an explanation


def well_described(evaluator: Evaluator) -> None:
    """Asserts that the spec is complete and of the forms that readers rely on."""
    spec = evaluator.spec
    assert re.fullmatch(r"[a-z][a-z0-9_]{1,59}", spec.name), spec.name
    assert VERSION.fullmatch(spec.version), spec
    assert len(spec.summary) >= 20, f"{spec.name}: a summary is a sentence"
    assert spec.failure_modes, f"{spec.name} names no way in which it fails"
    assert all(len(one) >= 10 for one in spec.failure_modes), spec.failure_modes
    assert spec.targets, f"{spec.name} scores nothing"
    assert spec.targets <= frozenset(TargetKind)
    assert spec.unit in UNITS, spec.unit
    assert not spec.binary or spec.unit == "share", f"{spec.name}: 0 or 1 is a share"
    assert set(spec.needs) <= EXPECTED_FIELDS, spec.needs
    assert spec.validity is None or len(spec.validity) >= 20, spec.validity


def conforms(evaluator: Evaluator, target: Target) -> Scored:
    """Asserts that an evaluator answers as it must about this target, and returns the answer."""
    before = repr(target)
    found = evaluator.evaluate(target)
    assert repr(target) == before, f"{evaluator.spec.name} changed its target"
    assert isinstance(found, Score | Unscored), f"{evaluator.spec.name} answered {type(found).__name__}"
    assert evaluator.evaluate(copy.deepcopy(target)) == found, f"{evaluator.spec.name}: the second time otherwise"
    if isinstance(found, Score):
        _score_is_well_formed(evaluator.spec, found)
    else:
        assert found.reason in set(Reason) - {Reason.FAILED, Reason.TIMED_OUT, Reason.OUT_OF_MEMORY}, found
        assert len(found.text) <= MOST_TEXT
    return found


def _score_is_well_formed(spec: EvaluatorSpec, score: Score) -> None:
    assert isinstance(score.value, float), f"{spec.name}: {score.value!r} is no float"
    assert math.isfinite(score.value)
    if spec.binary:
        assert score.value in {0.0, 1.0}, f"{spec.name}: {score.value} of a binary one"
    if spec.unit == "share":
        assert 0 <= score.value <= 1, f"{spec.name}: {score.value} is no share"
    if spec.unit in {"count", "tokens", "ms", "usd"}:
        assert score.value >= 0, f"{spec.name}: {score.value} {spec.unit}"
    assert score.passed is None or isinstance(score.passed, bool)
    assert len(score.explanation) <= MOST_TEXT, f"{spec.name}: an explanation of {len(score.explanation)} characters"
    told = json.dumps(score.parts, allow_nan=False)
    assert json.loads(told) == score.parts, f"{spec.name}: parts are plain JSON"
    assert len(told) <= 200_000


def lacks(evaluator: Evaluator, target: Target) -> None:
    """Asserts that without anything expected an evaluator that needs something is unscored."""
    bare = Target(kind=target.kind, trajectory=target.trajectory)
    nothing = Target(kind=target.kind, trajectory=target.trajectory, expected=Expected())
    for one in (bare, nothing):
        if evaluator.spec.needs:
            assert isinstance(evaluator.evaluate(one), Unscored), f"{evaluator.spec.name} scores against nothing"


def agrees_with_its_frame(evaluator: FrameEvaluator, targets: list[Target]) -> None:
    """Asserts that one pass over columns gives what one after the other gives."""
    rows = [session_row(one.trajectory, str(at)) for at, one in enumerate(targets)]
    frame = pl.DataFrame(rows, schema=SESSION_COLUMNS, orient="row")
    values = frame.select(value=evaluator.value().cast(pl.Float64))["value"].to_list()
    for target, value in zip(targets, values, strict=True):
        found = evaluator.evaluate(target)
        if isinstance(found, Unscored):
            assert value is None, f"{evaluator.spec.name}: {found} but {value} in one pass, of {target}"
        else:
            assert value is not None, f"{evaluator.spec.name}: {found} but null in one pass, of {target}"
            assert math.isclose(value, found.value, rel_tol=1e-9, abs_tol=1e-12), evaluator.spec.name


def session_row(trajectory: Trajectory, session_id: str) -> dict[str, Any]:
    """A trajectory as a row of SESSION_COLUMNS; what no built-in evaluator reads is null."""
    calls, tools = trajectory.model_calls, trajectory.tool_calls
    costs = [one.cost_usd for one in calls if one.cost_usd is not None]
    firsts = [one.ttft_ms for one in calls if one.ttft_ms is not None]
    inputs = [one.input_tokens for one in calls if one.input_tokens is not None]
    outputs = [one.output_tokens for one in calls if one.output_tokens is not None]
    known = {
        "session_id": session_id,
        "duration_ms": trajectory.duration_ms,
        "n_model_calls": len(calls),
        "n_model_errors": sum(one.error is not None for one in calls),
        "n_tool_calls": len(tools),
        "n_tool_errors": sum(one.error is not None for one in tools),
        "n_tools": len({one.name for one in tools}),
        "n_documents": len(trajectory.documents),
        "input_tokens": sum(inputs) if inputs else None,
        "output_tokens": sum(outputs) if outputs else None,
        "n_tokens_unknown": sum(one.input_tokens is None or one.output_tokens is None for one in calls),
        "cost_usd": math.fsum(costs) if costs else None,
        "n_cost_unknown": sum(one.cost_usd is None for one in calls),
        "ttft_first_ms": firsts[0] if firsts else None,
        "ttft_mean_ms": math.fsum(firsts) / len(firsts) if firsts else None,
        "ttft_max_ms": max(firsts, default=None),
        "n_user_messages": sum(one.role == "user" for one in trajectory.messages),
        "n_agent_messages": sum(one.role == "assistant" for one in trajectory.messages),
        # what the store holds is UTF-8
        "last_agent_text": trajectory.answer and trajectory.answer.encode("utf-8", "replace").decode(),
        "outcome": trajectory.outcome,
    }
    return {name: known.get(name) for name in SESSION_COLUMNS}


# --- targets that nobody would write --------------------------------------------------------------------------------

_NAMES = st.sampled_from(
    ["refund_order", "get_order", "cancel_order", "transfer_to_human", "", "x.y", "élan", "a" * 300]
)
_WORDS = st.sampled_from(
    [
        "",
        "yes",
        "I refund $1,234.50 to ana@example.com",
        "```json\n{}\n```",
        '{"a": [1, 2]}',
        "[[[[",
        "\x00\ud800",
        "?" * 50,
    ]
)
_TEXTS = _WORDS | st.text(max_size=60)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | _TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXTS, inner, max_size=4),
    max_leaves=8,
)
_TIMES = st.none() | st.integers(-(2**63), 2**63 - 1)
_MESSAGES = st.builds(
    Message, role=st.sampled_from(["user", "assistant", "system"]), text=_TEXTS, turn=st.integers(0, 5), at_ns=_TIMES
)
_CALLS = st.builds(
    ToolCall,
    name=_NAMES,
    arguments=st.dictionaries(_NAMES, _JSON, max_size=3),
    result=_JSON,
    error=st.none() | _TEXTS,
    turn=st.integers(0, 5),
    start_ns=_TIMES,
    end_ns=_TIMES,
)
_NUMBERS = st.none() | st.floats(0, 1e12)
_MODEL_CALLS = st.builds(
    ModelCall,
    input_tokens=st.none() | st.integers(0, 2**40),
    output_tokens=st.none() | st.integers(0, 2**40),
    cost_usd=_NUMBERS,
    ttft_ms=_NUMBERS,
    duration_ms=_NUMBERS,
    error=st.none() | _TEXTS,
    finish_reasons=st.none() | st.sampled_from(["stop", "length", '["length"]', ""]),
)
_DOCUMENTS = st.builds(Document, document_id=_NAMES, text=_TEXTS, score=st.none() | st.floats(), turn=st.integers(0, 5))
_TRAJECTORIES = st.builds(
    Trajectory,
    messages=st.lists(_MESSAGES, max_size=6).map(tuple),
    tool_calls=st.lists(_CALLS, max_size=6).map(tuple),
    model_calls=st.lists(_MODEL_CALLS, max_size=4).map(tuple),
    documents=st.lists(_DOCUMENTS, max_size=5).map(tuple),
    start_ns=_TIMES,
    end_ns=_TIMES,
    errors=st.lists(_TEXTS, max_size=2).map(tuple),
    end_state=st.none() | st.dictionaries(_NAMES, _JSON, max_size=3),
    outcome=st.none() | st.floats(),
    attributes=st.dictionaries(_NAMES, _TEXTS, max_size=2),
)
_COMPARATORS = st.sampled_from(
    ["exact", "number:1%", "date", "set", "subset", "any", "regex", "unordered", "ignore_case", "?"]
)
_CONDITIONS = st.sampled_from(
    [
        'state.a == "b"',
        "count(calls[*]) < 3",
        "not exists(state.x)",
        "((((",
        'answer contains "yes"',
        "state[? @.a > 1]",
    ]
)
_SCHEMAS = st.sampled_from(
    [
        {"type": "object"},
        {"type": "nonsense"},
        {"pattern": "(a+)+$", "uniqueItems": True},
        {"$ref": "http://127.0.0.1:9/schema.json"},
        {"$ref": "#"},
        {"patternProperties": {"(a+)+$": {}}},
        {"x-tool-arguments": {"refund_order": {"required": ["order_id"]}, "get_order": 3}},
    ]
)
_POLICY_KEYS = st.sampled_from(["caps", "allowed_tools", "forbidden_tools", "?"])
_EXPECTED = st.builds(
    Expected,
    answer=st.none() | _TEXTS,
    answers=st.lists(_TEXTS, max_size=2).map(tuple),
    contains=st.lists(_TEXTS, max_size=3).map(tuple),
    tool_calls=st.none() | st.lists(_CALLS, max_size=5).map(tuple),
    comparators=st.dictionaries(_NAMES | st.just("refund_order.amount"), _COMPARATORS, max_size=2),
    write_tools=st.none() | st.lists(_NAMES, max_size=3).map(tuple),
    end_state=st.none() | st.dictionaries(_NAMES, _JSON, max_size=3),
    post_conditions=st.lists(_CONDITIONS | st.text(max_size=20), max_size=3).map(tuple),
    relevant=st.none() | st.dictionaries(_NAMES, st.floats() | st.integers(-3, 4), max_size=4),
    refusal=st.none() | st.booleans(),
    json_schema=st.none() | _SCHEMAS,
    policy=st.none() | st.dictionaries(_POLICY_KEYS, _JSON, max_size=2),
    source=st.none() | _TEXTS,
)


def targets() -> st.SearchStrategy[Target]:
    """Targets of every kind, honest and hostile; what is expected fits the trajectory now and then."""
    made = st.builds(
        Target, kind=st.sampled_from(list(TargetKind)), trajectory=_TRAJECTORIES, expected=st.none() | _EXPECTED
    )
    return made | made.map(_as_expected)


def _as_expected(target: Target) -> Target:
    """The same where just what happened is expected."""
    done = target.trajectory
    relevant = {one.document_id: 1.0 for one in done.documents[:2]}
    expected = Expected(answer=done.answer, tool_calls=done.tool_calls, end_state=done.end_state, relevant=relevant)
    return Target(kind=target.kind, trajectory=done, expected=expected)
