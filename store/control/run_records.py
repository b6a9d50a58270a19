"""Evaluation runs as the control database keeps them: the run, and its trials."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from core.ids import TenantId


class RunSource(StrEnum):
    """Where outputs come from: a release is asked, traces are stored already, or a file has them."""

    RELEASE = "release"
    TRACES = "traces"
    FILE = "file"


class RunStatus(StrEnum):
    """WAITING: nobody works on it yet. FAILED: the run could not go on, and says why; a failed trial fails no run."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        """Whether nothing will change any more."""
        return self in (RunStatus.DONE, RunStatus.FAILED, RunStatus.CANCELLED)


class TrialStatus(StrEnum):
    """CALLING: a call may be under way or paid. DONE and FAILED are never asked again."""

    WAITING = "waiting"
    CALLING = "calling"
    DONE = "done"
    FAILED = "failed"

    @property
    def ended(self) -> bool:
        """Whether it has its output, or the reason why there is none."""
        return self in (TrialStatus.DONE, TrialStatus.FAILED)


@dataclass(frozen=True, kw_only=True)
class RunSpec:
    """What is run. `evaluators` are name@version; `k` trials of each example; `params` say how (docs/runs.md)."""

    app: str
    release: str
    dataset: str
    dataset_version: int
    content_hash: str
    evaluators: tuple[str, ...]
    k: int
    source: RunSource
    params: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """A run and how far it is. `cost_usd` sums what is known of its trials, `n_scored` counts trials whose scores are
    in the lake, `summary` has the figures by metric once it is done, `reason` says why it failed or was cancelled."""

    tenant: TenantId
    run_id: str
    spec: RunSpec
    status: RunStatus
    n_trials: int
    n_done: int = 0
    n_failed: int = 0
    n_scored: int = 0
    cost_usd: float = 0.0
    created_at_ns: int
    created_by: str
    started_at_ns: int | None = None
    finished_at_ns: int | None = None
    reason: str | None = None
    summary: Mapping[str, Any] | None = None


@dataclass(frozen=True, kw_only=True)
class TrialRecord:
    """One trial of an example. `detail` holds turns, tool calls and what else the source told, as plain JSON; `user_id`
    is whose content it is, for erasure; `n_calls` counts requests that were sent, `position` orders a run's trials."""

    run_id: str
    example_id: str
    trial: int
    position: int
    session_id: str
    status: TrialStatus = TrialStatus.WAITING
    stratum: str | None = None
    user_id: str | None = None
    trace_ids: tuple[str, ...] = ()
    output: str | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_usd: float | None = None
    latency_ms: float | None = None
    n_calls: int = 0
    error: str | None = None
    scored: bool = False
    started_at_ns: int | None = None
    finished_at_ns: int | None = None
