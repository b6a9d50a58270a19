"""Assignment of a million ids: uniform under every salt, experiments independent of each other, ramps that only let in.

python -m benchmarks.experiments.assignment [--ids 1000000] [--salts 100]

Uniform: chi-square over 1,000 cells for each salt, and Kolmogorov-Smirnov of these p-values against uniform ones, which
finds places that are too even as well as too uneven. Independent: chi-square of the arms of two experiments, for pairs
of experiments and for versions of one. Ramp, slots and holdout: units counted that break what is promised.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from benchmarks.evaluators.throughput import ROOT, commit, machine
from experiments.assignment import WHOLE, place_of
from experiments.records import Arm, Better, Definition, MetricRole, MetricSpec, UnitKind
from experiments.splits import arm_of, placed

RESULT: Final = ROOT / "benchmarks" / "results" / "experiment_assignment.json"
CELLS: Final = 1_000
PAIRS: Final = 10
METRICS: Final = (MetricSpec(name="resolution", role=MetricRole.PRIMARY, better=Better.HIGHER),)
Told = dict[str, Any]


def main() -> None:
    """Measures and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ids", type=int, default=1_000_000)
    parser.add_argument("--salts", type=int, default=100)
    args = parser.parse_args()
    began = time.process_time()
    units = [f"user-{n}" for n in range(args.ids)]
    some = units[: min(args.ids, 100_000)]
    result: Told = {
        "what": "places and arms of ids user-0, user-1, ...",
        "command": f"python -m benchmarks.experiments.assignment --ids {args.ids} --salts {args.salts}",
        "commit": commit(),
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
        "uniform": uniform(units, args.salts),
        "independent": independent(some),
        "promises": promises(some),
        "speed": speed(some),
        "cpu_s": 0,
    }
    result["cpu_s"] = round(time.process_time() - began)
    RESULT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=1))


def uniform(units: Sequence[str], n_salts: int) -> Told:
    """Chi-square of each salt and Kolmogorov-Smirnov over their p-values."""
    found = [chi_square_p(units, f"experiment-{n}:1") for n in range(n_salts)]
    ks = stats.kstest(found, "uniform")
    return {
        "n_ids": len(units),
        "n_salts": n_salts,
        "cells": CELLS,
        "least_p": float(min(found)),
        "greatest_p": float(max(found)),
        "n_below_0.05": sum(one < 0.05 for one in found),
        "n_below_0.001": sum(one < 0.001 for one in found),
        "ks_p": float(ks.pvalue),
    }


def chi_square_p(units: Sequence[str], salt: str) -> float:
    """Of the places of all units over equal cells."""
    places = np.fromiter((place_of(unit, salt) * CELLS // WHOLE for unit in units), dtype=np.int64, count=len(units))
    return float(stats.chisquare(np.bincount(places, minlength=CELLS)).pvalue)


def independent(units: Sequence[str]) -> Told:
    """Of two experiments, and of two versions of one: the arms of one say nothing about those of the other."""
    others = [table_p(units, experiment(f"a{n}"), experiment(f"b{n}")) for n in range(PAIRS)]
    versions = [table_p(units, experiment("a", n), experiment("a", n + 1)) for n in range(1, PAIRS + 1)]
    return {
        "n_ids": len(units),
        "two_experiments_p": [round(one, 4) for one in others],
        "two_versions_p": [round(one, 4) for one in versions],
        "ks_p": float(stats.kstest(others + versions, "uniform").pvalue),
    }


def table_p(units: Sequence[str], left: Definition, right: Definition) -> float:
    """Chi-square of the 2 by 2 table of arms."""
    counts = Counter((arm_of(left, unit), arm_of(right, unit)) for unit in units)
    table: NDArray[np.int64] = np.array(
        [[counts[a, b] for b in ("control", "treatment")] for a in ("control", "treatment")]
    )
    return float(stats.chi2_contingency(table, correction=False).pvalue)


def promises(units: Sequence[str]) -> Told:
    """Units that break a promise: 0 of each."""
    one = experiment("ramped")
    tenth = {unit: each for unit in units if (each := placed(one, 0.1, unit)).variant is not None}
    fifth = {unit: each for unit in units if (each := placed(one, 0.2, unit)).variant is not None}
    low, high = experiment("low", slot=(0.0, 0.5)), experiment("high", slot=(0.5, 1.0))
    both = sum(
        placed(low, 1.0, unit).variant is not None and placed(high, 1.0, unit).variant is not None for unit in units
    )
    held = [experiment(name, holdout=0.05) for name in ("first", "second")]
    differently = sum(placed(held[0], 1.0, u).reason is not placed(held[1], 1.0, u).reason for u in units)
    return {
        "n_ids": len(units),
        "in_at_10_percent": len(tenth),
        "in_at_20_percent": len(fifth),
        "moved_by_the_ramp": sum(fifth.get(unit) != each for unit, each in tenth.items()),
        "in_two_exclusive_experiments": both,
        "held_out_of_one_experiment_only": differently,
    }


def speed(units: Sequence[str]) -> Told:
    """Per second of CPU, one process."""
    began = time.process_time()
    for unit in units:
        place_of(unit, "a salt")
    hashed = time.process_time()
    one = experiment("quick", holdout=0.05, slot=(0.0, 0.9))
    for unit in units:
        placed(one, 0.8, unit)
    ended = time.process_time()
    return {
        "places_per_s": round(len(units) / (hashed - began)),
        "placements_per_s": round(len(units) / (ended - hashed)),
    }


def experiment(name: str, version: int = 1, **more: Any) -> Definition:
    """Two arms of one half each."""
    arms = (Arm(variant="control", release="v1", weight=1.0), Arm(variant="treatment", release="v2", weight=1.0))
    made = {"app": "shop", "unit": UnitKind.USER, "arms": arms, "metrics": METRICS, **more}
    return Definition(name=name, version=version, **made)


if __name__ == "__main__":
    main()
