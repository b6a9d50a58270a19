"""Ten correlated metrics, looked at on fourteen days, of an experiment without an effect: how often any shows one.

python -m benchmarks.experiments.family [--reps 2000]

Metrics correlate at .3, mean 4 and sd 1, 100 units an arm a day, contrasts and findings are the product's. naive: each
metric at each look. bonferroni: group-sequential at alpha / 10. holm: Holm over the ten least repeated p-values. Then
the product's roles: a primary with nine guardrails of margin 0.1 (guarded) or of none (guarded_without_margin), or with
three guardrails and six secondaries, where the primary or a guardrail is wrong (decided_by), a secondary (explored), or
anything (marked). false_share: of secondaries that are marked where every other has an effect, in the mean.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.evaluators.throughput import ROOT, commit, machine
from benchmarks.experiments.simulated import summed
from evaluators.statistics.multiplicity import holm
from experiments.analysed import Finding
from experiments.findings import settled, weighed
from experiments.looks import Look, Path, Plan, held
from experiments.records import Better, Design, MetricRole, MetricSpec
from experiments.statistics.effects import contrast, z_of
from experiments.statistics.records import Moments, NoEffect
from experiments.statistics.spending import bounds

RESULT: Final = ROOT / "benchmarks" / "results" / "experiment_family.json"
ALPHA: Final = 0.05
METRICS: Final = 10
GUARDRAILS: Final = 3
LOOKS: Final = 14
PER_LOOK: Final = 100
RHO: Final = 0.3
LIFT: Final = 0.1  # of a secondary that is found about 6 times in 10

Array = NDArray[np.float64]
Told = dict[str, Any]
UNITS: Final = 2 * PER_LOOK * LOOKS
FRACTIONS: Final = tuple((look + 1) / LOOKS for look in range(LOOKS))
PLAN: Final = Plan(
    design=Design.GROUP_SEQUENTIAL,
    horizon_units=UNITS,
    looks=tuple(
        Look(day=date(2026, 1, 1) + timedelta(days=look), n_units=round(one * UNITS), fraction=one)
        for look, one in enumerate(FRACTIONS)
    ),
)


def main() -> None:
    """Measures and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reps", type=int, default=2_000)
    args = parser.parse_args()
    began = time.process_time()
    chance = np.random.default_rng(31)
    wrong = np.array([errors(chance) for _ in range(args.reps)])
    rates = {name: round(float(wrong[:, k].mean()), 4) for k, name in enumerate(NAMES)}
    rates["false_share"] = round(float(np.mean([false_share(chance) for _ in range(args.reps)])), 4)
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


NAMES: Final = (
    "naive", "bonferroni", "holm", "guarded", "guarded_without_margin", "decided_by", "explored", "marked",
)  # fmt: skip


def errors(chance: np.random.Generator) -> list[bool]:
    """One experiment: whether anything is wrong, by each of NAMES."""
    seen = between(arm(chance), arm(chance))
    z = np.array([[found.z for found in path.seen if not isinstance(found, NoEffect)] for path in seen])
    guarded = marked(seen, METRICS - 1)
    mixed = marked(seen, GUARDRAILS)
    none = [held(path, PLAN, ALPHA) for path in seen]
    return [
        bool((np.abs(z) > z_of(ALPHA)).any()),
        bool((np.abs(z) > np.array(bounds(FRACTIONS, ALPHA / METRICS))).any()),
        min(holm([min(one.above_p, one.below_p) for one in none])) <= ALPHA,
        any(guarded),
        any(marked(seen, METRICS - 1, None)),
        any(mixed[: 1 + GUARDRAILS]),
        any(mixed[1 + GUARDRAILS :]),
        any(mixed),
    ]


def false_share(chance: np.random.Generator) -> float:
    """Of the secondaries that are marked, the share without an effect; every other one has LIFT. 0 without marks."""
    found = marked(between(arm(chance), arm(chance, LIFT)), GUARDRAILS)[1 + GUARDRAILS :]
    return sum(found[1::2]) / max(1, sum(found))


def between(control: list[list[Moments]], treatment: list[list[Moments]]) -> list[Path]:
    """Of each metric the contrasts at each look."""
    return [
        Path(seen=tuple(contrast(*pair) for pair in zip(one, two, strict=True)))
        for one, two in zip(control, treatment, strict=True)
    ]


def marked(seen: list[Path], n_guardrails: int, margin: float | None = 0.1) -> list[bool]:
    """Which metrics the product calls better or worse: first the primary, then guardrails, then secondaries."""
    roles = [MetricRole.PRIMARY, *[MetricRole.GUARDRAIL] * n_guardrails]
    roles += [MetricRole.SECONDARY] * (METRICS - len(roles))
    specs = [
        MetricSpec(
            name=str(k), role=role, better=Better.HIGHER, margin=margin if role is MetricRole.GUARDRAIL else None
        )
        for k, role in enumerate(roles)
    ]
    told = [weighed(spec, "treatment", path, PLAN, ALPHA) for spec, path in zip(specs, seen, strict=True)]
    return [one.finding in (Finding.BETTER, Finding.WORSE) for one in settled(told, ALPHA, 1)]


def arm(chance: np.random.Generator, lift: float = 0.0) -> list[list[Moments]]:
    """Sums of each metric at each look of an arm's units, whose metrics share a part; `lift`: more of every other."""
    n = PER_LOOK * LOOKS
    shared = chance.normal(0, math.sqrt(RHO), n)
    own = chance.normal(0, math.sqrt(1 - RHO), (METRICS, n))
    own[::2] += lift
    return [summed((4 + shared + one, np.ones(n), np.zeros(n)), LOOKS) for one in own]


if __name__ == "__main__":
    main()
