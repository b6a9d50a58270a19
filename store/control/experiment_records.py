"""Experiments as the control database keeps them: what was registered, and how it stands.

What a definition says is plain JSON here: the room `experiments` gives it its meaning.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from core.ids import TenantId

DRAFT: Final = "draft"
RUNNING: Final = "running"
STOPPED: Final = "stopped"


@dataclass(frozen=True, kw_only=True)
class LookRecord:
    """What the last look at an experiment said."""

    word: str
    headline: str
    n_units: int
    at_ns: int


@dataclass(frozen=True, kw_only=True)
class ExperimentRecord:
    """One version of an experiment.

    `definition` never changes, nor does its `digest`. `ramps`: from when (ns) which share of its units took part, in
    the order of time; none before the start. `overrides`: hash of a unit (experiments/splits.py, hash_of, under
    `override_key`) -> variant, None for one that is placed by hash again; all of them are testers, who never count.
    """

    tenant: TenantId
    name: str
    version: int
    app: str
    definition: Mapping[str, Any]
    digest: str
    made_by: str = ""
    made_at_ns: int = 0
    status: str = DRAFT
    ramps: tuple[tuple[int, float], ...] = ()
    started_at_ns: int | None = None
    started_by: str | None = None
    stopped_at_ns: int | None = None
    stopped_by: str | None = None
    reason: str | None = None
    look: LookRecord | None = None
    overrides: Mapping[str, str | None] = field(default_factory=dict)
    override_key: str = field(default="", repr=False)

    @property
    def coverage(self) -> float:
        """The share of its units that takes part now."""
        return self.ramps[-1][1] if self.ramps else 0.0

    @property
    def is_over_releases(self) -> bool:
        """Whether the gateway sends its units to releases, which a rollout of the app would do, too."""
        return self.definition.get("assigned_by") == "gateway"


@dataclass(frozen=True, kw_only=True)
class LiveExperiment:
    """A running experiment over releases, and where these are (None: nobody said)."""

    record: ExperimentRecord
    endpoints: Mapping[str, str | None]
