"""The residual buffer clustered again: the only way in which new sessions found a cluster between full runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from clustering.lineage_records import Known, Lineage, Look, Matching
from clustering.records import Labels, Vectors

Cluster = Callable[[Vectors], Labels]  # the density's labels of (n, d) vectors


@dataclass(frozen=True, kw_only=True)
class Settled:
    """`given` (n,): each waiting session's cluster id, None while it waits on. `lineage`: clusters born or come back;
    `joined`: how many sessions joined a living cluster at whose rim they lay."""

    given: list[str | None]
    lineage: Lineage
    joined: int

    @property
    def n_waiting(self) -> int:
        """How many wait on."""
        return sum(one is None for one in self.given)


def settle(
    vectors: Vectors, sessions: Sequence[str], *, failed: Sequence[bool | None], known: Sequence[Known],
    cluster: Cluster, look: Look, next_number: int, least: int, params: Matching | None = None,
) -> Settled:  # fmt: skip
    """Clusters the n waiting sessions, where at least `least` (2 x min_cluster_size) wait.

    A cluster whose centroid lies near that of a living one of the same space (similarity >= tau) is the rim that its
    95% radius cut off: its sessions join it. The others are matched to ended clusters, or born.
    """
    raise NotImplementedError
