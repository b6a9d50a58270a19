"""Clusters as the control database keeps them: runs, who each cluster is, what became of it, findings and watches.

What parameters, titles and figures mean is the room `clustering`'s; here they are plain JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from core.ids import TenantId
from core.windows import Window
from store.control.run_records import RunStatus


class Scope(StrEnum):
    """What a run clusters: every session of its window, or only those that fitted nowhere."""

    WINDOW = "window"
    WAITING = "waiting"


class AlertState(StrEnum):
    """PENDING: somebody is still to be told. SHOWN: no address was there to tell, so it stands on the page only."""

    PENDING = "pending"
    TOLD = "told"
    SHOWN = "shown"


@dataclass(frozen=True, kw_only=True)
class StageRecord:
    """One stage of a run: `done` of `total` steps in `seconds` until now. `total` 0: not known."""

    name: str
    done: int
    total: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class ClusterRunRecord:
    """A run and how far it is; the last of `stages` is under way. `used` is what `auto` and null of `params` became,
    `n_noise` counts the sessions that it put in no cluster, `n_tries` processes that worked on it."""

    tenant: TenantId
    run_id: str
    app: str
    start_ns: int
    end_ns: int
    params: Mapping[str, Any]
    params_hash: str
    scope: Scope = Scope.WINDOW
    failure: str | None = None
    status: RunStatus = RunStatus.WAITING
    stages: tuple[StageRecord, ...] = ()
    embedder: str | None = None
    used: Mapping[str, Any] = field(default_factory=dict)
    n_sessions: int | None = None
    n_clusters: int | None = None
    n_noise: int | None = None
    n_tries: int = 0
    peak_bytes: int | None = None
    asked_by: str = ""
    asked_at_ns: int = 0
    started_at_ns: int | None = None
    ended_at_ns: int | None = None
    error: str | None = None
    owner: str | None = None
    lease_until_ns: int | None = None

    @property
    def window(self) -> Window:
        """When its sessions began."""
        return Window(start_ns=self.start_ns, end_ns=self.end_ns)

    @property
    def noise_share(self) -> float | None:
        """Of its sessions; None before it is known, and where there was none."""
        return self.n_noise / self.n_sessions if self.n_sessions and self.n_noise is not None else None


@dataclass(frozen=True, kw_only=True)
class ClusterRecord:
    """Who a cluster is. Counts are those of the run that saw it last; `said` has its names and figures
    (clustering/service_run.py writes it), `standing` what the next run has to know of it (clustering/registry.py).

    `centroid` is float32 little-endian, of the space `embedder` only (clustering.lineage_records.space_of).
    """

    tenant: TenantId
    cluster_id: str
    app: str
    state: str
    embedder: str
    centroid: bytes
    n_sessions: int
    n_failed: int
    n_known: int
    said: Mapping[str, Any]
    standing: Mapping[str, Any]
    run_id: str
    first_seen_ns: int
    last_seen_ns: int
    born_at_ns: int
    changed_at_ns: int = 0

    @property
    def title(self) -> str:
        """What it is called."""
        return str(self.said.get("title") or self.cluster_id)


@dataclass(frozen=True, kw_only=True)
class ClusterEvent:
    """What became of a cluster in a run. `kind` is the state it got; `number` 0: not written yet."""

    cluster_id: str
    kind: str
    n_sessions: int
    n_failed: int
    n_known: int
    text: str
    others: tuple[str, ...] = ()
    number: int = 0
    at_ns: int = 0
    run_id: str = ""


@dataclass(frozen=True, kw_only=True)
class FindingRecord:
    """A cluster that is new or grows, as one day's look found it first; `body` as clustering/emerging says it."""

    tenant: TenantId
    cluster_id: str
    day: str
    app: str
    kind: str
    at_ns: int
    body: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class ClusterAppRecord:
    """How far an app's sessions were looked at since its last run over a window. `told` has moments and counts: of the
    last assignment, the last look at what waits, the last nightly run and the last look for what emerges."""

    tenant: TenantId
    app: str
    run_id: str
    marks: Mapping[int, int]
    told: Mapping[str, Any] = field(default_factory=dict)
    owner: str | None = None
    lease_until_ns: int | None = None


@dataclass(frozen=True, kw_only=True)
class WatchRecord:
    """Somebody wants to know when a cluster grows `min_ratio`-fold over how often it came when the watch began
    (`body`). `url` is told beside the addresses of the settings."""

    tenant: TenantId
    cluster_id: str
    min_ratio: float
    url: str | None
    body: Mapping[str, Any]
    made_by: str = ""
    made_at_ns: int = 0


@dataclass(frozen=True, kw_only=True)
class AlertRecord:
    """A watched cluster grew. `told` names who was told, each with None or the reason why it was left out."""

    tenant: TenantId
    cluster_id: str
    day: str
    app: str
    at_ns: int
    body: Mapping[str, Any]
    state: AlertState = AlertState.PENDING
    told: Mapping[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Concluded:
    """All that a finished run changes, written in one transaction: the run as it ended, its clusters, what became of
    each, and, of a run over a window, from where on new sessions are assigned."""

    run: ClusterRunRecord
    clusters: tuple[ClusterRecord, ...]
    events: tuple[ClusterEvent, ...]
    marks: Mapping[int, int] | None = None
    told: Mapping[str, Any] = field(default_factory=dict)
