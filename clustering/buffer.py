"""The residual buffer clustered again: the only way in which new sessions found a cluster between full runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from clustering.incremental import shapes
from clustering.lineage import match
from clustering.lineage_records import Found, Known, Lineage, Look, Matching
from clustering.overlap import nearness
from clustering.records import NOISE, Labels, Vectors

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
    vectors: Vectors,
    sessions: Sequence[str],
    *,
    failed: Sequence[bool | None],
    known: Sequence[Known],
    cluster: Cluster,
    look: Look,
    next_number: int,
    least: int,
    params: Matching | None = None,
) -> Settled:
    """Clusters the n waiting sessions, where at least `least` (2 x min_cluster_size) wait.

    A cluster whose centroid lies near that of a living one of the same space (nearness >= tau) is the rim that its 95%
    radius cut off: its sessions join it, for a shell has the centroid of its ball. The others are matched to ended
    clusters by their centroids, or born. Nothing is said of living clusters: that fewer than all sessions are here is
    no news of them. `look` has the figures of the whole window.
    """
    bars = params or Matching()
    waits: list[str | None] = [None] * len(sessions)
    if len(sessions) < least:
        return Settled(given=waits, lineage=_nothing(next_number), joined=0)
    labels = cluster(vectors)
    found = shapes(vectors, labels, sessions, failed=failed, new=[True] * len(sessions))
    rims = _rims([one for one in known if one.alive], found, look, bars)
    ended = [replace(one, members=frozenset()) for one in known if not one.alive]
    apart = [one for one in found if one.label not in rims]
    lineage = match(ended, apart, look=look, next_number=next_number, params=bars)
    ids = {**rims, **lineage.given}
    return Settled(
        given=[None if label == NOISE else ids[int(label)] for label in labels],
        lineage=replace(lineage, standings=tuple(one for one in lineage.standings if one.label is not None)),
        joined=sum(one.n for one in found if one.label in rims),
    )


def _nothing(next_number: int) -> Lineage:
    return Lineage(standings=(), events=(), given={}, next_number=next_number, dispersion=0.0)


def _rims(living: Sequence[Known], found: Sequence[Found], look: Look, params: Matching) -> dict[int, str]:
    """Labels of found clusters that are the rim of a living one, with its id."""
    if not living or not found:
        return {}
    near = nearness(living, found, look.embedder, params)
    rims = {}
    for column, one in enumerate(found):
        places = [row for row in range(len(living)) if near[row, column] >= params.tau]
        if places:
            best = places[int(near[places, column].argmax())]
            rims[one.label] = living[best].cluster_id
    return rims
