"""Anytime evidence of harm: a bet that may be looked at after every example, and stops a run when harm is proved.

Under H0 (the mean of d given the past is -slack or more) the wealth of a bettor who bets on harm is a nonnegative
supermartingale, so the chance that it EVER reaches 1/alpha is at most alpha (Ville 1939): all looks together are one
test at level alpha. Betting on a bounded mean is Waudby-Smith, Ramdas 2024 (JRSS B 86:1, arXiv:2010.09686), section 4;
here the bettor holds equal shares of a grid of fixed bets, so no bet looks at the example it is settled by, and none
has to be tuned. The examples must come in an order that does not depend on their scores.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from core.errors import InvalidInput
from evaluators.statistics.rates import FloatArray

BETS: Final = np.geomspace(0.02, 0.95, 24)  # shares of the largest bet that cannot lose more than all


@dataclass(frozen=True, kw_only=True)
class EProcess:
    """The evidence so far. `log_wealth` has one entry per bet, each a sum of log(1 - bet (d + slack) / reach).

    `reach` is the largest possible |d| plus the slack: with scores from 0 to 1 it is 1 + slack.
    """

    alpha: float
    slack: float
    reach: float
    n: int = 0
    log_wealth: tuple[float, ...] = tuple(0.0 for _ in BETS)

    @property
    def e_value(self) -> float:
        """Evidence of harm: the mean wealth. 1 at the start; the p of all looks so far is min(1, 1 / max)."""
        return math.exp(min(700.0, float(np.logaddexp.reduce(self.log_wealth)) - math.log(len(BETS))))

    @property
    def harm_proved(self) -> bool:
        """Whether the wealth is 1/alpha or more: the run may end."""
        return self.e_value >= 1 / self.alpha

    def after(self, difference: float) -> EProcess:
        """With one more example, d = candidate - baseline. Raises InvalidInput for a d beyond its range."""
        scaled = (difference + self.slack) / self.reach
        if not -1 <= scaled <= 1:  # NaN neither
            raise InvalidInput(f"a difference of {difference} is beyond the range of the score", field="difference")
        grown = np.asarray(self.log_wealth) + np.log1p(-BETS * scaled)
        return replace(self, n=self.n + 1, log_wealth=tuple(grown.tolist()))


def started(*, alpha: float = 0.05, slack: float = 0.0, bounds: tuple[float, float] = (0.0, 1.0)) -> EProcess:
    """Before the first example. Raises InvalidInput for an alpha outside 0 to 1, a negative slack or an empty range."""
    low, high = bounds
    if not 0 < alpha < 1 or not 0 <= slack < math.inf or not 0 < high - low < math.inf:
        raise InvalidInput(f"no test at alpha {alpha}, slack {slack}, range {low} to {high}", field="alpha")
    return EProcess(alpha=alpha, slack=slack, reach=high - low + slack)


def wealth(differences: FloatArray, *, slack: float = 0.0, reach: float | None = None) -> FloatArray:
    """e-values after each example of many runs at once: differences of shape (runs, n) -> (runs, n).

    The same numbers as `EProcess.after`, one after the other.
    """
    whole = 1.0 + slack if reach is None else reach
    scaled = (differences + slack) / whole
    total = np.zeros(differences.shape)
    for bet in BETS:
        total += np.exp(np.cumsum(np.log1p(-bet * scaled), axis=1))
    return total / len(BETS)


def stopped_at(differences: FloatArray, *, alpha: float = 0.05, slack: float = 0.0) -> np.ndarray:
    """The number of examples after which harm is proved, of shape (runs,); 0 where it never is."""
    over = wealth(differences, slack=slack) >= 1 / alpha
    return np.where(over.any(axis=1), over.argmax(axis=1) + 1, 0)
