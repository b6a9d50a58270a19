"""How often corrected rates cover the truth, how much narrower they are than labels alone, and what the raw judge does.

    python -m benchmarks.judges.correction [--runs 10000] [--dry]

Cells: a judge of known sensitivity and specificity over 10,000 targets of which n are labelled at random. Also: labels
of another prevalence, labels drawn by verdict, the confidence sequence looked at on 60 days, drift of the judge alone
and of the product alone, and the stored judges of tau2_judges with 40 labels, drawn again and again.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import os
import platform
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
from scipy import stats

from evaluators.statistics.estimates import Interval
from evaluators.statistics.rates import FloatArray, wilson
from judges.correction.choose import corrected
from judges.correction.drift import Detected, Range, judge_drift, product_drift
from judges.correction.ppi import ppi_mean, wald
from judges.correction.records import Corrected, Judged, Labels
from judges.correction.sequence import confidence_sequence, increments

ROOT: Final = Path(__file__).resolve().parents[2]
STORED: Final = ROOT.parent / "shared" / "data" / "tau2_judges" / "judge_verdicts_flat.csv"
RESULT: Final = ROOT / "benchmarks" / "results" / "judge_correction.json"
PARTS: Final = ("cells", "shift", "by_verdict", "anytime", "drift", "stored")
N: Final = 10_000
JUDGES: Final = ((0.8, 0.90, 0.70), (0.8, 0.95, 0.85), (0.97, 0.97, 0.70), (0.5, 0.85, 0.85))
LABELS: Final = (50, 100, 200)
RATES: Final = ((1.0, 0.05), (0.5, 0.10), (0.2, 0.20), (0.1, 0.50))
DAYS, A_DAY = 60, 300
BATCHES, BATCH, BATCH_LABELS, CHANGE, ARL = 250, 500, 20, 100, 1000.0
PASS: Final = {"pass", "satisfied", "satisfactory", "compliant", "correct"}
FAIL: Final = {"fail", "failure", "unsatisfied", "unsatisfactory"}
Z: Final = float(stats.norm.isf(0.025))


def said(rng: np.random.Generator, n: int, rate: float, right: tuple[float, float]) -> tuple[FloatArray, FloatArray]:
    """Truth and verdicts of n targets, each 0 or 1; `right` are sensitivity and specificity."""
    truth = (rng.random(n) < rate).astype(np.float64)
    return truth, np.where(rng.random(n) < np.where(truth == 1, *right), truth, 1 - truth)


def some_labelled(truth: FloatArray, verdict: FloatArray, drawn: np.ndarray, chance: float | FloatArray) -> Judged:
    """Targets that were all judged, of which `drawn` (a mask) are labelled."""
    one = np.ones(len(truth))
    return Judged(judge=verdict, label=np.where(drawn, truth, np.nan), p_judge=one, p_human=chance * one)


def at_random(rng: np.random.Generator, n: int, k: int) -> np.ndarray:
    """A mask of k of n."""
    found = np.zeros(n, dtype=bool)
    found[rng.choice(n, k, replace=False)] = True
    return found


def told(found: Any) -> Corrected:
    """The rate. Raises TypeError where there is none, which no cell leads to."""
    if not isinstance(found, Corrected):
        raise TypeError(str(found))
    return found


def holds(one: Interval | None, truth: float) -> bool:
    """Whether an interval covers."""
    return one is not None and one.low <= truth <= one.high


def square(one: Interval | None) -> float:
    """The squared width."""
    return math.nan if one is None else (one.high - one.low) ** 2


def cell(rate: float, right: tuple[float, float], n: int, runs: int, seed: int) -> dict[str, Any]:
    """Coverage and widths of one judge with n labels."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(runs):
        truth, verdict = said(rng, N, rate, right)
        drawn = at_random(rng, N, n)
        found = told(corrected(some_labelled(truth, verdict, drawn, n / N)))
        plain = wald(ppi_mean(truth[drawn], verdict[drawn], verdict[~drawn]))
        alone = truth[drawn].mean()
        half = Z * math.sqrt(alone * (1 - alone) / n)
        raw = wilson(int(verdict.sum()), N)
        rows.append(
            (
                holds(found.interval, rate),
                holds(plain, rate),
                holds(found.human, rate),
                holds(raw, rate),
                square(found.interval),
                square(found.human),
                (2 * half) ** 2,
                found.value - rate,
                found.raw - rate,
                found.interval.method == "chain_beta",
                found.effective_n,
            )
        )
    mean = np.nanmean(np.array(rows, dtype=np.float64), axis=0)
    return _cell(mean, rate, right, n)


def _cell(mean: FloatArray, rate: float, right: tuple[float, float], n: int) -> dict[str, Any]:
    return {
        "rate": rate,
        "sensitivity": right[0],
        "specificity": right[1],
        "labels": n,
        "covers": {
            name: round(float(mean[i]), 4) for i, name in enumerate(("corrected", "wald", "labels_alone", "raw"))
        },
        "bias": {"corrected": round(float(mean[7]), 4), "raw": round(float(mean[8]), 4)},
        "width": round(math.sqrt(float(mean[4])), 4),
        "labels_alone_width2_over_ours": round(float(mean[5] / mean[4]), 3),
        "labels_alone_wald_width2_over_ours": round(float(mean[6] / mean[4]), 3),
        "chain_beta_used": round(float(mean[9]), 3),
        "effective_n": round(float(mean[10]), 1),
    }


def shift(runs: int, seed: int) -> dict[str, Any]:
    """200 labels of which half pass, asked about targets of which 80% pass."""
    rng, rows = np.random.default_rng(seed), []
    nobody = np.full(N, np.nan)
    for _ in range(runs):
        old_truth, old_verdict = said(rng, 200, 0.5, (0.9, 0.7))
        _, verdict = said(rng, N, 0.8, (0.9, 0.7))
        now = Judged(judge=verdict, label=nobody, p_judge=np.ones(N), p_human=nobody)
        ours = told(corrected(now, Labels(judge=old_verdict, label=old_truth)))
        mixed = some_labelled(
            np.append(verdict, old_truth), np.append(verdict, old_verdict), np.arange(N + 200) >= N, 200 / (N + 200)
        )
        wrong = told(corrected(mixed))
        rows.append((ours.value - 0.8, holds(ours.interval, 0.8), wrong.value - 0.8, holds(wrong.interval, 0.8)))
    mean = np.array(rows, dtype=np.float64).mean(axis=0).round(4).tolist()
    return {
        "rogan_gladen": {"bias": mean[0], "covers": mean[1]},
        "ppi_as_if_of_these_targets": {"bias": mean[2], "covers": mean[3]},
    }


def by_verdict(runs: int, seed: int) -> dict[str, Any]:
    """Fails are labelled more often than passes, and half of the targets are judged less often than the others."""
    rng, rows = np.random.default_rng(seed), []
    for _ in range(runs):
        truth, verdict = said(rng, N, 0.8, (0.9, 0.7))
        p_judge = np.where(np.arange(N) % 2 == 0, 0.5, 0.1)
        p_human = np.where(verdict == 0, 0.10, 0.02)
        was = rng.random(N) < p_judge
        drawn = was & (rng.random(N) < p_human)
        found = told(
            corrected(
                Judged(
                    judge=verdict[was],
                    label=np.where(drawn, truth, np.nan)[was],
                    p_judge=p_judge[was],
                    p_human=p_human[was],
                )
            )
        )
        rows.append((holds(found.interval, 0.8), found.value - 0.8, truth[drawn].mean() - 0.8, found.n_labels))
    mean = np.array(rows, dtype=np.float64).mean(axis=0).round(4).tolist()
    return {"covers": mean[0], "bias": mean[1], "bias_of_the_plain_mean_of_labels": mean[2], "labels": mean[3]}


def anytime(rates: tuple[float, float], theta: FloatArray, right: tuple[float, float], runs: int, seed: int) -> Any:
    """How often all 60 looks at once are right: our sequence, that of the labels alone, intervals for one look."""
    rng, at_once = np.random.default_rng(seed), 25
    looks = np.arange(1, DAYS + 1) * A_DAY - 1
    so_far = (np.cumsum(theta) / np.arange(1, len(theta) + 1))[looks]
    held, squares = np.zeros(4), np.zeros(2)
    for _ in range(runs // at_once):
        shape = (at_once, len(theta))
        truth = (rng.random(shape) < theta).astype(np.float64)
        verdict = np.where(rng.random(shape) < np.where(truth == 1, *right), truth, 1 - truth)
        was = rng.random(shape) < rates[0]
        seen = was & (rng.random(shape) < rates[1])
        chances = np.full(shape, rates[0]), np.full(shape, rates[1])
        label, n = np.where(seen, truth, np.nan), np.cumsum(seen, axis=1).astype(np.float64)
        for i, judge in enumerate((verdict, np.zeros(shape))):
            x = increments(np.where(was, judge, np.nan), label, *chances)
            ends = confidence_sequence(x, n)
            held[i] += right_throughout(ends.low[:, looks], ends.high[:, looks], so_far)
            squares[i] += float(((ends.high - ends.low)[:, -1] ** 2).sum())
            if i == 0:
                mean = np.cumsum(x, axis=1) / np.arange(1, len(theta) + 1)
                square_mean = np.cumsum(x**2, axis=1) / np.arange(1, len(theta) + 1)
                half = (Z * np.sqrt((square_mean - mean**2) / np.arange(1, len(theta) + 1)))[:, looks]
                held[2] += right_throughout(mean[:, looks] - half, mean[:, looks] + half, so_far)
        n_judged = np.maximum(np.cumsum(was, axis=1), 1)[:, looks]
        raw = np.cumsum(np.where(was, verdict, 0), axis=1)[:, looks] / n_judged
        half = Z * np.sqrt(raw * (1 - raw) / n_judged)
        held[3] += right_throughout(raw - half, raw + half, so_far)
    names = ("ours", "labels_alone", "ours_with_an_interval_for_one_look", "raw_judge")
    total = runs // at_once * at_once
    return {
        "judged": rates[0],
        "labelled_of_judged": rates[1],
        "rate": [round(float(theta[0]), 3), round(float(theta[-1]), 3)],
        "right_at_all_60_looks": {name: round(float(held[i] / total), 4) for i, name in enumerate(names)},
        "labels_alone_width2_over_ours": round(float(squares[1] / squares[0]), 3),
    }


def right_throughout(low: FloatArray, high: FloatArray, truth: FloatArray) -> int:
    """In how many rows no look excludes the truth; where there is no interval yet, none does."""
    return int((~((low > truth) | (high < truth))).all(axis=1).sum())


def drift(theta: FloatArray, sensitivity: FloatArray, runs: int, seed: int) -> dict[str, Any]:
    """Batches until a change is found, of 500 targets with 20 labels each, at an average run length of 1,000
    batches."""
    rng = np.random.default_rng(seed)
    day, chance = np.repeat(np.arange(BATCHES), BATCH), BATCH_LABELS / BATCH
    found: dict[str, list[int | None]] = {"product": [], "judge": [], "labels_alone": [], "raw_judge": []}
    for _ in range(runs):
        truth = (rng.random(len(day)) < theta[day]).astype(np.float64)
        verdict = np.where(rng.random(len(day)) < np.where(truth == 1, sensitivity[day], 0.8), truth, 1 - truth)
        order = rng.random((BATCHES, BATCH)).argsort(axis=1)
        seen = (order < BATCH_LABELS).ravel()
        label, one = np.where(seen, truth, np.nan), np.ones(len(day))
        known, of_judge = Range(low=0.85, high=0.85), 0.85 * 0.9 + 0.15 * 0.2
        for name, judge in (("product", verdict), ("labels_alone", np.zeros(len(day)))):
            x = increments(judge, label, one, chance * one)
            found[name].append(product_drift(x, day, known, chance, arl=ARL).at)
        errors = Range(low=0.9, high=0.9), Range(low=0.2, high=0.2)
        found["judge"].append(judge_drift(verdict[seen], truth[seen], one[seen], day[seen], *errors, arl=ARL).at)
        raw: Detected = product_drift(verdict, day, Range(low=of_judge, high=of_judge), 1.0, arl=ARL)
        found["raw_judge"].append(raw.at)
    return {name: _alarms(at) for name, at in found.items()}


def _alarms(at: list[int | None]) -> dict[str, Any]:
    after = [one - CHANGE for one in at if one is not None and one >= CHANGE]
    return {
        "before_the_change": share([one is not None and one < CHANGE for one in at]),
        "within_150_batches_after": share([one is not None and one >= CHANGE for one in at]),
        "median_delay": None if not after else float(np.median(after)),
    }


def stored(runs: int, seed: int) -> list[dict[str, Any]]:
    """The four judges of tau2_judges: 40 labels drawn at random, and how often each interval covers the truth over the
    very conversations."""
    found = []
    for name, (truth, verdict) in sorted(_conversations().items()):
        rng, rows, n = np.random.default_rng(seed), [], len(truth)
        for _ in range(runs):
            given = some_labelled(truth, verdict, at_random(rng, n, 40), 40 / n)
            these, more = told(corrected(given, finite=True)), told(corrected(given))
            rows.append(
                (
                    holds(these.interval, float(truth.mean())),
                    holds(more.interval, float(truth.mean())),
                    these.value,
                    math.sqrt(square(these.interval)),
                    these.lam or 0.0,
                )
            )
        mean = np.array(rows, dtype=np.float64).mean(axis=0).round(4).tolist()
        raw = wilson(int(verdict.sum()), n)
        found.append(
            {
                "judge": name,
                "conversations": n,
                "truth": round(float(truth.mean()), 4),
                "raw_judge": round(float(verdict.mean()), 4),
                "raw_interval": [round(raw.low, 4), round(raw.high, 4)],
                "raw_covers": float(holds(raw, float(truth.mean()))),
                "corrected_mean": mean[2],
                "corrected_covers": mean[0],
                "corrected_for_more_of_the_kind_covers": mean[1],
                "corrected_width": mean[3],
                "lambda": mean[4],
            }
        )
    return found


def _conversations() -> dict[str, tuple[FloatArray, FloatArray]]:
    """Truth and verdict by judge's prompt; other words than PASS and FAIL are missing."""
    rows: dict[str, list[tuple[float, float]]] = {}
    with STORED.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            word = row["judge_verdict"].strip().lower()
            if word in PASS | FAIL:
                pair = float(row["tau2_success"] == "True"), float(word in PASS)
                rows.setdefault(row["judge_prompt"], []).append(pair)
    return {name: (np.array([a for a, _ in of]), np.array([b for _, b in of])) for name, of in rows.items()}


def share(of: Any) -> float:
    """A mean to four digits."""
    return round(float(np.mean(of)), 4)


def timed(what: Callable[[], Any]) -> dict[str, Any]:
    """Rows and the seconds they took."""
    started = time.perf_counter()
    found = what()
    return {"seconds": round(time.perf_counter() - started, 1), "found": found}


def measured(runs: int, wanted: frozenset[str]) -> dict[str, Any]:
    """The parts that are wanted."""
    steady, later = np.full(DAYS * A_DAY, 0.8), np.arange(BATCHES) >= CHANGE
    moving = 0.8 + 0.1 * np.sin(np.linspace(0, 3 * np.pi, DAYS * A_DAY))
    still, sharp = np.full(BATCHES, 0.85), np.full(BATCHES, 0.9)
    fewer, few = max(50, runs * 3 // 20), max(10, runs // 100)
    changes = {
        "nothing": (still, sharp),
        "product_5_points_worse": (np.where(later, 0.80, 0.85), sharp),
        "product_10_points_worse": (np.where(later, 0.75, 0.85), sharp),
        "judge_5_points_less_sensitive": (still, np.where(later, 0.85, 0.9)),
    }
    streams = [(one, steady, (0.9, 0.85)) for one in RATES]
    streams += [((0.2, 0.2), moving, (0.9, 0.85)), ((0.5, 0.05), np.full(DAYS * A_DAY, 0.6), (0.9, 0.9))]
    parts: dict[str, Callable[[], Any]] = {
        "cells": lambda: [
            cell(rate, (sens, spec), n, runs, 10 * i + j)
            for i, (rate, sens, spec) in enumerate(JUDGES)
            for j, n in enumerate(LABELS)
        ],
        "shift": lambda: shift(fewer, 1),
        "by_verdict": lambda: by_verdict(fewer, 2),
        "anytime": lambda: [anytime(*one, fewer, i) for i, one in enumerate(streams)],
        "drift": lambda: {name: drift(*of, few, 3) for name, of in changes.items()},
        "stored": lambda: stored(1000, 4) if STORED.is_file() else "tau2_judges is not here",
    }
    return {
        "runs": {"cells": runs, "shift": fewer, "by_verdict": fewer, "anytime": fewer, "drift": few, "stored": 1000},
        **{name: timed(part) for name, part in parts.items() if name in wanted},
    }


def main() -> int:
    """Simulates, prints and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="the others stay as they are")
    parser.add_argument("--dry", action="store_true", help="print only")
    asked = parser.parse_args()
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, check=False)
    result = {
        "what": "rates corrected for a judge's errors: coverage, width, anytime coverage, drift",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "commit": commit.stdout.decode().strip(),
        "date": datetime.now(UTC).date().isoformat(),
        **measured(asked.runs, frozenset(asked.parts)),
    }
    if not asked.dry:
        before = json.loads(RESULT.read_text(encoding="utf-8")) if RESULT.is_file() else {}
        result = {**before, **result}
        RESULT.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    text = json.dumps(result, indent=2)
    print(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
