"""Whether a watched cluster grew: how often it comes now against how often it came when the watch began. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

LEVEL: Final = 0.99  # of the bound: a watch is looked at every hour for as long as it lasts
FEWEST: Final = 5  # sessions now, below which nothing is said


@dataclass(frozen=True, kw_only=True)
class Growth:
    """`n` of `of` sessions now and `n_then` of `of_then` when the watch began; `ratio` of the two rates with its lower
    bound. `grew`: the bound is above what the watch asks for."""

    n: int
    of: int
    n_then: int
    of_then: int
    ratio: float | None
    low: float
    grew: bool


def growth(n: int, of: int, n_then: int, of_then: int, min_ratio: float) -> Growth:
    """The ratio of two Poisson rates with exposure `of` and `of_then`, its lower bound at LEVEL one-sided and exact:
    given n + n_then, n is binomial with share ratio * of / (ratio * of + of_then) (Przyborowski, Wilenski 1940;
    bound of Clopper, Pearson 1934). Without exposure then nothing is known, and it did not grow."""
    if not of or not of_then or n < FEWEST:
        return Growth(
            n=n, of=of, n_then=n_then, of_then=of_then, ratio=_ratio(n, of, n_then, of_then), low=0.0, grew=False
        )
    from scipy.stats import beta

    share = float(beta.ppf(1 - LEVEL, n, n_then + 1))
    low = share / (1 - share) * of_then / of if share < 1 else float("inf")
    ratio = _ratio(n, of, n_then, of_then)
    return Growth(n=n, of=of, n_then=n_then, of_then=of_then, ratio=ratio, low=low, grew=low > min_ratio)


def _ratio(n: int, of: int, n_then: int, of_then: int) -> float | None:
    """The ratio of rates; None where one is not known or the one then is 0."""
    return n / of / (n_then / of_then) if of and n_then and of_then else None
