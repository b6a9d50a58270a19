"""Targets as JSON for custom evaluators, what they declare as specs, and what they answer as scores."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, Final

from core.errors import InvalidInput
from core.records import EvaluatorKind, TargetKind
from evaluators.records import Dimension, Direction, EvaluatorSpec, Reason, Score, Scored, Target, Unscored

NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")
VERSION: Final = re.compile(r"[1-9][0-9]{0,5}(\.[0-9]{1,6}){0,2}")
UNITS: Final = ("share", "ms", "usd", "tokens", "count")
NEEDS: Final = ("answer", "answers", "contains", "tool_calls", "end_state", "relevant", "refusal", "policy", "source")
KEYS: Final = (
    *("name", "version", "dimension", "summary", "failure_modes", "targets", "unit", "direction", "binary", "needs"),
    "validity",
)
_SAYABLE: Final = frozenset({Reason.NOT_EXPECTED, Reason.NOT_RECORDED, Reason.NOT_APPLICABLE})
_TEXT: Final = 2_000  # characters of an explanation


def target_json(target: Target) -> dict[str, Any]:
    """A target as a custom evaluator is given it: the records of evaluators/records.py, field by field, with `answer`
    and `duration_ms` beside them."""
    trajectory = _plain(target.trajectory)
    trajectory["answer"] = target.trajectory.answer
    trajectory["duration_ms"] = target.trajectory.duration_ms
    return {
        "kind": target.kind.value,
        "example_id": target.example_id,
        "trial": target.trial,
        "expected": _plain(target.expected),
        "trajectory": trajectory,
    }


def _plain(value: Any) -> Any:
    """Records and mappings as dicts, sequences as lists."""
    if is_dataclass(value) and not isinstance(value, type):
        return {one.name: _plain(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(each) for each in value]
    return value


def spec_of(declared: Mapping[str, Any], digest: str) -> EvaluatorSpec:
    """The spec of what a file declares; its version is the declared one, '+', and the start of the file's sha256.

    Raises InvalidInput, naming the field that is wrong.
    """
    name = str(declared.get("name"))
    if unknown := sorted(set(declared) - {*KEYS}):
        raise _wrong(name, unknown[0], f"is no field; there are {', '.join(KEYS)}")
    if not NAME.fullmatch(name):
        raise _wrong(name, "name", "is lower-case letters, digits and _, 64 at most, a letter first")
    version = str(declared.get("version"))
    if not VERSION.fullmatch(version):
        raise _wrong(name, "version", "is as 1 or 1.2.3; it changes whenever the same target could get another score")
    summary = declared.get("summary")
    if not isinstance(summary, str) or not summary.strip():
        raise _wrong(name, "summary", "says in a sentence what the value is")
    if declared.get("unit", "share") not in UNITS:
        raise _wrong(name, "unit", f"is one of {', '.join(UNITS)}")
    if needless := [one for one in _texts(name, declared, "needs") if one not in NEEDS]:
        raise _wrong(name, "needs", f"has no {needless[0]!r}; there are {', '.join(NEEDS)}")
    validity = declared.get("validity")
    try:
        return EvaluatorSpec(
            name=name,
            version=f"{version}+{digest[:12]}",
            dimension=Dimension(declared.get("dimension", "")),
            summary=summary.strip()[:_TEXT],
            failure_modes=_texts(name, declared, "failure_modes"),
            targets=frozenset(map(TargetKind, _texts(name, declared, "targets"))) or frozenset(TargetKind),
            kind=EvaluatorKind.RULE,
            unit=declared.get("unit", "share"),
            direction=Direction(declared.get("direction", "higher")),
            binary=declared.get("binary", False) is True,
            needs=_texts(name, declared, "needs"),
            validity=None if validity is None else str(validity)[:_TEXT],
        )
    except ValueError as error:
        raise InvalidInput(f"{name}: {error}", field="EVALUATORS") from None


def _wrong(name: str, field: str, what: str) -> InvalidInput:
    return InvalidInput(f"{name[:64]}: {field!r} {what}", field=field)


def _texts(name: str, declared: Mapping[str, Any], key: str) -> tuple[str, ...]:
    value = declared.get(key, ())
    if isinstance(value, str) or not isinstance(value, list | tuple) or not all(isinstance(one, str) for one in value):
        raise _wrong(name, key, "is a list of texts")
    return tuple(value)


def read_answer(answer: Any, spec: EvaluatorSpec) -> Scored:
    """What an evaluator answered, as a score: a number, true or false, null, {"value": ...} or {"unscored": ...}."""
    if answer is None:
        return Unscored(reason=Reason.NOT_APPLICABLE, detail="it gave no score")
    if isinstance(answer, bool):
        answer = {"value": float(answer), "passed": answer}
    if isinstance(answer, int | float):
        answer = {"value": answer}
    if not isinstance(answer, Mapping):
        return _nonsense(f"it answered a {type(answer).__name__}, not a number, an object or null")
    if "unscored" in answer:
        said = str(answer["unscored"])[:_TEXT]
        known = next((one for one in _SAYABLE if one.value == said), None)
        if known is not None:
            return Unscored(reason=known, detail=str(answer.get("detail", ""))[:_TEXT])
        return _nonsense(f"it gives {said[:200]!r} as the reason; there are {', '.join(sorted(_SAYABLE))}")
    value = answer.get("value")
    if isinstance(value, bool):
        value = float(value)
    if not isinstance(value, int | float) or not math.isfinite(value):
        return _nonsense(f"its value is no finite number: {str(value)[:40]}")
    if spec.unit == "share" and not 0 <= value <= 1:
        return _nonsense(f"its value is {value:g}, and a share is from 0 to 1")
    if spec.binary and value not in (0, 1):
        return _nonsense(f"its value is {value:g}, and it says of itself that it is 0 or 1")
    return _score(answer, float(value))


def _score(answer: Mapping[str, Any], value: float) -> Scored:
    passed, label, parts = answer.get("passed"), answer.get("label"), answer.get("parts", {})
    if passed is not None and not isinstance(passed, bool):
        return _nonsense("'passed' is true, false or null")
    if not isinstance(parts, Mapping):
        return _nonsense("'parts' is an object")
    span_id = answer.get("span_id")
    return Score(
        value=value,
        passed=passed,
        label=None if label is None else str(label)[:200],
        explanation=str(answer.get("explanation") or "")[:_TEXT],
        parts=dict(parts),
        span_id=None if span_id is None else str(span_id)[:32],
    )


def _nonsense(what: str) -> Unscored:
    return Unscored(reason=Reason.FAILED, detail=what)


def decode(line: bytes) -> dict[str, Any]:
    """A line of JSON as an object. Raises InvalidInput for anything else, NaN and Infinity included."""
    try:
        found = json.loads(line, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(str(error)[:200]) from None
    if not isinstance(found, dict):
        raise InvalidInput("no JSON object")
    return found


def _no_number(text: str) -> float:
    raise ValueError(f"its answer holds {text}, which is no number")
