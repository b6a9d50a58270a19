"""The records that the parts of the runtime hand to each other. Frozen; money is Decimal USD."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final

APP: Final = "larkspur-support"


class AgentName(StrEnum):
    """Who may answer; the supervisor routes to one of the others."""

    SUPERVISOR = "supervisor"
    ORDER = "order"
    ACCOUNT = "account"
    TECHNICAL = "technical"
    ESCALATION = "escalation"


class Intent(StrEnum):
    """What a user wants, as the supervisor understood it."""

    ORDER = "order"
    REFUND = "refund"
    ACCOUNT = "account"
    TECHNICAL = "technical"
    POLICY = "policy"
    OTHER = "other"


class Strategy(StrEnum):
    """How a turn is reasoned."""

    REACT = "react"
    PLAN = "plan_then_execute"
    TREE = "tree_of_thought"


class Risk(StrEnum):
    """What a tool can do to the world."""

    READ = "read"
    WRITE = "write"
    IRREVERSIBLE = "irreversible"


class TurnStatus(StrEnum):
    """How a turn ended."""

    ANSWERED = "answered"
    WAITING_APPROVAL = "waiting_approval"
    REFUSED = "refused"  # a guardrail blocked the message or the answer
    LIMIT = "limit"
    FAILED = "failed"


class Decision(StrEnum):
    """What a guardrail decided."""

    ALLOW = "allow"
    FLAG = "flag"
    REWRITE = "rewrite"
    BLOCK = "block"


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Of one turn. `repeated_calls`: so often may one tool be called with the same arguments."""

    steps: int = 12
    tokens: int = 60_000
    dollars: Decimal = Decimal("0.50")
    seconds: float = 60.0
    repeated_calls: int = 2


@dataclass(frozen=True, kw_only=True)
class Parameters:
    """What a release sets besides its model and prompt. Caps hold in the tools, whatever the model says."""

    temperature: float = 0.0
    refund_cap_usd: Decimal = Decimal(200)
    discount_cap_percent: int = 15
    approval_above_usd: Decimal = Decimal(120)  # a person approves refunds above it; cap still holds
    require_confirmation: bool = True  # before irreversible actions
    idempotent_writes: bool = True  # a repeated write carries its first key
    grounding_threshold: float = 0.25  # below: "I don't know"
    context_tokens: int = 8_000  # older messages are summarised beyond it
    memory_half_life_days: float = 30.0
    strategy: Strategy | None = None  # None: chosen per turn
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, kw_only=True)
class Release:
    """An immutable version of the agent. `faults` (name -> rate 0..1) is for the simulated world alone."""

    name: str
    variant: str = "control"
    app: str = APP
    model: str = "sim-1"
    provider: str = "openai"  # openai (and compatible), azure, anthropic, bedrock
    prompt_version: str = "1"
    parameters: Parameters = field(default_factory=Parameters)
    faults: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class TurnInput:
    """One message of one user. `message_id` makes a retry of the same message answer the same turn."""

    session_id: str
    user_id: str
    text: str
    message_id: str
    tenant: str = "default"


@dataclass(frozen=True, kw_only=True)
class PendingApproval:
    """An action that waits for a person."""

    approval_id: str
    session_id: str
    tool: str
    args: Mapping[str, Any]
    why: str


@dataclass(frozen=True, kw_only=True)
class ToolOutcome:
    """One executed (or refused) tool call of a turn."""

    tool: str
    args: Mapping[str, Any]
    result: Mapping[str, Any]
    key: str | None
    replayed: bool = False  # answered from the ledger, not executed again


@dataclass(frozen=True, kw_only=True)
class TurnResult:
    """What a turn gave. Tokens and cost are of its model calls; `trace_id` is 32 hex digits.

    `error` names what ended a turn that is `failed` or `limit`, as `error.type` of its span does.
    """

    session_id: str
    turn_id: str
    index: int
    status: TurnStatus
    reply: str
    agent: AgentName | None
    strategy: Strategy | None
    trace_id: str
    n_steps: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: Decimal | None = None
    tools: tuple[ToolOutcome, ...] = ()
    citations: tuple[str, ...] = ()
    approvals: tuple[PendingApproval, ...] = ()
    error: str = ""


@dataclass(frozen=True, kw_only=True)
class Document:
    """A piece of policy or help; `tenant` filters first. `version` counts up, the newest valid one is right."""

    doc_id: str
    title: str
    text: str
    version: int = 1
    tenant: str = "default"
    score: float = 0.0
