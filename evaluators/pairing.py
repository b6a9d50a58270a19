"""From the scores of two runs to pairs: one mean per example and run, and what stayed without a partner, by reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import polars as pl

from core.errors import InvalidInput
from evaluators import catalogue
from evaluators.evidence import RunScores
from evaluators.records import Direction
from evaluators.statistics.power import Spread, spread

UNITS_OF_TRIALS: Final[Mapping[str, str]] = {"latency_ms": "ms", "cost_usd": "usd", "tokens": "tokens"}
MISSING: Final = "no_trial"  # the other run has no row of this example
NOT_FINITE: Final = "not_finite"
UNSAID: Final = "no_reason_given"


@dataclass(frozen=True, kw_only=True)
class Metric:
    """What is compared, and how. `bounds`: least and greatest value, where known. `slack` moves H0 of harm to -slack;
    `margin` is the loss that a number of needed examples is asked for. Both in the score's unit, 0 or more."""

    name: str
    direction: Direction = Direction.HIGHER
    bounds: tuple[float, float] | None = None
    unit: str = ""
    slack: float = 0.0
    margin: float | None = None


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """Pairs of one metric.

    `frame` has one row per example that both runs scored: example_id, stratum, baseline, candidate, difference
    (positive: the candidate is better), k_baseline, k_candidate, squares and freedom (of the trials about
    their means, both runs together), and the session and trace of the baseline's best and the candidate's worst
    trial. `unpaired` counts the examples that only one run scored, `unscored` the trials without a score, by reason.
    """

    frame: pl.DataFrame
    unpaired: Mapping[str, int]
    unscored_baseline: Mapping[str, int]
    unscored_candidate: Mapping[str, int]


def metric_named(name: str, slack: float = 0.0, margin: float | None = None) -> Metric:
    """A metric as the catalogue describes the evaluator of that name. One that is not there counts as higher-is-better
    without a known range; latency, cost and tokens of a trial as lower-is-better from 0."""
    unit = UNITS_OF_TRIALS.get(name)
    if unit is not None:
        return Metric(name=name, direction=Direction.LOWER, unit=unit, slack=slack, margin=margin)
    found = catalogue.BY_NAME.get(name)
    if found is None:
        return Metric(name=name, slack=slack, margin=margin)
    spec = found.spec
    return Metric(
        name=name,
        direction=spec.direction,
        bounds=(0.0, 1.0) if spec.binary or spec.unit == "share" else None,
        unit=spec.unit,
        slack=slack,
        margin=margin,
    )


def pairs(baseline: RunScores, candidate: RunScores, metric: Metric) -> Pairs:
    """Pairs the two runs' scores of a metric by example id."""
    worse_is = 1.0 if metric.direction is Direction.HIGHER else -1.0
    before, after = _rows(baseline, metric.name), _rows(candidate, metric.name)
    left = _means(before, worse_is, best=True)
    right = _means(after, worse_is, best=False)
    joined = left.join(right, on="example_id", how="inner", suffix="_candidate").sort("example_id")
    frame = joined.select(
        "example_id",
        pl.coalesce("stratum", "stratum_candidate").alias("stratum"),
        pl.col("mean").alias("baseline"),
        pl.col("mean_candidate").alias("candidate"),
        (worse_is * (pl.col("mean_candidate") - pl.col("mean"))).alias("difference"),
        pl.col("k").alias("k_baseline"),
        pl.col("k_candidate"),
        (pl.col("squares") + pl.col("squares_candidate")).alias("squares"),
        (pl.col("k") + pl.col("k_candidate") - 2).alias("freedom"),
        pl.col("session_id").alias("session_baseline"),
        pl.col("session_id_candidate").alias("session_candidate"),
        pl.col("trace_id").alias("trace_baseline"),
        pl.col("trace_id_candidate").alias("trace_candidate"),
    )
    return Pairs(
        frame=frame,
        unpaired=_counted(_unpaired(before, after, set(frame["example_id"].to_list()))),
        unscored_baseline=_counted(_reasons(before)["reason"].to_list()),
        unscored_candidate=_counted(_reasons(after)["reason"].to_list()),
    )


def trials_of(frame: pl.DataFrame) -> tuple[float, float]:
    """Trials per example of both runs, as harmonic means: what the variance of a mean of means goes by."""
    n = frame.height
    k = [n / float((1 / frame[name]).sum()) for name in ("k_baseline", "k_candidate")]
    return k[0], k[1]


def spread_of(frame: pl.DataFrame, variance: float) -> Spread | None:
    """The parts of Var(d) over the pairs, the variance within examples pooled over both runs; None without repeats."""
    freedom = int(frame["freedom"].sum())
    if freedom < 1:
        return None
    found = spread(variance, float(frame["squares"].sum()) / freedom, *trials_of(frame))
    return found if isinstance(found, Spread) else None


def check_same_examples(baseline: RunScores, candidate: RunScores) -> None:
    """Raises InvalidInput unless both runs asked the same examples: the same version of a dataset, or other versions or
    names with the same ids and contents."""
    if baseline.content_hash == candidate.content_hash:
        return
    known = baseline.examples and candidate.examples
    if known and dict(baseline.examples) == dict(candidate.examples):
        return
    before = f"{baseline.dataset}@{baseline.dataset_version}"
    after = f"{candidate.dataset}@{candidate.dataset_version}"
    common = baseline.examples.keys() & candidate.examples.keys()
    same = sum(baseline.examples[one] == candidate.examples[one] for one in common)
    counted = (
        f": {same} examples are the same, {len(common) - same} have another content, "
        f"{len(baseline.examples) - len(common)} are only in the first and "
        f"{len(candidate.examples) - len(common)} only in the second"
        if known
        else ""
    )
    raise InvalidInput(
        f"run {baseline.run_id} is over {before}, run {candidate.run_id} over {after}{counted}; "
        "run both over one version of a dataset",
        field="run_b",
    )


def _rows(run: RunScores, metric: str) -> pl.DataFrame:
    return run.rows.filter(pl.col("metric") == metric)


def _scored(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.filter(pl.col("value").is_finite().fill_null(value=False))


def _reasons(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows without a finite value: example_id and the code of the reason."""
    code = pl.col("unscored").str.split(":").list.first()
    return rows.filter(~pl.col("value").is_finite().fill_null(value=False)).select(
        "example_id",
        pl.when(pl.col("value").is_not_null())
        .then(pl.lit(NOT_FINITE))
        .otherwise(code.fill_null(UNSAID))
        .alias("reason"),
    )


def _means(rows: pl.DataFrame, worse_is: float, *, best: bool) -> pl.DataFrame:
    """One row per example with a score. `best`: name the best trial, else the worst; the first of several."""
    ordered = _scored(rows).sort(worse_is * pl.col("value"), descending=best, maintain_order=True)
    return ordered.group_by("example_id", maintain_order=True).agg(
        pl.col("stratum").drop_nulls().first(),
        pl.col("value").mean().alias("mean"),
        pl.len().cast(pl.Int64).alias("k"),
        ((pl.col("value") - pl.col("value").mean()) ** 2).sum().alias("squares"),
        pl.col("session_id").first(),
        pl.col("trace_id").first(),
    )


def _unpaired(before: pl.DataFrame, after: pl.DataFrame, paired: set[str]) -> list[str]:
    """For each example that is no pair: which run lacks a score of it, the baseline first, and why."""
    sides = [
        (run, set(_scored(rows)["example_id"].to_list()), dict(_reasons(rows).rows()))
        for run, rows in (("baseline", before), ("candidate", after))
    ]
    everywhere = set(before["example_id"].to_list()) | set(after["example_id"].to_list())
    found = []
    for one in everywhere - paired:
        run, _, reasons = next(side for side in sides if one not in side[1])
        found.append(f"{run}: {reasons.get(one, MISSING)}")
    return found


def _counted(reasons: list[str]) -> dict[str, int]:
    return {one: reasons.count(one) for one in sorted(set(reasons))}
