"""Reading a condition's text into a tree. What the language says stands in evaluators/rules/conditions.py."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Literal, assert_never

from core.errors import InvalidInput

MOST_CHARACTERS: Final = 2000
MOST_DEPTH: Final = 40
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


@lru_cache(maxsize=1024)
def parse(text: str) -> Node:
    """The condition. Raises InvalidInput saying at which character it cannot be read."""
    if len(text) > MOST_CHARACTERS:
        raise InvalidInput(f"a condition has at most {MOST_CHARACTERS} characters, not {len(text)}", "post_conditions")
    reader = _Reader(text)
    found = reader.either(0)
    reader.ended()
    return found


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
