"""Sums of units that were written down or drawn."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from experiments.statistics.records import Moments

Array = NDArray[np.float64]


def sums(y: ArrayLike, s: ArrayLike | None = None, x: ArrayLike | None = None) -> Moments:
    """Moments of units: y of shape (units,), observations 1 and no covariate unless given; a NaN in x is no past."""
    of_y = np.asarray(y, dtype=np.float64)
    of_s = np.ones_like(of_y) if s is None else np.asarray(s, dtype=np.float64)
    raw = np.full_like(of_y, np.nan) if x is None else np.asarray(x, dtype=np.float64)
    w = (~np.isnan(raw)).astype(np.float64)
    of_x = np.nan_to_num(raw)
    return Moments(
        n=len(of_y),
        y=float(of_y.sum()),
        s=float(of_s.sum()),
        x=float(of_x.sum()),
        yy=float(of_y @ of_y),
        ss=float(of_s @ of_s),
        xx=float(of_x @ of_x),
        sy=float(of_s @ of_y),
        xy=float(of_x @ of_y),
        xs=float(of_x @ of_s),
        w=float(w.sum()),
        wy=float(w @ of_y),
        ws=float(w @ of_s),
    )


def rate(successes: float, n: int) -> Moments:
    """Moments of one yes-or-no observation a unit."""
    return Moments(n=n, y=successes, s=float(n), yy=successes, ss=float(n), sy=successes)
