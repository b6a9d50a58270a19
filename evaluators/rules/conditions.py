"""Post-conditions: a tiny language over what the world is after a trajectory and what happened in it. Nothing is
executed: a condition is read into a tree, and the tree is walked over plain JSON.

    state.orders["W123"].status == "cancelled"
    state.balance >= 0 and not exists(state.orders["W9"].refund)
    count(calls.refund_order) <= 1
    count(state.orders[*][? @.status == "pending"]) == 0
    "R1" in state.reservations[*].id or answer contains "no booking"

A path begins with state (the end state), calls (calls.TOOL: the calls of that tool; calls[*]: all; each has name,
arguments, result, error), answer (the agent's last message), said (all it said) or, inside a filter, @ (the member
looked at); then .name, [0], ["name"], [*] (all members) and [? condition] (those for which it holds). What is not
there is null. Operators, from loose to tight: or; and; not; == != < <= > >= in contains. Functions: count(path),
exists(path). Values: numbers, "text" or 'text', true, false, null. < and its kind compare numbers with numbers and
texts with texts, and are false otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Literal, assert_never

from core.errors import InvalidInput, TooLarge
from evaluators.records import ToolCall
from evaluators.rules.values import same

MOST_CHARACTERS: Final = 2000
MOST_DEPTH: Final = 40
MOST_VISITS: Final = 200_000  # members looked at by one condition
ROOTS: Final = ("state", "calls", "answer", "said")
FUNCTIONS: Final = ("count", "exists")
_OPERATORS: Final = ("==", "!=", "<=", ">=", "<", ">", "in", "contains")
_TOKEN: Final = re.compile(
    r"\s*(?:(?P<number>-?\d+(?:\.\d+)?(?:[eE][-+]?\d{1,3})?)|(?P<text>\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*')"
    r"|(?P<word>[^\W\d][\w-]*|@)|(?P<sign>\[\?|==|!=|<=|>=|[<>()\[\].*]))"
)


@dataclass(frozen=True, kw_only=True)
class Value:
    """A number, text, true, false or null."""

    value: Any


@dataclass(frozen=True, kw_only=True)
class Path:
    """A root and the way from it. A part is a key, an index, '*' as ALL, or a condition on members."""

    root: str
    parts: tuple[str | int | All | Node, ...]


@dataclass(frozen=True, kw_only=True)
class All:
    """All members."""


@dataclass(frozen=True, kw_only=True)
class Call:
    """count(path) or exists(path)."""

    name: str
    path: Path


@dataclass(frozen=True, kw_only=True)
class Compared:
    """Two values and what stands between them."""

    operator: str
    left: Node
    right: Node


@dataclass(frozen=True, kw_only=True)
class Joined:
    """Conditions joined by and / or."""

    word: Literal["and", "or"]
    members: tuple[Node, ...]


@dataclass(frozen=True, kw_only=True)
class Not:
    """The contrary."""

    member: Node


Node = Value | Path | Call | Compared | Joined | Not


class Calls(dict[str, list[Mapping[str, Any]]]):
    """The calls by tool; its members are all calls, in order."""

    def __init__(self, calls: Sequence[ToolCall]) -> None:
        super().__init__()
        self.all = [
            {"name": one.name, "arguments": one.arguments, "result": one.result, "error": one.error} for one in calls
        ]
        for one in self.all:
            self.setdefault(one["name"], []).append(one)


def parse(text: str) -> Node:
    """The condition. Raises InvalidInput saying at which character it cannot be read."""
    return _parse(text)


def holds(condition: Node, roots: Mapping[str, Any]) -> bool:
    """Whether the condition is true of `roots` (a value for each of ROOTS). Raises TooLarge over MOST_VISITS."""
    return _true(_Walk(roots).value(condition))


def roots_of(condition: Node) -> frozenset[str]:
    """The roots that a condition looks at."""
    match condition:
        case Value():
            return frozenset()
        case Path():
            inner = [roots_of(one) for one in condition.parts if not isinstance(one, str | int | All)]
            return frozenset({condition.root}).union(*inner)
        case Call():
            return roots_of(condition.path)
        case Compared():
            return roots_of(condition.left) | roots_of(condition.right)
        case Joined():
            return frozenset().union(*map(roots_of, condition.members))
        case Not():
            return roots_of(condition.member)
        case _:
            assert_never(condition)


@lru_cache(maxsize=1024)
def _parse(text: str) -> Node:
    if len(text) > MOST_CHARACTERS:
        raise InvalidInput(f"a condition has at most {MOST_CHARACTERS} characters, not {len(text)}", "post_conditions")
    reader = _Reader(text)
    found = reader.either(0)
    reader.ended()
    return found


class _Reader:
    """A recursive descent over the tokens, one method a level of the grammar."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = list(_tokens(text))
        self.at = 0

    def either(self, depth: int) -> Node:
        """or"""
        return self._joined("or", depth)

    def _joined(self, word: Literal["and", "or"], depth: int) -> Node:
        if depth > MOST_DEPTH:
            raise self.wrong("nested too deep")
        members = [self._joined("and", depth) if word == "or" else self._negated(depth)]
        while self._took("word", word):
            members.append(self._joined("and", depth) if word == "or" else self._negated(depth))
        return members[0] if len(members) == 1 else Joined(word=word, members=tuple(members))

    def _negated(self, depth: int) -> Node:
        if depth > MOST_DEPTH:
            raise self.wrong("nested too deep")
        if self._took("word", "not"):
            return Not(member=self._negated(depth + 1))
        left = self._operand(depth)
        kind, token, _ = self._now()
        if kind in {"sign", "word"} and token in _OPERATORS:
            self.at += 1
            return Compared(operator=token, left=left, right=self._operand(depth))
        return left

    def _operand(self, depth: int) -> Node:
        kind, token, _ = self._now()
        self.at += 1
        match kind:
            case "number":
                return Value(value=float(token) if re.search(r"[.eE]", token) else int(token))
            case "text":
                return Value(value=_unquoted(token))
            case "word" if token in {"true", "false", "null"}:
                return Value(value={"true": True, "false": False, "null": None}[token])
            case "word" if token in FUNCTIONS:
                self._need("(")
                found = Call(name=token, path=self._path(depth + 1))
                self._need(")")
                return found
            case "sign" if token == "(":  # noqa: S105
                inner = self.either(depth + 1)
                self._need(")")
                return inner
            case _:
                self.at -= 1
                return self._path(depth)

    def _path(self, depth: int) -> Path:
        kind, root, _ = self._now()
        if kind != "word" or root not in (*ROOTS, "@"):
            raise self.wrong(f"expected a value or a path from {', '.join(ROOTS)}")
        self.at += 1
        parts: list[str | int | All | Node] = []
        while True:
            if self._took("sign", "."):
                kind, name, _ = self._now()
                if kind not in {"word", "number"}:
                    raise self.wrong("expected a name after the dot")
                self.at += 1
                parts.append(name)
            elif self._took("sign", "["):
                parts.append(self._index())
                self._need("]")
            elif self._took("sign", "[?"):
                parts.append(self.either(depth + 1))
                self._need("]")
            else:
                return Path(root=root, parts=tuple(parts))

    def _index(self) -> str | int | All:
        kind, token, _ = self._now()
        self.at += 1
        if kind == "text":
            return _unquoted(token)
        if kind == "number" and re.fullmatch(r"-?\d{1,9}", token):
            return int(token)
        if (kind, token) == ("sign", "*"):
            return All()
        self.at -= 1
        raise self.wrong('expected an index, a "name" or * between the brackets')

    def ended(self) -> None:
        """Raises InvalidInput when something is left over."""
        if self._now()[0] != "end":
            raise self.wrong("expected the end, and, or, or an operator")

    def wrong(self, what: str) -> InvalidInput:
        """The error at this place."""
        _, token, at = self._now()
        found = f", found {token[:30]!r}" if token else ""
        return InvalidInput(f"the condition {self.text[:80]!r} at character {at + 1}: {what}{found}", "post_conditions")

    def _now(self) -> tuple[str, str, int]:
        return self.tokens[min(self.at, len(self.tokens) - 1)]

    def _took(self, kind: str, token: str) -> bool:
        found = self._now()[:2] == (kind, token)
        self.at += found
        return found

    def _need(self, sign: str) -> None:
        if not self._took("sign", sign):
            raise self.wrong(f"expected {sign!r}")


def _tokens(text: str) -> list[tuple[str, str, int]]:
    found = []
    at = 0
    while at < len(text.rstrip()):
        token = _TOKEN.match(text, at)
        if token is None or token.lastgroup is None:
            wrong = len(text) - len(text[at:].lstrip()) + 1
            raise InvalidInput(f"the condition {text[:80]!r} cannot be read at character {wrong}", "post_conditions")
        found.append((token.lastgroup, token[token.lastgroup], token.start(token.lastgroup)))
        at = token.end()
    return [*found, ("end", "", len(text))]


def _unquoted(token: str) -> str:
    return re.sub(r"\\(.)", r"\1", token[1:-1], flags=re.DOTALL)


class _Walk:
    """One walk over a tree, which counts what it looks at."""

    def __init__(self, roots: Mapping[str, Any]) -> None:
        self.roots = roots
        self.visits = 0

    def value(self, node: Node, member: Any = None) -> Any:
        """What a node is of `member`. Raises TooLarge."""
        match node:
            case Value():
                return node.value
            case Path():
                found = self.path(node, member)
                return found if _is_many(node) else (found[0] if found else None)
            case Call():
                return self._called(node, member)
            case Compared():
                left, right = self.value(node.left, member), self.value(node.right, member)
                self._visited(_size(left) + _size(right))
                return _compared(node.operator, left, right)
            case Joined(word="and"):
                return all(_true(self.value(one, member)) for one in node.members)
            case Joined():
                return any(_true(self.value(one, member)) for one in node.members)
            case Not():
                return not _true(self.value(node.member, member))
            case _:
                assert_never(node)

    def _called(self, node: Call, member: Any) -> Any:
        found = self.path(node.path, member)
        if node.name == "exists":
            return any(one is not None for one in found)
        return len(found) if _is_many(node.path) else sum(len(_members(one)) for one in found)

    def path(self, path: Path, member: Any) -> list[Any]:
        """All that a path leads to."""
        found = [member if path.root == "@" else self.roots.get(path.root)]
        for part in path.parts:
            found = [one for value in found for one in self._next(value, part)]
        return found

    def _next(self, value: Any, part: str | int | All | Node) -> list[Any]:
        if isinstance(part, str):
            return [value[part]] if isinstance(value, Mapping) and part in value else []
        if isinstance(part, int):
            fits = isinstance(value, list | tuple) and -len(value) <= part < len(value)
            return [value[part]] if fits else []
        members = _members(value)
        self._visited(len(members))
        return members if isinstance(part, All) else [one for one in members if _true(self.value(part, one))]

    def _visited(self, n: int) -> None:
        self.visits += n
        if self.visits > MOST_VISITS:
            raise TooLarge(f"a condition would look at more than {MOST_VISITS} members")


def _size(value: Any) -> int:
    if isinstance(value, str):
        return len(value) // 100
    return len(value) if isinstance(value, Mapping | list | tuple) else 1


def _members(value: Any) -> list[Any]:
    if isinstance(value, Calls):
        return list(value.all)
    if isinstance(value, Mapping):
        return list(value.values())
    return list(value) if isinstance(value, list | tuple) else []


def _is_many(path: Path) -> bool:
    return any(not isinstance(part, str | int) for part in path.parts)


def _true(value: Any) -> bool:
    """true alone: a number, a text or a list is no condition."""
    return value is True


def _compared(operator: str, left: Any, right: Any) -> bool:
    match operator:
        case "==":
            return same(left, right)
        case "!=":
            return not same(left, right)
        case "in":
            return _contains(right, left)
        case "contains":
            return _contains(left, right)
        case _:
            return _ordered(operator, left, right)


def _contains(whole: Any, part: Any) -> bool:
    """A text in a text without regard to case, a key of an object, a member of a list."""
    if isinstance(whole, str):
        return isinstance(part, str) and part.casefold() in whole.casefold()
    if isinstance(whole, Mapping):
        return isinstance(part, str) and part in whole
    return isinstance(whole, list | tuple) and any(same(part, one) for one in whole)


def _ordered(operator: str, left: Any, right: Any) -> bool:
    if isinstance(left, bool) or isinstance(right, bool):
        return False
    numbers = isinstance(left, int | float) and isinstance(right, int | float)
    if not numbers and not (isinstance(left, str) and isinstance(right, str)):
        return False
    match operator:
        case "<":
            return bool(left < right)
        case "<=":
            return bool(left <= right)
        case ">":
            return bool(left > right)
        case _:
            return bool(left >= right)
