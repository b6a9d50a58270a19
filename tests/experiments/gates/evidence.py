"""Good evidence, made by hand: two finished runs over the same examples, of which the candidate is a little better."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import numpy as np
import polars as pl

from evaluators.evidence import RunScores
from evaluators.records import Direction
from experiments.gates.decide import decide
from experiments.gates.records import Asked, Decision, MetricFacts
from server.gate_policy import read_policy

NOW: Final = 1_900_000_000 * 10**9
HOUR: Final = 3_600 * 10**9
N_EXAMPLES: Final = 80
K: Final = 4
METRICS: Final = ("correctness", "grounding", "latency_ms")
POLICY: Final = """version: 1
app: desk
dataset: golden
alpha: 0.05
evidence: {min_examples: 60, min_trials: 4, max_age_h: 48}
required_evaluators: [correctness, grounding]
metrics:
  - {metric: correctness, role: primary, margin: 0.05}
  - {metric: grounding, role: guardrail, margin: 0.05}
  - {metric: latency_ms, role: guardrail, margin: "10%", direction: lower}
"""
FACTS: Final = {
    "correctness": MetricFacts(low=0.0, high=1.0),
    "grounding": MetricFacts(low=0.0, high=1.0),
    "latency_ms": MetricFacts(direction=Direction.LOWER),
}
ASKED: Final = Asked(app="desk", candidate="v2", baseline="v1")


def run(release: str, *, better: float = 0.0, seed: int = 7, n: int = N_EXAMPLES, k: int = K) -> RunScores:
    """A run. `better` is added to the chance of a correct trial."""
    rng = np.random.default_rng(seed)
    chance = rng.uniform(0.5, 0.9, size=n)  # of each example, the same in every run
    trials = np.random.default_rng([seed, ord(release[-1])])
    rows: list[dict[str, Any]] = []
    for number in range(n):
        example, stratum = f"ex_{number:04d}", ("refund", "booking")[number % 2]
        for trial in range(k):
            values = {
                "correctness": float(trials.random() < chance[number] + better),
                "grounding": float(np.clip(chance[number] + trials.normal(0, 0.02), 0, 1)),
                "latency_ms": 800 + 400 * chance[number] + float(trials.normal(0, 20)),
            }
            about = {"session_id": f"run_{release}.{example}.{trial}", "trace_id": None, "unscored": None}
            rows += [
                {"example_id": example, "trial": trial, "metric": name, "value": value, "stratum": stratum, **about}
                for name, value in values.items()
            ]
    return RunScores(
        run_id=f"run_{release}",
        app="desk",
        release=release,
        dataset="golden",
        dataset_version=3,
        content_hash="c0" * 32,
        k=k,
        finished_at_ns=NOW - HOUR,
        status="done",
        evaluators={"correctness": "1", "grounding": "2", "latency_ms": "1"},
        rows=pl.DataFrame(rows, infer_schema_length=None),
        examples={f"ex_{number:04d}": f"{number:064x}" for number in range(n)},
    )


BASELINE: Final = run("v1")
CANDIDATE: Final = run("v2", better=0.08)


def decided(
    baseline: RunScores | None = BASELINE, candidate: RunScores | None = CANDIDATE, policy: str = POLICY, **other: Any
) -> Decision:
    """What the gate says of this evidence."""
    given: dict[str, Any] = {"facts": FACTS, "now_ns": NOW, **other}
    return decide(baseline, candidate, read_policy(policy), given.pop("asked", ASKED), **given)


def changed(one: RunScores, **fields: Any) -> RunScores:
    """A run of which some fields are others."""
    return replace(one, **fields)


def rewritten(one: RunScores, where: pl.Expr, value: float | None, unscored: str | None = None) -> RunScores:
    """A run of which some rows have another value."""
    then = pl.when(where)
    return replace(
        one,
        rows=one.rows.with_columns(
            value=then.then(pl.lit(value, dtype=pl.Float64)).otherwise(pl.col("value")),
            unscored=then.then(pl.lit(unscored, dtype=pl.String)).otherwise(pl.col("unscored")),
        ),
    )
