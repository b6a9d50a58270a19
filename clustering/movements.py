"""Sessions that moved together: a known cluster in parts, and known clusters that became one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from clustering.lineage_records import Matching
from clustering.overlap import Overlap


@dataclass(frozen=True, kw_only=True)
class Movements:
    """`parts`: of a known cluster that came apart, the found ones, the largest part first. `absorbed`: of a known
    cluster that went into another, the found one."""

    parts: Mapping[int, tuple[int, ...]]
    absorbed: Mapping[int, int]


def movements(counted: Overlap, matched: Mapping[int, int], living: frozenset[int], params: Matching) -> Movements:
    """Who split and who merged, of the known clusters in `living` (by row).

    A part of K holds at least `least_shared` sessions and `split_share` of K's, more than half of its own sessions that
    were in any cluster come from K, and it is not what another living cluster became. K split where it has two parts or
    more. K merged where it became nothing else, did not split, and at least `merge_share` of its sessions are in one
    found cluster.
    """
    owner = {column: row for row, column in matched.items() if row in living}
    parts = {row: own for row in sorted(living) if len(own := _parts(row, counted, owner, params)) > 1}
    absorbed = {}
    for row in sorted(living - matched.keys() - parts.keys()):
        if not counted.shared.shape[1]:
            break
        column = int(counted.shared[row].argmax())
        n = int(counted.shared[row, column])
        if n >= params.least_shared and n >= params.merge_share * counted.held[row]:
            absorbed[row] = column
    return Movements(parts=parts, absorbed=absorbed)


def _parts(row: int, counted: Overlap, owner: Mapping[int, int], params: Matching) -> tuple[int, ...]:
    n = counted.shared[row]
    holds = (n >= params.least_shared) & (n >= params.split_share * counted.held[row]) & (2 * n > counted.taken)
    own = [int(column) for column in np.flatnonzero(holds) if owner.get(int(column), row) == row]
    return tuple(sorted(own, key=lambda column: (-n[column], column)))
