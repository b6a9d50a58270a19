"""Towards the longer answer.

Pairs: the length-controlled win rate of Dubois et al. 2024 (arXiv:2404.04475, eq. 2), without the term of the model:
logit p = theta + phi tanh(dlen / sigma) + psi gamma, and p at dlen = 0 instead of the raw rate. Verdicts of one answer:
logit P(pass) = theta + phi tanh((len - mean) / sigma) + psi label, where phi is what length adds at the same label.
Lengths are of any unit; sigma is their standard deviation here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.errors import InvalidInput
from evaluators.statistics.estimates import Estimate, Lack, Unestimated
from evaluators.statistics.rates import FloatArray, mean_of
from judges.biases.logistic import Fit, fit_logistic


@dataclass(frozen=True, kw_only=True)
class LengthControlled:
    """A win rate with length taken out. `raw` is the mean, `controlled` the model's rate for answers of one length,
    `effect` phi on the scale of log odds: above 0 the longer answer is preferred."""

    n: int
    raw: Estimate | Unestimated
    controlled: Estimate | Unestimated
    effect: Estimate | Unestimated


@dataclass(frozen=True, kw_only=True)
class LongerChosen:
    """How often the longer answer is chosen, by the judge and by the gold labels, over the same `n` pairs of unequal
    lengths; `excess` is the difference, above 0 where the judge likes length more than it deserves."""

    n: int
    judge: Estimate | Unestimated
    gold: Estimate | Unestimated
    excess: Estimate | Unestimated


@dataclass(frozen=True, kw_only=True)
class LengthEffect:
    """What length adds to the chance of a pass at the same human label. `effect` is phi on the scale of log odds;
    `short` and `long` are the chances of a pass one standard deviation below and above the mean length, at the mean
    of the labels."""

    n: int
    effect: Estimate | Unestimated
    short: Estimate | Unestimated
    long: Estimate | Unestimated


def length_controlled(
    won: FloatArray,
    difference: FloatArray,
    gamma: FloatArray | None = None,
    clusters: NDArray[np.int64] | None = None,
) -> LengthControlled:
    """`won` (n,) is 1, 0 or a half for the first answer, `difference` (n,) its length minus the other's, `gamma` (n, k)
    what else is known of the pair, `clusters` (n,) the prompt; without them each pair is one. Rows with NaN in `won`
    are left out. Raises InvalidInput for other shapes."""
    _check(won, difference)
    there = np.isfinite(won)
    y, x = won[there], difference[there]
    which = np.arange(len(y)) if clusters is None else clusters[there]
    raw = mean_of(y)
    found = _fit(y, x, x, None if gamma is None else gamma[there].reshape(len(y), -1), which)
    if isinstance(found, Unestimated):
        return LengthControlled(n=len(y), raw=raw, controlled=found, effect=found)
    fit, _ = found
    even = np.zeros(len(fit.coefficients))
    even[0] = 1.0  # at dlen = 0 and the mean of gamma, which is centred
    return LengthControlled(n=len(y), raw=raw, controlled=fit.chance(even), effect=fit.estimate(1))


def longer_chosen(judge: FloatArray, gold: FloatArray, difference: FloatArray) -> LongerChosen:
    """`judge` (n,) is the preference for the first answer (1, 0, a half, NaN for none), `gold` (n,) 1 or 0,
    `difference` (n,) the first answer's length minus the second's. Raises InvalidInput for other shapes."""
    _check(judge, difference)
    _check(gold, difference)
    there = np.isfinite(judge) & np.isfinite(gold) & (difference != 0)
    longer = difference[there] > 0
    mine, theirs = (np.where(longer, one[there], 1 - one[there]) for one in (judge, gold))
    return LongerChosen(n=int(there.sum()), judge=mean_of(mine), gold=mean_of(theirs), excess=mean_of(mine - theirs))


def length_effect(passed: FloatArray, length: FloatArray, label: FloatArray) -> LengthEffect:
    """`passed` (n,) is 1 or 0 as the judge says, `length` (n,) that of the answer, `label` (n,) 1 or 0 as people say.
    Rows with NaN are left out. Raises InvalidInput for other shapes."""
    _check(passed, length)
    _check(label, length)
    there = np.isfinite(passed) & np.isfinite(label) & np.isfinite(length)
    y, x, human = passed[there], length[there], label[there]
    known = human.reshape(-1, 1) if len(np.unique(human)) > 1 else None
    found = _fit(y, x - x.mean() if len(x) else x, x, known, np.arange(len(y)))
    if isinstance(found, Unestimated):
        return LengthEffect(n=len(y), effect=found, short=found, long=found)
    fit, _ = found
    chances = []
    for side in (-1.0, 1.0):
        at = np.zeros(len(fit.coefficients))
        at[0], at[1] = 1.0, np.tanh(side)
        chances.append(fit.chance(at))
    return LengthEffect(n=len(y), effect=fit.estimate(1), short=chances[0], long=chances[1])


def _fit(
    y: FloatArray, x: FloatArray, spread_of: FloatArray, known: FloatArray | None, clusters: NDArray[np.int64]
) -> tuple[Fit, float] | Unestimated:
    """The model with its standard deviation of lengths."""
    if len(y) < 2:
        return Unestimated(reason=Lack.ONE_EXAMPLE if len(y) else Lack.NO_EXAMPLES)
    sigma = float(spread_of.std())
    if not sigma > 0:
        return Unestimated(reason=Lack.ZERO_VARIANCE, detail="all have the same length")
    columns = [np.ones(len(y)), np.tanh(x / sigma)]
    if known is not None:
        columns += list((known - known.mean(axis=0)).T)
    found = fit_logistic(y, np.column_stack(columns), clusters)
    return found if isinstance(found, Unestimated) else (found, sigma)


def _check(one: FloatArray, difference: FloatArray) -> None:
    if one.shape != difference.shape or one.ndim != 1:
        raise InvalidInput(f"{one.shape} verdicts for {difference.shape} lengths", field="difference")
