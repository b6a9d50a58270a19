"""A cluster found inside another, or not found because its sessions are noise now, is held for two runs: that two
became one, or that one dissolved, is believed when three runs in a row say so.

Densities place a border anew in each run: where two clusters touch it may be gone in one night and back in the next,
and a small one is dense enough in one night and not in the other. An id that ends and comes back every other night
means nothing to who follows it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clustering.incremental import assign, shapes, surely
from clustering.lineage_records import Known, Matching
from clustering.overlap import nearness, overlap, pairs, similarity
from clustering.records import NOISE, Labels, Vectors


@dataclass(frozen=True, kw_only=True, eq=False)
class Held:
    """`labels` (n,) with new numbers, above all others, for clusters held apart (`apart`)."""

    labels: Labels
    apart: frozenset[int]


def held_apart(
    vectors: Vectors,
    labels: Labels,
    sessions: Sequence[str],
    known: Sequence[Known],
    *,
    space: str,
    params: Matching | None = None,
) -> Held:
    """The labels of a run with the known clusters that went into another, or into noise, parted from it.

    A found cluster that holds at least `merge_share` of the sessions of two living ones (`least_shared` or more) is all
    of theirs that were not held in the `held_runs` runs before, and of the one with most sessions there, of those held
    least often. Sessions stay where they were; new ones go to the nearest centroid of those (all to the first, where
    none is of this space). A living cluster that nothing found is, and of whose sessions at least `merge_share`
    (`least_shared` or more) are in noise, is those, and the noise within its radius.
    """
    bars = params or Matching()
    living = sorted((one for one in known if one.alive), key=lambda one: (len(one.cluster_id), one.cluster_id))
    parted = _parted(vectors, labels, sessions, living, space, bars)
    return _kept(vectors, parted, sessions, living, space, bars)


def sure_of_held(
    vectors: Vectors, before: Labels, held: Labels, sessions: Sequence[str], confidence: NDArray[np.float32]
) -> NDArray[np.float32]:
    """`confidence` (n,) with that of sessions that were noise `before` and are `held` in a cluster: no density says
    how sure they are of it, so radius and margin do, as for a session that joined it between runs. The centroids are
    of this run, so that it is told in another space too."""
    rows = np.flatnonzero((before == NOISE) & (held != NOISE))
    if not rows.size:
        return confidence
    found = shapes(vectors, held, sessions, failed=[None] * len(sessions))
    places = {one.label: place for place, one in enumerate(found)}
    index = np.array([places[int(held[row])] for row in rows], np.int64)
    middles, radii = np.stack([one.centroid for one in found]), np.array([one.radius for one in found], np.float32)
    sure = confidence.copy()
    sure[rows] = surely(vectors[rows], index, middles, radii)
    return sure


def _parted(
    vectors: Vectors, labels: Labels, sessions: Sequence[str], living: Sequence[Known], space: str, bars: Matching
) -> Held:
    """With those apart that went into another."""
    found = shapes(vectors, labels, sessions, failed=[None] * len(sessions))
    counted = overlap(living, found)
    given, apart, number = labels.copy(), set(), int(labels.max(initial=NOISE)) + 1
    for column, one in enumerate(found):
        n = counted.shared[:, column]
        inside = np.flatnonzero((n >= bars.least_shared) & (n >= bars.merge_share * counted.held))
        # One held before goes behind: where two of a size took turns, no run would ever be the third.
        owners = sorted((int(row) for row in inside), key=lambda row, n=n: (living[row].held, -n[row], row))  # type: ignore[misc]
        owners = [*owners[:1], *(row for row in owners[1:] if living[row].held < bars.held_runs)]
        if len(owners) < 2:
            continue
        rows = np.flatnonzero(labels == one.label)
        home = _homes(vectors[rows], [sessions[int(row)] for row in rows], [living[row] for row in owners], space)
        for place in range(1, len(owners)):
            given[rows[home == place]] = number
            apart.add(number)
            number += 1
    return Held(labels=given, apart=frozenset(apart))


def _homes(vectors: Vectors, sessions: Sequence[str], owners: Sequence[Known], space: str) -> NDArray[np.int64]:
    """Which owner each session of a found cluster belongs to: the one that had it, else the nearest."""
    before = {session: place for place, one in enumerate(owners) for session in one.members}
    if all(one.embedder == space for one in owners):
        nearest = (vectors @ np.stack([one.centroid for one in owners]).T).argmax(axis=1)
    else:
        nearest = np.zeros(len(sessions), dtype=np.int64)
    return np.array([before.get(one, int(at)) for one, at in zip(sessions, nearest, strict=True)], dtype=np.int64)


def _kept(
    vectors: Vectors, parted: Held, sessions: Sequence[str], living: Sequence[Known], space: str, bars: Matching
) -> Held:
    """With those kept that went into noise."""
    found = shapes(vectors, parted.labels, sessions, failed=[None] * len(sessions))
    alike = similarity(overlap(living, found), nearness(living, found, space, bars), bars)
    again = pairs(alike, bars.tau, np.ones(len(living), dtype=np.bool_))
    free = {session: row for row, session in enumerate(sessions) if parted.labels[row] == NOISE}
    lost: dict[int, list[int]] = {}
    for place, one in enumerate(living):
        own = sorted(free[session] for session in one.members if session in free)
        if (
            place not in again
            and one.held < bars.held_runs
            and len(own) >= max(bars.least_shared, bars.merge_share * len(one.members))
        ):
            lost[place] = own
    given, number = parted.labels.copy(), int(parted.labels.max(initial=NOISE)) + 1
    numbers = {place: number + at for at, place in enumerate(lost)}
    for place, row in _near(vectors, sorted(free.values()), [(place, living[place]) for place in lost], space):
        given[row] = numbers[place]
    for place, own in lost.items():
        given[own] = numbers[place]
    return Held(labels=given, apart=parted.apart | frozenset(numbers.values()))


def _near(
    vectors: Vectors, rows: Sequence[int], lost: Sequence[tuple[int, Known]], space: str
) -> list[tuple[int, int]]:
    """(place, row) of noise within the radius of a lost cluster of this space: of the one it lies deepest in."""
    ours = [(place, one) for place, one in lost if one.embedder == space and one.centroid.any()]
    if not ours or not rows:
        return []
    centroids, radii = (
        np.stack([one.centroid for _, one in ours]),
        np.array([one.radius for _, one in ours], np.float32),
    )
    index = assign(vectors[rows], centroids, radii).index
    return [(ours[int(at)][0], row) for at, row in zip(index, rows, strict=True) if at >= 0]
