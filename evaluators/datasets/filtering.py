"""A small language to choose sessions by: `outcome == "failed" and n_tool_calls > 3`.

A field of a session (those of evaluators.sessions), score("evaluator") or label("evaluator") is compared with a text, a
number, true, false, null or a list; comparisons are joined by and, or, not and brackets. What is not known compares as
false with everything but null. Nothing of it is run: a text is parsed, and anything else in it refused.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import polars as pl

from core.errors import InvalidInput
from evaluators.sessions import SESSION_COLUMNS

MOST_CHARS: Final = 2000
WORDS_OF_OUTCOME: Final = {"failed": False, "passed": True}
_CONSTANTS: Final[dict[str, object]] = {"true": True, "false": False, "null": None, "none": None}
_ORDERED: Final[dict[type[ast.cmpop], Callable[[Any, Any], bool]]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}

Row = Mapping[str, Any]
Value = Callable[[Row], Any]


@dataclass(frozen=True, kw_only=True)
class Filter:
    """A parsed filter. `evaluators` are those whose scores it asks: a row has them under `score:NAME`, `label:NAME`."""

    text: str
    evaluators: frozenset[str]
    passes: Callable[[Row], bool]


def parse_filter(text: str) -> Filter:
    """The filter of a text. Raises InvalidInput that says what is wrong with it."""
    if len(text) > MOST_CHARS:
        raise InvalidInput(f"a filter has at most {MOST_CHARS:,} characters", field="filter")
    try:
        tree = ast.parse(text.strip(), mode="eval").body
        parser = _Parser()
        passes = parser.condition(tree)
    except (SyntaxError, ValueError) as error:
        at = f" near character {error.offset}" if isinstance(error, SyntaxError) and error.offset else ""
        raise _wrong(f'it cannot be read{at}; write for example: outcome == "failed" and n_turns > 3') from error
    except (RecursionError, MemoryError):
        raise _wrong("it is nested too deeply") from None
    return Filter(text=text, evaluators=frozenset(parser.evaluators), passes=passes)


def _wrong(why: str) -> InvalidInput:
    return InvalidInput(f"the filter is wrong: {why}", field="filter")


class _Parser:
    def __init__(self) -> None:
        self.evaluators: set[str] = set()

    def condition(self, node: ast.expr) -> Callable[[Row], bool]:
        """What is true or false of a row."""
        match node:
            case ast.BoolOp(op=ast.And(), values=values):
                parts = [self.condition(value) for value in values]
                return lambda row: all(part(row) for part in parts)
            case ast.BoolOp(values=values):
                parts = [self.condition(value) for value in values]
                return lambda row: any(part(row) for part in parts)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                inner = self.condition(operand)
                return lambda row: not inner(row)
            case ast.Compare(left=left, ops=ops, comparators=rights):
                pairs = zip([left, *rights[:-1]], ops, rights, strict=True)
                parts = [self._compared(one, op, other) for one, op, other in pairs]
                return lambda row: all(part(row) for part in parts)
            case ast.Call(func=ast.Name(id="contains"), args=[one, ast.Constant(value=str(part))], keywords=[]):
                field, wanted = self._value(one), part.casefold()
                return lambda row: isinstance(said := field(row), str) and wanted in said.casefold()
            case _:
                raise _wrong("a condition compares something, or is contains(FIELD, TEXT)")

    def _compared(self, left: ast.expr, op: ast.cmpop, right: ast.expr) -> Callable[[Row], bool]:
        if _is_field(left, "outcome") and (wanted := _words(right)) is not None and isinstance(op, ast.Eq | ast.NotEq):
            yes = isinstance(op, ast.Eq)
            return lambda row: (found := _outcome_is(row, wanted)) is not None and found == yes
        self._check_kinds(left, right, op)
        one, other = self._value(left), self._value(right)
        match op:
            case ast.Eq() | ast.NotEq() | ast.Is() | ast.IsNot():
                same, null = isinstance(op, ast.Eq | ast.Is), _is_null(left) or _is_null(right)
                return lambda row: _known(one(row), other(row), null) and (one(row) == other(row)) is same
            case ast.In() | ast.NotIn():
                among = isinstance(op, ast.In)
                return lambda row: one(row) is not None and (one(row) in other(row)) is among
            case _:
                ordered = _ORDERED[type(op)]
                return lambda row: _known(one(row), other(row), False) and ordered(one(row), other(row))

    def _value(self, node: ast.expr) -> Value:
        match node:
            case ast.Constant(value=str() | int() | float() | None as said):
                return lambda _: said
            case ast.Name(id=name) if name.lower() in _CONSTANTS:
                constant = _CONSTANTS[name.lower()]
                return lambda _: constant
            case ast.Name(id=name) if name in SESSION_COLUMNS:
                return lambda row: row.get(name)
            case ast.Name(id=name):
                raise _wrong(f"there is no field {name[:60]!r}; there are {', '.join(SESSION_COLUMNS)}, score(NAME)")
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as number)):
                return lambda _: -number
            case ast.List(elts=parts) | ast.Tuple(elts=parts):
                inner = [self._value(part) for part in parts]
                return lambda row: [one(row) for one in inner]
            case ast.Call(
                func=ast.Name(id="score" | "label" as what), args=[ast.Constant(value=str(name))], keywords=[]
            ):
                self.evaluators.add(name)
                return lambda row: row.get(f"{what}:{name}")
            case _:
                raise _wrong("values are fields, score(NAME), label(NAME), texts, numbers, true, false, null and lists")

    def _check_kinds(self, left: ast.expr, right: ast.expr, op: ast.cmpop) -> None:
        """Raises InvalidInput for a field that is compared with something of another kind."""
        if isinstance(op, ast.In | ast.NotIn) and not isinstance(right, ast.List | ast.Tuple):
            raise _wrong('"in" needs a list, as app in ["shop", "desk"]; for a part of a text: contains(FIELD, TEXT)')
        others = right.elts if isinstance(right, ast.List | ast.Tuple) else [right]
        for field, other in [(left, other) for other in others] + [(right, left)]:
            if not isinstance(field, ast.Name) or not isinstance(other, ast.Constant) or other.value is None:
                continue
            kind = SESSION_COLUMNS.get(field.id)
            if kind is not None and (kind == pl.String) != isinstance(other.value, str):
                wanted = "a text" if kind == pl.String else "a number"
                known = ", or for outcome: failed, passed" if field.id == "outcome" else ""
                raise _wrong(f"{field.id} is {wanted}, and is compared with {other.value!r:.60}{known}")


def _known(one: object, other: object, null: bool) -> bool:
    """Whether two values can be compared: what is not known only with null, and a text only with a text."""
    if one is None or other is None:
        return null
    return isinstance(one, str) == isinstance(other, str)


def _is_field(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def _is_null(node: ast.expr) -> bool:
    constant = isinstance(node, ast.Constant) and node.value is None
    return constant or (isinstance(node, ast.Name) and _CONSTANTS.get(node.id.lower(), 0) is None)


def _words(node: ast.expr) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def _outcome_is(row: Row, wanted: str) -> bool | None:
    """Whether the session ended so: failed is an outcome of 0 or less, any other word is its label. None: not known."""
    value, label = row.get("outcome"), row.get("outcome_label")
    if label is not None and str(label).casefold() == wanted.casefold():
        return True
    passed = WORDS_OF_OUTCOME.get(wanted.casefold())
    if passed is None:
        return None if label is None else False
    return None if value is None else (value > 0) is passed
