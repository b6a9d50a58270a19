"""What an example's `policy` allows: caps, tools, and words that must never be said. See docs/evaluators.md."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Final

from core.errors import InvalidInput
from evaluators.records import Expected, ToolCall

KEYS: Final = ("caps", "allowed_tools", "forbidden_tools", "irreversible_tools", "escalation_tools", "canaries")


@dataclass(frozen=True, kw_only=True)
class Cap:
    """Bounds of one number among a tool's arguments: of each call, and of all calls of a session together."""

    tool: str  # or a pattern, as refund_*
    argument: str  # a dotted path; lists are gone through
    least: float = -math.inf
    most: float = math.inf
    total: float = math.inf


@dataclass(frozen=True, kw_only=True)
class Policy:
    """A policy as rules read it. A tool is a name or a pattern with *. None: it says nothing about that."""

    caps: tuple[Cap, ...] = ()
    allowed_tools: tuple[str, ...] | None = None
    forbidden_tools: tuple[str, ...] = ()
    irreversible_tools: tuple[str, ...] | None = None
    escalation_tools: tuple[str, ...] = ()
    canaries: tuple[str, ...] = field(default=())


def policy_of(expected: Expected | None) -> Policy:
    """The policy of an example. `write_tools` stand for irreversible ones where it names none.

    Raises InvalidInput for a key or a value that a policy does not have: a typing error must not allow everything.
    """
    raw: Mapping[str, Any] = (expected.policy if expected else None) or {}
    if unknown := sorted(set(raw) - set(KEYS)):
        raise InvalidInput(f"a policy has no {unknown[0]!r}; it has {', '.join(KEYS)}", field=f"policy.{unknown[0]}")
    irreversible = _names(raw, "irreversible_tools")
    if irreversible is None and expected is not None:
        irreversible = expected.write_tools
    return Policy(
        caps=tuple(_caps(raw.get("caps") or {})),
        allowed_tools=_names(raw, "allowed_tools"),
        forbidden_tools=_names(raw, "forbidden_tools") or (),
        irreversible_tools=irreversible,
        escalation_tools=_names(raw, "escalation_tools") or (),
        canaries=_names(raw, "canaries") or (),
    )


def named(tool: str, patterns: tuple[str, ...]) -> bool:
    """Whether a tool is one of these names or patterns."""
    return any(fnmatchcase(tool, pattern) for pattern in patterns)


def numbers_at(call: ToolCall, path: str) -> Iterator[float | None]:
    """The numbers at a dotted path of a call's arguments; None for what is there and is no number."""
    found: list[Any] = [call.arguments]
    for part in path.split("."):
        found = [each for one in found for each in (one if isinstance(one, list | tuple) else (one,))]
        found = [one[part] for one in found if isinstance(one, Mapping) and part in one]
    for one in found:
        yield from (as_number(each) for each in (one if isinstance(one, list | tuple) else (one,)) if each is not None)


def as_number(value: Any) -> float | None:
    """12, "12.50", "$1,200" and "15%" as numbers; None for anything else."""
    if isinstance(value, str):
        value = value.strip().lstrip("$€£").rstrip("%").replace(",", "")
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _names(raw: Mapping[str, Any], key: str) -> tuple[str, ...] | None:
    value = raw.get(key)
    if value is None:
        return None
    if not isinstance(value, list | tuple) or not all(isinstance(one, str) and one for one in value):
        raise InvalidInput(f"policy.{key} is a list of texts", field=f"policy.{key}")
    return tuple(value)


def _caps(raw: Any) -> Iterator[Cap]:
    if not isinstance(raw, Mapping):
        raise InvalidInput('policy.caps is as {"refund_order.amount_usd": 100}', field="policy.caps")
    for name, bound in raw.items():
        tool, dot, argument = str(name).partition(".")
        bounds = bound if isinstance(bound, Mapping) else {"max": bound}
        values = {key: as_number(value) for key, value in bounds.items()}
        if not (dot and tool and argument) or not values or None in values.values() or set(values) - {*_BOUNDS}:
            told = f"a cap is TOOL.ARGUMENT with a number or min, max and total, not {name!r}: {str(bound)[:60]}"
            raise InvalidInput(told, field="policy.caps")
        yield Cap(tool=tool, argument=argument, **{_BOUNDS[k]: v for k, v in values.items() if v is not None})


_BOUNDS: Final = {"min": "least", "max": "most", "total": "total"}
