"""Planted growth among quiet clusters: how much of it is found, and how much of what is told is false.

python -m benchmarks.clustering.emerging [--reps 200] [--few 30] [--streams 10]

150 clusters with 20 failing sessions a week, four weeks of history, then a week in which every twentieth grew
threefold or none did. Ours is the product's `find` with its defaults; beside it, on the same weeks, "more than twice
last month", "mean + 3 sd of four weeks", and the Poisson C-test with Benjamini-Hochberg and the same minimum effect.
quiet: the share of weeks without growth in which anything is told; tpr, fdr: means over weeks with growth of the
share found and of the false share of what is told; covered: the share of intervals told that hold the true ratio.
looks: a feed over two weeks that is looked at every night, with the week's error shared out and without. births:
clusters that were found in the sessions of this very week (emerging_births.py).
"""

from __future__ import annotations

import argparse
import json
import math
import time
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np

from benchmarks.clustering.emerging_births import BIRTHS, births
from benchmarks.clustering.emerging_streams import (
    GROWTH,
    Flags,
    World,
    c_test,
    counts_of,
    overdispersed,
    stream,
    three_sd,
    twice,
)
from benchmarks.evaluators.throughput import ROOT, commit, machine
from clustering.emerging.looks import DAY_NS, MONDAY_NS, Week, look
from clustering.emerging.records import Counts, Design, Found
from clustering.emerging.testing import find

RESULT: Final = ROOT / "benchmarks" / "results" / "clusters_emerging.json"
BEFORE: Final = 35  # days of history in the feeds
NIGHTS: Final = 14
Told = dict[str, Any]

MAIN: Final = {
    "poisson": World(),
    "poisson_varied": World(varied=True),
    "overdispersed": World(phi=0.1),
    "overdispersed_varied": World(phi=0.1, varied=True),
}
MORE: Final = {
    "phi_.3": World(phi=0.3),
    "own_phi": World(phi=0.1, own=1.0),
    "drift_.15": World(phi=0.03, drift=0.15),
    "one_week": World(phi=0.1, weeks=1),
    "one_week_poisson": World(weeks=1),
    "two_weeks": World(phi=0.1, weeks=2),
    "eight_weeks": World(phi=0.1, weeks=8),
    "20_clusters": World(phi=0.1, clusters=20),
    "5_clusters": World(phi=0.1, clusters=5),
    "5_clusters_one_week": World(phi=0.1, clusters=5, weeks=1),
    "traffic_x3": World(phi=0.1, traffic=3.0),
    "a_fifth_grew": World(phi=0.1, planted=0.2),
    "base_200": World(phi=0.1, base=200.0),
}


def main() -> None:
    """Measures and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reps", type=int, default=200)
    parser.add_argument("--few", type=int, default=30)
    parser.add_argument("--streams", type=int, default=10)
    args = parser.parse_args()
    began = time.process_time()
    chance = np.random.default_rng(9)
    result: Told = {
        "what": "emerging failures: found and false, beside the rules of others on the same weeks",
        "command": f"python -m benchmarks.clustering.emerging --reps {args.reps} --few {args.few} "
        f"--streams {args.streams}",
        "commit": commit(),
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
        "weeks": {name: weeks(world, args.reps, chance) for name, world in MAIN.items()}
        | {name: weeks(world, args.few, chance) for name, world in MORE.items()},
        "looks": {name: looks(phi, args.streams, chance) for name, phi in (("poisson", 0.0), ("overdispersed", 0.1))},
        "births": {name: births(born, args.few, chance) for name, born in BIRTHS.items()},
        "cpu_s": round(time.process_time() - began),
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=1))


# --- weeks ------------------------------------------------------------------------------------------------------------


def weeks(world: World, reps: int, chance: np.random.Generator) -> Told:
    """One look at each of so many quiet weeks, and at as many with growth."""
    quiet, grown = ([_rules(world, chance, quiet=silent) for _ in range(reps)] for silent in (True, False))
    told: Told = {"reps": reps}
    for rule in grown[0][0]:
        told[rule] = {
            "quiet": round(float(np.mean([flags[rule].any() for flags, _, _ in quiet])), 3),
            "tpr": round(float(np.mean([flags[rule][grew].mean() for flags, grew, _ in grown])), 3),
            **_mean("fdr", [_false(flags[rule], grew) for flags, grew, _ in grown]),
        }
    inside = [hit for _, _, hits in (*quiet, *grown) for hit in hits]
    told["ours"]["covered"] = round(float(np.mean(inside)), 3) if inside else None
    told["ours"]["n_told"] = len(inside)
    print(world, told["ours"], flush=True)
    return told


def _rules(world: World, chance: np.random.Generator, *, quiet: bool) -> tuple[dict[str, Flags], Flags, list[bool]]:
    counts, grew = stream(world, chance, quiet=quiet)
    found = find(counts, Design())
    flags = {"ours": named(counts, found)}
    flags |= {"c_test": c_test(counts), "twice": twice(counts), "three_sd": three_sd(counts)}
    true = {name: GROWTH if one else 1.0 for name, one in zip(counts.cluster_ids, grew, strict=True)}
    hits = [one.low <= true[one.cluster_id] <= (one.high or math.inf) for one in found.findings]
    return flags, grew, hits


def named(counts: Counts, found: Found) -> Flags:
    """Which clusters a look told."""
    told = {one.cluster_id for one in found.findings}
    return np.array([name in told for name in counts.cluster_ids])


def _false(flags: Flags, grew: Flags) -> float:
    return float((flags & ~grew).sum() / max(1, flags.sum()))


def _mean(name: str, shares: list[float]) -> Told:
    error = float(np.std(shares)) / math.sqrt(len(shares))
    return {name: round(float(np.mean(shares)), 4), f"{name}_se": round(error, 4)}


# --- looks ------------------------------------------------------------------------------------------------------------


def looks(phi: float, n_streams: int, chance: np.random.Generator) -> Told:
    """Feeds over two weeks of nights after five of history, as nothing or something grows."""
    told: Told = {"streams": n_streams}
    for rule in ("shared", "each_alone"):
        quiet, grown = (
            [_feed(phi, rule == "shared", chance, quiet=silent) for _ in range(n_streams)] for silent in (True, False)
        )
        told[rule] = {
            "quiet": round(float(np.mean([flags.any() for flags, _ in quiet])), 3),
            "tpr": round(float(np.mean([flags[grew].mean() for flags, grew in grown])), 3),
            **_mean("fdr", [_false(flags, grew) for flags, grew in grown]),
        }
    return told


def _feed(phi: float, shared: bool, chance: np.random.Generator, *, quiet: bool) -> tuple[Flags, Flags]:
    """What was ever told over 14 nights, each of the last seven days against the 28 before, and which grew.

    Days vary independently, by as much as gives weeks the dispersion phi. Growth begins with the first day looked at.
    """
    grew = np.zeros(150, dtype=np.bool_)
    grew[: 0 if quiet else 8] = True
    mean = np.full((150, BEFORE + NIGHTS), 20.0 / 7)
    mean[grew, BEFORE:] *= GROWTH
    daily = overdispersed(mean, np.full((150, 1), 7 * phi), chance)
    told = np.zeros(150, dtype=np.bool_)
    week: Week | None = None
    for night in range(1, NIGHTS + 1):
        end = BEFORE + night
        counts = counts_of(daily[:, end - 35 : end].reshape(150, 5, 7).sum(axis=2), np.ones(5))
        if not shared:
            told |= named(counts, find(counts, Design()))
            continue
        taken = look(MONDAY_NS + (night - 1) * DAY_NS, week, nightly=True)
        found = find(counts, Design(), share=taken.share, before=taken.week.least)
        week = taken.week.after(found.least)
        told |= named(counts, found)
    return told, grew


if __name__ == "__main__":
    main()
