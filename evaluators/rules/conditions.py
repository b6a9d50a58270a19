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

from collections.abc import Mapping, Sequence
from typing import Any, Final, assert_never

from core.errors import TooLarge
from evaluators.records import ToolCall
from evaluators.rules.condition_text import All, Call, Compared, Joined, Node, Not, Path, Value
from evaluators.rules.values import same

MOST_VISITS: Final = 200_000  # members looked at by one condition


class Calls(dict[str, list[Mapping[str, Any]]]):
    """The calls by tool; its members are all calls, in order."""

    def __init__(self, calls: Sequence[ToolCall]) -> None:
        super().__init__()
        self.all = [
            {"name": one.name, "arguments": one.arguments, "result": one.result, "error": one.error} for one in calls
        ]
        for one in self.all:
            self.setdefault(one["name"], []).append(one)


def holds(condition: Node, roots: Mapping[str, Any]) -> bool:
    """Whether the condition is true of `roots` (a value for each of ROOTS). Raises TooLarge over MOST_VISITS."""
    return _true(_Walk(roots).value(condition))


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
