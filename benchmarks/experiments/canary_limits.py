"""The earliest minute at which a canary of the nine scenarios can be told at all.

A rule that rolls back a candidate which is no worse with a chance of at most alpha, however often it looks, and that
finds each worse one, needs on average log(1/alpha) of information: the expected logarithm of the likelihood ratio of
what is true over any hypothesis of no harm (Wald 1945, Sequential Tests of Statistical Hypotheses, Annals of
Mathematical Statistics 16, eq. 4.8 with a chance of 1 to find). The nearest such hypothesis has one rate in both arms,
(n_c a + n_b b) / (n_c + n_b). Where each minute brings as many units, the quotient is the least mean of minutes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from benchmarks.experiments.canary_streams import A_MINUTE, DELAY, MINUTES, Floats


@dataclass(frozen=True, kw_only=True)
class Arrivals:
    """Units of both arms that come in each minute, the baseline's rate, and after how many minutes they are known."""

    n_c: Floats
    n_b: Floats
    rate: float = 0.05
    delay: int = 0


def _arriving(n_c: float | Floats, n_b: float | Floats, rate: float = 0.05, delay: int = 0) -> Arrivals:
    minutes = np.ones(100 * MINUTES)
    known = [np.resize(one, minutes.shape) if isinstance(one, np.ndarray) else one * minutes for one in (n_c, n_b)]
    return Arrivals(n_c=known[0], n_b=known[1], rate=rate, delay=delay)


_RAMP: Final = np.concatenate([np.repeat([0.01, 0.05, 0.25, 0.5], MINUTES // 4), np.full(99 * MINUTES, 0.5)])
# By the number of the scenario: not of users with correlated sessions, nor of rates that move.
ARRIVALS: Final[Mapping[str, Arrivals]] = {
    "1": _arriving(A_MINUTE, A_MINUTE),
    "2": _arriving(A_MINUTE, A_MINUTE, 0.005),
    "3": _arriving(A_MINUTE, A_MINUTE, 0.3),
    "4": _arriving(2, 38),
    "5": _arriving(A_MINUTE, A_MINUTE),
    "7": _arriving(A_MINUTE, A_MINUTE, delay=DELAY),
    "8": _arriving(400 * _RAMP, 400 * (1 - _RAMP)),
    "rate 0.5 %, 200 units a minute and arm": _arriving(200, 200, 0.005),
    "split 5/95 of 400 units a minute": _arriving(20, 380),
}


def information(n_c: Floats, n_b: Floats, worse: float, rate: float) -> Floats:
    """Of minutes with so many units: the distance of (`worse`, `rate`) from the nearest pair of equal rates."""
    same = (n_c * worse + n_b * rate) / (n_c + n_b)
    return np.asarray(n_c * _distance(worse, same) + n_b * _distance(rate, same))


def least_minutes(name: str, times: float, alpha: float) -> float | None:
    """When so much information has come, in minutes; None of scenarios that are not in ARRIVALS."""
    found = ARRIVALS.get(name.split(" ")[0]) or ARRIVALS.get(name)
    if found is None:
        return None
    come = np.cumsum(information(found.n_c, found.n_b, found.rate * times, found.rate))
    wanted = math.log(1 / alpha)
    whole = int(np.searchsorted(come, wanted))
    before = come[whole - 1] if whole else 0.0
    return found.delay + whole + float((wanted - before) / (come[whole] - before))


def _distance(one: float, other: Floats) -> Floats:
    """Kullback-Leibler divergence of two coins."""
    return np.asarray(one * np.log(one / other) + (1 - one) * np.log((1 - one) / (1 - other)))
