"""How alike a cluster known and one found are, by sessions they share and by their centroids; and who is whose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from clustering.lineage_records import Found, Known, Matching
from core.errors import InvalidInput

Table = NDArray[np.float64]  # (k, f): clusters known by clusters found
Counts = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Overlap:
    """Sessions counted: `shared` (k, f); `held` (k,) by a known cluster; `taken` (f,) of a found one that any known
    cluster held. Only sessions that both runs placed in a cluster count, beside those a known one lost."""

    shared: Counts
    held: Counts
    taken: Counts

    @property
    def jaccard(self) -> Table:
        """|K and F| / |K or F| of the sessions counted; 0 where there are none."""
        either = self.held[:, None] + self.taken[None, :] - self.shared
        return np.asarray(self.shared / np.maximum(either, 1), dtype=np.float64)


def overlap(known: Sequence[Known], found: Sequence[Found]) -> Overlap:
    """Counts in one pass over the sessions. Raises InvalidInput for a session in two clusters of one side."""
    holder = _places([one.members for one in known], "known")
    _places([one.members for one in found], "found")
    shared = np.zeros((len(known), len(found)), dtype=np.int64)
    for column, one in enumerate(found):
        for session in one.members:
            row = holder.get(session)
            if row is not None:
                shared[row, column] += 1
    held = np.array([len(one.members) for one in known], dtype=np.int64)
    return Overlap(shared=shared, held=held, taken=shared.sum(axis=0))


def nearness(known: Sequence[Known], found: Sequence[Found], space: str, params: Matching) -> Table:
    """max(0, 1 - d / r) of the cosine distance d of two centroids and the smaller radius r; NaN where they do not
    compare: another space, or a cluster without a direction.

    1 is the same place, 0 a radius away or more. Raises InvalidInput for one space with different dimensions.
    """
    table = np.full((len(known), len(found)), np.nan)
    rows = [row for row, one in enumerate(known) if one.embedder == space and one.centroid.any()]
    columns = [column for column, one in enumerate(found) if one.centroid.any()]
    if not rows or not columns:
        return table
    shapes = {known[row].centroid.shape for row in rows} | {found[column].centroid.shape for column in columns}
    if len(shapes) > 1:
        sizes = " and ".join(str(shape[0]) for shape in sorted(shapes))
        raise InvalidInput(f"centroids of {space} have {sizes} dimensions: the embedder's version must change with its "
                           "dimensions", field="centroid")  # fmt: skip
    ours = np.stack([known[row].centroid for row in rows])
    theirs = np.stack([found[column].centroid for column in columns])
    radii = np.minimum.outer([known[row].radius for row in rows], [found[column].radius for column in columns])
    apart = 1.0 - (ours @ theirs.T).astype(np.float64)
    near = 1.0 - apart / np.maximum(radii, params.least_radius)
    table[np.ix_(rows, columns)] = np.clip(near, 0.0, 1.0)
    return table


def similarity(counted: Overlap, near: Table, params: Matching) -> Table:
    """max(J, (J + c) / 2) of the Jaccard index J and the nearness c; the one that is known where the other is not; 0
    where neither is.

    J is known where a cluster has at least `least_shared` sessions in the window. Where sessions say that two clusters
    are one, centroids cannot deny it: c may only raise the similarity.
    """
    known_j = counted.held[:, None] >= params.least_shared
    jaccard = np.where(known_j, counted.jaccard, np.nan)
    both = np.fmax(jaccard, (jaccard + near) / 2)
    told = np.where(np.isnan(both), near, both)
    return np.nan_to_num(told, nan=0.0)


def pairs(alike: Table, tau: float, first: NDArray[np.bool_]) -> dict[int, int]:
    """Known to found: pairs that are each other's best, then among the rest the assignment of largest sum (Kuhn 1955,
    Naval Research Logistics Quarterly 2:83); none below tau.

    The assignment alone may give up a pair of .9 for two of .8, and so hand two ids on to other clusters; mutual best
    alone leaves one without an id whose best is taken. `first` (k,): who goes first when two are equally alike.
    """
    if not alike.size:
        return {}
    score = np.where(alike >= tau, alike + 1e-6 * first[:, None], 0.0)
    best_of_known, best_of_found = score.argmax(axis=1), score.argmax(axis=0)
    taken = {
        row: int(column)
        for row, column in enumerate(best_of_known)
        if best_of_found[column] == row and score[row, column] > 0
    }
    rows = [row for row in range(score.shape[0]) if row not in taken]
    columns = [column for column in range(score.shape[1]) if column not in set(taken.values())]
    left = score[np.ix_(rows, columns)]
    chosen = zip(*linear_sum_assignment(left, maximize=True), strict=True)
    return taken | {rows[row]: columns[column] for row, column in chosen if left[row, column] > 0}


def _places(groups: Sequence[frozenset[str]], side: str) -> dict[str, int]:
    places = {session: place for place, group in enumerate(groups) for session in group}
    if len(places) < sum(len(group) for group in groups):
        raise InvalidInput(f"a session is in two {side} clusters: give each its newest membership", field=side)
    return places
