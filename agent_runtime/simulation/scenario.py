"""A scenario: one task of one customer, with what she knows, what must be true afterwards, and the actions that do it.

In the spirit of tau-bench (Yao et al. 2024, arXiv:2406.12045): the goal is checked in the database and on what was
said. Texts hold placeholders, filled per session by `filled`: `{tent}` the id of the order called tent, `{tent.1}` its
first item, `{tent.1.price}`, `{tent.total}`, `{tent.return}`, `{name}`, `{email}`, `{address}`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final, TypeVar

from agent_runtime.records import Intent

PLACEHOLDER: Final = re.compile(r"\{([a-z][a-z0-9_.]*)\}")
IRREVERSIBLE: Final = frozenset({"cancel_order", "refund_order", "close_account"})
READS: Final = frozenset(
    {"find_orders", "get_order", "get_account", "run_diagnostic", "search_help", "search_policy"},
)
TICKETS: Final = frozenset({"create_ticket", "escalate"})


class Difficulty(StrEnum):
    """How much can go wrong."""

    EASY = "easy"
    MEDIUM = "medium"
    HARD = "hard"


class Attack(StrEnum):
    """Whether the user attacks: `plain` in words that an input guardrail should know, `subtle` in none of them."""

    NONE = "none"
    PLAIN = "plain"
    SUBTLE = "subtle"


@dataclass(frozen=True, kw_only=True)
class Customer:
    """Who asks. Her e-mail gets a part of its own in every session."""

    name: str
    email: str
    address: str


@dataclass(frozen=True, kw_only=True)
class Item:
    """A piece of an order; `price_cents` is of one."""

    sku: str
    name: str
    price_cents: int
    quantity: int = 1


@dataclass(frozen=True, kw_only=True)
class Order:
    """An order as it stands when the session begins. Days count back from the world's day."""

    ref: str
    status: str
    items: tuple[Item, ...]
    placed_days: int
    delivered_days: int | None = None
    late_days: int = 0
    returning: tuple[int, ...] = ()  # items (from 1) of an open return
    discount_percent: int = 0

    @property
    def total_cents(self) -> int:
        """What was paid for it."""
        whole = sum(item.price_cents * item.quantity for item in self.items)
        return whole - whole * self.discount_percent // 100


@dataclass(frozen=True, kw_only=True)
class Call:
    """A gold action."""

    tool: str
    args: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Request:
    """One thing the user wants: ways to open it, and `done`, a pattern of the reply that satisfies her."""

    openings: tuple[str, ...]
    done: str


@dataclass(frozen=True, kw_only=True)
class RowCheck:
    """Exactly `count` rows of this user in `table` have these values."""

    table: str
    where: Mapping[str, Any]
    count: int = 1


@dataclass(frozen=True, kw_only=True)
class Goal:
    """What must be true at the end. `says` and `never_says` are patterns over the agent's replies, `cites` document
    ids, `confirmed` tools that may only run after the user said yes to a question about them."""

    rows: tuple[RowCheck, ...] = ()
    says: tuple[str, ...] = ()
    never_says: tuple[str, ...] = ()
    cites: tuple[str, ...] = ()
    confirmed: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One task. `facts` (topic -> sentence) are told when asked; `changes_mind` is said instead of the first yes;
    `approves` is what a person decides about a waiting action; `patience` is the most messages the user sends."""

    scenario_id: str
    intent: Intent
    difficulty: Difficulty
    title: str
    customer: Customer
    requests: tuple[Request, ...]
    goal: Goal
    orders: tuple[Order, ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
    gold: tuple[Call, ...] = ()
    patience: int = 10
    ambiguous: bool = False
    attack: Attack = Attack.NONE
    changes_mind: str = ""
    wants_person: bool = False
    approves: bool = True

    @property
    def gold_writes(self) -> tuple[Call, ...]:
        """The gold actions that change the world."""
        return tuple(call for call in self.gold if call.tool not in READS)

    def gold_calls(self, tool: str) -> tuple[Call, ...]:
        """The gold actions with this tool."""
        return tuple(call for call in self.gold if call.tool == tool)

    def amounts(self) -> dict[str, str]:
        """Every amount that a placeholder of its orders names, known before there are rows."""
        known = {f"{order.ref}.total": usd(order.total_cents) for order in self.orders}
        for order in self.orders:
            for number, item in enumerate(order.items, start=1):
                known[f"{order.ref}.{number}.price"] = usd(item.price_cents * item.quantity)
        return known


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A scenario with rows of its own in the world: texts filled, `names` maps placeholder to value."""

    session_id: str
    user_id: str
    scenario: Scenario
    names: Mapping[str, str]


_T = TypeVar("_T")


def filled(value: _T, names: Mapping[str, str]) -> _T:
    """`value` (text, tuple, mapping or record) with every placeholder that `names` knows replaced, deeply."""
    result: Any = value
    if isinstance(value, str) and not isinstance(value, StrEnum):
        result = PLACEHOLDER.sub(lambda match: names.get(match[1], match[0]), value) if "{" in value else value
    elif isinstance(value, tuple | list):
        result = tuple(filled(each, names) for each in value)
    elif isinstance(value, Mapping):
        result = {key: filled(each, names) for key, each in value.items()}
    elif is_dataclass(value) and not isinstance(value, type):
        result = replace(value, **{each.name: filled(getattr(value, each.name), names) for each in fields(value)})
    return result  # type: ignore[no-any-return]


def usd(cents: int) -> str:
    """Cents as a decimal string of dollars: 4900 -> "49.00"."""
    return str((Decimal(cents) / 100).quantize(Decimal("0.01")))


def cents(amount: object) -> int:
    """A decimal string of dollars as cents. Raises ValueError for anything that is not a whole number of cents."""
    try:
        value = Decimal(str(amount)) * 100
    except ArithmeticError:
        raise ValueError(f"{amount!r} is not an amount of dollars") from None
    if not value.is_finite() or value != value.to_integral_value():
        raise ValueError(f"{amount!r} is not an amount of dollars and cents")
    return int(value)
