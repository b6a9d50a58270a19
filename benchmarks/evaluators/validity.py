"""How well each built-in evaluator predicts the real reward of real trajectories.

    nice -n 10 python -m benchmarks.evaluators.validity     # the table, and benchmarks/results/evaluator_validity.json

Per evaluator and set of trajectories: n scored, the AUC of its value for the reward (oriented so that better is higher;
ties count half) with an interval from 1,000 draws of whole tasks, and for those that say yes or no accuracy and Cohen's
kappa of value = 1. Evaluators that score fewer than 30 trajectories of a set, or only one outcome, are left out there.
Three rows are no evaluators. `fewer_messages` is what a judge that only counts would do. `writes_with_failed` is
write_set with failed calls counted, `writes_with_failed_and_handover` with hand-overs to a person counted as writes
besides: what the figure published for an exact multiset of write calls seems to count.
"""

from __future__ import annotations

import json
import math
import subprocess
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from benchmarks.evaluators.recorded import Recorded, tau2, tau_bench
from evaluators.catalogue import CATALOGUE, named
from evaluators.protocol import evaluate_safely
from evaluators.records import Direction, EvaluatorSpec, Expected, Score, Target
from evaluators.rules.values import call_key
from evaluators.rules.writes import writes

RESULT: Final = Path(__file__).resolve().parents[1] / "results" / "evaluator_validity.json"
LEAST: Final = 30
DRAWS: Final = 1000

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def auc(values: Floats, passed: Bools) -> float:
    """The chance that a passed one has a higher value than a failed one, ties half (Mann-Whitney). NaN without both."""
    n_passed, n_failed = int(passed.sum()), int((~passed).sum())
    if not n_passed or not n_failed:
        return math.nan
    ranks = rankdata(values)[passed].sum()
    return float((ranks - n_passed * (n_passed + 1) / 2) / (n_passed * n_failed))


def kappa(one: Bools, other: Bools) -> float:
    """Cohen's kappa of two yes-or-no columns; 0 where both always say the same."""
    agree = float((one == other).mean())
    chance = float(one.mean() * other.mean() + (1 - one.mean()) * (1 - other.mean()))
    return (agree - chance) / (1 - chance) if chance < 1 else 0.0


def interval(values: Floats, passed: Bools, groups: Sequence[str]) -> list[float]:
    """95 % of the AUC over draws of whole tasks with replacement."""
    rows: dict[str, list[int]] = defaultdict(list)
    for at, group in enumerate(groups):
        rows[group].append(at)
    members = [np.array(one) for one in rows.values()]
    chance = np.random.default_rng(20261121)
    found = []
    for _ in range(DRAWS):
        drawn = np.concatenate([members[at] for at in chance.integers(0, len(members), len(members))])
        found.append(auc(values[drawn], passed[drawn]))
    low, high = np.nanpercentile(found, [2.5, 97.5])
    return [round(float(low), 3), round(float(high), 3)]


def measured(recorded: Sequence[Recorded], *, intervals: bool = True) -> dict[str, dict[str, Any]]:
    """The figures of every evaluator that scores enough of these trajectories, by name@version."""
    found: dict[str, dict[str, Any]] = {}
    for evaluator in CATALOGUE:
        scores = [evaluate_safely(evaluator, one.target) for one in recorded]
        pairs = [(one, score.value) for one, score in zip(recorded, scores, strict=True) if isinstance(score, Score)]
        figures = _figures(evaluator.spec, pairs, intervals)
        if figures is not None:
            found[named(evaluator)] = figures
    for name, value in VARIANTS.items():
        found[name] = _figures(None, [(one, value(one.target)) for one in recorded], intervals) or {}
    return found


def _same_writes(target: Target, *, handover: bool) -> float:
    made, gold = (
        Counter(call_key(one) for one in calls if writes(one.name) or (handover and "transfer" in one.name))
        for calls in (target.trajectory.tool_calls, (target.expected or Expected()).tool_calls or ())
    )
    return float(made == gold)


VARIANTS: Final[dict[str, Callable[[Target], float]]] = {
    "fewer_messages": lambda target: -float(len(target.trajectory.messages)),
    "writes_with_failed": lambda target: _same_writes(target, handover=False),
    "writes_with_failed_and_handover": lambda target: _same_writes(target, handover=True),
}


def said(result: Mapping[str, Any], evaluator: str) -> str:
    """What a spec says of these figures."""
    rows = {name: rows[evaluator] for name, rows in result["sets"].items() if evaluator in rows}
    each = [
        f"{LABELS[name]} {_two(one['auc'])}" + (f" (kappa {_two(one['kappa'])})" if "kappa" in one else "")
        for name, one in rows.items()
    ]
    counts = "/".join(str(one["n"]) for one in rows.values())
    return f"AUC for the benchmark's own reward: {', '.join(each)}; n = {counts}."


LABELS: Final = {
    "tau_bench_v1": "tau-bench airline",
    "tau2_airline": "tau2 airline",
    "tau2_retail": "tau2 retail",
    "tau2_telecom": "tau2 telecom",
}


def _two(value: float) -> str:
    return f"{value:.2f}".replace("0.", ".", 1)


def _figures(
    spec: EvaluatorSpec | None, pairs: Sequence[tuple[Recorded, float]], intervals: bool
) -> dict[str, Any] | None:
    passed = np.array([one.passed for one, _ in pairs], dtype=np.bool_)
    values = np.array([value for _, value in pairs], dtype=np.float64)
    if len(pairs) < LEAST or passed.all() or not passed.any():
        return None
    if spec is not None and spec.direction is Direction.LOWER:
        values = -values
    found: dict[str, Any] = {"n": len(pairs), "auc": round(auc(values, passed), 3)}
    if intervals:
        found["auc_95"] = interval(values, passed, [one.group for one, _ in pairs])
    if spec is not None and spec.binary:
        yes = values == (0.0 if spec.direction is Direction.LOWER else 1.0)
        found["accuracy"] = round(float((yes == passed).mean()), 3)
        found["kappa"] = round(kappa(yes, passed), 3)
    return found


def sets() -> dict[str, list[Recorded]]:
    """tau-bench v1, and tau2 by domain: what the reward hangs on differs between them."""
    by_domain: dict[str, list[Recorded]] = defaultdict(list)
    for one in tau2():
        by_domain[f"tau2_{one.domain}"].append(one)
    return {"tau_bench_v1": tau_bench(), **by_domain}


def main() -> int:
    """Measures, prints the table and writes the result."""
    found = {name: measured(rows) for name, rows in sets().items()}
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    result = {
        "what": "how well each evaluator predicts the benchmark's own reward",
        "command": "python -m benchmarks.evaluators.validity",
        "commit": commit.stdout.strip(),
        "date": datetime.now(UTC).date().isoformat(),
        "published": {
            "what": "AUC for the reward of an exact multiset of write calls, 200 tau-bench gpt-4o airline runs",
            "auc": 0.695,
        },
        "rewards": {name: {"n": len(rows), "passed": sum(one.passed for one in rows)} for name, rows in sets().items()},
        "sets": found,
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    for name, rows in found.items():
        print(name)
        for evaluator, one in sorted(rows.items(), key=lambda each: -each[1].get("auc", 0)):
            print(f"  {evaluator:28} {json.dumps(one)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
