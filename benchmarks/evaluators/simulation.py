"""How often a comparison of two runs is wrong: 4,000 simulated pairs of runs per row, all at alpha 5%, one-sided.

    python -m benchmarks.evaluators.simulation [--runs 4000]

Each example has a true success rate drawn from Beta(1, 0.25) (mean 0.8, many easy examples, some that never work); the
candidate's is lower in proportion, so that the mean drops by 5 or 10 points, or not at all. Every run tries all
examples k times. Compared are: ours (evaluators.statistics.paired), the same examples as if they were other ones
(unpaired), a fixed threshold of 3 points, and the anytime e-process with a look after every example.
"""

from __future__ import annotations

import argparse
import json
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

from evaluators.statistics.eprocess import stopped_at
from evaluators.statistics.paired import T_FROM, Paired, paired
from evaluators.statistics.rates import FloatArray
from evaluators.statistics.signflip import EXACT_UP_TO, FLIPS, sign_flip

ROOT: Final = Path(__file__).resolve().parents[2]
ALPHA: Final = 0.05
BETA: Final = (1.0, 0.25)
DESIGNS: Final = ((100, 1), (200, 1), (500, 1), (200, 4), (100, 8))
CHECKED: Final = 100  # runs per design that go through evaluators.statistics.paired itself
LOOKS: Final = 10  # examples between two looks of who peeks


def pair(rng: np.random.Generator, runs: int, n: int, k: int, drop: float) -> tuple[FloatArray, FloatArray]:
    """Means per example of baseline and candidate, each of shape (runs, n)."""
    rate = rng.beta(*BETA, size=(runs, n))
    mean = BETA[0] / sum(BETA)
    return rng.binomial(k, rate) / k, rng.binomial(k, rate * (1 - drop / mean)) / k


def harm_p(before: FloatArray, after: FloatArray, k: int) -> FloatArray:
    """p of harm of every run by the rule of statistics.paired, vectorised, of shape (runs,). NaN: all tie."""
    d = after - before
    better, worse = (d > 0).sum(axis=1), (d < 0).sum(axis=1)
    if k == 1:
        exact: FloatArray = np.asarray(stats.binom.sf(worse - 1, better + worse, 0.5))
        return np.where(better + worse > 0, exact, np.nan)
    n = d.shape[1]
    t = d.mean(axis=1) / (d.std(axis=1, ddof=1) / np.sqrt(n))
    p: FloatArray = np.asarray(stats.t.cdf(t, n - 1))
    differing = better + worse
    flipped = (differing > EXACT_UP_TO) & (differing < T_FROM)
    if flipped.any():
        p[flipped] = _flipped(d[flipped])
    for row in np.flatnonzero((differing <= EXACT_UP_TO) & (differing > 0)):
        p[row] = sign_flip(d[row]).harm
    return np.where(differing > 0, p, np.nan)


def _flipped(d: FloatArray) -> FloatArray:
    """Sign flips of many runs at once: the same flips for all, in pairs with their mirror images."""
    rng = np.random.default_rng(0)
    observed, low = d.sum(axis=1), np.zeros(len(d))
    for _ in range(10):
        signs = 2.0 * rng.integers(0, 2, size=(FLIPS // 20, d.shape[1])) - 1.0
        sums = signs @ np.abs(d).T
        low += (sums <= observed + 1e-9).sum(axis=0) + (-sums <= observed + 1e-9).sum(axis=0)
    found: FloatArray = (1 + low) / (1 + FLIPS)
    return found


def unpaired_p(before: FloatArray, after: FloatArray) -> FloatArray:
    """p of harm when the two runs' examples are taken as different ones: Welch's t over examples."""
    return np.asarray(stats.ttest_ind(after, before, axis=1, equal_var=False, alternative="less").pvalue)


def peeked(before: FloatArray, after: FloatArray) -> float:
    """Share of runs that a paired t test finds worse at one of its looks, one every LOOKS examples."""
    d = after - before
    n = np.arange(1, d.shape[1] + 1)
    mean = np.cumsum(d, axis=1) / n
    variance = np.maximum(np.cumsum(d**2, axis=1) - n * mean**2, 1e-12) / np.maximum(n - 1, 1)
    p = stats.t.cdf(mean / np.sqrt(variance / n), np.maximum(n - 1, 1))
    return float((p[:, LOOKS - 1 :: LOOKS] <= ALPHA).any(axis=1).mean())


def design(n: int, k: int, runs: int, seed: int) -> dict[str, Any]:
    """False alarms without a drop and power at 5 points, of the three analyses."""
    rng = np.random.default_rng(seed)
    told: dict[str, Any] = {"n": n, "k": k}
    for name, drop in (("false_alarms", 0.0), ("power_5pp", 0.05)):
        before, after = pair(rng, runs, n, k, drop)
        p = harm_p(before, after, k)
        told[name] = {
            "paired": share(p <= ALPHA),
            "unpaired": share(unpaired_p(before, after) <= ALPHA),
            "fixed_3pp": share(after.mean(axis=1) - before.mean(axis=1) < -0.03 - 1e-12),
        }
        told[name]["same_as_the_product"] = _same(before, after, k, p)
    return told


def _same(before: FloatArray, after: FloatArray, k: int, p: FloatArray) -> str:
    """Of the first runs, how many the product's own function decides in the same way."""
    same = 0
    for row in range(CHECKED):
        found = paired(before[row], after[row], one_trial=k == 1, bounds=(0.0, 1.0), alpha=ALPHA)
        same += isinstance(found, Paired) and (found.p_harm is not None and found.p_harm <= ALPHA) == (p[row] <= ALPHA)
    return f"{same} of {CHECKED}"


def early_stop(n: int, k: int, runs: int, seed: int) -> dict[str, Any]:
    """The e-process, looked at after every example: false stops, and the share of examples that were never run."""
    rng = np.random.default_rng(seed)
    told: dict[str, Any] = {"n": n, "k": k}
    for name, drop in (("no_drop", 0.0), ("drop_5pp", 0.05), ("drop_10pp", 0.10), ("drop_20pp", 0.20)):
        before, after = pair(rng, runs, n, k, drop)
        at = stopped_at(after - before, alpha=ALPHA)
        spent = np.where(at > 0, at, n)
        told[name] = {"stopped": share(at > 0), "examples_saved": share(1 - spent / n)}
        if drop == 0:
            told[name]["a_t_test_peeked_every_10_examples"] = peeked(before, after)
        else:
            told[name]["fixed_test_at_the_end"] = share(harm_p(before, after, k) <= ALPHA)
    return told


def bounds_hold(runs: int, seed: int) -> dict[str, Any]:
    """Rare whole losses (2% of examples, margin 2 points, n = 100): how often each lower bound lies above the truth."""
    rng = np.random.default_rng(seed)
    d = -(rng.random((runs, 100)) < 0.02).astype(np.float64)
    ours = []
    for row in d:
        found = paired(np.ones(100), 1 + row, one_trial=False, bounds=(0.0, 1.0), alpha=ALPHA)
        ours.append(isinstance(found, Paired) and found.lower is not None and found.lower > -0.02)
    t_lower = d.mean(axis=1) - stats.t.isf(ALPHA, 99) * d.std(axis=1, ddof=1) / 10
    return {"runs": runs, "gaffke": share(np.array(ours)), "paired_t": share(t_lower > -0.02)}


def share(of: Any) -> float:
    """A mean to four digits."""
    return round(float(np.mean(of)), 4)


def timed(what: Callable[[], Any]) -> tuple[Any, float]:
    """An answer and the seconds it took."""
    started = time.perf_counter()
    return what(), round(time.perf_counter() - started, 1)


def main() -> int:
    """Simulates, prints and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=4000)
    parser.add_argument("--dry", action="store_true", help="print only")
    asked = parser.parse_args()
    designs, took = timed(lambda: [design(n, k, asked.runs, seed) for seed, (n, k) in enumerate(DESIGNS)])
    stop, stop_took = timed(lambda: early_stop(200, 4, asked.runs, 99))
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, check=False)
    result = {
        "what": "comparing two runs: false alarms, power, early stopping",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "commit": commit.stdout.decode().strip(),
        "date": datetime.now(UTC).date().isoformat(),
        "runs": asked.runs,
        "rates": f"Beta{BETA}",
        "designs": designs,
        "seconds": took,
        "early_stop": stop,
        "early_stop_seconds": stop_took,
        "rare_losses_passed_wrongly": bounds_hold(min(asked.runs, 1000), 7),
    }
    text = json.dumps(result, indent=2)
    if not asked.dry:
        (ROOT / "benchmarks" / "results" / "eval_statistics.json").write_text(text + "\n", encoding="utf-8")
    print(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
