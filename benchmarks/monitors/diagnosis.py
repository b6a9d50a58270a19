"""How often the cause of an incident is told right: each fault of the demo world at a realistic size, and quiet weeks.

    python -m benchmarks.monitors.diagnosis --kept FOLDER                  # the table and the JSON
    python -m benchmarks.monitors.diagnosis --kept FOLDER --runs 5 --dry

A few sessions of each fault are played once (kept in FOLDER) and measured; then weeks of minutes are drawn from them,
with seasons of day and week, wandering speed and traffic, sessions that fail anyway and a few faults at any time. From
the onset on the fault is planted at the rate that brings resolution from 87 to 80 % (in every session where it can
show, where that is too few; in half of them, where it fails no task). An hour later every series is held against the
week before and the cause is told. Right is the one pattern of `RIGHT`, written down before anything was measured;
nothing told is not right. Quiet: the same on weeks without a fault, at some hour and at the hour in which resolution is
worst of the day (as a false alarm would be).
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import time
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from os import cpu_count
from pathlib import Path
from typing import Any, Final

import numpy as np

from agent_runtime.simulation.faults.table import FAULTS
from benchmarks.monitors.diagnosis_series import (
    STEP_S,
    Fault,
    Pool,
    changes_of,
    drawn,
    groups_of,
    pool_of,
    realistic,
    worst_window,
)
from benchmarks.monitors.diagnosis_sessions import SOUND, effects, rows_of
from evaluators.statistics.rates import wilson
from monitors.diagnosis.attribution import where
from monitors.diagnosis.contributions import Verdict
from monitors.diagnosis.scoring import diagnose

ROOT: Final = Path(__file__).resolve().parents[2]
RESULT: Final = ROOT / "benchmarks" / "results" / "monitors_diagnosis.json"
RIGHT: Final[Mapping[str, str]] = {
    "context_overflow": "context_lost",
    "discount_above_cap": "model_or_prompt_change",
    "double_refund": "tool_outage",
    "drop_confirmation": "acts_without_asking",
    "harder_users": "traffic_mix",
    "injection_success": "injection",
    "invented_confirmation": "empty_claims",
    "latency_spike": "provider_slow",
    "leaked_pii": "leak",
    "missing_citation": "model_or_prompt_change",
    "silent_model_change": "model_swapped",
    "stale_policy": "stale_knowledge",
    "tool_loop": "loop",
    "verbose_padding": "verbose_answers",
    "wrong_order": "model_or_prompt_change",
    "wrong_refund_amount": "model_or_prompt_change",
}
NOTHING: Final = "(nothing)"
WORSE_MODEL: Final = 0.14  # how much more often the sessions of the swapped model fail: 7 points, in half of sessions


def told(pool: Pool, fault: Fault | None, seed: int, per_minute: float, steps: int, *, peeked: bool = False) -> str:
    """The pattern that is told, or NOTHING."""
    chance = np.random.default_rng(seed)
    seen = drawn(pool, fault, chance, per_minute, steps)
    found = diagnose(changes_of(pool, worst_window(seen) if peeked else seen, chance))
    return found.told.pattern if found.told else NOTHING


def faults_table(pool: Pool, runs: int, per_minute: float, steps: int) -> dict[str, Any]:
    """By fault: its rate, what was told how often, and the share that is right."""
    chosen = [(name, RIGHT[name], realistic(pool, name)) for name in sorted(FAULTS)]
    worse = realistic(pool, "silent_model_change", WORSE_MODEL)
    chosen.append(("silent_model_change, worse", "model_swapped", worse))
    found = {}
    for number, (name, right, fault) in enumerate(chosen):
        said = Counter(told(pool, fault, 1000 * number + run, per_minute, steps) for run in range(runs))
        found[name] = {
            "right": right,
            "rate": round(fault.rate, 3),
            "told": dict(said.most_common()),
            "share": said[right] / runs,
        }
    return found


def quiet_table(pool: Pool, runs: int, per_minute: float, steps: int) -> dict[str, Any]:
    """What is told of quiet weeks."""
    found = {}
    for name, peeked in (("any hour", False), ("the worst hour of a day", True)):
        said = Counter(told(pool, None, 500_000 + run, per_minute, steps, peeked=peeked) for run in range(runs))
        something = runs - said[NOTHING]
        bounds = wilson(something, runs)
        found[name] = {
            "runs": runs,
            "told": dict(said.most_common()),
            "something": something / runs,
            "interval": [round(bounds.low, 3), round(bounds.high, 3)],
        }
    return found


def where_table(pool: Pool, runs: int, per_minute: float, steps: int) -> dict[str, Any]:
    """A fault in a new release that takes 40 % of traffic: is the release told first, and is the interval right?"""
    whole = realistic(pool, "wrong_order")
    fault = Fault(name="wrong_order", rate=whole.rate, share=min(1.0, (whole.share or 0) / 0.4), release=0.4)
    right = only = 0
    for run in range(runs):
        chance = np.random.default_rng(900_000 + run)
        seen = drawn(pool, fault, chance, per_minute, steps)
        tenant = chance.choice(5, size=len(seen.step), p=(0.4, 0.3, 0.15, 0.1, 0.05))
        dimensions = [
            groups_of(seen, "release", seen.release.astype(int), ("v1", "v2")),
            groups_of(seen, "tenant", tenant, tuple("abcde")),
            groups_of(seen, "intent", pool.intent[seen.task], pool.intents),
        ]
        first = where(dimensions)[0]
        right += first.dimension == "release" and first.contributions[0].value == "v2"
        only += first.verdict is Verdict.ONLY_HERE
    return {"runs": runs, "release_first": right / runs, "only_here": only / runs}


def main() -> int:
    """Prints the tables, and writes them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kept", type=Path, required=True, metavar="FOLDER", help="where played sessions are kept")
    parser.add_argument("--runs", type=int, default=12, help="weeks for each fault")
    parser.add_argument("--quiet", type=int, default=100, help="quiet weeks")
    parser.add_argument("--per-minute", type=float, default=20.0, help="sessions")
    parser.add_argument("--minutes", type=int, default=60, help="from the onset to the diagnosis")
    parser.add_argument("--sound", type=int, default=166, help="sound sessions that are played")
    parser.add_argument("--planted", type=int, default=83, help="sessions of each fault that are played")
    parser.add_argument("--dry", action="store_true", help="write no result")
    given = parser.parse_args()
    began = time.process_time()
    played = rows_of(given.kept, {SOUND: given.sound, **dict.fromkeys(sorted(FAULTS), given.planted)})
    pool, steps = pool_of(played), max(1, given.minutes * 60 // STEP_S)
    faults = faults_table(pool, given.runs, given.per_minute, steps)
    for name, row in faults.items():
        print(f"{name:28} {row['rate']:5.0%}  right {row['share']:4.0%}  {row['told']}")
    share = float(np.mean([row["share"] for row in faults.values()]))
    print(f"right in all: {share:.1%}")
    quiet = quiet_table(pool, given.quiet, given.per_minute, steps)
    for name, row in quiet.items():
        print(f"quiet, {name}: something told in {row['something']:.1%} {row['told']}")
    place = where_table(pool, given.runs, given.per_minute, steps)
    print(f"where: {place}")
    found = {"faults": faults, "right": share, "quiet": quiet, "where": place, "measured": effects(played)}
    if not given.dry:
        RESULT.write_text(json.dumps({**_about(given, began), **found}, indent=1) + "\n")
    return 0


def _about(given: argparse.Namespace, began: float) -> dict[str, Any]:
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=ROOT, check=False
    )
    settings = {name: value for name, value in vars(given).items() if name not in ("kept", "dry")}
    return {
        "benchmark": "monitors.diagnosis",
        "machine": f"{platform.machine()}, {cpu_count()} cores, Python {platform.python_version()}",
        "commit": commit.stdout.strip(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpu_s": round(time.process_time() - began, 1),
        "settings": settings,
    }


if __name__ == "__main__":
    raise SystemExit(main())
