"""How often an experiment without an effect shows one, looked at 7 to 56 times, and how often one with an effect does.

python -m benchmarks.experiments.type_one [--reps 2000] [--reps-of-kinds 400] [--reps-of-p95 100]

Every z comes from the product's own contrasts over sums until each look (of shares, costs and sessions from the same
formulas over arrays, which a test holds to them), every boundary from its own recursion. 2,800 units an arm; power
where one look has .814. Beside the product's two designs stand naive looking,
Bonferroni, Pocock spending, and O'Brien-Fleming spending over both sides at once.
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
from benchmarks.experiments.simulated import DRAWS, EVEN, FAST, MDE, N_PER_ARM, Array, fast_paths, paths, paths_of_p95
from experiments.statistics.effects import z_of
from experiments.statistics.sequential import anytime_boundary
from experiments.statistics.spending import bounds

RESULT: Final = ROOT / "benchmarks" / "results" / "experiment_type_one.json"
ALPHA: Final = 0.05
LOOKS: Final = (7, 14, 28, 56)
MOST: Final = max(LOOKS)
UNEVEN: Final = (9 * N_PER_ARM // 5, N_PER_ARM // 5)
SPLIT_UNEVENLY: Final = ("skewed", "sessions")
DEFAULTS: Final = ("group_sequential", "confidence_sequence")

Told = dict[str, Any]
Events = NDArray[np.bool_]


def main() -> None:
    """Measures and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reps", type=int, default=2_000, help="experiments of a share, a cost, sessions")
    parser.add_argument("--reps-of-kinds", type=int, default=400, help="of rare answers and of CUPED")
    parser.add_argument("--reps-of-p95", type=int, default=100, help="experiments of a quantile, from observations")
    args = parser.parse_args()
    began = time.process_time()
    result: Told = {
        "what": "A/A and A/B of 2 x 2,800 units, looked at 7 to 56 times: rejections, power, units until the end",
        "command": f"python -m benchmarks.experiments.type_one --reps {args.reps} --reps-of-kinds {args.reps_of_kinds} "
        f"--reps-of-p95 {args.reps_of_p95}",
        "commit": commit(),
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
        "type_one": type_one("share", args.reps),
        "power_at_28_looks": power(args.reps),
        "type_one_of_kinds": {
            **{
                kind: of_defaults(kind, args.reps if kind in FAST else args.reps_of_kinds)
                for kind in DRAWS
                if kind != "share"
            },
            "p95": of_defaults("p95", args.reps_of_p95),
        },
        "type_one_at_90_to_10": {kind: of_defaults(kind, args.reps, UNEVEN) for kind in SPLIT_UNEVENLY},
    }
    result["cpu_s"] = round(time.process_time() - began)
    RESULT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=1))


def limits(n_looks: int) -> dict[str, Array]:
    """|z| at which each method rejects, by look."""
    fractions = [(look + 1) / n_looks for look in range(n_looks)]
    units = [2 * N_PER_ARM * one for one in fractions]
    return {
        "one_look": np.array([math.inf] * (n_looks - 1) + [z_of(ALPHA)]),
        "naive": np.full(n_looks, z_of(ALPHA)),
        "bonferroni": np.full(n_looks, z_of(ALPHA / n_looks)),
        "group_sequential": np.array(bounds(fractions, ALPHA)),
        "spending_both_sides": np.array(bounds(fractions, ALPHA, "obf_total")),
        "pocock": np.array(bounds(fractions, ALPHA, "pocock")),
        "confidence_sequence": np.array([anytime_boundary(one, ALPHA) for one in units]),
    }


def type_one(kind: str, reps: int, seed: int = 11, sizes: tuple[int, int] = EVEN) -> Told:
    """By number of looks and method, the share of A/A experiments that reject, with its Monte Carlo error."""
    z = drawn(np.random.default_rng(seed), kind, reps, sizes)
    return {
        str(n_looks): {name: shown(ever(rejected(z, n_looks, limit))) for name, limit in limits(n_looks).items()}
        for n_looks in LOOKS
    }


def drawn(chance: np.random.Generator, kind: str, reps: int, sizes: tuple[int, int]) -> Array:
    """z at the most looks of experiments without an effect."""
    if kind == "p95":
        return paths_of_p95(chance, reps, MOST)
    return (fast_paths if kind in FAST else paths)(chance, kind, reps, MOST, sizes=sizes)


def of_defaults(kind: str, reps: int, sizes: tuple[int, int] = EVEN) -> Told:
    """As `type_one`, of what is used unless something else is said."""
    found = type_one(kind, reps, 12, sizes)
    return {looks: {name: row[name] for name in ("one_look", *DEFAULTS)} for looks, row in found.items()}


def power(reps: int, n_looks: int = 28) -> Told:
    """By method: power at the effect planned for, and mean share of the units until the end, there and at twice it."""
    chance = np.random.default_rng(13)
    found: Told = {}
    planned, double = (fast_paths(chance, "share", reps, n_looks, effect) for effect in (MDE, 2 * MDE))
    for name, limit in limits(n_looks).items():
        if name == "naive":
            continue
        hits = rejected(planned, n_looks, limit)
        found[name] = {
            "power": shown(ever(hits)),
            "units_at_mde": round(stopped_at(hits), 3),
            "units_at_twice": round(stopped_at(rejected(double, n_looks, limit)), 3),
        }
    return found


def rejected(z: Array, n_looks: int, limit: Array) -> Events:
    """Which looks of each experiment reject, where of the looks drawn every so many-th is taken."""
    every = z.shape[1] // n_looks
    return np.asarray(np.abs(z[:, every - 1 :: every]) > limit)


def ever(hits: Events) -> Events:
    """Which experiments reject at any look."""
    return np.asarray(hits.any(axis=1))


def stopped_at(hits: Events) -> float:
    """Mean share of the units until the first rejection, or the end."""
    n_looks = hits.shape[1]
    return float(np.where(hits.any(axis=1), hits.argmax(axis=1) + 1, n_looks).mean() / n_looks)


def shown(events: Events) -> Told:
    """A share with its Monte Carlo standard error."""
    rate = float(events.mean())
    return {"rate": round(rate, 4), "mc_se": round(math.sqrt(max(rate, 1e-4) * (1 - rate) / len(events)), 4)}


if __name__ == "__main__":
    main()
