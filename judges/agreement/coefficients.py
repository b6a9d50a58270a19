"""Which interval each coefficient has, and which coefficient decides.

    Cohen's kappa, AC1, AC2     Dirichlet posterior of the table
    weighted kappa              BCa over items to show; its bounds to decide by are the outer ones of BCa and posterior
    Krippendorff's alpha        BCa over items

At 50 items of an ordinal scale BCa's lower bound lies above the truth in up to 8% of cases, and the posterior's upper
bound below it in up to 11% (benchmarks/judges/coverage.py). Neither may certify or fail a judge alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from judges.agreement.alpha import Level
from judges.agreement.ceiling import alpha_of
from judges.agreement.coded import Coded
from judges.agreement.intervals import DRAWS, RESAMPLES, Coefficient, bca_coefficient, posterior_coefficient
from judges.agreement.kappa import Statistic, Weighting, agreement_weights, gwets, kappas
from judges.agreement.tables import FloatArray, Table


@dataclass(frozen=True, kw_only=True)
class Scale:
    """What the labels are: k of them, in order or not; and of all draws the seed and how many."""

    k: int
    ordinal: bool
    seed: int
    draws: int = DRAWS
    resamples: int = RESAMPLES

    def rough(self) -> Scale:
        """The same with fewer draws, for the many slices of a report: ends are known to 0.05 of their deviation."""
        return replace(self, draws=4_000, resamples=1_000)

    @property
    def weighting(self) -> Weighting:
        """The weights of the coefficient that decides."""
        return Weighting.QUADRATIC if self.ordinal else Weighting.NOMINAL

    @property
    def statistic(self) -> Statistic:
        """The coefficient that decides, of tables."""
        return _kappas(self.k, self.weighting)


def deciding(given: Coded, scale: Scale) -> Coefficient:
    """The coefficient that a certificate is about."""
    if scale.ordinal:
        return weighted_kappa(given, scale, Weighting.QUADRATIC)
    return kappa(given.table(), scale)


def kappa(of: Table, scale: Scale) -> Coefficient:
    """Cohen's kappa."""
    return posterior_coefficient(of, _kappas(of.k, Weighting.NOMINAL), seed=scale.seed, draws=scale.draws)


def gwet(of: Table, scale: Scale) -> Coefficient:
    """Gwet's AC1, or AC2 with quadratic weights where the scale is ordinal."""
    weights = agreement_weights(of.k, scale.weighting)
    return posterior_coefficient(of, lambda tables: gwets(tables, weights), seed=scale.seed, draws=scale.draws)


def weighted_kappa(given: Coded, scale: Scale, weighting: Weighting) -> Coefficient:
    """Weighted kappa. Where no resample differs (all agree), the posterior's interval stands in for BCa's."""
    statistic = _kappas(scale.k, weighting)
    drawn = posterior_coefficient(given.table(), statistic, seed=scale.seed, draws=scale.draws)
    codes, counts, weight = given.patterns()
    cells = np.zeros((len(counts), scale.k * scale.k))
    cells[np.arange(len(counts)), codes[:, 0] * scale.k + codes[:, 1]] = weight

    def resampled(times: FloatArray) -> FloatArray:
        return statistic((times @ cells).reshape(-1, scale.k, scale.k))

    found = bca_coefficient(counts, resampled, seed=scale.seed, resamples=scale.resamples)
    if found.lower is None or found.upper is None or drawn.lower is None or drawn.upper is None:
        return drawn
    return replace(found, lower=min(found.lower, drawn.lower), upper=max(found.upper, drawn.upper))


def krippendorff(given: Coded, scale: Scale) -> Coefficient:
    """Alpha of judge and label as two raters."""
    codes, counts, weight = given.patterns()
    level = Level.ORDINAL if scale.ordinal else Level.NOMINAL
    statistic = alpha_of(codes, scale.k, level, weight)
    return bca_coefficient(counts, statistic, seed=scale.seed, resamples=scale.resamples)


def _kappas(k: int, weighting: Weighting) -> Statistic:
    weights = agreement_weights(k, weighting)

    def statistic(tables: FloatArray) -> FloatArray:
        return kappas(tables, weights)

    return statistic
