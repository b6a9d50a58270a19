"""What the parts of the gateway hand to each other: the caller, the call while it is worked on, and its answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from core.ids import TenantId


class CallKind(StrEnum):
    """Which of OpenAI's endpoints."""

    CHAT = "chat"
    EMBEDDINGS = "embeddings"


class CacheOutcome(StrEnum):
    """What the cache had to do with a call."""

    OFF = "off"  # not configured, or not for this kind of call
    BYPASS = "bypass"  # the caller or the temperature asked for a fresh answer
    MISS = "miss"
    EXACT = "exact"
    SEMANTIC = "semantic"


@dataclass(frozen=True, kw_only=True, slots=True)
class Caller:
    """Who calls, and where the call belongs. Empty text: not said. `parent` is a W3C traceparent."""

    tenant: TenantId
    key_id: str = ""
    app: str = ""
    team: str = ""
    user: str = ""
    session: str = ""
    release: str = ""
    variant: str = ""
    parent: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """One place that can answer a virtual model: an upstream's name and the model as it is called there."""

    upstream: str
    model: str


@dataclass(frozen=True, kw_only=True, slots=True)
class VirtualModel:
    """A name that callers use, and the targets behind it in the order in which they are tried."""

    name: str
    kind: CallKind
    targets: tuple[Target, ...]
    cheaper: str = ""  # the virtual model that a budget falls back to
    cache: str = ""  # "off", "exact", "semantic", or as the policy says


@dataclass(kw_only=True, slots=True)
class Usage:
    """Tokens as the upstream counted them; `reported` False: estimated, since the upstream did not say."""

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0  # of the input, read from the provider's prompt cache
    reported: bool = False


@dataclass(kw_only=True, slots=True)
class Attempt:
    """One request to one upstream, for the call's span. `status` 0: there was no answer."""

    target: Target
    started_ns: int
    ended_ns: int = 0
    status: int = 0
    error: str = ""
    key: int = 0  # which of the upstream's keys, counted from 1
    usage: Usage | None = None  # what the upstream bills for it; None: nothing


@dataclass(kw_only=True, slots=True)
class Call:
    """One call at the model door, from its body to its span. Mutable; of one request.

    `body` is what the upstream will be sent, in OpenAI's shape; policies change it. Token counts, cost and attempts are
    filled in as they become known; `usage` is the sum of what was billed for all attempts.
    """

    id: str
    kind: CallKind
    caller: Caller
    asked: str  # the model's name as the caller gave it
    model: VirtualModel  # what stands behind it now; routing and budgets may change it
    body: dict[str, Any]
    streamed: bool
    started_ns: int
    no_cache: bool = False  # the caller asked for a fresh answer
    n_input_characters: int = 0  # of all messages; tokens are estimated from it before the upstream counts them
    policy_ms: dict[str, float] = field(default_factory=dict)
    flags: list[str] = field(default_factory=list)
    masked: dict[str, int] = field(default_factory=dict)  # entity -> how many values
    cache: CacheOutcome = CacheOutcome.OFF
    state: dict[str, Any] = field(default_factory=dict)  # what a policy keeps from `before` to `done`, by its name
    # What came of it:
    attempts: list[Attempt] = field(default_factory=list)
    answered_by: Target | None = None
    provider: str = ""  # openai, azure.ai.openai, anthropic: as the GenAI conventions name it
    fallback_reason: str = ""
    usage: Usage = field(default_factory=Usage)
    cost_usd: float | None = None  # of all attempts that were billed; None: nobody knows the price
    response_id: str = ""
    response_model: str = ""
    finish_reasons: list[str] = field(default_factory=list)
    output: list[dict[str, Any]] = field(default_factory=list)  # masked messages of the answer, for the span
    simulated: bool = False
    first_token_ns: int = 0
    upstream_ns: int = 0  # time spent waiting for upstreams
    ended_ns: int = 0
    status: int = 0  # what the caller was answered
    refused: str = ""  # a policy's code
    error: str = ""  # error.type of the span
    error_message: str = ""
    aborted: bool = False  # the caller went away


@dataclass(kw_only=True, slots=True)
class Answer:
    """A whole answer in OpenAI's shape. `from_cache`: no upstream was asked."""

    body: dict[str, Any]
    from_cache: bool = False
