"""Rollouts as the control database keeps them: frozen copies, and what a change of one consists of.

What policy and state say is for experiments/rollouts/ to know; here they are JSON objects.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from core.ids import TenantId
from store.control.records import PlanSpec

Json = Mapping[str, Any]


class RolloutStatus(StrEnum):
    """Where a rollout stands. Waiting: for what it needs before its first step. Rolled back is for ever: the same
    release of the app is never rolled out again."""

    WAITING = "waiting"
    RUNNING = "running"
    PAUSED = "paused"
    PROMOTED = "promoted"
    ROLLED_BACK = "rolled_back"
    ABORTED = "aborted"

    @property
    def ended(self) -> bool:
        """Whether nothing follows."""
        return self in (RolloutStatus.PROMOTED, RolloutStatus.ROLLED_BACK, RolloutStatus.ABORTED)


@dataclass(frozen=True, kw_only=True)
class RolloutRecord:
    """A rollout. `revision` counts its changes; `owner` is the server process that looks after it, until the lease is
    over."""

    tenant: TenantId
    rollout_id: str
    app: str
    baseline: str
    candidate: str
    status: RolloutStatus
    policy: Json
    policy_hash: str
    state: Json
    revision: int = 1
    n_blocks: int = 0
    n_events: int = 0
    n_certificates: int = 0
    started_by: str = ""
    started_key: str | None = None
    started_at_ns: int = 0
    ended_at_ns: int | None = None
    owner: str | None = None
    lease_until_ns: int | None = None


@dataclass(frozen=True, kw_only=True)
class BlockRecord:
    """What was counted between two looks, by guardrail; never changed."""

    number: int
    at_ns: int
    step: int
    counts: Json


@dataclass(frozen=True, kw_only=True)
class EventRecord:
    """Something that happened to a rollout. `certificate`: the number of the one that it left."""

    number: int
    at_ns: int
    kind: str
    text: str
    made_by: str
    certificate: int | None = None


@dataclass(frozen=True, kw_only=True)
class CertificateRecord:
    """What an automatic action was made of, as JSON, with the digest that it says of itself."""

    number: int
    at_ns: int
    digest: str
    body: Json


@dataclass(frozen=True, kw_only=True)
class CheckRecord:
    """What somebody reported of a named check of a release; the newest of a name counts."""

    app: str
    release: str
    name: str
    passed: bool
    note: str = ""
    link: str | None = None
    number: int = 0
    made_by: str = ""
    made_at_ns: int = 0


@dataclass(frozen=True, kw_only=True)
class Happened:
    """An event to be written. `certified`: it is what the change's certificate is about."""

    kind: str
    text: str
    certified: bool = False


@dataclass(frozen=True, kw_only=True)
class RolloutMove:
    """A change of a rollout, all of it or nothing. `before` is the rollout as it was seen; `plan` what the gateway
    obeys from now on (None: as before); `block` the sums counted since the last look, of `step`."""

    before: RolloutRecord
    status: RolloutStatus
    state: Json
    plan: PlanSpec | None = None
    block: Json | None = None
    step: int = 0
    events: Sequence[Happened] = field(default_factory=tuple)
    certificate: Json | None = None
