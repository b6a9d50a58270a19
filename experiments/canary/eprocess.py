"""Two e-processes of one guardrail: that the candidate harms, and that it is not worse than its margin.

A block brings `n_c` units of the candidate with `f_c` failures and `n_b` of the baseline with `f_b`; a unit's score is
from 0 to 1 and a unit enters once, so that units are independent given the past. The block's e-value is the likelihood
of an alternative (a*, b*) over that of (a', b'), the point of the null hypothesis nearest to it:

    E = (a*/a')^f_c ((1-a*)/(1-a'))^(n_c-f_c) (b*/b')^f_b ((1-b*)/(1-b'))^(n_b-f_b)

The null is convex: {a <= b} for harm, {a >= b + margin} for non-inferiority, where a and b are the arms' failure rates
in this block, of which nothing else is supposed: they may be other ones in every block. (a', b') has the smallest
n_c KL(a*, a') + n_b KL(b*, b') in it. Then E has expectation at most 1 under the null:

1. One unit's factor, (a*/a')^x ((1-a*)/(1-a'))^(1-x), is the exponential of a line in its score x, hence convex, hence
   on [0, 1] at most the chord x a*/a' + (1-x) (1-a*)/(1-a'). Its expectation at a mean of a is so at most
   A(a) = 1 + (a - a') s_c with s_c = (a* - a') / (a' (1-a')). That of the baseline, B(b), likewise.
2. Units are independent given the past, so E[E] is at most the product of their A and B, which by the inequality of
   arithmetic and geometric means is at most ((n_c A(a) + n_b B(b)) / N)^N, with a, b the means over the block's units;
   and n_c A(a) + n_b B(b) = N + n_c s_c (a - a') + n_b s_b (b - b').
3. The last two terms are minus the derivative of the distance from (a', b') towards (a, b). As (a', b') is nearest in a
   convex set, that derivative is not below 0 for any point of the null. So E[E] <= 1.

For two binomials and equality this is the e-variable of Turner, Ly and Grünwald (2021, arXiv:2106.02693), where
a' = b' = (n_c a* + n_b b*) / N. (a*, b*) is chosen from past blocks only, and which units come does not depend on what
they will score, so the product over blocks is a supermartingale from 1 and by Ville's inequality exceeds 1/alpha with a
chance of at most alpha, however often and whenever it is looked at, whatever the weights of the steps are. So does the
mean over several alternatives (a mixture of supermartingales).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from core.errors import InvalidInput
from experiments.canary.records import Block

Floats = npt.NDArray[np.float64]

ODDS_RATIOS: Final = (1.25, 1.5, 2.0, 3.0, 5.0)  # how much worse a candidate is supposed to be, with equal weights
# Before a unit has come the baseline's rate is supposed to be 5%, a guess that ten units outweigh. A wrong guess costs
# power in the first blocks, never validity.
PRIOR_FAILURES: Final = 0.5
PRIOR_UNITS: Final = 10.0
HISTORY_UNITS: Final = 200.0  # the baseline's past before the rollout counts at most as much: its rate may have moved
HIGHEST_E: Final = 1e300  # what a larger e-value is told as
_EDGE: Final = 1e-6  # a rate of 0 or 1 would bet everything on one unit
_HALVINGS: Final = 60  # of an interval within (0, 1): to the last digit of a double


def odds_times(rate: Floats, ratio: Floats) -> Floats:
    """The rate whose odds are `ratio` times those of `rate`."""
    return np.asarray(rate * ratio / (1 - rate + rate * ratio))


def log_e(
    block: tuple[Floats, Floats, Floats, Floats], wanted: tuple[Floats, Floats], null: tuple[Floats, Floats]
) -> Floats:
    """The logarithm of a block's e-value; (n_c, f_c, n_b, f_b), (a*, b*) and (a', b') are arrays of one shape."""
    n_c, f_c, n_b, f_b = block
    (a, b), (a0, b0) = wanted, null
    candidate = f_c * np.log(a / a0) + (n_c - f_c) * np.log((1 - a) / (1 - a0))
    baseline = f_b * np.log(b / b0) + (n_b - f_b) * np.log((1 - b) / (1 - b0))
    return np.where((n_c > 0) & (n_b > 0), candidate + baseline, 0.0)


def harm_factors(base: Floats, n_c: Floats, f_c: Floats, n_b: Floats, f_b: Floats) -> Floats:
    """Logarithms of a block's e-values against {a <= b}, one row per odds ratio. The others are arrays of one shape,
    `base` the rate supposed of the baseline."""
    b = np.clip(base, _EDGE, 1 - _EDGE)
    a = odds_times(b, _column(ODDS_RATIOS, b))
    total = np.maximum(n_c + n_b, 1.0)
    same = (n_c * a + n_b * b) / total
    same = np.where(n_c + n_b > 0, same, b)
    return log_e((n_c, f_c, n_b, f_b), (a, b), (same, same))


def non_inferior_factors(base: Floats, margin: float, n_c: Floats, f_c: Floats, n_b: Floats, f_b: Floats) -> Floats:
    """The same against {a >= b + margin}: the first row supposes equal rates, the others a candidate whose odds are so
    many times below those at the margin's edge."""
    b = np.clip(base, _EDGE, 1 - margin - _EDGE) if margin < 1 - 2 * _EDGE else np.full_like(base, _EDGE)
    edge = np.minimum(b + margin, 1 - _EDGE)
    below = odds_times(edge, 1 / _column(ODDS_RATIOS, b))
    a = np.concatenate([b[None], below])
    null = _nearest(a, np.broadcast_to(b, a.shape), margin, n_c, n_b)
    return log_e((n_c, f_c, n_b, f_b), (a, b), null)


def _column(values: tuple[float, ...], like: Floats) -> Floats:
    return np.asarray(values, dtype=np.float64).reshape(-1, *(1,) * like.ndim)


def _nearest(a: Floats, b: Floats, margin: float, n_c: Floats, n_b: Floats) -> tuple[Floats, Floats]:
    """(a', b') on the line a' = b' + margin, by halving: the distance is convex in b', and its slope is above 0 at
    b' = b, where a' is above a, and below 0 at b' = a - margin or at 0."""
    low, high = np.maximum(a - margin, 0.0), b.copy()
    for _ in range(_HALVINGS):
        at = (low + high) / 2
        other = at + margin
        slope = n_c * (other - a) / (other * (1 - other)) + n_b * (at - b) / (at * (1 - at))
        above = slope > 0
        high, low = np.where(above, at, high), np.where(above, low, at)
    at = (low + high) / 2
    return at + margin, at


def log_mean(log_products: Floats) -> Floats:
    """The logarithm of the mean over the first axis of what these are logarithms of."""
    top = log_products.max(axis=0)
    return np.asarray(top + np.log(np.exp(log_products - top).mean(axis=0)))


@dataclass(frozen=True, kw_only=True)
class EProcess(ABC):
    """The products so far of one alternative each, as logarithms, with the baseline's past by which the next block's
    alternatives are chosen. `highest_log_e` is the highest that their mean has been, 0 before the first block."""

    log_products: tuple[float, ...]
    failures: float = PRIOR_FAILURES
    units: float = PRIOR_UNITS
    highest_log_e: float = 0.0

    @property
    def log_e(self) -> float:
        """The natural logarithm of the mean of the products."""
        return float(log_mean(np.asarray(self.log_products)[:, None])[0])

    @property
    def e_value(self) -> float:
        """The mean of the products: at least 1/alpha with a chance of at most alpha under the null, at any time."""
        return _told(self.log_e)

    @property
    def highest_e(self) -> float:
        """The highest that it has been."""
        return _told(self.highest_log_e)

    def after(self, block: Block) -> Self:
        """With one more block. The base rate in it is of the blocks before it only."""
        return self.along([block])[0]

    def along(self, blocks: Sequence[Block]) -> tuple[Self, tuple[float, ...]]:
        """With these blocks, one after the other, and the logarithm of the e-value after each of them."""
        if not blocks:
            return self, ()
        rows = [(one.n_candidate, one.failures_candidate, one.n_baseline, one.failures_baseline) for one in blocks]
        n_c, f_c, n_b, f_b = np.asarray(rows, dtype=np.float64).T
        failures = np.cumsum(np.concatenate([[self.failures], f_b]))
        units = np.cumsum(np.concatenate([[self.units], n_b]))
        factors = self._factors(failures[:-1] / units[:-1], [n_c, f_c, n_b, f_b])
        products = np.cumsum(np.concatenate([np.asarray(self.log_products)[:, None], factors], axis=1), axis=1)[:, 1:]
        path = log_mean(products)
        after = replace(
            self,
            log_products=tuple(float(one) for one in products[:, -1]),
            failures=float(failures[-1]),
            units=float(units[-1]),
            highest_log_e=max(self.highest_log_e, float(path.max())),
        )
        return after, tuple(float(one) for one in path)

    @abstractmethod
    def _factors(self, base: Floats, counts: list[Floats]) -> Floats:
        """Logarithms of a block's e-values, one per alternative."""


@dataclass(frozen=True, kw_only=True)
class Harm(EProcess):
    """Evidence that the candidate fails more often than the baseline."""

    def _factors(self, base: Floats, counts: list[Floats]) -> Floats:
        return harm_factors(base, *counts)


@dataclass(frozen=True, kw_only=True)
class NonInferior(EProcess):
    """Evidence that the candidate fails by less than `margin` more often than the baseline."""

    margin: float

    def _factors(self, base: Floats, counts: list[Floats]) -> Floats:
        return non_inferior_factors(base, self.margin, *counts)


def harm(history_failures: float = 0.0, history_units: float = 0.0) -> Harm:
    """The process before its first block. The history is of the baseline before the rollout. Raises InvalidInput."""
    failures, units = _supposed(history_failures, history_units)
    return Harm(log_products=(0.0,) * len(ODDS_RATIOS), failures=failures, units=units)


def non_inferior(margin: float, history_failures: float = 0.0, history_units: float = 0.0) -> NonInferior:
    """The process before its first block. Raises InvalidInput."""
    failures, units = _supposed(history_failures, history_units)
    return NonInferior(log_products=(0.0,) * (len(ODDS_RATIOS) + 1), failures=failures, units=units, margin=margin)


def _supposed(failures: float, units: float) -> tuple[float, float]:
    if not 0 <= failures <= units < math.inf:
        raise InvalidInput(f"the baseline's past has {failures} failures of {units} units; write 0 to {units}")
    part = min(1.0, HISTORY_UNITS / units) if units else 0.0
    return PRIOR_FAILURES + failures * part, PRIOR_UNITS + units * part


def _told(log_e_value: float) -> float:
    return math.exp(log_e_value) if log_e_value < math.log(HIGHEST_E) else HIGHEST_E
