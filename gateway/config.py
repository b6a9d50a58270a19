"""What the YAML file of the gateway may say: one frozen model per section. `gateway/config_file.py` reads it.

Every field is documented in docs/gateway-config.md, and the JSON schema is made from these models.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from core.records import PiiEntity
from gateway.policies.content_rules import compiled, folded
from gateway.records import CallKind, Target, VirtualModel

NAME: Final = r"[A-Za-z0-9][A-Za-z0-9._:@-]{0,99}"
Name = Annotated[str, Field(pattern=rf"^{NAME}$", description="letters, digits, '.', '_', ':', '@', '-'; at most 100")]
Seconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]
Usd = Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, le=10**9)]


class Section(BaseModel):
    """A part of the file: unknown keys are problems, values never change."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


def plain_url(value: str) -> str:
    """An address without the slash at its end. Raises ValueError."""
    if not re.match(r"https?://[^/@\s?#]+(/[^\s?#]*)?\Z", value):
        raise ValueError("write http:// or https://, host and path, without user, query or fragment")
    return value.rstrip("/")


class WireName(StrEnum):
    """How an upstream is spoken to."""

    OPENAI = "openai"
    AZURE = "azure"
    ANTHROPIC = "anthropic"


class BreakerConfig(Section):
    """After `failures` within `window_s` an upstream is left alone for `open_s`; then one call tries it."""

    failures: Count = 5
    window_s: Seconds = 30.0
    open_s: Seconds = 20.0


class UpstreamConfig(Section):
    """One provider. `keys` are used in turn. Times in seconds; `idle_timeout_s` is between two pieces of a stream.

    `baggage`: whether it is told session, user and release in W3C baggage; None: only an upstream on loopback is.
    """

    wire: WireName = WireName.OPENAI
    base_url: str
    keys: tuple[SecretStr, ...] = ()
    api_version: str = ""
    timeout_s: Seconds = 60.0
    connect_timeout_s: Seconds = 5.0
    idle_timeout_s: Seconds = 30.0
    retries: Annotated[int, Field(ge=0, le=10)] = 2
    max_in_flight: Count = 256
    max_answer_bytes: Annotated[int, Field(ge=1024, le=1 << 30)] = 32 << 20
    breaker: BreakerConfig = BreakerConfig()
    baggage: bool | None = None

    @field_validator("base_url")
    @classmethod
    def _plain_url(cls, value: str) -> str:
        return plain_url(value)

    @model_validator(mode="after")
    def _azure_needs_a_version(self) -> UpstreamConfig:
        if self.wire is WireName.AZURE and not self.api_version:
            raise ValueError("an azure upstream needs api_version, such as 2024-10-21")
        return self


class TargetConfig(Section):
    """A place that can answer a virtual model."""

    upstream: Name
    model: Annotated[str, Field(min_length=1, max_length=200)]


class ModelConfig(Section):
    """A virtual model: targets are tried in order."""

    targets: Annotated[tuple[TargetConfig, ...], Field(min_length=1, max_length=20)]
    kind: CallKind = CallKind.CHAT
    cheaper: Name | None = None
    cache: Literal["off", "exact", "semantic"] | None = None
    tenants: tuple[str, ...] = ()  # who may use it; empty: everybody


class LimitScope(StrEnum):
    """What a limit counts together."""

    TENANT = "tenant"
    APP = "app"
    USER = "user"
    KEY = "key"


class LimitConfig(Section):
    """At most so many requests and tokens a minute, for every tenant (app, user, key) that `match` names."""

    scope: LimitScope
    match: str = "*"
    tenant: str = "*"
    requests_per_minute: Count | None = None
    tokens_per_minute: Count | None = None

    @model_validator(mode="after")
    def _limits_something(self) -> LimitConfig:
        if self.requests_per_minute is None and self.tokens_per_minute is None:
            raise ValueError("a limit needs requests_per_minute, tokens_per_minute or both")
        return self


class BudgetScope(StrEnum):
    """What a budget counts together."""

    TENANT = "tenant"
    APP = "app"
    USER = "user"
    TEAM = "team"


class WhenSpent(StrEnum):
    """What happens when a budget is spent."""

    WARN = "warn"
    DOWNGRADE = "downgrade"
    REFUSE = "refuse"


class BudgetConfig(Section):
    """So much money a day or a month (UTC), for every tenant (app, user, team) that `match` names."""

    name: Name
    scope: BudgetScope
    match: str = "*"
    tenant: str = "*"
    period: Literal["day", "month"] = "month"
    limit_usd: Usd
    warn_at: Share = 0.8
    then: WhenSpent = WhenSpent.REFUSE


class MaskingConfig(Section):
    """Personal information is replaced before the model sees it, and put back in its answer."""

    mode: Literal["mask", "off"] = "mask"
    entities: tuple[PiiEntity, ...] = tuple(PiiEntity)
    output: Literal["pass", "mask"] = "pass"
    off_for_tenants: tuple[str, ...] = ()


class ContentRule(Section):
    """One rule about what may be said: words, a pattern or kinds of personal information."""

    name: Name
    on: Literal["input", "output", "both"] = "input"
    tenant: str = "*"
    words: tuple[Annotated[str, Field(min_length=1, max_length=200)], ...] = ()
    pattern: Annotated[str, Field(max_length=1000)] | None = None
    entities: tuple[PiiEntity, ...] = ()
    then: Literal["refuse", "flag", "redact"] = "refuse"
    message: Annotated[str, Field(max_length=500)] = ""

    @model_validator(mode="after")
    def _looks_for_something(self) -> ContentRule:
        if not (self.words or self.pattern or self.entities):
            raise ValueError("a content rule needs words, pattern or entities")
        return self

    @field_validator("words")
    @classmethod
    def _words_can_be_found(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if empty := [word for word in value if not folded(word).strip()]:
            raise ValueError(f"there is nothing to look for in the word {empty[0]!r}")
        return value

    @field_validator("pattern")
    @classmethod
    def _pattern_is_linear(cls, value: str | None) -> str | None:
        if value is not None and compiled(value).search(b""):
            raise ValueError("the pattern matches the empty text, and so every call")
        return value


class SemanticConfig(Section):
    """A question counts as asked before when an earlier one is at least this similar."""

    threshold: Annotated[float, Field(ge=0.5, le=1)] = 0.9


class CacheConfig(Section):
    """Answers are kept by tenant, in memory, for `ttl_s`."""

    exact: bool = True
    semantic: SemanticConfig | None = None
    ttl_s: Seconds = 600.0
    max_mb: Annotated[int, Field(ge=1, le=4096)] = 32
    max_temperature: Annotated[float, Field(ge=0, le=2)] = 0.3


class RoutingConfig(Section):
    """A virtual model that stands for two: easy calls go to `simple`, others to `complex`."""

    simple: Name
    complex: Name
    threshold: Share = 0.4


class RepairConfig(Section):
    """Structured output that is not quite JSON is mended."""

    enabled: bool = True


class PoliciesConfig(Section):
    """The chain. A section that is not there is a policy that does nothing, but for masking, which is on."""

    limits: tuple[LimitConfig, ...] = ()
    budgets: tuple[BudgetConfig, ...] = ()
    masking: MaskingConfig = MaskingConfig()
    content: tuple[ContentRule, ...] = ()
    cache: CacheConfig | None = None
    routing: dict[Name, RoutingConfig] = {}
    repair: RepairConfig = RepairConfig()


class PriceConfig(Section):
    """USD per million tokens; `cached` of the input that a provider read from its cache."""

    input_usd_per_mtok: Annotated[float, Field(ge=0, le=1e6)]
    output_usd_per_mtok: Annotated[float, Field(ge=0, le=1e6)] = 0.0
    cached_usd_per_mtok: Annotated[float, Field(ge=0, le=1e6)] | None = None


class TeamConfig(Section):
    """Whom a team's spending comes from: apps by name, keys by id."""

    apps: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()


class SpansConfig(Section):
    """What a call's span says of its content: the masked messages, or nothing."""

    content: Literal["masked", "none"] = "masked"


class SessionsConfig(Section):
    """An app behind the session door. `releases` are addresses by name, used where the plan names none.

    `key` is shown to the addresses that stand here, and to no other that a plan names.
    """

    baseline: Name
    releases: dict[Name, str] = {}
    key: SecretStr | None = None
    tenants: tuple[str, ...] = ()  # who may use it; empty: everybody
    plan_endpoints: bool = True  # whether sessions go to addresses that only a plan names
    fallback_to_baseline: bool = False
    timeout_s: Seconds = 300.0  # between two pieces of an answer
    connect_timeout_s: Seconds = 5.0

    @field_validator("releases")
    @classmethod
    def _plain_urls(cls, value: dict[str, str]) -> dict[str, str]:
        return {name: plain_url(url) for name, url in value.items()}

    @model_validator(mode="after")
    def _knows_the_baseline(self) -> SessionsConfig:
        if self.releases and self.baseline not in self.releases:
            raise ValueError(f"the baseline {self.baseline!r} is none of the releases")
        return self


class GatewayConfig(Section):
    """The whole file."""

    version: Literal[1] = 1
    upstreams: dict[Name, UpstreamConfig] = {}
    models: dict[Name, ModelConfig] = {}
    policies: PoliciesConfig = PoliciesConfig()
    teams: dict[Name, TeamConfig] = {}
    prices: dict[Annotated[str, Field(min_length=1, max_length=200)], PriceConfig] = {}
    spans: SpansConfig = SpansConfig()
    sessions: dict[Name, SessionsConfig] = {}
    max_body_bytes: Annotated[int, Field(ge=1024, le=1 << 30)] = 24 << 20
    max_open_bytes: Annotated[int, Field(ge=1024, le=1 << 32)] = 96 << 20  # of all bodies at once, a tenant half; 503
    body_timeout_s: Seconds = 60.0  # until a request's body is whole; 408
    send_timeout_s: Seconds = 60.0  # a caller who reads nothing of a stream for so long is given up

    @model_validator(mode="after")
    def _names_are_known(self) -> GatewayConfig:
        """Raises ValueError with one line per problem, each beginning with the path of what is to blame."""
        problems = [
            f"models.{name}.targets.{number}.upstream: there is no upstream {target.upstream!r}"
            for name, model in self.models.items()
            for number, target in enumerate(model.targets)
            if target.upstream not in self.upstreams
        ]
        problems += self._unknown_cheaper() + self._unfit_cheaper() + self._unknown_routes() + self._twice()
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def _unknown_cheaper(self) -> list[str]:
        to = {name: model.cheaper for name, model in self.models.items()}
        problems = []
        for name in to:
            seen, now = [name], to[name]
            while now is not None and now in self.models and now not in seen:
                seen.append(now)
                now = to[now]
            if now in seen:
                problems.append(f"models.{name}.cheaper: goes in a circle: {' -> '.join([*seen, str(now)])}")
            elif now is not None and len(seen) == 1:
                problems.append(f"models.{name}.cheaper: there is no model {now!r}")
        return problems

    def _unfit_cheaper(self) -> list[str]:
        problems = []
        for name, model in self.models.items():
            cheaper = self.models.get(model.cheaper or "")
            if cheaper is None:
                continue
            at = f"models.{name}.cheaper: {model.cheaper!r}"
            if cheaper.kind is not model.kind:
                problems.append(f"{at} answers {cheaper.kind.value}, not {model.kind.value}")
            if cheaper.tenants and not set(model.tenants or ("",)) <= set(cheaper.tenants):
                problems.append(f"{at} is not for all tenants that may use {name!r}")
        return problems

    def _twice(self) -> list[str]:
        problems = []
        for part, rules in (("budgets", self.policies.budgets), ("content", self.policies.content)):
            names = [rule.name for rule in rules]
            problems += [
                f"policies.{part}.{n}.name: there is a rule {name!r} above already"
                for n, name in enumerate(names)
                if name in names[:n]
            ]
        return problems

    def _unknown_routes(self) -> list[str]:
        problems = []
        for name, rule in self.policies.routing.items():
            at = f"policies.routing.{name}"
            parts = {"simple": rule.simple, "complex": rule.complex}
            problems += [
                f"{at}.{part}: there is no model {to!r}" for part, to in parts.items() if to not in self.models
            ]
            kinds = [self.models[to].kind.value for to in parts.values() if to in self.models]
            if len(set(kinds)) > 1:
                problems.append(f"{at}: {rule.simple!r} answers {kinds[0]}, and {rule.complex!r} {kinds[1]}")
            if name in self.models:
                problems.append(f"{at}: a model has this name already")
        return problems

    def virtual_models(self) -> dict[str, VirtualModel]:
        """The models by name, as calls carry them; routed names are not among them."""
        return {
            name: VirtualModel(
                name=name,
                kind=model.kind,
                targets=tuple(Target(upstream=t.upstream, model=t.model) for t in model.targets),
                cheaper=model.cheaper or "",
                cache=model.cache or "",
            )
            for name, model in self.models.items()
        }


def schema() -> dict[str, Any]:
    """The JSON schema of the file."""
    return GatewayConfig.model_json_schema()
