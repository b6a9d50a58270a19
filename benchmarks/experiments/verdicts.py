"""The whole analysis on experiments without an effect: which words it says, how often health raises a false alarm, and
how often the stratified effect becomes the headline.

python -m benchmarks.experiments.verdicts [--reps 1000]

Two arms of equal weight, yes-or-no primary and guardrail (margin .03, the same rate in both arms), strata of 2 and of 4
levels with different rates, 14 looks. wrong: ship or do_not_ship. wrong_while_healthy_or_not: the same of the findings,
before health is asked.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import math
import time
from collections import Counter
from typing import Any, Final

import numpy as np
import polars as pl

from benchmarks.evaluators.throughput import ROOT, commit, machine
from experiments import sums
from experiments.analysed import BY_DAY, BY_STRATUM, ArmExposure, Exposure, Finding, HealthStatus, Looked
from experiments.analysis import analyse
from experiments.records import Arm, Better, Definition, Horizon, MetricRole, MetricSpec, UnitKind

RESULT: Final = ROOT / "benchmarks" / "results" / "experiment_verdicts.json"
LOOKS: Final = 14
PER_DAY: Final = 200
TIERS: Final = (("free", 0.7, -0.05), ("pro", 0.3, 0.1))
TOPICS: Final = (("refund", 0.4, 0.0), ("order", 0.3, 0.05), ("account", 0.2, -0.1), ("other", 0.1, 0.0))
BASE: Final = 0.7
ARMS: Final = ("control", "treatment")
START: Final = dt.date(2026, 1, 1)

Json = dict[str, Any]


def main() -> None:
    """Measures and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reps", type=int, default=1_000)
    args = parser.parse_args()
    began = time.process_time()
    designs = {"group_sequential": Horizon(units=LOOKS * PER_DAY), "confidence_sequence": None}
    result: Json = {
        "what": "words of A/A experiments by the whole analysis: health, strata, primary and a guardrail, 14 looks",
        "command": f"python -m benchmarks.experiments.verdicts --reps {args.reps}",
        "commit": commit(),
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "machine": machine(),
        "designs": {name: measured(horizon, args.reps) for name, horizon in designs.items()},
        "mc_se": round(math.sqrt(0.05 * 0.95 / args.reps), 4),
        "cpu_s": round(time.process_time() - began),
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=1))


def measured(horizon: Horizon | None, reps: int) -> Json:
    """Rates over experiments at their last look; what crossed at an earlier look counts, as it stays crossed."""
    chance, seen = np.random.default_rng(17), Counter[str]()
    made = definition(horizon)
    for _ in range(reps):
        told = analyse(made, *experiment(chance))
        primary = told.metrics[0]
        seen[told.decision.word.value] += 1
        seen["wrong_while_healthy_or_not"] += primary.variants[0].finding in (Finding.BETTER, Finding.WORSE)
        seen["false_alarm_of_health"] += any(one.status is HealthStatus.FAILED for one in told.health)
        seen["stratified_headline"] += primary.stratified_headline
    rates = {name: round(n / reps, 4) for name, n in sorted(seen.items())}
    return {"wrong": round((seen["ship"] + seen["do_not_ship"]) / reps, 4), **rates}


def definition(horizon: Horizon | None) -> Definition:
    """A primary and a guardrail over both strata."""
    metrics = (
        MetricSpec(name="resolution", role=MetricRole.PRIMARY, better=Better.HIGHER, binary=True),
        MetricSpec(name="safe", role=MetricRole.GUARDRAIL, better=Better.HIGHER, binary=True, margin=0.03),
    )
    return Definition(
        name="aa",
        app="shop",
        version=1,
        unit=UnitKind.USER,
        arms=tuple(Arm(variant=one, release=one, weight=1.0) for one in ARMS),
        metrics=metrics,
        horizon=horizon,
        strata=("tier", "topic"),
    )


def experiment(chance: np.random.Generator) -> tuple[pl.DataFrame, Looked]:
    """Sums and what was looked at, of LOOKS days of PER_DAY units that know no arm."""
    n = LOOKS * PER_DAY
    tier = chance.choice(len(TIERS), n, p=[one[1] for one in TIERS])
    topic = chance.choice(len(TOPICS), n, p=[one[1] for one in TOPICS])
    rate = BASE + np.array([one[2] for one in TIERS])[tier] + np.array([one[2] for one in TOPICS])[topic]
    units = pl.DataFrame(
        {
            "unit": np.arange(n).astype(str),
            "variant": np.array(ARMS)[chance.integers(0, 2, n)],
            "day": [START + dt.timedelta(days=int(one)) for one in np.arange(n) // PER_DAY],
            "s": np.ones(n),
            "x": np.zeros(n),
            "tier": np.array([one[0] for one in TIERS])[tier],
            "topic": np.array([one[0] for one in TOPICS])[topic],
        }
    )
    rows = [
        units.with_columns(metric=pl.lit(name), y=pl.Series((chance.random(n) < probability).astype(np.float64)))
        for name, probability in (("resolution", rate), ("safe", np.full(n, 0.95)))
    ]
    frame = sums.added(*(sums.of_units(one, ("tier", "topic")) for one in rows))
    days = tuple(START + dt.timedelta(days=one) for one in range(LOOKS))
    return frame, Looked(at_ns=1, started_at_ns=0, days=days, exposure=exposed(units))


def exposed(units: pl.DataFrame) -> Exposure:
    """Of the units, all mature."""
    n = pl.len().cast(pl.Int64).alias("n_units")
    strata = [
        units.group_by(pl.col(name).alias("level"), "variant").agg(n).select(pl.lit(name).alias("attribute"), pl.all())
        for name in ("tier", "topic")
    ]
    arms = []
    for variant in ARMS:
        size = units.filter(pl.col("variant") == variant).height
        arms.append(ArmExposure(variant=variant, n_units=size, n_sessions=size, n_mature=size))
    return Exposure(
        arms=tuple(arms),
        by_day=units.group_by("day", "variant").agg(n).select(list(BY_DAY)),
        by_stratum=pl.concat([one.select(list(BY_STRATUM)) for one in strata]),
    )


if __name__ == "__main__":
    main()
