"""Several tests at once: Holm for a gate (any false alarm), Benjamini-Hochberg for a page (share of false alarms)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from core.errors import InvalidInput
from evaluators.statistics.rates import FloatArray


def holm(p: Sequence[float]) -> list[float]:
    """Adjusted p in the order given: max over j <= i of min(1, (m - j + 1) p_(j)). Reject where it is <= alpha.

    The chance of one false rejection or more is at most alpha under any dependence. Holm 1979 (Scand J Stat 6:65).
    Raises InvalidInput for a p outside 0 to 1; leave out tests that gave none, and count them.
    """
    sorted_p, order = _sorted(p)
    raised = np.maximum.accumulate(np.minimum(1.0, sorted_p * np.arange(len(p), 0, -1)))
    return _back(raised, order)


def benjamini_hochberg(p: Sequence[float]) -> list[float]:
    """Adjusted p (q) in the order given: min over j >= i of min(1, m p_(j) / j).

    The expected share of false ones among the rejected is at most alpha, for independent or positively dependent tests.
    Benjamini, Hochberg 1995 (JRSS B 57:289). Raises InvalidInput for a p outside 0 to 1.
    """
    sorted_p, order = _sorted(p)
    scaled = np.minimum(1.0, sorted_p * len(p) / np.arange(1, len(p) + 1))
    return _back(np.minimum.accumulate(scaled[::-1])[::-1], order)


def _sorted(p: Sequence[float]) -> tuple[FloatArray, list[int]]:
    for one in p:
        if not 0 <= one <= 1:  # NaN neither
            raise InvalidInput(f"a p lies between 0 and 1, not {one}", field="p")
    order = sorted(range(len(p)), key=p.__getitem__)
    return np.array([p[index] for index in order], dtype=np.float64), order


def _back(adjusted: FloatArray, order: list[int]) -> list[float]:
    back = [0.0] * len(order)
    for place, index in enumerate(order):
        back[index] = float(adjusted[place])
    return back
