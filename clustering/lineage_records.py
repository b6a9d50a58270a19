"""What lineage reads and answers: clusters of the registry, clusters just found, where each stands after the run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from clustering.records import State, Weights

DAY_NS: Final = 86_400 * 10**9

Centroid = NDArray[np.float32]  # (d,), of length 1, or all zero where no member has a vector


class Failure(NamedTuple):
    """How many sessions failed, of how many whose outcome is known."""

    n_failed: int = 0
    n_known: int = 0


UNKNOWN: Final = Failure()  # of no session it is known whether it failed


@dataclass(frozen=True, kw_only=True, eq=False)
class Known:
    """A cluster of the registry as its last run left it, ended ones too: they may come back.

    `embedder`: the space of its centroid (`space_of`). `members`: its sessions that lie in this run's window, by their
    newest membership. `n` sessions of the `of` sessions in the run that found it last, at `last_run_ns` (that run's
    look). `excess`: by how much its failure rate was above the rest's when it was last called failing; None: it is not.
    `held`: in so many runs in a row, up to that one, it was not found by itself and held (clustering/holding.py).
    """

    cluster_id: str
    embedder: str
    centroid: Centroid
    radius: float
    members: frozenset[str]
    state: State
    n: int
    of: int
    failure: Failure = UNKNOWN
    last_run_ns: int
    alive: bool = True
    excess: float | None = None
    held: int = 0


@dataclass(frozen=True, kw_only=True, eq=False)
class Found:
    """A cluster of this run. `n_new` of its sessions began since the run before (0 in the first run). `held`: it was
    not found by itself, and is held."""

    label: int
    centroid: Centroid
    radius: float
    members: frozenset[str]
    n: int
    failure: Failure = UNKNOWN
    n_new: int = 0
    held: bool = False


@dataclass(frozen=True, kw_only=True)
class Look:
    """The run itself: `n` sessions that began in [start_ns, at_ns), `n_new` of them since the look of the run before
    (`since_ns`; 0 in the first run), and how many of all failed. `embedder`: the space of its vectors (`space_of`).

    Of a clustering of the residual buffer too, these are figures of the whole window.
    """

    at_ns: int
    start_ns: int
    embedder: str
    n: int
    since_ns: int = 0
    n_new: int = 0
    failure: Failure = UNKNOWN


@dataclass(frozen=True, kw_only=True)
class Matching:
    """The bars of lineage; docs/clusters-lineage.md says why each has its default.

    `tau`: least similarity at which a cluster found is one known. `least_shared`: fewer sessions than these say nothing
    of overlap. `split_share`: least share of the parent's sessions that a part holds. `merge_share`: least share of an
    absorbed cluster's sessions that went the same way. `least_radius`: cosine distance below which radii do not count.
    `momentum`: weight of the old centroid and radius in the new. `alpha`: false growth, as a rate among what is called
    grown. `least_growth`: ratio of rates below which growth is not worth the word. `forgotten_ns`: not found for so
    long is died, whatever the traffic. `held_runs`: in so many runs in a row a cluster that is not found by itself is
    held.
    """

    tau: float = 0.5
    least_shared: int = 5
    split_share: float = 0.2
    merge_share: float = 0.5
    least_radius: float = 0.05
    momentum: float = 0.5
    alpha: float = 0.05
    least_growth: float = 1.25
    forgotten_ns: int = 28 * DAY_NS
    held_runs: int = 2


@dataclass(frozen=True, kw_only=True)
class Event:
    """One row of a cluster's lineage. `others`: those it came from or went to. `text` says it with both numbers."""

    cluster_id: str
    kind: State
    at_ns: int
    n: int
    failure: Failure
    others: tuple[str, ...] = ()
    text: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Standing:
    """A cluster after the run, as the registry keeps it: what `Known` is made of next time.

    `label`: which found cluster it is; None where this run has not found it (then n, of, failure, last_run_ns, centroid
    and radius are as they were). `alive`: new sessions may be assigned to it. `similarity` to what it was, None when
    born or not found.
    """

    cluster_id: str
    label: int | None
    state: State
    alive: bool
    embedder: str
    centroid: Centroid
    radius: float
    n: int
    of: int
    failure: Failure
    last_run_ns: int
    excess: float | None
    similarity: float | None = None
    held: int = 0


@dataclass(frozen=True, kw_only=True)
class Lineage:
    """All of a run: standings by cluster id, its events, `given` from labels to ids, and the next free number.

    `dispersion`: variance of log ratios of rates beyond chance that the test of growth allowed for.
    """

    standings: tuple[Standing, ...]
    events: tuple[Event, ...]
    given: Mapping[int, str] = field(default_factory=dict)
    next_number: int
    dispersion: float


def space_of(version: str, weights: Weights) -> str:
    """The name of a vector space: an embedder's version and the weights of the facets. Only within it do centroids
    compare."""
    return f"{version} {weights.intent:g}:{weights.actions:g}:{weights.outcome:g}"


def id_of(number: int) -> str:
    """A cluster's id by its number, which a tenant counts up and never again down: C-0042."""
    return f"C-{number:04d}"
