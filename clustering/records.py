"""What the parts of the room hand to one another: parameters of a run, clusters found, and who a cluster is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from hashlib import sha256
from json import dumps
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

NOISE: Final = -1

Vectors = NDArray[np.float32]  # (n, d), a row an embedding
Labels = NDArray[np.int32]  # (n,), NOISE or 0..k-1
Progress = Callable[[str, int, int], None]  # stage, done, total; raises Cancelled to end the work


class Method(StrEnum):
    """How vectors become clusters."""

    AUTO = "auto"  # by the number of vectors: which is measured in docs/clusters.md
    UMAP_HDBSCAN = "umap_hdbscan"
    EVOC = "evoc"


class State(StrEnum):
    """What became of a cluster since the run before."""

    BORN = "born"
    CONTINUED = "continued"
    GROWN = "grown"
    SPLIT = "split"
    MERGED = "merged"
    DIED = "died"
    FIXED = "fixed"
    REGRESSED = "regressed"


@dataclass(frozen=True, kw_only=True)
class Weights:
    """How much each facet of a session counts for its place; 0 leaves it out.

    The outcome holds signs, and is empty for most: two sessions with one sign and tasks that differ are to be nearer to
    each other than to sound sessions of their tasks, which needs more weight than the other two have together.
    """

    intent: float = 1.0
    actions: float = 1.0
    outcome: float = 4.0


@dataclass(frozen=True, kw_only=True)
class Params:
    """All that decides what a run finds beside its sessions; recorded with it.

    `min_cluster_size` None: by the number of sessions. `reassign` gives noise to the cluster of its neighbours where
    their agreement is at least `reassign_at`.
    """

    embedder: str = "auto"
    weights: Weights = field(default_factory=Weights)
    method: Method = Method.AUTO
    n_neighbors: int = 15
    n_components: int = 10
    min_cluster_size: int | None = None
    min_samples: int | None = None
    reassign: bool = False
    reassign_at: float = 0.5
    n_resamples: int = 10
    seed: int = 0

    @property
    def digest(self) -> str:
        """The first 16 hex digits of SHA-256 over the canonical JSON of all parameters."""
        return sha256(dumps(asdict(self), sort_keys=True, separators=(",", ":")).encode()).hexdigest()[:16]

    def as_json(self) -> dict[str, Any]:
        """A plain object, as runs keep it."""
        return {**asdict(self), "method": self.method.value}


@dataclass(frozen=True, kw_only=True)
class Clustered:
    """Vectors with their clusters.

    `labels` (n,) are the density's own word; `given` (n,) the same with noise reassigned, where that was asked for;
    `confidence` (n,) in [0, 1] of `given` (0 for noise); `used` are the parameters that `None` and `auto` became.
    """

    labels: Labels
    given: Labels
    confidence: NDArray[np.float32]
    used: Mapping[str, Any]

    @property
    def n_clusters(self) -> int:
        """How many there are."""
        return int(self.labels.max(initial=NOISE)) + 1

    @property
    def n_noise(self) -> int:
        """How many are in no cluster as they are `given`: what is written, and counted of a run."""
        return int((self.given == NOISE).sum())

    @property
    def noise_share(self) -> float:
        """The share of vectors in no cluster before any reassignment."""
        return float(np.mean(self.labels == NOISE)) if self.labels.size else 0.0


class Cancelled(Exception):
    """The run was told to end."""
