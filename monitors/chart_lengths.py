"""Run lengths of EWMA, CUSUM and Shewhart charts of independent normal points, and the limits for a wished one.

Integral equations over the chart's value, solved at Gauss-Legendre nodes (Crowder, Technometrics 1987; Vance, Journal
of Quality Technology 1986): the run length from u is 1 + its mean over where the next point takes the chart.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Final

import numpy as np
import scipy

from core.errors import InvalidInput
from monitors.records import Direction, Floats

NODES: Final = 120
LONGEST: Final = 1e8
LEAST_ALLOWANCE: Final = 0.2  # below it the nodes lie too far apart at long runs


def shewhart_arl(k: float, shift: float = 0.0) -> float:
    """Points until |x| > k when the mean lies `shift` deviations off."""
    return 1 / float(scipy.stats.norm.sf(k - shift) + scipy.stats.norm.cdf(-k - shift))


def ewma_arl(lam: float, limit: float, shift: float = 0.0) -> float:
    """Points until |EWMA| > limit * sqrt(lam / (2 - lam)), from 0 on, both sides."""
    if not 0 < lam <= 1 or limit <= 0:
        raise InvalidInput(f"an EWMA of lambda {lam} and limit {limit} is none", field="lambda")
    edge = limit * math.sqrt(lam / (2 - lam))
    nodes, weights = _legendre()
    x, w = edge * nodes, edge * weights
    kernel = scipy.stats.norm.pdf((x[None, :] - (1 - lam) * x[:, None]) / lam - shift) / lam * w[None, :]
    lengths = np.linalg.solve(np.eye(NODES) - kernel, np.ones(NODES))
    return float(1 + (scipy.stats.norm.pdf(x / lam - shift) / lam * w) @ lengths)


def cusum_arl(k: float, h: float, shift: float = 0.0, direction: Direction = Direction.BOTH) -> float:
    """Points until a sum above its allowance k exceeds h, from 0 on; of both sides by Kemp's sum of rates (1961)."""
    if k < 0 or h <= 0:
        raise InvalidInput(f"a CUSUM of k {k} and h {h} is none", field="h")
    match direction:
        case Direction.UP:
            return _one_side(k, h, shift)
        case Direction.DOWN:
            return _one_side(k, h, -shift)
        case Direction.BOTH:
            return 1 / (1 / _one_side(k, h, shift) + 1 / _one_side(k, h, -shift))


@lru_cache(maxsize=1024)
def ewma_limit(lam: float, arl0: float, direction: Direction = Direction.BOTH) -> float:
    """The limit with a run length of arl0; of one side, with twice that on both. Raises InvalidInput."""
    wished = _possible(arl0) * (1 if direction is Direction.BOTH else 2)
    return float(scipy.optimize.brentq(lambda limit: math.log(ewma_arl(lam, limit) / wished), 0.1, 8.0, xtol=1e-6))


@lru_cache(maxsize=1024)
def cusum_limit(k: float, arl0: float, direction: Direction = Direction.BOTH) -> float:
    """h with a run length of arl0. Raises InvalidInput."""
    if k < LEAST_ALLOWANCE:
        raise InvalidInput(f"an allowance of {k}: at least {LEAST_ALLOWANCE}", field="k")
    wished = _possible(arl0)
    # Siegmund's approximation (Sequential Analysis, 1985, equation 2.57), with room above it.
    top = (math.log1p(4 * k * k * wished) + 3) / (2 * k)
    return float(
        scipy.optimize.brentq(lambda h: math.log(cusum_arl(k, h, 0.0, direction) / wished), 0.05, top, xtol=1e-6)
    )


def _one_side(k: float, h: float, shift: float) -> float:
    nodes, weights = _legendre()
    x, w = h * (nodes + 1) / 2, h * weights / 2
    at = np.append(0.0, x)  # the chart waits at zero, and a value there has a chance of its own
    kernel = scipy.stats.norm.pdf(at[None, 1:] - at[:, None] + k - shift) * w[None, :]
    to_zero = scipy.stats.norm.cdf(k - shift - at)
    matrix = np.eye(NODES + 1) - np.column_stack([to_zero, kernel])
    return float(np.linalg.solve(matrix, np.ones(NODES + 1))[0])


def _possible(arl0: float) -> float:
    if not 20 <= arl0 <= LONGEST:
        raise InvalidInput(f"{arl0} points between false alarms: 20 to a hundred million", field="arl0")
    return arl0


@lru_cache(maxsize=1)
def _legendre() -> tuple[Floats, Floats]:
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    return nodes, weights
