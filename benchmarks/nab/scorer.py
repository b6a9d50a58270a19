"""What alarms earn by the rules of the Numenta Anomaly Benchmark, written from the published rules.

Lavin and Ahmad 2015, Evaluating Real-time Anomaly Detection Algorithms, section III; arXiv:1510.03336. An alarm in a
labelled window earns the more the earlier it comes, only the best alarm of a window counts, a window without an alarm
costs, and so does an alarm outside the windows, less so shortly behind one. The final score is 0 for a detector that
never alarms and 100 for one that alarms at the first point of each window and nowhere else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.nab.corpus import Costs, Floats, Ints, Series

# Positions that far behind a window cost as much as one before any window.
FAR: Final = 3.0
_STEEP: Final = 5.0
# No score of a detector is above it: the threshold at which there is no alarm.
SILENT: Final = float("inf")


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """For the points that count of one file or of many: what an alarm there is worth, unweighted, and its window."""

    worth: Floats
    window: Ints
    counted: NDArray[np.bool_]
    n_windows: int


@dataclass(frozen=True, kw_only=True)
class Tally:
    """The raw score at a threshold, and what it was made of."""

    threshold: float
    raw: float
    n_found: int
    n_false: int


def relative(x: Floats) -> Floats:
    """The scaled sigmoid 2 / (1 + e^5x) - 1, and -1 from three widths behind the window on."""
    return np.where(x >= FAR, -1.0, 2 / (1 + np.exp(_STEEP * np.minimum(x, FAR))) - 1)


def sheet(series: Series) -> Sheet:
    """What an alarm at each point of one file is worth."""
    n = len(series.x)
    at = np.arange(n)
    position = np.full(n, FAR)
    window = np.full(n, -1, dtype=np.int64)
    for number, (left, right) in enumerate(series.windows):
        behind = at > right
        position[behind] = (at[behind] - right) / max(right - left, 1)
        inside = (at >= left) & (at <= right)
        position[inside] = -(right - at[inside] + 1) / (right - left + 1)
        window[inside] = number
    worth = relative(position)
    worth[window >= 0] /= relative(np.array([-1.0]))[0]
    return Sheet(worth=worth, window=window, counted=at >= series.probation, n_windows=len(series.windows))


def joined(sheets: Sequence[Sheet]) -> Sheet:
    """One sheet of many files, whose windows are numbered on."""
    before = np.cumsum([0, *(one.n_windows for one in sheets)])
    windows = [np.where(one.window < 0, -1, one.window + skip) for one, skip in zip(sheets, before[:-1], strict=True)]
    return Sheet(
        worth=np.concatenate([one.worth for one in sheets]),
        window=np.concatenate(windows),
        counted=np.concatenate([one.counted for one in sheets]),
        n_windows=int(before[-1]),
    )


def at_threshold(sheet: Sheet, scores: Floats, costs: Costs, threshold: float) -> Tally:
    """What the alarms at the points whose score is at least the threshold earn. A score that is NaN is no alarm."""
    alarm = sheet.counted & (scores >= threshold)
    false = alarm & (sheet.window < 0)
    inside = alarm & (sheet.window >= 0)
    best = np.full(sheet.n_windows, -np.inf)
    np.maximum.at(best, sheet.window[inside], sheet.worth[inside])
    there = np.unique(sheet.window[sheet.counted & (sheet.window >= 0)])
    earned = np.where(np.isfinite(best), np.maximum(costs.found * best, -costs.missed), -costs.missed)[there]
    raw = float(earned.sum() + costs.false * sheet.worth[false].sum())
    return Tally(threshold=threshold, raw=raw, n_found=int(np.isfinite(best).sum()), n_false=int(false.sum()))


def best_threshold(sheet: Sheet, scores: Floats, costs: Costs) -> Tally:
    """The threshold that earns most on the sheet, as the benchmark chooses it; of equals the highest."""
    known = np.flatnonzero(sheet.counted & ~np.isnan(scores))
    order = known[np.argsort(-scores[known], kind="stable")]
    false = np.where(sheet.window[order] < 0, costs.false * sheet.worth[order], 0.0)
    gains = _gains(sheet, order, costs)
    start = at_threshold(sheet, scores, costs, SILENT)
    raws = start.raw + np.cumsum(false + gains)
    last = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
    if not len(last):
        return start
    top = last[int(np.argmax(raws[last]))]
    if raws[top] <= start.raw:
        return start
    return at_threshold(sheet, scores, costs, float(scores[order[top]]))


def final(raw: float, n_windows: int, costs: Costs) -> float:
    """The score between that of silence, 0, and that of a perfect detector, 100."""
    silent = -costs.missed * n_windows
    return 100 * (raw - silent) / (costs.found * n_windows - silent)


def _gains(sheet: Sheet, order: Ints, costs: Costs) -> Floats:
    """By how much each further alarm raises what its window earns."""
    gains = np.zeros(len(order))
    best = np.full(sheet.n_windows, -costs.missed)
    inside = np.flatnonzero(sheet.window[order] >= 0)
    for place, number, worth in zip(
        inside.tolist(),
        sheet.window[order[inside]].tolist(),
        (costs.found * sheet.worth[order[inside]]).tolist(),
        strict=True,
    ):
        if worth > best[number]:
            gains[place] = worth - best[number]
            best[number] = worth
    return gains
