"""SLO burn rates: detection and reset against the Site Reliability Workbook, and what little traffic does to them.

python -m benchmarks.monitors.slo [--weeks 4] [--series 16]

workbook: each pair alone at 1,000 events a minute, objective 99.9%, from an outage of 100, 10 and 2% to its breach, and
from the end of half an hour in which everything failed to the end of the breach; beside it the workbook's formula,
(1 - SLO) / error ratio * window * burn rate. quiet: binomial failures at half the budget and at all of it, all pairs
in steps of five minutes; alerts a week and series, an alert ending after three calm points: by the estimate alone, by
it and ten events, and with the lower bound of the share (the default). outage: minutes until the first page.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.evaluators.throughput import ROOT, commit, machine
from core.clock import NS_PER_S
from monitors.records import Floats, Kind, Points
from monitors.slo import PAIRS, Burns, Pair, SloBand, severities

RESULT: Final = ROOT / "benchmarks" / "results" / "monitors_slo.json"
ERRORS: Final = (1.0, 0.1, 0.02)
TRAFFIC: Final = (6, 60, 600, 6000)  # events an hour
BURNS: Final = (0.5, 1.0)
OBJECTIVES: Final = (0.99, 0.999)
STEP_S: Final = 300
CALM: Final = 3
Told = dict[str, Any]


def points(at_s: int, bad: Floats, n: Floats) -> Points:
    """A bucket of good shares; without an event it is missing."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return Points.of(at_s * NS_PER_S, 1 - bad / n, n=n, kinds=Kind.RATE)


def workbook(pair: Pair) -> Told:
    """Detection and reset of one pair, in minutes."""
    band = SloBand(objective=0.999, step_s=60, pairs=(pair,), level=None)
    found: list[int] = []
    for error in ERRORS:
        state, at, n = band.start(1), 0, np.full(1, 1000.0)
        cell = pair.long_s // 60
        while at < pair.long_s:
            state, _ = band.step(state, points(at, 0 * n, n * cell / 60))
            at += cell
        minutes, fires = 0, False
        while not fires:
            state, judged = band.step(state, points(at + 60 * minutes, error * n, n))
            minutes, fires = minutes + 1, bool(judged.breach[0])
        found.append(minutes)
        if error < 1:
            continue
        while minutes < 30:
            state, _ = band.step(state, points(at + 60 * minutes, n, n))
            minutes += 1
        reset = 0
        while fires:
            state, judged = band.step(state, points(at + 60 * (minutes + reset), 0 * n, n))
            reset, fires = reset + 1, bool(judged.breach[0])
    return {
        "burn_rate": pair.factor, "long_h": pair.long_s / 3600, "short_min": pair.short_s / 60,
        "severity": pair.severity.value, "budget_spent": pair.spent(30 * 86_400),
        "formula_min": [round(0.001 / e * pair.long_s / 60 * pair.factor, 2) for e in ERRORS],
        "detected_min": found, "reset_min": reset,
    }  # fmt: skip


def ways(objective: float) -> dict[str, SloBand]:
    """The three ways to take little traffic."""
    band = SloBand(objective=objective, step_s=STEP_S)
    return {
        "estimate": replace(band, level=None, min_events=1),
        "estimate, 10 events": replace(band, level=None),
        "lower bound": band,
    }


class Counting:
    """How many alerts of each loudness began, series by series; an alert ends after CALM calm points."""

    def __init__(self, s: int) -> None:
        self.fires, self.calm, self.n = (np.zeros((2, s), dtype=np.int64) for _ in range(3))

    def take(self, band: SloBand, burns: Burns) -> None:
        """One step."""
        loud = severities(band, burns)
        above: NDArray[np.bool_] = np.stack([loud >= 1, loud == 2])  # any alert, and pages
        self.n += above & (self.fires == 0)
        self.calm = np.where(above, 0, self.calm + 1)
        self.fires = np.where(above | ((self.fires == 1) & (self.calm < CALM)), 1, 0)


def quiet(objective: float, weeks: int, series: int, seed: int) -> list[Told]:
    """Alerts a week while nothing happens but chance."""
    chance, bands = np.random.default_rng(seed), ways(objective)
    traffic = np.repeat(np.repeat(TRAFFIC, len(BURNS)), series) * STEP_S / 3600
    share = np.tile(np.repeat(BURNS, series), len(TRAFFIC)) * (1 - objective)
    counts = {name: Counting(len(traffic)) for name in bands}
    band = bands["lower bound"]
    state = band.start(len(traffic))
    steps = weeks * 7 * 86_400 // STEP_S
    for i in range(steps):
        n = chance.poisson(traffic).astype(np.float64)
        state, _ = band.step(state, points(i * STEP_S, chance.binomial(n.astype(int), share).astype(np.float64), n))
        for name, one in bands.items():
            counts[name].take(one, one.burns(state))
    told = []
    for at, (per_hour, burn) in enumerate((t, b) for t in TRAFFIC for b in BURNS):
        rows = slice(at * series, (at + 1) * series)
        for name, counted in counts.items():
            every, pages = (float(counted.n[k, rows].mean()) / weeks for k in (0, 1))
            told.append(
                {"objective": objective, "events_an_hour": per_hour, "burn": burn, "way": name,
                 "alerts_a_week": round(every, 3), "pages_a_week": round(pages, 3)}
            )  # fmt: skip
    return told


def outage(objective: float, series: int, seed: int) -> list[Told]:
    """Minutes from an outage to a page, median and 90% of the series; None: not within six hours."""
    chance, bands = np.random.default_rng(seed), ways(objective)
    traffic = np.repeat(TRAFFIC, series) * STEP_S / 3600
    told = []
    for error in ERRORS:
        band = bands["lower bound"]
        state, at = band.start(len(traffic)), 0
        paged = {name: np.full(len(traffic), np.inf) for name in bands}
        for i in range(-72, 72):  # six hours of health first
            n = chance.poisson(traffic).astype(np.float64)
            share = error if i >= 0 else 0.5 * (1 - objective)
            bad = chance.binomial(n.astype(int), share).astype(np.float64)
            state, _ = band.step(state, points(at, bad, n))
            at += STEP_S
            for name, one in bands.items():
                new = (severities(one, one.burns(state)) == 2) & np.isinf(paged[name]) & (i >= 0)
                paged[name][new] = (i + 1) * STEP_S / 60
        for k, per_hour in enumerate(TRAFFIC):
            for name, minutes in paged.items():
                rows = minutes[k * series : (k + 1) * series]
                middle, most = (float(np.quantile(rows, q, method="higher")) for q in (0.5, 0.9))
                told.append(
                    {"objective": objective, "error_ratio": error, "events_an_hour": per_hour, "way": name,
                     "median_min": middle if np.isfinite(middle) else None,
                     "p90_min": most if np.isfinite(most) else None}
                )  # fmt: skip
    return told


def main() -> int:
    """Runs all three, prints and writes the result; returns the exit code."""
    asked = argparse.ArgumentParser()
    asked.add_argument("--weeks", type=int, default=4)
    asked.add_argument("--series", type=int, default=16)
    options = asked.parse_args()
    told: Told = {
        "machine": machine(), "commit": commit(), "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "weeks": options.weeks, "series": options.series, "workbook": [workbook(one) for one in PAIRS],
        "quiet": [
            one for k, each in enumerate(OBJECTIVES) for one in quiet(each, options.weeks, options.series, 10 + k)
        ],
        "outage": [one for k, each in enumerate(OBJECTIVES) for one in outage(each, 100, 20 + k)],
    }  # fmt: skip
    RESULT.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    for name in ("workbook", "quiet", "outage"):
        for one in told[name]:
            sys.stdout.write(f"{name}: {one}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
