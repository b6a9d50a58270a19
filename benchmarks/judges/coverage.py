"""How often the intervals of agreement hold the truth, and how often a judge below the bar is certified.

    python -m benchmarks.judges.coverage [--runs 10000] [--dry]

Tables of n items are drawn from known proportions, where label and verdict have the same shares and a known kappa:
p_ij = kappa share_i [i = j] + (1 - kappa) share_i share_j. Every table goes through the product's own functions.

    kappa       27 cells of kappa, n and prevalence: coverage of the 95% interval, and of each one-sided bound
    certified   how often the three-state rule and the point rule pass a judge of true kappa .6 and .7
    labels      the labels that the product asks for, and how often they settle it; beside the large-sample formula
    many        three and five labels, with a prior of two items in all, and with half an item per cell
    ordinal     quadratically weighted kappa of five labels: BCa alone, the posterior alone, and both
    weighted    labels sampled by verdict, weighted back: the product's posterior, Kish's effective n, and no weights
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from scipy import stats

from evaluators.statistics.estimates import Estimate
from judges.agreement.certificate import labels_to_settle
from judges.agreement.coded import Coded
from judges.agreement.coefficients import Scale, weighted_kappa
from judges.agreement.intervals import Coefficient, bca_coefficient, posterior, posterior_coefficient
from judges.agreement.kappa import Statistic, Weighting, agreement_weights, kappas
from judges.agreement.tables import FloatArray, IntArray, Table, of_counts, table

ROOT: Final = Path(__file__).resolve().parents[2]
BAR: Final = 0.7
DRAWS: Final = 4_000  # per table; the product takes 20,000
KAPPAS: Final = (0.6, 0.7, 0.8)
SIZES: Final = (50, 100, 200)
PREVALENCES: Final = (0.5, 0.8, 0.9)


def nominal(tables: FloatArray) -> FloatArray:
    """Cohen's kappa of tables."""
    return kappas(tables, np.eye(tables.shape[-1]))


def proportions(kappa: float, shares: tuple[float, ...]) -> FloatArray:
    """A table of proportions with this kappa, both raters using the labels so often."""
    p = np.array(shares)
    return kappa * np.diag(p) + (1 - kappa) * np.outer(p, p)


@cache
def found(cells: tuple[int, ...], k: int) -> Coefficient:
    """The product's kappa of one table of two labels or more."""
    return posterior_coefficient(of_counts(np.array(cells).reshape(k, k)), nominal, seed=0, draws=DRAWS)


def covered(of: list[Coefficient], truth: float) -> dict[str, float]:
    """Shares of the coefficients whose interval and bounds hold the truth; those without a number hold it."""
    inside, lower, upper = [], [], []
    for one in of:
        interval = one.estimate.interval if isinstance(one.estimate, Estimate) else None
        inside.append(interval is None or interval.low <= truth <= interval.high)
        lower.append(one.lower is None or one.lower <= truth)
        upper.append(one.upper is None or one.upper >= truth)
    return {"interval_95": share(inside), "lower_95": share(lower), "upper_95": share(upper)}


def width(of: list[Coefficient]) -> float:
    """Mean width of the intervals that are there."""
    found_of = [one.estimate.interval for one in of if isinstance(one.estimate, Estimate)]
    return share([one.high - one.low for one in found_of if one is not None])


def grid(runs: int, seed: int) -> list[dict[str, Any]]:
    """The 27 cells, with how often each rule certifies."""
    rng = np.random.default_rng(seed)
    return [cell(kappa, n, prevalence, runs, rng) for kappa in KAPPAS for n in SIZES for prevalence in PREVALENCES]


def cell(kappa: float, n: int, prevalence: float, runs: int, rng: np.random.Generator) -> dict[str, Any]:
    """Coverage and decisions over `runs` tables of n items of two labels."""
    drawn = rng.multinomial(n, proportions(kappa, (1 - prevalence, prevalence)).ravel(), size=runs)
    of = [found(tuple(int(count) for count in row), 2) for row in drawn]
    return {
        "kappa": kappa,
        "n": n,
        "prevalence": prevalence,
        **covered(of, kappa),
        "certified": share([one.lower is not None and one.lower >= BAR for one in of]),
        "failed": share([one.upper is not None and one.upper < BAR for one in of]),
        "point_rule_passes": share([one.value is not None and one.value >= BAR for one in of]),
    }


def labels(runs: int, seed: int) -> list[dict[str, Any]]:
    """Labels that would settle it: the product's number and the large-sample one, and how often each does."""
    rng, told = np.random.default_rng(seed), []
    z = stats.norm.ppf(0.95) + stats.norm.ppf(0.8)
    for kappa in (0.75, 0.8, 0.85, 0.9):
        for prevalence in PREVALENCES:
            p = proportions(kappa, (1 - prevalence, prevalence))
            mass = 50 * p
            of = Table(counts=np.rint(mass).astype(np.int64), mass=mass, squares=mass)
            asked = labels_to_settle(of, nominal, BAR, 0)
            assert isinstance(asked, int)
            formula = int(np.ceil((z * deviation(p) / (kappa - BAR)) ** 2))
            told.append({"kappa": kappa, "prevalence": prevalence})
            for name, n in (("product", asked), ("large_sample", formula)):
                drawn = rng.multinomial(n, p.ravel(), size=runs)
                settled = share([(found(tuple(int(c) for c in row), 2).lower or -1.0) >= BAR for row in drawn])
                told[-1] |= {name: n, f"{name}_certified": settled}
    return told


def deviation(p: FloatArray) -> float:
    """sqrt(n) times the large-sample error of kappa (Fleiss, Cohen, Everitt 1969) at these proportions."""
    share_of, chance = p.sum(axis=1), float((p.sum(axis=1) * p.sum(axis=0)).sum())
    kappa = (float(np.trace(p)) - chance) / (1 - chance)
    pulled = np.eye(len(p)) - (share_of[None, :] + share_of[:, None]) * (1 - kappa)
    return float(np.sqrt((p * pulled**2).sum() - (kappa - chance * (1 - kappa)) ** 2) / (1 - chance))


def many(runs: int, seed: int) -> list[dict[str, Any]]:
    """Three and five labels: what a prior of half an item per cell does."""
    rng, told = np.random.default_rng(seed), []
    for shares in ((0.34, 0.33, 0.33), (0.7, 0.2, 0.1), (0.2,) * 5, (0.6, 0.2, 0.1, 0.05, 0.05)):
        k = len(shares)
        for kappa in (0.6, 0.8):
            for n in (50, 200):
                drawn = rng.multinomial(n, proportions(kappa, shares).ravel(), size=runs)
                of = [
                    posterior_coefficient(of_counts(row.reshape(k, k)), nominal, seed=0, draws=1_000) for row in drawn
                ]
                literal = [_half_per_cell(row.reshape(k, k)) for row in drawn]
                told.append(
                    {
                        "shares": shares,
                        "kappa": kappa,
                        "n": n,
                        **covered(of, kappa),
                        "half_per_cell_interval_95": share([low <= kappa <= high for low, high in literal]),
                    }
                )
    return told


def _half_per_cell(counts: IntArray) -> tuple[float, float]:
    drawn = nominal(posterior(of_counts(counts), 1_000, 0, prior_mass=counts.size / 2))
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(low), float(high)


def ordinal(runs: int, seed: int) -> list[dict[str, Any]]:
    """Five ordered labels from a bivariate normal: BCa, the posterior, and the product's bounds of both."""
    rng, told = np.random.default_rng(seed), []
    weights = agreement_weights(5, Weighting.QUADRATIC)
    scale = Scale(k=5, ordinal=True, seed=0, draws=1_000, resamples=1_000)

    def weighted(tables: FloatArray) -> FloatArray:
        return kappas(tables, weights)

    for cuts in ((-1.0, -0.3, 0.3, 1.0), (-2.0, -1.5, -1.0, -0.5)):
        for correlation in (0.8, 0.9):
            p = _of_normal(correlation, cuts)
            truth = float(weighted(p))
            for n in SIZES:
                drawn = rng.multinomial(n, p.ravel(), size=runs)
                both = [weighted_kappa(_rows(row.reshape(5, 5)), scale, Weighting.QUADRATIC) for row in drawn]
                bca = [_bca(row.reshape(5, 5), weighted) for row in drawn]
                drawn_from = [
                    posterior_coefficient(of_counts(row.reshape(5, 5)), weighted, seed=0, draws=1_000) for row in drawn
                ]
                told.append(
                    {
                        "cuts": cuts,
                        "kappa": round(truth, 3),
                        "n": n,
                        "product": covered(both, truth),
                        "bca": covered(bca, truth),
                        "posterior": covered(drawn_from, truth),
                    }
                )
    return told


def _bca(counts: IntArray, statistic: Statistic) -> Coefficient:
    k, at = len(counts), np.flatnonzero(counts)
    cells = np.eye(k * k)[at]
    return bca_coefficient(
        counts.ravel()[at], lambda times: statistic((times @ cells).reshape(-1, k, k)), seed=0, resamples=1_000
    )


def _of_normal(correlation: float, cuts: tuple[float, ...]) -> FloatArray:
    ends = np.array([-9.0, *cuts, 9.0])
    both = stats.multivariate_normal([0, 0], [[1, correlation], [correlation, 1]])
    at = np.array([[both.cdf([a, b]) if min(a, b) > -9 else 0.0 for b in ends] for a in ends])
    p = np.maximum(np.diff(np.diff(at, axis=0), axis=1), 0.0)
    return np.asarray(p / p.sum())


def _rows(counts: IntArray) -> Coded:
    """A table as rows."""
    k = len(counts)
    cell = np.repeat(np.arange(k * k), counts.ravel())
    n = len(cell)
    return Coded(k=k, label=cell // k, verdict=cell % k, weight=np.ones(n), why=(None,) * n, segment=None, at_ns=None)


def weighted(runs: int, seed: int) -> list[dict[str, Any]]:
    """Labels sampled by verdict and weighted back."""
    rng, told = np.random.default_rng(seed), []
    for kappa in (0.6, 0.8):
        for prevalence in (0.5, 0.8, 0.9):
            p = proportions(kappa, (1 - prevalence, prevalence))
            for n, of_fail, of_pass in ((100, 1.0, 0.25), (200, 1.0, 0.25), (200, 0.9, 0.05)):
                drawn = _sampled(rng, p, runs, n, np.array([of_fail, of_pass]))
                kinds: dict[str, Callable[[Table], Table]] = {
                    "product": lambda of: of,
                    "kish": _kish,
                    "no_weights": lambda of: of_counts(of.counts),
                }
                told_of: dict[str, Any] = {
                    "kappa": kappa,
                    "prevalence": prevalence,
                    "labels": n,
                    "p": [of_fail, of_pass],
                }
                for name, made in kinds.items():
                    of = [posterior_coefficient(made(one), nominal, seed=0, draws=1_000) for one in drawn]
                    told_of[name] = covered(of, kappa) | {"width": width(of)}
                told.append(told_of)
    return told


def _sampled(rng: np.random.Generator, p: FloatArray, runs: int, n: int, chance: FloatArray) -> list[Table]:
    """Tables of about n labels each, from so many verdicts that this is their expected number."""
    items = round(n / float((p.sum(axis=0) * chance).sum()))
    made = []
    for counts in rng.multinomial(items, p.ravel(), size=runs):
        kept = rng.binomial(counts.reshape(2, 2), chance[None, :])
        cell = np.repeat(np.arange(4), kept.ravel())
        made.append(table(cell // 2, cell % 2, 2, 1 / chance[cell % 2]))
    return made


def _kish(of: Table) -> Table:
    mass = of.mass * (of.n_effective / max(of.n, 1))
    return Table(counts=of.counts, mass=mass, squares=mass)


def share(of: Any) -> float:
    """A mean to four digits."""
    return round(float(np.mean(of)), 4)


PARTS: Final[dict[str, tuple[Callable[[int, int], list[dict[str, Any]]], int]]] = {
    "kappa": (grid, 1),  # and of the runs asked for one in so many
    "labels": (labels, 10),
    "many": (many, 10),
    "ordinal": (ordinal, 25),
    "weighted": (weighted, 10),
}


def part(name: str, runs: int) -> dict[str, Any]:
    """The rows of a part, how many runs each is of, and the seconds they took."""
    started = time.process_time()
    made, one_in = PARTS[name]
    fewer = max(2, runs // one_in)
    rows = made(fewer, sum(name.encode()))
    print(f"{name}: {time.process_time() - started:.0f} s", file=sys.stderr, flush=True)
    return {"runs": fewer, "cpu_seconds": round(time.process_time() - started, 1), "cells": rows}


def main() -> int:
    """Simulates, prints and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--dry", action="store_true", help="print only")
    asked = parser.parse_args()
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, check=False)
    with ProcessPoolExecutor() as at_once:
        found_of = {name: at_once.submit(part, name, asked.runs) for name in sorted(PARTS, key=_longest)}
        result = {
            "what": "agreement of a judge with people: coverage of intervals, false certificates, labels needed",
            "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
            "commit": commit.stdout.decode().strip(),
            "date": datetime.now(UTC).date().isoformat(),
            **{name: found_of[name].result() for name in PARTS},
        }
    text = json.dumps(result, indent=2)
    if not asked.dry:
        (ROOT / "benchmarks" / "results" / "judge_agreement.json").write_text(text + "\n", encoding="utf-8")
    print(text)
    return 0


def _longest(name: str) -> int:
    return ("ordinal", "kappa", "many", "labels", "weighted").index(name)


if __name__ == "__main__":
    raise SystemExit(main())
