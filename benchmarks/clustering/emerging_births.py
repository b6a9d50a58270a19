"""Clusters that were found in the sessions of this very week: dense there because that is how they were found.

Failing sessions lie in a plane of 1,600 cells, five weeks of 2,000 (`dense`: 8,000). A cell with five sessions or
more (`dense`: eight) in the week that is now becomes a cluster, as density would make it one. all: it is held against
its history with the sessions it was found in. after: found in the first half of the week, held against history with
those of the second, which is what the product asks for (docs/clusters-emerging.md). Planted: three cells that had
nothing and now have 20 sessions a week.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from benchmarks.clustering.emerging_streams import Flags, Ints
from clustering.emerging.records import Counts, Design
from clustering.emerging.testing import find

CELLS: Final = 1_600
PLANTED: Final = 3


@dataclass(frozen=True, kw_only=True)
class Plane:
    """`phi`: dispersion of a cell's week, which both halves of the week share."""

    phi: float = 0.0
    a_week: int = 2_000
    enough: int = 5


BIRTHS: Final = {"poisson": Plane(), "overdispersed": Plane(phi=0.1), "dense": Plane(phi=0.1, a_week=8_000, enough=8)}


def births(plane: Plane, reps: int, chance: np.random.Generator) -> dict[str, Any]:
    """Quiet weeks in which a false one is told, and with planted ones the share found and the false share."""
    told: dict[str, Any] = {"reps": reps}
    for rule in ("all", "after"):
        quiet = [_week(plane, rule, chance, 0) for _ in range(reps)]
        grown = [_week(plane, rule, chance, PLANTED) for _ in range(reps)]
        told[rule] = {
            "quiet": round(float(np.mean([flags.any() for flags, _ in quiet])), 3),
            "n_born": round(float(np.mean([len(flags) for flags, _ in quiet])), 1),
            "tpr": round(float(np.mean([flags[new].sum() / PLANTED for flags, new in grown])), 3),
            "fdr": round(float(np.mean([(flags & ~new).sum() / max(1, flags.sum()) for flags, new in grown])), 4),
        }
    return told


def _week(plane: Plane, rule: str, chance: np.random.Generator, planted: int) -> tuple[Flags, Flags]:
    """Of the clusters found which were told, and which are really new."""
    mean = plane.a_week / CELLS
    factor = chance.gamma(1 / plane.phi, plane.phi, (CELLS, 5)) if plane.phi else np.ones((CELLS, 5))
    factor[:planted, :4] = 0.0
    factor[:planted, 4] *= 20 / mean
    history: Ints = chance.poisson(mean * factor[:, :4])
    halves: Ints = chance.poisson(mean / 2 * factor[:, 4:], (CELLS, 2))
    found = np.flatnonzero((halves.sum(axis=1) if rule == "all" else halves[:, 0]) >= plane.enough)
    now, length = (halves.sum(axis=1), 1.0) if rule == "all" else (halves[:, 1], 0.5)
    if not len(found):
        return np.zeros(0, dtype=np.bool_), np.zeros(0, dtype=np.bool_)
    counts = _born(history[found], now[found], length, [str(cell) for cell in found])
    told = {one.cluster_id for one in find(counts, Design()).findings}
    return np.array([name in told for name in counts.cluster_ids]), found < planted


def _born(history: Ints, now: Ints, length: float, names: list[str]) -> Counts:
    k = len(names)
    return Counts(
        cluster_ids=tuple(names),
        now=now,
        exposure_now=np.full(k, length),
        history=history,
        exposure=np.ones((k, history.shape[1])),
        n_users=now,
        first_seen_ns=np.zeros(k, dtype=np.int64),
        born=np.ones(k, dtype=np.bool_),
        length_now=np.full(k, length),
    )
