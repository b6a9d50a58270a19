"""The examples that got worst, with the sessions to look at."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from evaluators.evidence import RunScores
from evaluators.records import Direction
from experiments.gates.pairs import Pairs
from experiments.gates.records import MetricFacts, Regression

MOST = 10


def regressions(
    metrics: Mapping[str, tuple[Pairs, MetricFacts]], baseline: RunScores, candidate: RunScores, most: int = MOST
) -> tuple[Regression, ...]:
    """The worst examples over `metrics`, each metric's losses measured by its own spread."""
    ranked: list[tuple[float, str, str, Regression]] = []
    for metric, (pairs, facts) in metrics.items():
        sign = 1.0 if facts.direction is Direction.HIGHER else -1.0
        lost = pairs.frame.with_columns(d=sign * (pl.col("candidate") - pl.col("baseline")))
        spread = _float(lost["d"].std()) or 1.0
        for row in lost.filter(pl.col("d") < 0).sort("d", "example_id").head(most).iter_rows(named=True):
            found = _regression(metric, row, facts, baseline, candidate)
            ranked.append((row["d"] / spread, metric, found.example_id, found))
    return tuple(one for *_, one in sorted(ranked, key=lambda each: each[:3])[:most])


def _regression(
    metric: str, row: Mapping[str, object], facts: MetricFacts, baseline: RunScores, candidate: RunScores
) -> Regression:
    example_id = str(row["example_id"])
    higher = facts.direction is Direction.HIGHER
    before = _place(baseline, metric, example_id, greatest=higher)
    after = _place(candidate, metric, example_id, greatest=not higher)
    return Regression(
        metric=metric,
        example_id=example_id,
        baseline_mean=float(str(row["baseline"])),
        candidate_mean=float(str(row["candidate"])),
        difference=float(str(row["d"])),
        baseline_session=before[0],
        baseline_trace=before[1],
        candidate_session=after[0],
        candidate_trace=after[1],
    )


def _place(run: RunScores, metric: str, example_id: str, *, greatest: bool) -> tuple[str | None, str | None]:
    """Session and trace of the trial that shows it: the best one of the baseline, the worst one of the candidate."""
    rows = run.rows.filter(
        (pl.col("metric") == metric) & (pl.col("example_id") == example_id) & pl.col("value").is_finite()
    ).sort(["value", "trial"], descending=[greatest, False])
    if not rows.height:
        return None, None
    first = rows.row(0, named=True)
    return first["session_id"], first["trace_id"]


def _float(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
