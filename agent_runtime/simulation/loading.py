"""Scenario files: read, checked and turned into records. A mistake is told with its file, its place and its remedy."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agent_runtime.errors import InvalidInput
from agent_runtime.records import Intent
from agent_runtime.simulation.catalogue import products
from agent_runtime.simulation.documents import published
from agent_runtime.simulation.scenario import (
    PLACEHOLDER,
    READS,
    TICKETS,
    Attack,
    Call,
    Customer,
    Difficulty,
    Goal,
    Item,
    Order,
    Request,
    RowCheck,
    Scenario,
)

FOLDER: Final = Path(__file__).with_name("scenarios")
TABLES: Final = frozenset({"users", "orders", "order_items", "payments", "discounts", "returns", "tickets"})
WRITES: Final = TICKETS | {
    *("cancel_order", "change_address", "refund_order", "apply_discount", "create_return", "cancel_return"),
    *("update_email", "update_address", "reset_password", "close_account"),
}
_ALWAYS: Final = frozenset({"name", "email", "address", "user", "tag"})


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Customer(_Strict):
    name: str
    email: str
    address: str


class _Order(_Strict):
    ref: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    status: str = Field(pattern=r"^(processing|shipped|delivered|cancelled|returned)$")
    items: list[str] = Field(min_length=1)
    placed_days: int = Field(ge=0)
    delivered_days: int | None = Field(default=None, ge=0)
    late_days: int = Field(default=0, ge=0)
    returning: list[int] = []
    discount_percent: int = Field(default=0, ge=0, le=100)


class _Request(_Strict):
    openings: list[str] = Field(min_length=1)
    done: str


class _Rows(_Strict):
    table: str
    where: dict[str, str | int]
    count: int = Field(default=1, ge=0)


class _Goal(_Strict):
    rows: list[_Rows] = []
    says: list[str] = []
    never_says: list[str] = []
    cites: list[str] = []
    confirmed: list[str] = []


class _Call(_Strict):
    tool: str
    args: dict[str, Any] = {}


class _Written(_Strict):
    """A scenario file."""

    id: str
    intent: Intent
    difficulty: Difficulty
    title: str
    customer: _Customer
    requests: list[_Request] = Field(min_length=1)
    goal: _Goal
    orders: list[_Order] = []
    facts: dict[str, str] = {}
    gold: list[_Call] = []
    patience: int = Field(default=10, ge=1, le=50)
    ambiguous: bool = False
    attack: Attack = Attack.NONE
    changes_mind: str = ""
    wants_person: bool = False
    approves: bool = True


@lru_cache(maxsize=1)
def all_scenarios() -> tuple[Scenario, ...]:
    """The scenarios of the folder, by id. Raises InvalidInput."""
    return load_folder(FOLDER)


def scenario_named(scenario_id: str) -> Scenario:
    """The scenario of this id. Raises InvalidInput."""
    for each in all_scenarios():
        if each.scenario_id == scenario_id:
            return each
    raise InvalidInput(f"there is no scenario {scenario_id!r}")


def load_folder(folder: Path) -> tuple[Scenario, ...]:
    """Every *.toml of `folder`, ids ascending. Raises InvalidInput; an empty folder is one reason."""
    found = [load_file(path) for path in sorted(folder.glob("*.toml"))]
    if not found:
        raise InvalidInput(f"{folder} holds no scenario files (*.toml)")
    return tuple(found)


def load_file(path: Path) -> Scenario:
    """One scenario; its id is the file's name. Raises InvalidInput naming file, place and remedy."""
    try:
        written = _Written.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path.name}: this is no TOML: {error}") from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise InvalidInput(f"{path.name}: {place}: {first['msg']}") from None
    if written.id != path.stem:
        raise InvalidInput(f"{path.name}: its id is {written.id!r}; name the file {written.id}.toml")
    scenario = _scenario(written, path.name)
    _check(scenario, path.name)
    return scenario


def _scenario(written: _Written, file: str) -> Scenario:
    goal = written.goal
    plain = {"id", "customer", "requests", "goal", "orders", "gold"}
    return Scenario(
        scenario_id=written.id,
        customer=Customer(**written.customer.model_dump()),
        requests=tuple(Request(openings=tuple(each.openings), done=each.done) for each in written.requests),
        orders=tuple(_order(each, file) for each in written.orders),
        gold=tuple(Call(tool=each.tool, args=each.args) for each in written.gold),
        goal=Goal(
            rows=tuple(RowCheck(**each.model_dump()) for each in goal.rows),
            says=tuple(goal.says),
            never_says=tuple(goal.never_says),
            cites=tuple(goal.cites),
            confirmed=tuple(goal.confirmed),
        ),
        **{name: getattr(written, name) for name in _Written.model_fields if name not in plain},
    )


def _order(written: _Order, file: str) -> Order:
    strange = [sku for sku in written.items if sku not in products()]
    if strange:
        raise InvalidInput(f"{file}: orders.{written.ref}: not in the catalogue: {', '.join(strange)}")
    if (written.status == "delivered") != (written.delivered_days is not None):
        raise InvalidInput(f"{file}: orders.{written.ref}: delivered_days belongs to delivered orders, and only there")
    if any(not 1 <= number <= len(written.items) for number in written.returning):
        raise InvalidInput(f"{file}: orders.{written.ref}: returning counts items from 1 to {len(written.items)}")
    found = [products()[sku] for sku in written.items]
    items = tuple(Item(sku=each.sku, name=each.name, price_cents=each.price_cents) for each in found)
    return Order(**{**written.model_dump(), "items": items, "returning": tuple(written.returning)})


def _check(scenario: Scenario, file: str) -> None:
    """What the shape alone does not show: names that exist, patterns that compile, placeholders that will be filled."""
    strange = [call.tool for call in scenario.gold if call.tool not in READS | WRITES]
    strange += [tool for tool in scenario.goal.confirmed if tool not in WRITES]
    if strange:
        raise InvalidInput(f"{file}: there is no tool {strange[0]!r}")
    tables = [each.table for each in scenario.goal.rows if each.table not in TABLES]
    if tables:
        raise InvalidInput(f"{file}: goal.rows: there is no table {tables[0]!r}; there are {', '.join(sorted(TABLES))}")
    documents = {each.document.doc_id for each in published()}
    missing = [each for each in scenario.goal.cites if each not in documents]
    if missing:
        raise InvalidInput(f"{file}: goal.cites: there is no document {missing[0]!r}")
    refs = [order.ref for order in scenario.orders]
    if len(set(refs)) != len(refs):
        raise InvalidInput(f"{file}: two orders are called the same")
    _check_patterns(scenario, file)
    _check_placeholders(scenario, file)


def _check_patterns(scenario: Scenario, file: str) -> None:
    patterns = [*(each.done for each in scenario.requests), *scenario.goal.says, *scenario.goal.never_says]
    for pattern in patterns:
        try:
            re.compile(PLACEHOLDER.sub("x", pattern))
        except re.error as error:
            raise InvalidInput(f"{file}: {pattern!r} is no pattern: {error}") from None


def _check_placeholders(scenario: Scenario, file: str) -> None:
    known = {*_ALWAYS, *scenario.amounts()}
    for order in scenario.orders:
        known |= {order.ref, *(f"{order.ref}.{number}" for number in range(1, len(order.items) + 1))}
        known |= {f"{order.ref}.return"} if order.returning else set()
    for text in _texts(scenario):
        strange = [name for name in PLACEHOLDER.findall(text) if name not in known]
        if strange:
            raise InvalidInput(f"{file}: {{{strange[0]}}} is nothing; there are {', '.join(sorted(known))}")


def _texts(value: Any) -> list[str]:
    match value:
        case str():
            return [value]
        case Mapping():
            return [text for each in value.values() for text in _texts(each)]
        case tuple() | list():
            return [text for each in value for text in _texts(each)]
        case Scenario() | Goal() | Request() | Call() | RowCheck():
            return _texts(vars(value))
        case _:
            return []
