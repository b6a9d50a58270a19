"""Two-by-two tables over strata: Cochran-Mantel-Haenszel, the common odds ratio and risk difference, Breslow-Day.

Counts may be fractions: of units with several observations the counts are divided by the design effect first (Rao,
Scott 1992, Biometrics 48:577), because observations of one unit are not independent.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import scipy

from experiments.statistics.records import Moments, NoEffect, Why


@dataclass(frozen=True, kw_only=True)
class TwoByTwo:
    """One stratum: successes and number of each arm."""

    control_successes: float
    control_n: float
    treatment_successes: float
    treatment_n: float

    @property
    def n(self) -> float:
        """Of both arms."""
        return self.control_n + self.treatment_n

    @property
    def successes(self) -> float:
        """Of both arms."""
        return self.control_successes + self.treatment_successes

    @property
    def tells(self) -> bool:
        """Whether both arms are there and both answers occur: no other stratum says anything of the odds ratio."""
        return min(self.control_n, self.treatment_n) > 0 and 0 < self.successes < self.n


@dataclass(frozen=True, kw_only=True)
class ChiSquare:
    """A chi-square statistic with its degrees of freedom."""

    statistic: float
    df: int
    p_value: float
    method: str


@dataclass(frozen=True, kw_only=True)
class Common:
    """One figure for all strata with its interval at `level`."""

    estimate: float
    low: float
    high: float
    level: float
    method: str


def table(control: Moments, treatment: Moments, deflate: tuple[float, float] = (1.0, 1.0)) -> TwoByTwo:
    """The table of one stratum of a metric whose observations are 0 or 1; `deflate`: the arms' design effects."""
    return TwoByTwo(
        control_successes=control.y / deflate[0],
        control_n=control.s / deflate[0],
        treatment_successes=treatment.y / deflate[1],
        treatment_n=treatment.s / deflate[1],
    )


def design_effect(strata: Sequence[Moments]) -> float:
    """By how much the variance of an arm's rate, units being clusters, exceeds that of independent observations.

    Over the strata: the squares of Y - pS, times n / (n - 1), over the binomial p(1 - p) S; at least 1, which it is
    where each unit has one observation. Rao, Scott 1992, equation 2, pooled over the arm's strata for a steady figure.
    """
    if all(one.s == one.n == one.ss for one in strata):
        return 1.0
    squares = binomial = 0.0
    for one in strata:
        if one.n < 2 or one.s <= 0:
            continue
        p = one.y / one.s
        squares += (one.yy - 2 * p * one.sy + p * p * one.ss) * one.n / (one.n - 1)
        binomial += p * (1 - p) * one.s
    return max(1.0, squares / binomial) if binomial > 0 else 1.0


def cmh(strata: Sequence[TwoByTwo], *, continuity: bool = True) -> ChiSquare | NoEffect:
    """Test of no difference in any stratum, against one in a common direction.

    (|sum (a - E a)| - 1/2)^2 / sum V a, hypergeometric; without `continuity` no half is taken off. Mantel, Haenszel
    1959 (JNCI 22:719). It has no power where effects of opposite sign cancel.
    """
    told = [one for one in strata if one.tells]
    excess = variance = 0.0
    for one in told:
        excess += one.treatment_successes - one.treatment_n * one.successes / one.n
        if one.n > 1:
            margins = one.treatment_n * one.control_n * one.successes * (one.n - one.successes)
            variance += margins / (one.n**2 * (one.n - 1))
    if variance <= 0:
        return _nothing(strata)
    distance = max(0.0, abs(excess) - 0.5) if continuity else abs(excess)
    statistic = distance**2 / variance
    method = "Cochran-Mantel-Haenszel" + (", continuity corrected" if continuity else "")
    return ChiSquare(statistic=statistic, df=1, p_value=float(scipy.stats.chi2.sf(statistic, 1)), method=method)


def odds_ratio(strata: Sequence[TwoByTwo], *, level: float = 0.95) -> Common | NoEffect:
    """Mantel-Haenszel's common odds ratio of treatment to control, interval from the variance of its logarithm of
    Robins, Breslow, Greenland 1986 (Biometrics 42:311)."""
    told = [one for one in strata if one.tells]
    r, s, pr, ps_qr, qs = 0.0, 0.0, 0.0, 0.0, 0.0
    for one in told:
        a, c = one.treatment_successes, one.control_successes
        b, d = one.treatment_n - a, one.control_n - c
        r_h, s_h, p_h, q_h = a * d / one.n, b * c / one.n, (a + d) / one.n, (b + c) / one.n
        r, s = r + r_h, s + s_h
        pr, ps_qr, qs = pr + p_h * r_h, ps_qr + p_h * s_h + q_h * r_h, qs + q_h * s_h
    if told and (r <= 0 or s <= 0):
        return NoEffect(
            why=Why.CONSTANT,
            text="in every stratum one arm has all successes or none of them: the odds ratio is 0 or without bound; "
            "the risk difference tells more",
        )
    if not told:
        return _nothing(strata)
    spread = math.sqrt(pr / (2 * r * r) + ps_qr / (2 * r * s) + qs / (2 * s * s))
    z = float(scipy.stats.norm.isf((1 - level) / 2))
    low, high = (r / s * math.exp(sign * z * spread) for sign in (-1, 1))
    return Common(estimate=r / s, low=low, high=high, level=level, method="Mantel-Haenszel, Robins-Breslow-Greenland")


def risk_difference(strata: Sequence[TwoByTwo], *, level: float = 0.95) -> Common | NoEffect:
    """Mantel-Haenszel's common difference of rates, treatment minus control, with a variance that holds for many small
    strata as for few large ones: Sato 1989 (Biometrics 45:1323)."""
    both = [one for one in strata if min(one.control_n, one.treatment_n) > 0]
    weight = sum(one.control_n * one.treatment_n / one.n for one in both)
    if weight <= 0:
        return _nothing(strata)
    top = p = q = 0.0
    for one in both:
        y1, n1, y0, n0 = one.treatment_successes, one.treatment_n, one.control_successes, one.control_n
        top += (y1 * n0 - y0 * n1) / one.n
        p += (n1 * n1 * y0 - n0 * n0 * y1 + n1 * n0 * (n0 - n1) / 2) / one.n**2
        q += (y1 * (n0 - y0) + y0 * (n1 - y1)) / (2 * one.n)
    estimate = top / weight
    variance = (estimate * p + q) / weight**2
    if variance <= 0:
        return _nothing(strata)
    half = float(scipy.stats.norm.isf((1 - level) / 2)) * math.sqrt(variance)
    return Common(
        estimate=estimate, low=estimate - half, high=estimate + half, level=level, method="Mantel-Haenszel, Sato"
    )


def homogeneity(strata: Sequence[TwoByTwo], *, tarone: bool = False) -> ChiSquare | NoEffect:
    """Whether the odds ratio is the same in all strata.

    Breslow, Day 1980 (IARC 32, equation 4.30): sum (a - A)^2 / V with A the count that Mantel-Haenszel's odds ratio
    implies under the stratum's margins; `tarone` takes off (sum a - sum A)^2 / sum V (Tarone 1985, Biometrika 72:91).
    """
    told = [one for one in strata if one.tells]
    common = odds_ratio(strata)
    if isinstance(common, NoEffect):
        return common
    if len(told) < 2:
        return NoEffect(why=Why.NO_OBSERVATIONS, text="one stratum alone can be compared: nothing to be equal to")
    statistic = excess = variance = 0.0
    for one in told:
        expected = _implied(one, common.estimate)
        cells = (
            *(expected, one.successes - expected, one.treatment_n - expected),
            one.control_n - one.successes + expected,
        )
        v = 1 / sum(1 / cell for cell in cells)
        statistic += (one.treatment_successes - expected) ** 2 / v
        excess, variance = excess + one.treatment_successes - expected, variance + v
    statistic -= excess**2 / variance if tarone else 0.0
    df = len(told) - 1
    method = "Breslow-Day" + (", Tarone" if tarone else "")
    return ChiSquare(statistic=statistic, df=df, p_value=float(scipy.stats.chi2.sf(statistic, df)), method=method)


def _implied(one: TwoByTwo, ratio: float) -> float:
    """The treatment's successes x with x(n0 - m + x) = ratio (m - x)(n1 - x), the root within the margins."""
    n1, n0, m = one.treatment_n, one.control_n, one.successes
    a, b, c = 1 - ratio, n0 - m + ratio * (m + n1), -ratio * m * n1
    root = math.sqrt(b * b - 4 * a * c)
    return -2 * c / (b + root) if b > 0 else (root - b) / (2 * a)  # whichever does not cancel


def _nothing(strata: Sequence[TwoByTwo]) -> NoEffect:
    if not any(min(one.control_n, one.treatment_n) > 0 for one in strata):
        return NoEffect(why=Why.ONE_ARM, text="no stratum has both arms: compare by another attribute")
    return NoEffect(why=Why.CONSTANT, text="both arms give the same answer in every stratum: nothing to weigh")
