"""Outputs that a file has already: JSONL lines of {example_id, trial?, output, ...}, read strictly. Pure.

{"example_id": "ex1", "trial": 0, "output": "yes", "tool_calls": [{"name", "arguments", "result"?, "error"?}],
 "documents": [{"document_id", "text"?}], "usage": {"input_tokens", "output_tokens", "cost_usd"}, "latency_ms": 12,
 "end_state": {...}, "error": "why there is no output"}
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from core.errors import InvalidInput
from evaluators.runs.calling import amount_of, count_of
from store.control.run_records import TrialRecord, TrialStatus

MOST_OUTPUT: Final = 1 << 20  # characters
_FIELDS: Final = frozenset(
    {"example_id", "trial", "output", "tool_calls", "documents", "usage", "latency_ms", "end_state", "error"}
)
_USAGE: Final = frozenset({"input_tokens", "output_tokens", "cost_usd"})


def filled(trials: Sequence[TrialRecord], outputs: Iterable[object]) -> list[TrialRecord]:
    """The trials with what the file says of them; one that it does not name has failed, as its output is missing.

    Raises InvalidInput naming the line (from 1) for an unknown example or trial, one that is there twice, and for a
    value of another kind.
    """
    known = {(one.example_id, one.trial): one for one in trials}
    examples = {one.example_id for one in trials}
    seen: dict[tuple[str, int], TrialRecord] = {}
    for n, said in enumerate(outputs, 1):
        where = f"output {n}"
        given = _object(said, where)
        if unknown := sorted(given.keys() - _FIELDS):
            raise InvalidInput(
                f"{where} has a field {unknown[0][:60]!r}; known are {', '.join(sorted(_FIELDS))}", field="outputs"
            )
        key = (_example(given, examples, where), _trial(given, where))
        if key not in known:
            most = max(one.trial for one in trials)
            raise InvalidInput(
                f"{where} is of trial {key[1]}; this run has trials 0 to {most}, say --trials N", field="outputs"
            )
        if key in seen:
            raise InvalidInput(f"{where} is the second of example {key[0]!r}, trial {key[1]}", field="outputs")
        seen[key] = _filled(known[key], given, where)
    missing = "the file has no output of this trial"
    return [
        seen.get((one.example_id, one.trial)) or replace(one, status=TrialStatus.FAILED, error=missing)
        for one in trials
    ]


def trials_in(outputs: Sequence[object]) -> int:
    """How many trials of one example a file has: the greatest `trial` and one."""
    told = [one.get("trial", 0) for one in outputs if isinstance(one, dict)]
    return 1 + max((one for one in told if isinstance(one, int) and not isinstance(one, bool)), default=0)


def _filled(trial: TrialRecord, given: Mapping[str, Any], where: str) -> TrialRecord:
    error, output = given.get("error"), given.get("output")
    if error is None and not isinstance(output, str):
        raise InvalidInput(f"{where} has no text called output, and no error that says why", field="outputs")
    if output is not None and (not isinstance(output, str) or len(output) > MOST_OUTPUT):
        raise InvalidInput(f"{where}.output is no text of at most {MOST_OUTPUT:,} characters", field="outputs")
    usage = _object(given.get("usage") or {}, f"{where}.usage")
    if unknown := sorted(usage.keys() - _USAGE):
        raise InvalidInput(f"{where}.usage has a field {unknown[0][:60]!r}", field="outputs")
    detail: dict[str, Any] = {
        "tool_calls": [_call(one, f"{where}.tool_calls") for one in _list(given, "tool_calls", where)],
        "documents": [_document(one, f"{where}.documents") for one in _list(given, "documents", where)],
    }
    if given.get("end_state") is not None:
        detail["end_state"] = _object(given["end_state"], f"{where}.end_state")
    return replace(
        trial,
        status=TrialStatus.DONE if error is None else TrialStatus.FAILED,
        error=None if error is None else str(error)[:1000],
        output=output,
        detail={name: value for name, value in detail.items() if value},
        input_tokens=_checked(count_of, usage, "input_tokens", where),
        output_tokens=_checked(count_of, usage, "output_tokens", where),
        cost_usd=_checked(amount_of, usage, "cost_usd", where),
        latency_ms=_checked(amount_of, given, "latency_ms", where),
    )


def _checked(read: Any, given: Mapping[str, Any], name: str, where: str) -> Any:
    value = given.get(name)
    found = read(value)
    if value is not None and found is None:
        raise InvalidInput(f"{where}.{name} is a number from 0 on, not {str(value)[:40]!r}", field="outputs")
    return found


def _example(given: Mapping[str, Any], examples: set[str], where: str) -> str:
    found = given.get("example_id")
    if not isinstance(found, str) or found not in examples:
        raise InvalidInput(f"{where} is of example {str(found)[:80]!r}, which the dataset does not have", "outputs")
    return found


def _trial(given: Mapping[str, Any], where: str) -> int:
    found = given.get("trial", 0)
    if isinstance(found, bool) or not isinstance(found, int) or found < 0:
        raise InvalidInput(f"{where}.trial is a number from 0 on, not {str(found)[:40]!r}", field="outputs")
    return found


def _call(said: object, where: str) -> dict[str, Any]:
    given = _object(said, where)
    if not isinstance(given.get("name"), str) or not given["name"]:
        raise InvalidInput(f"{where} has a call without a name", field="outputs")
    told = {"name": given["name"], "arguments": _object(given.get("arguments") or {}, f"{where}.arguments")}
    return told | {name: given[name] for name in ("result", "error", "turn") if given.get(name) is not None}


def _document(said: object, where: str) -> dict[str, Any]:
    given = _object(said, where)
    if not isinstance(given.get("document_id"), str):
        raise InvalidInput(f"{where} has a document without a document_id", field="outputs")
    return {"document_id": given["document_id"], "text": str(given.get("text") or "")}


def _list(given: Mapping[str, Any], name: str, where: str) -> list[Any]:
    found = given.get(name) or []
    if not isinstance(found, list):
        raise InvalidInput(f"{where}.{name} is no list", field="outputs")
    return found


def _object(value: object, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InvalidInput(f"{where} is no JSON object", field="outputs")
    return value
