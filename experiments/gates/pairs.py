"""The trials of two runs, example by example: what a metric's difference is taken over, and what is missing of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from evaluators.evidence import RunScores
from evaluators.records import Direction, Reason
from evaluators.statistics.estimates import Unestimated
from evaluators.statistics.paired import Paired, paired
from experiments.gates.records import Difference, MetricFacts

# An example that a metric says nothing about in any trial of either run is none of its examples.
_SILENT: Final = f"^({Reason.NOT_EXPECTED.value}|{Reason.NOT_APPLICABLE.value})(:|$)"

MOST_STRATA: Final = 50  # that are looked at: a dataset may give every example a stratum of its own


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """One metric in two runs. `frame` has a row per example that both scored in at least `min_trials` trials:
    example_id, stratum, baseline and candidate (means over trials), n_baseline and n_candidate (trials). Shares are of
    the trials that should have a score; `n_extra` counts scores of trials that the runs do not have."""

    frame: pl.DataFrame
    unscored_baseline: float
    unscored_candidate: float
    n_not_finite: int
    n_extra: int
    n_thin: int  # examples that both scored, in fewer trials than asked for
    in_baseline: bool
    in_candidate: bool

    @property
    def n(self) -> int:
        """Examples."""
        return self.frame.height

    @property
    def baseline(self) -> NDArray[np.float64]:
        """Means per example, shape (n,)."""
        return self.frame["baseline"].to_numpy().astype(np.float64)

    @property
    def candidate(self) -> NDArray[np.float64]:
        """Means per example, shape (n,)."""
        return self.frame["candidate"].to_numpy().astype(np.float64)

    def of(self, stratum: str) -> Pairs:
        """The examples of one group."""
        part = self.frame.filter(pl.col("stratum") == stratum)
        return Pairs(**{**self.__dict__, "frame": part})

    @property
    def strata(self) -> list[str]:
        """The groups, by name; of more than MOST_STRATA those with the most examples."""
        counts = self.frame["stratum"].drop_nulls().value_counts().sort(["count", "stratum"], descending=[True, False])
        return sorted(map(str, counts["stratum"].head(MOST_STRATA)))


def examples_of(baseline: RunScores, candidate: RunScores) -> set[str]:
    """Every example that the runs are about: those of the dataset where they are known, and those that have rows."""
    named = {str(one) for run in (baseline, candidate) for one in run.rows["example_id"].unique()}
    return named | set(baseline.examples) | set(candidate.examples)


def pairs_of(baseline: RunScores, candidate: RunScores, metric: str, min_trials: int) -> Pairs:
    """The pairs of one metric."""
    sides = [_side(run, metric) for run in (baseline, candidate)]
    silent = set(sides[0].filter("silent")["example_id"]) & set(sides[1].filter("silent")["example_id"])
    n_expected = len(examples_of(baseline, candidate) - silent)
    both = sides[0].join(sides[1], on="example_id", suffix="_candidate")
    scored = both.filter((pl.col("n") > 0) & (pl.col("n_candidate") > 0))
    enough = scored.filter((pl.col("n") >= min_trials) & (pl.col("n_candidate") >= min_trials))
    frame = enough.select(
        "example_id",
        pl.coalesce("stratum_candidate", "stratum").alias("stratum"),
        pl.col("mean").alias("baseline"),
        pl.col("mean_candidate").alias("candidate"),
        pl.col("n").alias("n_baseline"),
        "n_candidate",
    ).sort("example_id")
    return Pairs(
        frame=frame,
        unscored_baseline=_unscored(sides[0], n_expected * baseline.k),
        unscored_candidate=_unscored(sides[1], n_expected * candidate.k),
        n_not_finite=int(sum(side["n_not_finite"].sum() for side in sides)),
        n_extra=int(sum(side["n_extra"].sum() for side in sides)),
        n_thin=scored.height - enough.height,
        in_baseline=sides[0].height > 0,
        in_candidate=sides[1].height > 0,
    )


def measured(pairs: Pairs, facts: MetricFacts, *, alpha: float, slack: float, seed: int) -> Difference | Unestimated:
    """The difference with its bounds, oriented so that above 0 the candidate is better. Raises InvalidInput for values
    outside the metric's range."""
    bounds = facts.bounds
    before, after = (_oriented(values, facts) for values in (pairs.baseline, pairs.candidate))
    single = bool((pairs.frame["n_baseline"] == 1).all() and (pairs.frame["n_candidate"] == 1).all())
    found = paired(before, after, one_trial=single, bounds=bounds, alpha=alpha, slack=slack, seed=seed)
    if isinstance(found, Unestimated):
        return found
    return _difference(found, pairs)


def _side(run: RunScores, metric: str) -> pl.DataFrame:
    value, finite = pl.col("value"), pl.col("value").is_finite().fill_null(False)
    within = pl.col("trial").is_between(0, run.k - 1)
    counted = finite & within
    return (
        run.rows.filter(pl.col("metric") == metric)
        .group_by("example_id")
        .agg(
            value.filter(counted).mean().alias("mean"),
            counted.sum().cast(pl.Int64).alias("n"),
            (value.is_not_null() & ~finite).sum().cast(pl.Int64).alias("n_not_finite"),
            (~within).sum().cast(pl.Int64).alias("n_extra"),
            (value.is_null() & pl.col("unscored").str.contains(_SILENT).fill_null(False)).all().alias("silent"),
            pl.col("stratum").drop_nulls().sort().first(),
        )
    )


def _unscored(side: pl.DataFrame, n_expected: int) -> float:
    return 1.0 if not n_expected else max(0.0, 1 - int(side["n"].sum()) / n_expected)


def _oriented(values: NDArray[np.float64], facts: MetricFacts) -> NDArray[np.float64]:
    """More is better, within the same range."""
    if facts.direction is Direction.HIGHER:
        return values
    return -values if facts.bounds is None else facts.bounds[0] + facts.bounds[1] - values


def _difference(found: Paired, pairs: Pairs) -> Difference:
    return Difference(
        n=found.n,
        baseline_mean=float(pairs.baseline.mean()),
        candidate_mean=float(pairs.candidate.mean()),
        difference=found.difference,
        lower=found.lower,
        upper=found.upper,
        low=None if found.interval is None else found.interval.low,
        high=None if found.interval is None else found.interval.high,
        se=found.se,
        n_better=found.n_better,
        n_worse=found.n_worse,
        p_harm=found.p_harm,
        method=None if found.interval is None else found.interval.method,
    )


def checked(pairs: Pairs, facts: MetricFacts) -> str | None:
    """What contradicts itself in the scores, in words; None when nothing does."""
    if pairs.n_extra:
        return f"{pairs.n_extra} scores are of trials that their run does not have"
    if facts.bounds is not None and pairs.n:
        low, high = facts.bounds
        least = float(min(pairs.baseline.min(), pairs.candidate.min()))
        most = float(max(pairs.baseline.max(), pairs.candidate.max()))
        if least < low - 1e-9 or most > high + 1e-9:
            return f"values from {least:g} to {most:g} where {low:g} to {high:g} is possible"
    return None
