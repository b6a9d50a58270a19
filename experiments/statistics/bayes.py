"""The Bayesian view of an effect, for those who want one: how likely it is better, and what a wrong choice would cost.

The effect's likelihood is normal around the estimate. Without a prior the posterior is that normal (a flat prior); with
one, N(0, prior_sd^2), the estimate is drawn toward 0. Deciding when p_better passes a bar and looking again and again
finds winners in A/A tests as any peeking does (Deng, Lu, Chen 2016, DSAA): nothing is decided by this view.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import scipy

from core.errors import InvalidInput
from experiments.records import Better
from experiments.statistics.effects import check_alpha, z_of
from experiments.statistics.records import Effect


class View(NamedTuple):
    """`p_better`: that the treatment is better. `expected_loss`: what shipping it loses on average, in the metric's
    unit, counting 0 where it is better. `low`, `high`: the credible interval of the difference, not oriented."""

    p_better: float
    expected_loss: float
    low: float
    high: float


def view(effect: Effect, *, better: Better = Better.HIGHER, alpha: float = 0.05, prior_sd: float | None = None) -> View:
    """The posterior of an effect. `prior_sd`: how large effects usually are, in the metric's unit; None is flat.

    Raises InvalidInput for an effect without a standard error, and a prior whose sd is not above 0.
    """
    check_alpha(alpha)
    if not effect.se > 0:
        raise InvalidInput("an effect without a standard error has no posterior", field="effect")
    mean, sd = effect.estimate, effect.se
    if prior_sd is not None:
        if not 0 < prior_sd < math.inf:
            raise InvalidInput(f"the sd of a prior is above 0, not {prior_sd}", field="prior_sd")
        kept = prior_sd**2 / (prior_sd**2 + sd**2)
        mean, sd = mean * kept, math.sqrt(kept) * sd
    towards = mean / sd if better is Better.HIGHER else -mean / sd
    density = math.exp(-towards * towards / 2) / math.sqrt(2 * math.pi)
    loss = sd * max(0.0, density - towards * float(scipy.special.ndtr(-towards)))
    half = z_of(alpha) * sd
    return View(p_better=float(scipy.special.ndtr(towards)), expected_loss=loss, low=mean - half, high=mean + half)
