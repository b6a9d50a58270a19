"""The tools: arguments, scope, risk, who may call them and what undoes them. Adding one is a row here.

The user is never an argument: it comes from the turn. A row's schema is what the model is shown and what every call
is validated against before it runs, whoever proposed it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from agent_runtime.records import AgentName, Risk

_ORDER, _ACCOUNT, _TECHNICAL = AgentName.ORDER, AgentName.ACCOUNT, AgentName.TECHNICAL
_EVERY = (AgentName.ORDER, AgentName.ACCOUNT, AgentName.TECHNICAL, AgentName.ESCALATION)
_STRICT = ConfigDict(extra="forbid", strict=True)

OrderId = Annotated[str, Field(pattern=r"^LK-\d{5,10}$", description="as LK-12345")]
Items = Annotated[list[Annotated[str, Field(min_length=1, max_length=64)]], Field(min_length=1, max_length=50)]
Money = Annotated[str, Field(pattern=r"^\d{1,6}(\.\d{1,2})?$", description="USD as a decimal string, as 19.90")]
Line = Annotated[str, Field(min_length=1, max_length=500)]
Email = Annotated[str, Field(pattern=r"^[^@\s]{1,64}@[^@\s]+\.[^@\s]+$", max_length=254)]


@dataclass(frozen=True, kw_only=True)
class Compensation:
    """What undoes a write: `args` maps the undoing tool's argument to a field of the write's result."""

    tool: str
    args: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Tool:
    """One row. `asks`: words of which a confirming question has one; `index`: answered by retrieval, not the shop."""

    name: str
    what: str
    args: type[BaseModel]
    agents: tuple[AgentName, ...]
    scope: str
    risk: Risk
    asks: tuple[str, ...] = ()
    undo: Compensation | None = None
    index: str | None = None
    schema: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        schema = self.args.model_json_schema()
        schema.pop("title", None)
        object.__setattr__(self, "schema", schema)

    def validated(self, args: Mapping[str, Any]) -> dict[str, Any] | list[str]:
        """Gives the arguments with defaults filled in, or what is wrong with them, a line each."""
        try:
            return self.args.model_validate(dict(args)).model_dump()
        except ValidationError as error:
            return [f"{'.'.join(map(str, e['loc'])) or 'arguments'}: {e['msg']}" for e in error.errors()]


def _tool(
    name: str,
    what: str,
    args: dict[str, Any],
    agents: AgentName | tuple[AgentName, ...],
    scope: str,
    risk: Risk,
    **more: Any,
) -> Tool:
    fields: dict[str, Any] = {key: kind if isinstance(kind, tuple) else (kind, ...) for key, kind in args.items()}
    model: type[BaseModel] = create_model(name, __config__=_STRICT, **fields)
    who = agents if isinstance(agents, tuple) else (agents,)
    return Tool(name=name, what=what, args=model, agents=who, scope=scope, risk=risk, **more)


_ROWS: Final = (
    _tool("find_orders", "Lists the user's orders.", {"status": (str, "")}, _ORDER, "orders:read", Risk.READ),
    _tool(
        "get_order", "Shows one order with items and prices.", {"order_id": OrderId}, _ORDER, "orders:read", Risk.READ
    ),
    _tool(
        "cancel_order",
        "Cancels an order that has not shipped. Ask the user to confirm first.",
        {"order_id": OrderId, "reason": Line},
        _ORDER,
        "orders:write",
        Risk.IRREVERSIBLE,
        asks=("cancel",),
    ),
    _tool(
        "change_address",
        "Changes the delivery address of an order that has not shipped.",
        {"order_id": OrderId, "address": Line},
        _ORDER,
        "orders:write",
        Risk.WRITE,
    ),
    _tool(
        "refund_order",
        "Refunds items of an order. Ask the user to confirm order and amount first.",
        {"order_id": OrderId, "item_ids": Items, "amount_usd": Money, "reason": Line},
        _ORDER,
        "payments:write",
        Risk.IRREVERSIBLE,
        asks=("refund",),
    ),
    _tool(
        "apply_discount",
        "Gives a discount on an order.",
        {"order_id": OrderId, "percent": Annotated[int, Field(ge=1, le=100)], "reason": Line},
        _ORDER,
        "payments:write",
        Risk.WRITE,
    ),
    _tool(
        "create_return",
        "Opens a return for items of an order.",
        {"order_id": OrderId, "item_ids": Items},
        _ORDER,
        "orders:write",
        Risk.WRITE,
        undo=Compensation(tool="cancel_return", args={"return_id": "return_id"}),
    ),
    _tool("cancel_return", "Withdraws a return.", {"return_id": Line}, _ORDER, "orders:write", Risk.WRITE),
    _tool("get_account", "Shows the user's account.", {}, _ACCOUNT, "account:read", Risk.READ),
    _tool("update_email", "Changes the account's e-mail.", {"email": Email}, _ACCOUNT, "account:write", Risk.WRITE),
    _tool("update_address", "Changes the account's address.", {"address": Line}, _ACCOUNT, "account:write", Risk.WRITE),
    _tool("reset_password", "Sends a link to reset the password.", {}, _ACCOUNT, "account:write", Risk.WRITE),
    _tool(
        "close_account",
        "Closes the account for good. Ask the user to confirm first.",
        {"reason": Line},
        _ACCOUNT,
        "account:write",
        Risk.IRREVERSIBLE,
        asks=("close", "delete"),
    ),
    _tool(
        "run_diagnostic",
        "Tests a device for a symptom.",
        {"sku": Line, "symptom": Line},
        _TECHNICAL,
        "devices:read",
        Risk.READ,
    ),
    _tool(
        "create_ticket",
        "Opens a ticket for the repair team.",
        {"summary": Line, "priority": Literal["low", "normal", "high"]},
        _TECHNICAL,
        "tickets:write",
        Risk.WRITE,
    ),
    _tool("search_help", "Searches the help pages.", {"query": Line}, _TECHNICAL, "docs:read", Risk.READ, index="help"),
    _tool("search_policy", "Searches the policies.", {"query": Line}, _EVERY, "docs:read", Risk.READ, index="policy"),
    _tool(
        "escalate",
        "Hands the case to a person.",
        {"summary": Line, "reason": Line},
        _EVERY,
        "tickets:write",
        Risk.WRITE,
    ),
)

TOOLS: Final[Mapping[str, Tool]] = {tool.name: tool for tool in _ROWS}


def money(args: Mapping[str, Any]) -> Decimal | None:
    """The amount a validated call moves, None if it moves none."""
    amount = args.get("amount_usd")
    return None if amount is None else Decimal(amount)
