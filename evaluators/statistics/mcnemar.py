"""Yes-or-no answers of two runs on the same examples, one trial each: exact McNemar test, Tango's score interval.

`gained` counts the examples where only the candidate succeeded, `lost` those where only the baseline did; the examples
on which both agree say nothing about the test, and count in the interval.
"""

from __future__ import annotations

import math

import scipy

from core.errors import InvalidInput
from evaluators.statistics.estimates import Interval


def exact_two_sided(gained: int, lost: int) -> float:
    """P of a split as uneven as this one or more when both are as likely: min(1, 2 Bin(min; gained + lost, 1/2)).

    McNemar 1947 in its exact form, as in Fagerland, Lydersen, Laake 2013 (BMC Med Res Methodol 13:91), equation 4.
    """
    _check(gained, lost, gained + lost)
    return min(1.0, 2 * float(scipy.stats.binom.cdf(min(gained, lost), gained + lost, 0.5)))


def exact_harm(gained: int, lost: int) -> float:
    """One-sided: P of `lost` or more losses among gained + lost when both are as likely."""
    _check(gained, lost, gained + lost)
    return float(scipy.stats.binom.sf(lost - 1, gained + lost, 0.5))


def tango_z(gained: int, lost: int, n: int, difference: float) -> float:
    """Score statistic of H0: rate of the candidate - rate of the baseline = `difference`, over n examples.

    Tango 1998 (Statistics in Medicine 17:891), section 3: with b gained, c lost and q the constrained estimate of the
    chance of a loss, z = (b - c - n d) / sqrt(n (2 q + d (1 - d))). Above 0: the candidate is better than H0 says.
    """
    _check(gained, lost, n)
    if not -1 <= difference <= 1:
        raise InvalidInput(f"a difference of rates lies between -1 and 1, not {difference}", field="difference")
    linear = -gained - lost + (2 * n - gained + lost) * difference
    constant = -lost * difference * (1 - difference)
    root = math.sqrt(max(0.0, linear * linear - 8 * n * constant))
    q = (root - linear) / (4 * n)
    variance = n * (2 * q + difference * (1 - difference))
    above = gained - lost - n * difference
    if variance <= 1e-12 * n:
        return 0.0 if abs(above) < 1e-9 * n else math.copysign(math.inf, above)
    return above / math.sqrt(variance)


def tango_lower(gained: int, lost: int, n: int, alpha: float) -> float:
    """One-sided lower bound of the difference at confidence 1 - alpha: the least difference the score test keeps."""
    z = float(scipy.stats.norm.isf(alpha))
    observed = (gained - lost) / n
    if observed <= -1:
        return -1.0

    def over(difference: float) -> float:
        return min(tango_z(gained, lost, n, difference), 1e6) - z

    if over(-1 + 1e-12) <= 0:
        return -1.0
    return float(scipy.optimize.brentq(over, -1 + 1e-12, observed, xtol=1e-13))


def tango_upper(gained: int, lost: int, n: int, alpha: float) -> float:
    """One-sided upper bound at confidence 1 - alpha."""
    return -tango_lower(lost, gained, n, alpha)


def tango(gained: int, lost: int, n: int, level: float = 0.95) -> Interval:
    """Two-sided score interval of the difference of two paired rates."""
    tail = (1 - level) / 2
    return Interval(
        low=tango_lower(gained, lost, n, tail),
        high=tango_upper(gained, lost, n, tail),
        level=level,
        method="tango_score",
    )


def _check(gained: int, lost: int, n: int) -> None:
    if min(gained, lost) < 0 or gained + lost > n:
        raise InvalidInput(f"{gained} gained and {lost} lost of {n} is no comparison", field="n")
