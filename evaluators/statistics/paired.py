"""The difference of two runs on the same examples: which test is used is a rule, and stands in the answer.

d_i = mean over the candidate's trials of example i - mean over the baseline's. n is the number of examples, never of
trials: a trial more of an example makes its mean steadier and adds no example (Miller 2024, arXiv:2411.00640, section
4). Values are oriented before they come here: more is better.

What is used, with m the number of examples that differ:

    one trial each, all 0 or 1      exact McNemar            Tango's score interval
    zero variance                   exact sign flip: 2^-n    Gaffke's bound = rule of three, where the range is known
    m <= 20                         exact sign flip          Gaffke's bound where the range is known, else paired t
    20 < m < 50                     sign flip, 20,000 flips  paired t
    m >= 50                         paired t                 paired t

The p of harm with a slack (H0: difference >= -slack) is that of the interval's method, as a sign flip knows only 0.
A judge's own errors are part of its scores: what they scatter is in the spread of d already, and what they shift is not
to be told from d. Where a judge errs alike on both sides, E d is (sensitivity + specificity - 1) times the difference
that people would see; docs/calibration.md says what follows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

import numpy as np
import scipy

from core.errors import InvalidInput
from evaluators.statistics import mcnemar
from evaluators.statistics.bounded import gaffke_harm, gaffke_lower, gaffke_upper
from evaluators.statistics.estimates import Interval, Lack, Unestimated
from evaluators.statistics.rates import FloatArray
from evaluators.statistics.signflip import EXACT_UP_TO, sign_flip

T_FROM: Final = 50  # examples that differ


class Test(StrEnum):
    """How p was found."""

    __test__ = False  # not one of pytest's

    MCNEMAR_EXACT = "mcnemar_exact"
    SIGN_FLIP_EXACT = "sign_flip_exact"
    SIGN_FLIP_SEEDED = "sign_flip_20000"
    PAIRED_T = "paired_t"
    TANGO_SCORE = "tango_score"
    GAFFKE = "gaffke"


@dataclass(frozen=True, kw_only=True)
class Paired:
    """A difference, candidate - baseline, in the score's unit, over n examples.

    `interval` is two-sided at 1 - alpha; `lower` and `upper` are one-sided at 1 - alpha each. `p_two_sided` tests that
    nothing changed, `p_harm` that the candidate is no worse than -slack. Where a number is None, `lack` says why.
    """

    n: int
    mean_baseline: float
    mean_candidate: float
    difference: float
    variance: float | None  # of d over examples, ddof 1
    se: float | None  # sqrt(variance / n)
    n_better: int
    n_worse: int
    alpha: float
    slack: float
    test: Test | None = None
    harm_test: Test | None = None
    p_two_sided: float | None = None
    p_harm: float | None = None
    interval: Interval | None = None
    lower: float | None = None
    upper: float | None = None
    lack: Lack | None = None

    @property
    def n_tied(self) -> int:
        """Examples on which both runs have the same mean."""
        return self.n - self.n_better - self.n_worse


def paired(
    baseline: FloatArray,
    candidate: FloatArray,
    *,
    one_trial: bool,
    bounds: tuple[float, float] | None = None,
    alpha: float = 0.05,
    slack: float = 0.0,
    seed: int = 0,
) -> Paired | Unestimated:
    """Compares two runs by their means per example, both of shape (n,), row i the same example.

    `one_trial`: every mean is of one trial, which lets 0/1 values be tested by McNemar. `bounds`: least and greatest
    value a score can have, where known. Raises InvalidInput for other shapes, an alpha outside 0 to 0.5, a negative
    slack, and values outside the bounds.
    """
    _check(baseline, candidate, bounds, alpha, slack)
    if not len(baseline):
        return Unestimated(reason=Lack.NO_EXAMPLES)
    if not (np.isfinite(baseline).all() and np.isfinite(candidate).all()):
        return Unestimated(reason=Lack.NOT_FINITE)
    d = np.where(np.abs(candidate - baseline) < 1e-12 * (1 + np.abs(baseline)), 0.0, candidate - baseline)
    found = _described(baseline, candidate, d, alpha, slack)
    if found.n == 1:
        return replace(found, lack=Lack.ONE_EXAMPLE)
    if one_trial and bounds == (0.0, 1.0) and _binary(baseline) and _binary(candidate):
        return _of_two_rates(found)
    return _of_means(found, d, None if bounds is None else bounds[1] - bounds[0], seed)


def _described(baseline: FloatArray, candidate: FloatArray, d: FloatArray, alpha: float, slack: float) -> Paired:
    n = len(d)
    variance = float(d.var(ddof=1)) if n > 1 else None
    return Paired(
        n=n,
        mean_baseline=float(baseline.mean()),
        mean_candidate=float(candidate.mean()),
        difference=float(d.mean()),
        variance=variance,
        se=math.sqrt(variance / n) if variance else None,
        n_better=int(np.count_nonzero(d > 0)),
        n_worse=int(np.count_nonzero(d < 0)),
        alpha=alpha,
        slack=slack,
    )


def _of_two_rates(found: Paired) -> Paired:
    gained, lost, n, alpha = found.n_better, found.n_worse, found.n, found.alpha
    tied = gained + lost == 0
    if found.slack > 0:
        p_harm: float | None = float(scipy.stats.norm.cdf(mcnemar.tango_z(gained, lost, n, -found.slack)))
    else:
        p_harm = None if tied else mcnemar.exact_harm(gained, lost)
    return replace(
        found,
        test=Test.MCNEMAR_EXACT,
        harm_test=Test.TANGO_SCORE if found.slack > 0 else Test.MCNEMAR_EXACT,
        p_two_sided=None if tied else mcnemar.exact_two_sided(gained, lost),
        p_harm=p_harm,
        interval=mcnemar.tango(gained, lost, n, 1 - alpha),
        lower=mcnemar.tango_lower(gained, lost, n, alpha),
        upper=mcnemar.tango_upper(gained, lost, n, alpha),
        lack=Lack.ALL_TIES if tied else None,
    )


def _of_means(found: Paired, d: FloatArray, reach: float | None, seed: int) -> Paired:
    tested = _tested(found, d, seed)
    if reach is not None and (found.n_better + found.n_worse <= EXACT_UP_TO or found.se is None):
        return _by_gaffke(tested, d, reach, seed)
    if found.se is None:
        return replace(tested, lack=Lack.ALL_TIES if not found.difference else Lack.ZERO_VARIANCE)
    return _by_t(tested, found.se)


def _tested(found: Paired, d: FloatArray, seed: int) -> Paired:
    """With p of no difference, and p of harm where there is no slack."""
    m = found.n_better + found.n_worse
    if m == 0:
        return replace(found, lack=Lack.ALL_TIES)
    if found.se is None:  # all differ by the same
        harm = 2.0**-found.n if found.difference < 0 else 1.0
        return replace(
            found,
            test=Test.SIGN_FLIP_EXACT,
            harm_test=None if found.slack else Test.SIGN_FLIP_EXACT,
            p_two_sided=2.0 ** (1 - found.n),
            p_harm=None if found.slack else harm,
        )
    if m >= T_FROM:
        t = found.difference / found.se
        two, harm, test = (
            2 * float(scipy.stats.t.sf(abs(t), found.n - 1)),
            float(scipy.stats.t.cdf(t, found.n - 1)),
            Test.PAIRED_T,
        )
    else:
        flipped = sign_flip(d, seed)
        two, harm = flipped.two_sided, flipped.harm
        test = Test.SIGN_FLIP_EXACT if flipped.exact else Test.SIGN_FLIP_SEEDED
    slack = found.slack > 0
    return replace(found, test=test, p_two_sided=two, harm_test=None if slack else test, p_harm=None if slack else harm)


def _by_gaffke(found: Paired, d: FloatArray, reach: float, seed: int) -> Paired:
    tail = found.alpha / 2
    interval = Interval(
        low=gaffke_lower(d, -reach, tail, seed),
        high=gaffke_upper(d, reach, tail, seed),
        level=1 - found.alpha,
        method=Test.GAFFKE.value,
    )
    bounded = replace(
        found,
        interval=interval,
        lower=gaffke_lower(d, -reach, found.alpha, seed),
        upper=gaffke_upper(d, reach, found.alpha, seed),
    )
    if not found.slack > 0:
        return bounded
    return replace(bounded, harm_test=Test.GAFFKE, p_harm=gaffke_harm(d, reach, found.slack, seed))


def _by_t(found: Paired, se: float) -> Paired:
    freedom = found.n - 1
    two = float(scipy.stats.t.isf(found.alpha / 2, freedom)) * se
    one = float(scipy.stats.t.isf(found.alpha, freedom)) * se
    bounded = replace(
        found,
        interval=Interval(
            low=found.difference - two,
            high=found.difference + two,
            level=1 - found.alpha,
            method=Test.PAIRED_T.value,
        ),
        lower=found.difference - one,
        upper=found.difference + one,
    )
    if not found.slack > 0:
        return bounded
    p_harm = float(scipy.stats.t.cdf((found.difference + found.slack) / se, freedom))
    return replace(bounded, harm_test=Test.PAIRED_T, p_harm=p_harm)


def _binary(values: FloatArray) -> bool:
    return bool(((values == 0) | (values == 1)).all())


def _check(
    baseline: FloatArray, candidate: FloatArray, bounds: tuple[float, float] | None, alpha: float, slack: float
) -> None:
    if baseline.shape != candidate.shape or baseline.ndim != 1:
        raise InvalidInput(f"runs of shapes {baseline.shape} and {candidate.shape} are not paired", field="candidate")
    if not 0 < alpha <= 0.5:
        raise InvalidInput(f"alpha lies between 0 and 0.5, not {alpha}", field="alpha")
    if not 0 <= slack < math.inf:
        raise InvalidInput(f"slack is 0 or more, not {slack}", field="slack")
    if bounds is None:
        return
    low, high = bounds
    for values in (baseline, candidate):
        finite = values[np.isfinite(values)]
        if len(finite) and not (low - 1e-9 <= finite.min() and finite.max() <= high + 1e-9):
            raise InvalidInput(f"a score outside its range {low:g} to {high:g}", field="bounds")
