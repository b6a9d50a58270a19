"""A cluster found inside another is held apart for one run: that two became one is believed when two runs say so.

Densities place a border anew in each run, and where two clusters touch the border may be gone in one night and back in
the next. An id that ends and comes back every other night means nothing to who follows it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clustering.incremental import shapes
from clustering.lineage_records import Known, Matching
from clustering.overlap import overlap
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
    """The labels of a run with the known clusters that went into another parted from it again, once each.

    A found cluster that holds at least `merge_share` of the sessions of two living ones (`least_shared` or more) is all
    of theirs that were not held apart in the run before, and of the one with most sessions there. Sessions stay where
    they were; new ones go to the nearest centroid of those (all to the largest, where none is of this space).
    """
    bars = params or Matching()
    living = sorted((one for one in known if one.alive), key=lambda one: (len(one.cluster_id), one.cluster_id))
    found = shapes(vectors, labels, sessions, failed=[None] * len(sessions))
    counted = overlap(living, found)
    given, apart, number = labels.copy(), set(), int(labels.max(initial=NOISE)) + 1
    for column, one in enumerate(found):
        n = counted.shared[:, column]
        inside = np.flatnonzero((n >= bars.least_shared) & (n >= bars.merge_share * counted.held))
        owners = sorted((int(row) for row in inside), key=lambda row, n=n: (-n[row], row))  # type: ignore[misc]
        owners = [*owners[:1], *(row for row in owners[1:] if not living[row].held)]
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
