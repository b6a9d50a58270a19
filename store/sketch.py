"""Quantile sketches that add: DDSketch with 1 % relative accuracy, as bucket -> count.

Masson, Rim, Lee 2019, "DDSketch: a fast and fully-mergeable quantile sketch with relative-error guarantees",
VLDB 12(12), section 2: with gamma = (1 + a) / (1 - a) a value x > 0 falls in bucket i = ceil(log_gamma x), and the
bucket's estimate 2 gamma^i / (gamma + 1) is within a * x of every value in it. Two sketches merge by adding counts.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

RELATIVE_ACCURACY: Final = 0.01
GAMMA: Final = (1 + RELATIVE_ACCURACY) / (1 - RELATIVE_ACCURACY)
# Zero has no logarithm: it, and what is below a nanosecond in ms, has a bucket of its own, before all others.
ZERO_BUCKET: Final = -(2**31)
SMALLEST: Final = 1e-6
# What is no measurement (NaN, infinity, negative) gets this index; writers drop it.
NO_BUCKET: Final = 2**31 - 1

_LN_GAMMA: Final = math.log(GAMMA)

Sketch = Mapping[int, int]


def bucket_indexes(values: NDArray[np.float64]) -> NDArray[np.int32]:
    """The bucket of each value. Zero and tiny values: ZERO_BUCKET; NaN, infinite and negative ones: NO_BUCKET."""
    values = np.asarray(values, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        raw = np.ceil(np.log(values) / _LN_GAMMA)
    measured = np.isfinite(values) & (values >= 0)
    indexes = np.where(measured & (values >= SMALLEST), raw, ZERO_BUCKET)
    return np.where(measured, indexes, NO_BUCKET).astype(np.int32)


def bucket_value(index: int) -> float:
    """The estimate that stands for every value of a bucket."""
    if index == ZERO_BUCKET:
        return 0.0
    return float(2 * math.exp(index * _LN_GAMMA) / (GAMMA + 1))


def sketch_of(values: NDArray[np.float64]) -> dict[int, int]:
    """The sketch of some values; what is no measurement is not counted."""
    indexes, counts = np.unique(bucket_indexes(values), return_counts=True)
    return {int(i): int(n) for i, n in zip(indexes, counts, strict=True) if i != NO_BUCKET}


def merge(sketches: Iterable[Sketch]) -> dict[int, int]:
    """The sketch of everything the given ones saw: counts added bucket by bucket."""
    merged: dict[int, int] = {}
    for sketch in sketches:
        for index, count in sketch.items():
            merged[index] = merged.get(index, 0) + count
    return merged


def quantile(sketch: Sketch, q: float) -> float | None:
    """The q-quantile (0..1) within 1 % of the value of rank floor(q (n - 1)); None for an empty sketch.

    Masson et al. 2019, algorithm 2. Raises ValueError for a q outside 0..1.
    """
    found = quantiles(sketch, (q,))
    return found[0]


def quantiles(sketch: Sketch, qs: Iterable[float]) -> list[float | None]:
    """The quantiles of one sketch, in the order asked; None each for an empty sketch."""
    wanted = list(qs)
    if not all(0 <= q <= 1 for q in wanted):
        raise ValueError(f"quantiles lie between 0 and 1, not {wanted}")
    indexes = sorted(index for index, count in sketch.items() if count > 0)
    if not indexes:
        return [None for _ in wanted]
    ends = np.cumsum([sketch[index] for index in indexes])
    ranks = [int(q * (int(ends[-1]) - 1)) for q in wanted]
    places = np.searchsorted(ends, ranks, side="right")
    return [bucket_value(indexes[int(place)]) for place in places]
