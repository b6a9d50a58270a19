"""How often a canary's rule rolls a healthy candidate back, and how soon a worse one, over nine scenarios.

    python -m benchmarks.experiments.canary [--reps 6000] [--dry]
    python -m benchmarks.experiments.canary --table        # the recorded figures as docs/rollouts.md has them

The nine (../shared/reference/science.md 4, "Decision design" and "Proof tests"), each of 120 minutes, with a candidate
that fails as often as the baseline, 1.5, 2 and 3 times as often:

    1 base: rate 5 %, 20 units a minute and arm     6 correlated sessions
    2 rate 0.5 %                                    7 failures known after 30 minutes
    3 rate 30 %                                     8 ramp 1, 5, 25, 50 %, the e-process carried across steps
    4 split 5/95                                    9 a rate that moves in both arms, with an outage
    5 bursts of arrivals

Beside ours, rules as others have them, on the same streams, and the minute before which no rule with our promise can
know (canary_limits). Then: the default guardrails, which share alpha by weights, with more and more units a minute; and
how often a candidate that is worse by the margin is proved to be no worse.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import subprocess
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.experiments.canary_limits import least_minutes
from benchmarks.experiments.canary_rules import RULES, first, harm_path, proof_path
from benchmarks.experiments.canary_shown import markdown
from benchmarks.experiments.canary_streams import SCENARIOS, TIMES, WITH_TRAFFIC, Floats, Stream, steady
from experiments.canary.records import DEFAULT_GUARDRAILS, CanaryPolicy, Step

ROOT = Path(__file__).parents[2]
RESULT = ROOT / "benchmarks" / "results" / "experiment_canary.json"
KAYENTA: Final = "kayenta_like_every_10_minutes"
PAST: Final = 200  # units of the baseline before a rollout: as many as count (experiments/canary/eprocess.py)
UNITS_A_MINUTE: Final = (20, 25, 30)
RATES: Final = {"resolution": 0.15, "error_rate": 0.05, "p95_latency": 0.05, "cost": 0.1}  # of a healthy release
# P(rollback) and the median minutes of science.md 4, of a healthy candidate and of 1.5, 2 and 3 times its failures.
PUBLISHED: Final[Mapping[str, tuple[tuple[float, ...], tuple[int | None, ...]]]] = {
    "flagger_like_5_failed_checks": ((0.956, 1.0, 1.0, 1.0), (None, 25, 14, 8)),
    "argo_like_failure_limit_3": ((0.985, 1.0, 1.0, 1.0), (None, 20, 11, 6)),
    "z_each_minute": ((0.315, 0.993, 1.0, 1.0), (None, 13, 5, 2)),
    "z_each_minute_from_200": ((0.236, 0.992, 1.0, 1.0), (None, 18, 10, 10)),
    KAYENTA: ((0.0, 0.042, 0.847, 1.0), (None, None, 60, 20)),
    "ours_alpha_05": ((0.031, 0.844, 1.0, 1.0), (None, 49, 18, 6)),
    "ours_alpha_01": ((0.0055, 0.671, 0.999, 1.0), (None, 67, 28, 9)),
}


def told(at: Floats) -> dict[str, Any]:
    """The share rolled back with its standard error, and the median and 90th percentile of the minute among them."""
    share = float(np.isfinite(at).mean())
    back = at[np.isfinite(at)]
    return {
        "rolled_back": round(share, 4),
        "se": round(math.sqrt(share * (1 - share) / len(at)), 4),
        "median_minute": float(np.median(back)) if len(back) else None,
        "minute_90": round(float(np.quantile(back, 0.9)), 1) if len(back) else None,
    }


def some(stream: Stream, runs: int) -> Stream:
    """The first streams of many."""
    return replace(
        stream,
        units=[one[:, :runs] for one in stream.units],
        shown=[one[:, :runs] for one in stream.shown],
    )


def scenario(make: Any, reps: int, seed: int) -> dict[str, Any]:
    """All rules on the same streams, by how many times as often the candidate fails."""
    found: dict[str, Any] = {}
    for times in TIMES:
        stream = make(times, reps, np.random.default_rng([seed, round(10 * times)]))
        found[f"{times:g}x"] = {
            name: told(rule(some(stream, max(100, reps // 4)) if name == KAYENTA else stream))
            for name, rule in RULES.items()
        }
    return found


def against_published(base: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The base scenario beside science.md's table; what differs by more than 3 standard errors of either is said."""
    rows = []
    for name, (shares, medians) in PUBLISHED.items():
        for times, share, median in zip(TIMES, shares, medians, strict=True):
            ours = base[f"{times:g}x"][name]
            # Both are simulations; how many runs the published one had is not told: as many as these are supposed.
            se = math.sqrt(2) * max(ours["se"], 0.0005)
            row = {"rule": name, "times": times, "published": share, "here": ours["rolled_back"], "median": median}
            row |= {"median_here": ours["median_minute"], "within_3_se": abs(share - ours["rolled_back"]) <= 3 * se}
            rows.append(row)
    return rows


def default_guardrails(reps: int) -> dict[str, Any]:
    """A healthy candidate under the default guardrails, each alone at its part of alpha, and one whose errors
    double and triple; the baseline's rates are known from 200 units before the rollout, as a rollout reads them."""
    alphas = CanaryPolicy(steps=(Step(weight=0.5, min_units=1, bake_s=0),), guardrails=DEFAULT_GUARDRAILS).alphas()
    found: dict[str, Any] = {"alpha": {name: round(one, 5) for name, one in alphas.items()}, "past_units": PAST}
    for a_minute in UNITS_A_MINUTE:
        found[f"{a_minute} units a minute and arm"] = {
            f"{times:g}x": told(_earliest(alphas, times, a_minute, reps)) for times in (1.0, 2.0, 3.0)
        }
    return found


def _earliest(alphas: Mapping[str, float], times: float, a_minute: int, reps: int) -> Floats:
    """The minute in which any guardrail rolls back a candidate with so many times the errors."""
    earliest = np.full(reps, np.inf)
    for n, (name, alpha) in enumerate(alphas.items()):
        rng, rate = np.random.default_rng([77, n, round(times), a_minute]), RATES[name]
        stream = steady(rate, a_minute, a_minute)(times if name == "error_rate" else 1.0, reps, rng)
        path = harm_path(stream.units, (rng.binomial(PAST, rate, reps).astype(float), float(PAST)))
        earliest = np.minimum(earliest, first(path >= math.log(1 / alpha)))
    return earliest


def proofs(reps: int) -> list[dict[str, Any]]:
    """How often, and when, a candidate is shown to be worse by less than the margin at alpha .05, each minute looked
    at: one at the margin (wrong each time), one beyond it, and one that is as good as the baseline."""
    rows = []
    for rate, margin in ((0.05, 0.02), (0.05, 0.05), (0.15, 0.05), (0.3, 0.1)):
        for label, worse in (("at_the_margin", margin), ("beyond_it", 1.5 * margin), ("as_good", 0.0)):
            stream = steady(rate)(1 + worse / rate, reps, np.random.default_rng([78, round(1000 * (rate + worse))]))
            at = first(proof_path(stream.units, margin) >= math.log(20))
            shown = told(at)
            proved = {"proved": shown.pop("rolled_back")}
            rows.append({"rate": rate, "margin": margin, "candidate": label, **proved, **shown})
    return rows


def measured(reps: int) -> dict[str, Any]:
    """All parts."""
    nine = {name: scenario(make, reps, n) for n, (name, make) in enumerate(SCENARIOS.items())}
    base = next(iter(nine.values()))
    every = [*SCENARIOS, *WITH_TRAFFIC]
    return {
        "reps": reps,
        "kayenta_reps": max(100, reps // 4),
        "scenarios": nine,
        "with_more_traffic": {
            name: scenario(make, reps, 50 + n) for n, (name, make) in enumerate(WITH_TRAFFIC.items())
        },
        "base_against_published": against_published(base),
        "least_minutes": {
            name: {f"{times:g}x": least_minutes(name, times, 0.05) for times in TIMES[1:]} for name in every
        },
        "default_guardrails": default_guardrails(reps),
        "non_inferiority": proofs(max(200, reps // 4)),
    }


def in_words(one: Mapping[str, Any]) -> str:
    """The share and, in brackets, the median minute."""
    minute = "-" if one["median_minute"] is None else format(one["median_minute"], "g")
    return f"{one['rolled_back']:.4f} ({minute})"


def table(result: Mapping[str, Any]) -> str:
    """P(rollback) and median minutes by scenario and rule."""
    lines = []
    for name, found in {**result["scenarios"], **result["with_more_traffic"]}.items():
        lines.append(f"\n{name}\n{'':32}" + "".join(f"{times:>18}" for times in found))
        for rule in RULES:
            lines.append(f"{rule:32}" + "".join(f"{in_words(found[times][rule]):>18}" for times in found))
    return "\n".join(lines)


def main() -> int:
    """Simulates, prints and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reps", type=int, default=6000, help="streams of each scenario and candidate")
    parser.add_argument("--dry", action="store_true", help="print only")
    parser.add_argument(
        "--table", action="store_true", help="print the recorded figures as tables of the documentation"
    )
    asked = parser.parse_args()
    if asked.table:
        print(markdown(json.loads(RESULT.read_text(encoding="utf-8"))))
        return 0
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, check=False)
    started = time.process_time()
    found = measured(asked.reps)
    result = {
        "what": "canary rules over nine scenarios: rolled back and when, of healthy and of worse candidates",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "commit": commit.stdout.decode().strip(),
        "date": datetime.now(UTC).date().isoformat(),
        "cpu_seconds": round(time.process_time() - started, 1),
        **found,
    }
    print(table(result))
    print(json.dumps({name: one for name, one in result.items() if name not in {"scenarios", "with_more_traffic"}}))
    if not asked.dry:
        RESULT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
