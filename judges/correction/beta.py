"""Post-stratification by the judge's verdict with Beta draws: the interval where one of the labels is rare.

theta = P(J=1) P(Y=1|J=1) + P(J=0) P(Y=1|J=0), each of the three a Beta posterior under Jeffreys' prior: the chain rule
estimate of Hofer et al. 2024 (Bayesian prediction-powered inference, arXiv:2405.06034). Its mean is PPI's
with the best lam (Chen et al. 2026: the efficient influence function of a two-valued judge), but its interval knows
that a class of which two were seen, or none, is not known to be empty.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from evaluators.statistics.estimates import Interval
from evaluators.statistics.rates import FloatArray
from judges.correction.records import Judged

DRAWS: Final = 10_000
HALF: Final = 0.5  # Jeffreys' prior


def chain_beta(judged: Judged, level: float = 0.95, *, finite: bool = False, seed: int = 0) -> tuple[Interval, float]:
    """The interval of the share of 1 and the standard deviation of its draws. Values and labels are 0 or 1.

    Where chances of being drawn are unequal, counts are Kish's effective ones within each verdict. `finite` asks about
    these targets and no others: those without a label are drawn too. An end is 0, or 1, where no label is 1, or 0.
    """
    rng = np.random.default_rng(seed)
    outer = 1 / judged.p_judge
    yes, seen = judged.judge == 1, judged.labelled
    weights = np.where(seen, outer / np.where(seen, judged.p_human, 1.0), 0.0)
    right = _drawn(rng, judged.label, weights, seen & yes)
    wrong = _drawn(rng, judged.label, weights, seen & ~yes)
    if finite:
        n_yes, n_no = int((yes & ~seen).sum()), int((~yes & ~seen).sum())
        ones = float(judged.label[seen].sum())
        draws = (ones + rng.binomial(n_yes, right) + rng.binomial(n_no, wrong)) / len(judged.judge)
    else:
        share = _drawn(rng, judged.judge, outer, np.ones(len(yes), dtype=bool))
        draws = share * right + (1 - share) * wrong
    tail = (1 - level) / 2
    low, high = (float(one) for one in np.quantile(draws, [tail, 1 - tail]))
    labels = judged.label[seen]
    if not finite:
        low, high = (low if labels.any() else 0.0), (1.0 if labels.all() else high)
    return Interval(low=low, high=high, level=level, method="chain_beta"), float(draws.std())


def _drawn(rng: np.random.Generator, values: FloatArray, weights: FloatArray, among: np.ndarray) -> FloatArray:
    """Draws of shape (DRAWS,) from the posterior of the share of 1 among some targets."""
    if not among.any():
        return rng.beta(HALF, HALF, size=DRAWS)
    w = weights[among]
    n = float(w.sum() ** 2 / (w @ w))
    ones = n * float(w @ values[among] / w.sum())
    return rng.beta(HALF + ones, HALF + max(0.0, n - ones), size=DRAWS)
