"""The false pages a user allows, divided over all series that can page: the points between false alarms of each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from core.errors import InvalidInput
from monitors.calibration import LEAST_ARL0

WEEK_S: Final = 7 * 24 * 3600


@dataclass(frozen=True, kw_only=True)
class Watched:
    """One monitor as the budget sees it."""

    name: str
    n_series: int
    step_s: int
    share: float = 1.0
    """Its part of the budget against the others'."""

    @property
    def points_per_week(self) -> float:
        """Of one series, when none is missing."""
        return WEEK_S / self.step_s


@dataclass(frozen=True, kw_only=True)
class Allotted:
    """What one monitor may do, and what its bands are calibrated to."""

    name: str
    arl0: float
    """Points between false alarms of one series."""
    false_pages_per_week: float
    """Of all its series together."""


def arl0_for(false_pages_per_week: float, *, n_series: int, step_s: int) -> float:
    """Points between false alarms of each of n series that may together page so often. Raises InvalidInput.

    The expected numbers add whether or not the series move together: no independence is assumed. At most one page in 20
    points: below that a band is no band.
    """
    if not 0 < false_pages_per_week < math.inf:
        raise InvalidInput(f"{false_pages_per_week} false pages a week: above 0", field="false_pages_per_week")
    if n_series < 1 or step_s < 1:
        raise InvalidInput(f"{n_series} series in steps of {step_s} s", field="n_series")
    return max(n_series * WEEK_S / step_s / false_pages_per_week, LEAST_ARL0)


def pages_for(arl0: float, *, n_series: int, step_s: int) -> float:
    """False pages a week to expect of n series: the inverse of `arl0_for`."""
    return n_series * WEEK_S / step_s / arl0


def allot(false_pages_per_week: float, watched: Sequence[Watched]) -> tuple[Allotted, ...]:
    """One budget over several monitors, by their shares; within each evenly over its series. Raises InvalidInput."""
    shares = sum(one.share for one in watched)
    if any(one.share <= 0 for one in watched):
        raise InvalidInput("a monitor without a share of the budget can never page", field="share")
    told = []
    for one in watched:
        pages = false_pages_per_week * one.share / shares
        arl0 = arl0_for(pages, n_series=one.n_series, step_s=one.step_s)
        honoured = pages_for(arl0, n_series=one.n_series, step_s=one.step_s)
        told.append(Allotted(name=one.name, arl0=arl0, false_pages_per_week=honoured))
    return tuple(told)
