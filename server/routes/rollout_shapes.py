"""What the routes of rollouts take and answer."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

from experiments.canary.records import GuardrailKind
from experiments.records import Better, UnitKind
from server.routes.scores import Name

Share = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]
Seconds = Annotated[float, Field(ge=0, le=365 * 86_400, allow_inf_nan=False)]
Units = Annotated[int, Field(ge=0, le=1_000_000_000)]
Reason = Annotated[str, Field(min_length=1, max_length=2000)]


class WantedStep(BaseModel):
    """A canary step. `weight` is the candidate's share of sessions; `proves` null: the last step below 1 does."""

    model_config = ConfigDict(extra="forbid")

    weight: Share
    min_units: Units = 20
    bake_s: Seconds = 1800.0
    proves: bool | None = None


class WantedGuardrail(BaseModel):
    """A guardrail; what is not said is as docs/rollouts.md says of its name."""

    model_config = ConfigDict(extra="forbid")

    name: Name
    kind: GuardrailKind | None = None
    better: Better | None = None
    margin: Annotated[float, Field(ge=1e-6, lt=1)] | None = None
    alpha_share: Annotated[float, Field(ge=1e-6, le=1e6)] | None = None
    tolerated: Annotated[int, Field(ge=0, le=1_000_000)] | None = None


# Told apart before they are read, so that what is wrong with one is told of what it was meant to be.
NamedOrWanted = Annotated[
    Annotated[Name, Tag("name")] | Annotated[WantedGuardrail, Tag("guardrail")],
    Discriminator(lambda given: "name" if isinstance(given, str) else "guardrail"),
]


class WantedRequires(BaseModel):
    """What has to be there before the first step."""

    model_config = ConfigDict(extra="forbid")

    gate: bool = False
    checks: Annotated[list[Name], Field(max_length=50)] = []
    approval: bool = False


class Bypass(BaseModel):
    """Why nothing is tested."""

    model_config = ConfigDict(extra="forbid")

    reason: Reason


class WantedRollout(BaseModel):
    """A rollout to begin. `weights` with `bake_s` and `min_units`, or `steps`. `guardrails` are added to the default
    ones, or take the place of one of their name; `without` leaves some out. `endpoint_elsewhere`: the gateway's file
    says where the candidate is. `dry_run` says what would be and changes nothing."""

    model_config = ConfigDict(extra="forbid")

    app: Name
    candidate: Name
    baseline: Name | None = None
    weights: Annotated[list[float], Field(min_length=1, max_length=50)] | None = None
    bake_s: Seconds = 1800.0
    min_units: Units = 20
    steps: Annotated[list[WantedStep], Field(min_length=1, max_length=50)] | None = None
    guardrails: Annotated[list[NamedOrWanted], Field(max_length=20)] = []
    without: Annotated[list[Name], Field(max_length=20)] = []
    alpha: Annotated[float, Field(ge=0.0001, le=0.2)] = 0.05
    mature_s: Seconds = 60.0
    max_missing_share: Annotated[float, Field(ge=0, lt=1)] = 0.1
    unit: UnitKind = UnitKind.SESSION
    requires: WantedRequires = WantedRequires()
    bypass: Bypass | None = None
    endpoint_elsewhere: bool = False
    dry_run: bool = False


class WantedAct(BaseModel):
    """What is done to a rollout, and why."""

    model_config = ConfigDict(extra="forbid")

    reason: Reason | None = None


class WantedCheck(BaseModel):
    """A check's outcome. `release` null: the candidate of the app's open rollout. `link`: where its evidence is."""

    model_config = ConfigDict(extra="forbid")

    name: Name
    passed: bool
    release: Name | None = None
    note: Annotated[str, Field(max_length=2000)] = ""
    link: Annotated[str, Field(max_length=1000, pattern=r"^https?://[^\s]+$")] | None = None


class WantedVerdict(BaseModel):
    """Certificates of one rollout, oldest first."""

    model_config = ConfigDict(extra="forbid")

    certificates: Annotated[list[dict[str, Any]], Field(min_length=1, max_length=200)]


class RolloutListed(BaseModel):
    """A rollout without its evidence. `step` counts from 0; null before the first."""

    id: str
    app: str
    baseline: str
    candidate: str
    status: str
    step: int | None
    steps: list[dict[str, Any]]
    reasons: list[str]
    requires: dict[str, Any]
    started_at: str
    ended_at: str | None
    started_by: str
    bypass: str | None


class Rollouts(BaseModel):
    """Rollouts, newest first."""

    items: list[RolloutListed]
    next_cursor: None = None


class Rollout(RolloutListed):
    """A rollout with its evidence; the figures are those of docs/rollouts.md."""

    guardrails: list[dict[str, Any]]
    series: list[dict[str, Any]]
    timeline: list[dict[str, Any]]
    policy: dict[str, Any]
    policy_hash: str
    approved_by: str | None
    n_certificates: int


class Deployed(Rollout):
    """What was begun, or with `dry_run` would be. `warnings`: what may go wrong, in words."""

    dry_run: bool
    warnings: list[str]


class Check(BaseModel):
    """What was reported of a check."""

    app: str
    release: str
    name: str
    number: int
    passed: bool
    note: str
    link: str | None
    made_by: str
    made_at: str


class Checks(BaseModel):
    """Everything reported, by name, newest first."""

    items: list[Check]
    next_cursor: None = None


class CertificateListed(BaseModel):
    """A certificate by its number within the rollout."""

    number: int
    at: str
    digest: str
    decision: str
    step: int


class Certificates(BaseModel):
    """The certificates of a rollout, oldest first."""

    rollout: str
    items: list[CertificateListed]
    next_cursor: None = None


class Verdict(BaseModel):
    """Whether certificates hold, and what is wrong with them."""

    ok: bool
    n_certificates: int
    problems: list[str]
