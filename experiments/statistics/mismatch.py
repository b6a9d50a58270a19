"""Sample-ratio mismatch: do the arms have the shares that they were given? Valid at every look, from the first unit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import scipy

from core.errors import InvalidInput
from experiments.statistics.records import NoEffect, Why

# How many units the prior is worth. A heavy one sees 50.5 against 49.5 in a million units, a light one sees an arm that
# gets nothing in the first twenty; the mean of e-processes is an e-process.
CONCENTRATIONS: Final = (4.0, 100.0, 10_000.0)
LEAST_EXPECTED: Final = 5.0  # of an arm, for the chi-square's approximation (Cochran 1954)


@dataclass(frozen=True, kw_only=True)
class Mismatch:
    """`e_value`: how much better any other split explains the counts than the wanted one; the chance that it ever
    reaches 1/a under the wanted split is at most a. `p_value`: chi-square at this look alone, None of few units."""

    e_value: float
    p_value: float | None
    shares: tuple[float, ...]
    expected: tuple[float, ...]


def mismatch(counts: Sequence[int], weights: Sequence[float]) -> Mismatch | NoEffect:
    """Of the units per arm against the arms' weights, in any unit, both in the same order.

    Dirichlet-multinomial Bayes factor of Lindon, Malek 2022 (NeurIPS, "Anytime-valid inference for multinomial count
    data", equation 6), prior Dirichlet(c * weights), the mean over CONCENTRATIONS. Raises InvalidInput for counts below
    0 or weights that are none.
    """
    if len(counts) != len(weights) or min(counts, default=0) < 0:
        raise InvalidInput("one count from 0 up per weight", field="counts")
    if min(weights, default=0.0) <= 0 or not math.isfinite(sum(weights)):
        raise InvalidInput("an arm's weight is above 0", field="weights")
    n = sum(counts)
    if len(counts) < 2:
        return NoEffect(why=Why.ONE_ARM, text="one arm alone has no ratio")
    if n == 0:
        return NoEffect(why=Why.NO_UNITS, text="no unit has been exposed yet")
    expected = tuple(one / sum(weights) for one in weights)
    logs = [_log_factor(counts, expected, c) for c in CONCENTRATIONS]
    most = max(logs)
    log_e = most + math.log(math.fsum(math.exp(one - most) for one in logs) / len(logs))
    p_value = None
    if n * min(expected) >= LEAST_EXPECTED:
        statistic = math.fsum((k - n * q) ** 2 / (n * q) for k, q in zip(counts, expected, strict=True))
        p_value = float(scipy.special.chdtrc(len(counts) - 1, statistic))
    return Mismatch(
        e_value=math.exp(min(log_e, 700.0)),  # what a float holds
        p_value=p_value,
        shares=tuple(one / n for one in counts),
        expected=expected,
    )


def _log_factor(counts: Sequence[int], expected: Sequence[float], concentration: float) -> float:
    """ln of the marginal likelihood over that of the wanted shares; the multinomial coefficient cancels."""
    n = sum(counts)
    whole = math.lgamma(concentration) - math.lgamma(concentration + n)
    parts = (
        math.lgamma(concentration * q + k) - math.lgamma(concentration * q) - k * math.log(q)
        for k, q in zip(counts, expected, strict=True)
    )
    return whole + math.fsum(parts)
