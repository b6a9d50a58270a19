"""Harm that is proved before a run is over: the evidence that may be looked at after every example.

Each example counts once: the candidate's first trial beside the baseline's mean. A run that may stop itself asks the
first trials before all others, in `order_of`. What is looked at is always the longest beginning of that order that is
scored, so neither the speed of an answer nor its score decides which example counts. Ville's inequality
(evaluators/statistics/eprocess.py) then holds for all looks together; several metrics share alpha equally (Bonferroni).
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import polars as pl

from evaluators.evidence import RunScores, pending
from evaluators.pairing import Metric
from evaluators.records import Direction
from evaluators.statistics.eprocess import started


@dataclass(frozen=True, kw_only=True)
class Proof:
    """Harm in one metric: after `n` examples of `n_planned` the evidence reached 1/alpha.

    `difference` is their mean, candidate - baseline, positive where the candidate is better; `alpha` is this metric's
    share of the run's.
    """

    metric: str
    baseline_run: str
    n: int
    n_planned: int
    difference: float
    e_value: float
    alpha: float

    @property
    def text(self) -> str:
        """In words, with both numbers."""
        return (
            f"harm in {self.metric} is proved after {self.n} of {self.n_planned} examples: difference "
            f"{self.difference:+.3f}, evidence {self.e_value:.1f} against {1 / self.alpha:.1f} needed (alpha "
            f"{self.alpha:g}, all looks together)"
        )


def order_of(run_id: str, example_ids: Collection[str]) -> list[str]:
    """The order in which a run asks its examples: by a hash of run and example, so that no score has a say in it."""
    return sorted(example_ids, key=lambda one: hashlib.sha256(f"{run_id}\0{one}".encode("utf-8", "replace")).digest())


def can_be_watched(metric: Metric) -> bool:
    """Whether the metric has a known range: without one no evidence holds at every look."""
    return metric.bounds is not None


def proof_of_harm(
    baseline: RunScores, candidate: RunScores, metrics: Sequence[Metric], *, alpha: float = 0.05
) -> Proof | None:
    """The first of `metrics` in which harm is proved at `alpha` over all of them, by what is scored so far; None while
    none is. A metric without a range is never proved so. H0 is "no worse than -slack". An example that either run left
    unscored is passed over; one that was not asked yet ends the look."""
    share = alpha / max(1, len(metrics))
    for metric in metrics:
        if metric.bounds is not None and (found := _proved(baseline, candidate, metric, share)) is not None:
            return found
    return None


def _proved(baseline: RunScores, candidate: RunScores, metric: Metric, alpha: float) -> Proof | None:
    assert metric.bounds is not None
    before = _told(baseline, metric.name).group_by("example_id").agg(pl.col("value").mean())
    means = dict(before.iter_rows())
    first = dict(_told(candidate, metric.name).filter(pl.col("trial") == 0).select("example_id", "value").iter_rows())
    sign = 1.0 if metric.direction is Direction.HIGHER else -1.0
    evidence, total = started(alpha=alpha, slack=metric.slack, bounds=metric.bounds), 0.0
    for example in order_of(candidate.run_id, means):
        if example not in first:
            return None
        value, mean = first[example], means[example]
        if value is None or mean is None:
            continue
        evidence, total = evidence.after(sign * (value - mean)), total + sign * (value - mean)
        if evidence.harm_proved:
            return Proof(
                metric=metric.name,
                baseline_run=baseline.run_id,
                n=evidence.n,
                n_planned=len(means),
                difference=total / evidence.n,
                e_value=evidence.e_value,
                alpha=alpha,
            )
    return None


def _told(run: RunScores, metric: str) -> pl.DataFrame:
    """The rows of a metric that will not change: a value that is no finite number counts as none."""
    value = pl.when(pl.col("value").is_finite()).then("value").alias("value")
    return run.rows.filter(pl.col("metric") == metric, ~pending()).select("example_id", "trial", value)
