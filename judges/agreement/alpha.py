"""Krippendorff's alpha: agreement of any number of raters, answers missing as they like.

Every unit with m >= 2 answers puts o_ck = (pairs of an answer c with another's answer k) / (m - 1) into the matrix of
coincidences. With n_c its margins and n their sum:

    alpha = 1 - (n - 1) sum_ck o_ck d_ck / sum_ck n_c n_k d_ck

d is 0 or 1 for nominal labels, (sum of n_g from c to k - (n_c + n_k) / 2)^2 for ordinal ones, (v_c - v_k)^2 for values.
Krippendorff, Content Analysis (2013), chapter 12; Hayes, Krippendorff 2007 (Commun Methods Meas 1:77). Coincidences of
units add, so resampled units are sums.
"""

from __future__ import annotations

import math
from enum import StrEnum

import numpy as np

from core.errors import InvalidInput
from evaluators.statistics.estimates import Lack, Unestimated
from judges.agreement.tables import MISSING, FloatArray, IntArray


class Level(StrEnum):
    """What the differences between labels mean."""

    NOMINAL = "nominal"
    ORDINAL = "ordinal"
    INTERVAL = "interval"


def krippendorff_alpha(
    ratings: IntArray, k: int, level: Level, values: FloatArray | None = None
) -> float | Unestimated:
    """Alpha of codes 0 to k - 1 of shape (units, raters), MISSING where a rater did not answer.

    `values` of shape (k,) are the labels' numbers for INTERVAL, by default 0 to k - 1. Unestimated where no unit has
    two answers, or all answers are the same. Raises InvalidInput for other codes.
    """
    own = coincidences(ratings, k)
    if not own.any():
        return Unestimated(reason=Lack.NO_EXAMPLES)
    value = float(alphas(own.sum(axis=0), level, values))
    return value if math.isfinite(value) else Unestimated(reason=Lack.ONE_CLASS)


def coincidences(ratings: IntArray, k: int) -> FloatArray:
    """The coincidences of each unit, shape (units, k, k); all 0 where a unit has fewer than two answers."""
    if ratings.ndim != 2 or (ratings.size and not (ratings.min() >= MISSING and ratings.max() < k)):
        raise InvalidInput(f"ratings of shape {ratings.shape} are no codes from {MISSING} to {k - 1}", field="label")
    counts = (ratings[:, :, None] == np.arange(k)).sum(axis=1).astype(np.float64)
    answers = counts.sum(axis=1)
    pairs = counts[:, :, None] * counts[:, None, :] - counts[:, :, None] * np.eye(k)
    return np.asarray(pairs / np.maximum(answers - 1, 1)[:, None, None])


def alphas(summed: FloatArray, level: Level, values: FloatArray | None = None) -> FloatArray:
    """Alpha of summed coincidences of shape (..., k, k); NaN where there is nothing to differ upon."""
    margins = summed.sum(axis=-1)
    apart = _apart(margins, level, values)
    n = margins.sum(axis=-1)
    seen = (summed * apart).sum(axis=(-2, -1)) * (n - 1)
    expected = np.asarray(np.einsum("...c,...k,...ck->...", margins, margins, apart))
    ratio = np.divide(seen, expected, out=np.full_like(expected, np.nan), where=expected > 0)
    return np.asarray(1 - ratio)


def _apart(margins: FloatArray, level: Level, values: FloatArray | None) -> FloatArray:
    """The squared differences d, of shape (..., k, k)."""
    k = margins.shape[-1]
    match level:
        case Level.NOMINAL:
            between = np.asarray(1.0 - np.eye(k))
        case Level.INTERVAL:
            at = np.arange(k, dtype=np.float64) if values is None else values
            between = np.asarray(np.subtract.outer(at, at) ** 2)
        case Level.ORDINAL:
            middle = np.cumsum(margins, axis=-1) - margins / 2
            return np.asarray((middle[..., :, None] - middle[..., None, :]) ** 2)
    return np.broadcast_to(between, (*margins.shape, k))
