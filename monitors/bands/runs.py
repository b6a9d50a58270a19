"""Points that stay beyond the band on one side: when they have lasted, they are the new level."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from monitors.records import Codes, Floats, State

Bools = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Run(State):
    """By series: how long it has been beyond, and what it was there."""

    length: NDArray[np.int64]
    """Signed by side. A point inside takes one off, one on the other side begins anew."""
    weight: Floats
    points: NDArray[np.int64]
    mean: Floats
    squares: Floats
    """Weighted squares about the mean."""

    @classmethod
    def start(cls, s: int) -> Run:
        """No run."""
        zeros = np.zeros(s)
        none = np.zeros(s, dtype=np.int64)
        return cls(length=none, weight=zeros, points=none, mean=zeros, squares=zeros)


def went_on(run: Run, side: Codes, y: Floats, weight: Floats, present: Bools) -> Run:
    """The run after these points; `side` is -1, 0 or 1. Points inside count for the level while a run lasts."""
    if not (side.any() or run.length.any()):
        return run
    sign = np.sign(run.length)
    inside = side == 0
    length = np.where(inside, run.length - sign, np.where(sign * side >= 0, run.length + side, side))
    length = np.where(present, length, run.length)
    fresh = present & (length != 0) & ((sign == 0) | (sign * side < 0))
    on = present & (length != 0)
    over = present & (length == 0)
    weight_before = np.where(fresh | over, 0.0, run.weight)
    mean_before = np.where(fresh | over, 0.0, run.mean)
    added = np.where(on, weight, 0.0)
    total = weight_before + added
    d = np.where(on, y - mean_before, 0.0)
    mean = mean_before + np.divide(added * d, total, out=np.zeros_like(total), where=total > 0)
    squares = np.where(fresh | over, 0.0, run.squares) + np.where(on, added * d * (y - mean), 0.0)
    points = np.where(fresh | over, 0, run.points) + on
    return Run(length=length.astype(np.int64), weight=total, points=points, mean=mean, squares=squares)


def ended(run: Run, where: Bools) -> Run:
    """Without the runs of some series: their level was adopted."""
    if not where.any():
        return run
    return Run(
        length=np.where(where, 0, run.length),
        weight=np.where(where, 0.0, run.weight),
        points=np.where(where, 0, run.points),
        mean=np.where(where, 0.0, run.mean),
        squares=np.where(where, 0.0, run.squares),
    )
