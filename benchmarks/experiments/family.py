"""Ten correlated metrics, looked at on fourteen days, of an experiment without an effect: how often any shows one.

python -m benchmarks.experiments.family [--reps 2000]

Metrics correlate at .3, 100 units an arm a day, z from the product's contrasts. naive: each metric at each look.
bonferroni: group-sequential at alpha / 10. holm: Holm over the ten least repeated p-values so far. roles: what the
product says with one primary at alpha, three guardrails by Holm and six secondaries by Benjamini-Hochberg; the
chance that anything decided by (primary or guardrails) is wrong, and that anything at all is marked.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.evaluators.throughput import ROOT, commit, machine
from benchmarks.experiments.simulated import summed
from evaluators.statistics.multiplicity import benjamini_hochberg, holm
from experiments.statistics.effects import contrast, z_of
from experiments.statistics.records import Moments, NoEffect
from experiments.statistics.sequential import at_look
from experiments.statistics.spending import bounds

RESULT: Final = ROOT / "benchmarks" / "results" / "experiment_family.json"
ALPHA: Final = 0.05
METRICS: Final = 10
GUARDRAILS: Final = 3
LOOKS: Final = 14
PER_LOOK: Final = 100
RHO: Final = 0.3

Array = NDArray[np.float64]
Told = dict[str, Any]
FRACTIONS: Final = tuple((look + 1) / LOOKS for look in range(LOOKS))


def main() -> None:
    """Measures and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reps", type=int, default=2_000)
    args = parser.parse_args()
    began = time.process_time()
    chance = np.random.default_rng(31)
    wrong = np.array([errors(chance) for _ in range(args.reps)])
    rates = {name: round(float(wrong[:, k].mean()), 4) for k, name in enumerate(NAMES)}
    result: Told = {
        "what": "share of A/A experiments of 10 metrics and 14 looks in which any metric shows an effect",
        "command": f"python -m benchmarks.experiments.family --reps {args.reps}",
        "commit": commit(),
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
        "rates": rates,
        "mc_se": round(math.sqrt(ALPHA * (1 - ALPHA) / args.reps), 4),
        "cpu_s": round(time.process_time() - began),
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=1))


NAMES: Final = ("naive", "bonferroni", "holm", "roles_decided_by", "roles_anything")


def errors(chance: np.random.Generator) -> list[bool]:
    """One experiment: whether anything is wrong, by each of NAMES."""
    z, p = np.zeros((METRICS, LOOKS)), np.ones((METRICS, LOOKS))
    arms = [arm(chance) for _ in range(2)]
    for metric in range(METRICS):
        for look in range(LOOKS):
            found = contrast(arms[0][metric][look], arms[1][metric][look])
            if isinstance(found, NoEffect):
                continue
            told = at_look(found, ALPHA, FRACTIONS[: look + 1])
            z[metric, look], p[metric, look] = told.z, told.always_p
    so_far = p.min(axis=1).tolist()
    primary = bool((np.abs(z[0]) > np.array(bounds(FRACTIONS, ALPHA))).any())
    guardrails = min(holm(so_far[1 : 1 + GUARDRAILS])) <= ALPHA
    secondaries = min(benjamini_hochberg(so_far[1 + GUARDRAILS :])) <= ALPHA
    return [
        bool((np.abs(z) > z_of(ALPHA)).any()),
        bool((np.abs(z) > np.array(bounds(FRACTIONS, ALPHA / METRICS))).any()),
        min(holm(so_far)) <= ALPHA,
        primary or guardrails,
        primary or guardrails or secondaries,
    ]


def arm(chance: np.random.Generator) -> list[list[Moments]]:
    """Sums of each metric at each look of an arm's units, whose metrics share a part."""
    n = PER_LOOK * LOOKS
    shared = chance.normal(0, math.sqrt(RHO), n)
    own = chance.normal(0, math.sqrt(1 - RHO), (METRICS, n))
    return [summed((shared + one, np.ones(n), np.zeros(n)), LOOKS) for one in own]


if __name__ == "__main__":
    main()
