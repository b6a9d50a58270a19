"""Whether answers and arguments are JSON, and of the shape that was asked for. Nothing is fetched from anywhere."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any, Final

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, ValidationError
from jsonschema.protocols import Validator
from jsonschema.validators import extend
from referencing import Registry
from referencing.exceptions import Unresolvable

from core.errors import InvalidInput, TooLarge
from evaluators.records import Dimension, EvaluatorSpec, Reason, Score, Scored, Target, Unscored, shortened
from evaluators.rules.comparators import pattern
from evaluators.rules.rule import ANY_TARGET, WHOLE, Rule, not_applicable, not_expected, not_recorded
from evaluators.rules.values import canonical

MOST_CHARACTERS: Final = 1_000_000
MOST_ERRORS: Final = 20
MOST_STEPS: Final = 50_000  # keywords applied to one value: references may multiply without end
MOST_DEPTH: Final = 60  # of a schema, and of keywords within keywords
TOOL_SCHEMAS: Final = "x-tool-arguments"  # in Expected.json_schema: tool name -> schema of its arguments
_FENCED: Final = re.compile(r"\s*```[a-zA-Z]*\s*\n(.*?)\n?\s*```\s*", re.DOTALL)
# The standard library's patterns may take exponential time, and this keyword runs them where it cannot be replaced.
_REFUSED: Final = frozenset({"patternProperties"})


def parsed(text: str) -> Any:
    """The JSON that a text is, alone or as its only fenced block. Raises ValueError; NaN and infinities are no JSON."""
    fenced = _FENCED.fullmatch(text)
    return json.loads(fenced[1] if fenced else text, parse_constant=_no_json)


def _no_json(word: str) -> Any:
    raise ValueError(f"{word} is no JSON")


def violations(schema: Mapping[str, Any], value: Any) -> list[str]:
    """Where a value is not as the JSON schema (2020-12) says, up to MOST_ERRORS. Raises InvalidInput for what is no
    schema, refers to another document, or uses patternProperties; TooLarge for one that takes too many steps."""
    _check_shape(schema)
    _WORK.steps = _WORK.depth = 0
    try:
        _Validator.check_schema(schema)
        found = _Validator(schema, registry=Registry()).iter_errors(value)
        return [f"{one.json_path}: {one.message[:200]}" for one in islice(found, MOST_ERRORS)]
    except SchemaError as error:
        raise InvalidInput(f"json_schema is no JSON schema: {error.message[:200]}", field="json_schema") from error
    except Unresolvable as error:
        raise InvalidInput(f"json_schema refers to what is not in it: {str(error)[:200]}", "json_schema") from error


def _check_shape(schema: Any) -> None:
    """Raises InvalidInput for a keyword of _REFUSED anywhere, TooLarge for a schema that is nested too deeply."""
    todo = [(schema, 0)]
    while todo:
        one, depth = todo.pop()
        if depth > MOST_DEPTH:
            raise TooLarge(f"json_schema is nested over {MOST_DEPTH} deep")
        if isinstance(one, Mapping):
            if _REFUSED & set(one):
                raise InvalidInput("patternProperties is not supported in json_schema", field="json_schema")
            todo += [(each, depth + 1) for each in one.values()]
        elif isinstance(one, list | tuple):
            todo += [(each, depth + 1) for each in one]


class _Work(threading.local):
    """Of the validation that this thread is at."""

    steps = 0
    depth = 0


_WORK: Final = _Work()
_Keyword = Callable[[Any, Any, Any, Any], Iterator[ValidationError] | None]


def _counted(keyword: _Keyword) -> _Keyword:
    """A keyword that takes one of MOST_STEPS, within MOST_DEPTH others. Raises TooLarge."""

    def applied(validator: Any, wanted: Any, value: Any, schema: Any) -> Iterator[ValidationError]:
        _WORK.steps += 1
        _WORK.depth += 1
        try:
            if _WORK.steps > MOST_STEPS or _WORK.depth > MOST_DEPTH:
                raise TooLarge("json_schema takes too many steps, or refers to itself for ever")
            yield from keyword(validator, wanted, value, schema) or ()
        finally:
            _WORK.depth -= 1

    return applied


def _matches(_validator: Validator, wanted: str, value: Any, _schema: Any) -> Iterator[ValidationError]:
    """`pattern`, by RE2."""
    if isinstance(value, str) and not pattern(wanted).search(value.encode("utf-8", "replace").decode()):
        yield ValidationError(f"{value[:80]!r} does not match {wanted[:80]!r}")


def _unique(_validator: Validator, wanted: bool, value: Any, _schema: Any) -> Iterator[ValidationError]:
    """`uniqueItems`, in linear time."""
    if wanted and isinstance(value, list) and len(set(map(canonical, value))) < len(value):
        yield ValidationError("its members are not all different")


_KEYWORDS: Final = {**Draft202012Validator.VALIDATORS, "pattern": _matches, "uniqueItems": _unique}
_Validator: Final = extend(Draft202012Validator, {name: _counted(each) for name, each in _KEYWORDS.items()})  # type: ignore[no-untyped-call]


def _json(target: Target) -> Any | Unscored:
    """The answer as JSON; the ValueError why it is none; Unscored when there is no answer."""
    answer = target.trajectory.answer
    if answer is None:
        return not_recorded("answer")
    if len(answer) > MOST_CHARACTERS:
        return Unscored(reason=Reason.TOO_LARGE, detail=f"the answer has {len(answer)} characters")
    try:
        return parsed(answer)
    except ValueError as error:
        return error


def _json_valid(target: Target) -> Scored:
    found = _json(target)
    if isinstance(found, Unscored):
        return found
    wrong = isinstance(found, ValueError)
    return Score(value=float(not wrong), passed=not wrong, explanation=str(found)[:200] if wrong else "")


def _schema_valid(target: Target) -> Scored:
    schema = target.expected.json_schema if target.expected is not None else None
    if schema is None or set(schema) == {TOOL_SCHEMAS}:
        return not_expected("json_schema")
    found = _json(target)
    if isinstance(found, Unscored):
        return found
    wrong = [f"no JSON: {found}"[:200]] if isinstance(found, ValueError) else violations(schema, found)
    return Score(
        value=float(not wrong),
        passed=not wrong,
        explanation=shortened(wrong),
        parts={"violations": wrong} if wrong else {},
    )


def _tool_arguments_valid(target: Target) -> Scored:
    schemas = (target.expected.json_schema or {}).get(TOOL_SCHEMAS) if target.expected is not None else None
    if not isinstance(schemas, Mapping) or not schemas:
        return not_expected(f"json_schema with {TOOL_SCHEMAS!r}")
    known = [one for one in target.trajectory.tool_calls if one.name in schemas]
    if not known:
        return not_applicable("no tool that has a schema was called")
    wrong: list[str] = []
    n_wrong, first = 0, None
    for call in known:
        schema = schemas[call.name]
        if not isinstance(schema, Mapping):
            raise InvalidInput(f"the schema of {call.name[:60]!r} is no object", field="json_schema")
        found = violations(schema, call.arguments)
        if found:
            n_wrong, first = n_wrong + 1, first or call.span_id
            wrong.append(f"{call.name}: {found[0]}")
    return Score(
        value=1 - n_wrong / len(known),
        passed=not n_wrong,
        explanation=shortened(wrong),
        parts={"n_wrong": n_wrong, "n_checked": len(known)},
        span_id=first,
    )


def _spec(name: str, summary: str, *failure_modes: str, needs: tuple[str, ...], binary: bool) -> EvaluatorSpec:
    return EvaluatorSpec(
        name=name,
        version="1",
        dimension=Dimension.CORRECTNESS,
        summary=summary,
        failure_modes=failure_modes,
        targets=ANY_TARGET if binary else WHOLE,
        binary=binary,
        needs=needs,
    )


_SHAPE: Final = "says that the shape is right, not that the content is"
_FENCE: Final = "an answer in a single code fence counts, though a program that reads it raw would fail"

JSON_VALID: Final = Rule(
    spec=_spec(
        "json_valid",
        "The answer is JSON, alone or as one fenced block.",
        _SHAPE,
        _FENCE,
        "means nothing for an agent that answers in prose",
        needs=(),
        binary=True,
    ),
    score=_json_valid,
)
SCHEMA_VALID: Final = Rule(
    spec=_spec(
        "schema_valid",
        "The answer is JSON as the example's JSON schema (2020-12) says.",
        _SHAPE,
        _FENCE,
        "patternProperties and schemas in other documents are not supported, and formats are not checked",
        needs=("json_schema",),
        binary=True,
    ),
    score=_schema_valid,
)
TOOL_ARGUMENTS_VALID: Final = Rule(
    spec=_spec(
        "tool_arguments_valid",
        "The share of tool calls whose arguments are as the tool's schema in the example's json_schema says.",
        _SHAPE,
        "calls of tools without a schema are not looked at",
        needs=("json_schema",),
        binary=False,
    ),
    score=_tool_arguments_valid,
)
