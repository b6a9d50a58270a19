"""What the control database answers: frozen copies, never live rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from core.ids import KeyId, TenantId
from core.records import Counts, PiiPolicy, Role

Json = Mapping[str, object]


@dataclass(frozen=True, kw_only=True)
class TenantRecord:
    """A tenant and its choices. `retention_days` None keeps everything."""

    id: TenantId
    created_at_ns: int
    pii: PiiPolicy
    retention_days: int | None


@dataclass(frozen=True, kw_only=True)
class KeyRecord:
    """An API key as it is kept: the digest of its secret, never the secret."""

    key_id: KeyId
    tenant: TenantId
    role: Role
    name: str
    digest: bytes = field(repr=False)
    created_at_ns: int
    expires_at_ns: int | None = None
    revoked_at_ns: int | None = None
    last_used_at_ns: int | None = None

    def usable(self, now_ns: int) -> bool:
        """Whether the key is neither revoked nor expired at `now_ns`."""
        return self.revoked_at_ns is None and (self.expires_at_ns is None or now_ns < self.expires_at_ns)


@dataclass(frozen=True, kw_only=True)
class LedgerRow:
    """What became of everything one tenant sent of one signal."""

    tenant: TenantId
    signal: str
    counts: Counts

    @property
    def received(self) -> int:
        """Items that arrived."""
        return self.counts.received

    @property
    def stored(self) -> int:
        """Items that are in the lake."""
        return self.counts.stored

    @property
    def duplicate(self) -> int:
        """Items that were in the lake already."""
        return self.counts.duplicate

    @property
    def quarantined(self) -> int:
        """Items set aside with a reason."""
        return self.counts.quarantined

    @property
    def rejected(self) -> int:
        """Items the client was told are refused."""
        return self.counts.rejected


@dataclass(frozen=True, kw_only=True)
class AuditRecord:
    """One change: who did what to which thing. `seq` counts from 1 within the tenant."""

    tenant: TenantId
    seq: int
    at_ns: int
    actor: str
    actor_key_id: str | None
    action: str
    resource: str
    before: Json | None
    after: Json | None
    hash: str


@dataclass(frozen=True, kw_only=True)
class AuditHead:
    """The last link of a tenant's chain; kept elsewhere, it proves later that the tail was not cut."""

    seq: int
    hash: str


@dataclass(frozen=True, kw_only=True)
class AuditVerdict:
    """Whether a tenant's chain is whole. `first_bad_seq` and `reason` say where it breaks and how."""

    ok: bool
    n_records: int
    head: AuditHead | None
    first_bad_seq: int | None = None
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class ReleaseSpec:
    """What a release is: an immutable version of an app. None is what its author did not say."""

    app: str
    name: str
    variant: str | None = None
    model: str | None = None
    provider: str | None = None
    prompt_version: str | None = None
    parameters: Json = field(default_factory=dict)
    endpoint: str | None = None


@dataclass(frozen=True, kw_only=True)
class ReleaseRecord:
    """A registered release: what it is, who registered it and when."""

    tenant: TenantId
    spec: ReleaseSpec
    created_at_ns: int
    created_by: str


@dataclass(frozen=True, kw_only=True)
class PlanSpec:
    """How an app's sessions are split: a weight from 0 on for each release, the baseline among them; their sum need
    not be 1."""

    app: str
    baseline: str
    weights: Mapping[str, float]
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class PlanRecord:
    """One version of an app's plan, counted from 1. All versions have the same salt."""

    tenant: TenantId
    version: int
    spec: PlanSpec
    salt: str
    made_at_ns: int
    made_by: str


@dataclass(frozen=True, kw_only=True)
class LivePlan:
    """The plan that holds now, where its releases are reached, and as which variants they are registered (None:
    nobody said). `others`: where the app's other releases are, that the plan does not name."""

    plan: PlanRecord
    endpoints: Mapping[str, str | None]
    variants: Mapping[str, str | None] = field(default_factory=dict)
    others: Mapping[str, str] = field(default_factory=dict)


class ClaimState(StrEnum):
    """NEW: do the work. PENDING: somebody is at it. ABANDONED: somebody began it and died, and now it is yours: redo it
    with the same answer. DONE: give the answer."""

    NEW = "new"
    PENDING = "pending"
    ABANDONED = "abandoned"
    DONE = "done"


@dataclass(frozen=True, kw_only=True)
class Claim:
    """An idempotency key's answer and how far the work behind it is. `since_ns` is when its lease began, by which its
    owner names it."""

    state: ClaimState
    answer: str
    since_ns: int = field(default=0, compare=False)
