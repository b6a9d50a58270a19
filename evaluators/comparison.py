"""Two runs compared: per metric and stratum the paired difference, what it could have seen, and who got worse."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import polars as pl

from core.errors import InvalidInput
from evaluators.evidence import RunScores
from evaluators.pairing import Metric, Pairs, check_same_examples, metric_named, pairs, spread_of, trials_of
from evaluators.records import Direction
from evaluators.statistics.estimates import Lack, Unestimated
from evaluators.statistics.multiplicity import benjamini_hochberg
from evaluators.statistics.paired import Paired, paired
from evaluators.statistics.power import Spread, detectable, examples_needed

WORST: Final = 10
POWER: Final = 0.8
LEAST_IN_STRATUM: Final = 2
MOST_STRATA: Final = 50  # of those that nobody named, the largest


@dataclass(frozen=True, kw_only=True)
class ExampleDelta:
    """One example in both runs. `difference` is positive where the candidate is better; sessions and traces are those
    of the baseline's best and the candidate's worst trial."""

    example_id: str
    stratum: str | None
    baseline: float
    candidate: float
    difference: float
    session_baseline: str | None
    session_candidate: str | None
    trace_baseline: str | None
    trace_candidate: str | None


@dataclass(frozen=True, kw_only=True)
class Compared:
    """One metric, over all examples (`stratum` None) or one stratum.

    `found.difference` and its interval are oriented: positive means that the candidate is better, also where lower is
    better. `baseline` and `candidate` are the means as they were scored. `detectable`: the least true difference that
    this many examples show with power 0.8, one-sided. `needed`: the examples that would show a loss of `margin` with
    that power, or one as large as the difference seen where no margin was asked; None where there is none.
    `q`: p_two_sided adjusted over the metrics by Benjamini-Hochberg.
    """

    metric: Metric
    stratum: str | None
    found: Paired | Unestimated
    baseline: float | None
    candidate: float | None
    k_baseline: float | None = None
    k_candidate: float | None = None
    spread: Spread | None = None
    detectable: float | None = None
    needed: int | None = None
    q: float | None = None
    unpaired: Mapping[str, int]
    unscored_baseline: Mapping[str, int]
    unscored_candidate: Mapping[str, int]
    worst: tuple[ExampleDelta, ...] = ()

    @property
    def n(self) -> int:
        """Examples that are paired."""
        return self.found.n if isinstance(self.found, Paired) else 0


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A candidate's run beside a baseline's. `notes` are sentences about what limits it."""

    baseline: RunScores
    candidate: RunScores
    alpha: float
    metrics: tuple[Compared, ...]
    strata: tuple[Compared, ...]
    notes: tuple[str, ...]


def compare(
    baseline: RunScores,
    candidate: RunScores,
    metrics: Sequence[Metric | str] | None = None,
    *,
    alpha: float = 0.05,
    strata: Sequence[str] | None = None,
    worst: int = WORST,
    every_example: bool = False,
    seed: int = 0,
) -> Comparison:
    """Compares two runs over the same examples.

    `metrics`: those to compare, by name or with their rules; None: all that either run has. `strata`: None for all that
    there are, () for none. `worst`: so many examples of a metric that lost most, with `every_example` also those that
    lost nothing. Raises InvalidInput for runs over other examples, an unknown metric or stratum.
    """
    check_same_examples(baseline, candidate)
    chosen = _chosen(baseline, candidate, metrics)
    found = [(one, pairs(baseline, candidate, one)) for one in chosen]
    how = _How(alpha=alpha, worst=worst, every_example=every_example, seed=seed)
    other = {one.name: _other_version(baseline, candidate, one.name) for one in chosen}
    whole = [_compared(one, made, None, how, other[one.name]) for one, made in found]
    parts = [
        _compared(one, _part(made, stratum), stratum, how, other[one.name])
        for one, made in found
        for stratum in _strata(made, strata)
    ]
    return Comparison(
        baseline=baseline,
        candidate=candidate,
        alpha=alpha,
        metrics=tuple(_adjusted(whole)),
        strata=tuple(parts),
        notes=tuple(_notes(baseline, candidate)),
    )


def _chosen(baseline: RunScores, candidate: RunScores, metrics: Sequence[Metric | str] | None) -> list[Metric]:
    known = sorted({*baseline.metrics, *candidate.metrics})
    if metrics is None:
        return [metric_named(one) for one in known]
    chosen = [metric_named(one) if isinstance(one, str) else one for one in metrics]
    unknown = [one.name for one in chosen if one.name not in known]
    if unknown:
        raise InvalidInput(
            f"neither run has a metric {', '.join(unknown)[:200]}; they have {', '.join(known) or 'none'}"[:500],
            field="metrics",
        )
    return chosen


def _other_version(baseline: RunScores, candidate: RunScores, name: str) -> str | None:
    """How the two runs' scores of a metric are of different making; None: they are not, or one run has none."""
    before, after = baseline.evaluators.get(name), candidate.evaluators.get(name)
    if before == after or name not in baseline.metrics or name not in candidate.metrics:
        return None
    told = [f"{name}@{one}" if one is not None else "its trials' own figures" for one in (before, after)]
    return f"the baseline was scored by {told[0]}, the candidate by {told[1]}"


@dataclass(frozen=True, kw_only=True)
class _How:
    """What holds for every metric."""

    alpha: float
    worst: int
    every_example: bool
    seed: int


def _compared(metric: Metric, made: Pairs, stratum: str | None, how: _How, other: str | None) -> Compared:
    frame = made.frame
    bare = Compared(
        metric=metric,
        stratum=stratum,
        found=Unestimated(reason=Lack.NO_EXAMPLES),
        baseline=None,
        candidate=None,
        unpaired=made.unpaired,
        unscored_baseline=made.unscored_baseline,
        unscored_candidate=made.unscored_candidate,
    )
    if other is not None:
        return replace(bare, found=Unestimated(reason=Lack.OTHER_VERSION, detail=other))
    if frame.is_empty():
        return bare
    found = _tested(frame, metric, how.alpha, how.seed)
    means = [_mean(frame, name) for name in ("baseline", "candidate")]
    k_baseline, k_candidate = trials_of(frame)
    described = replace(
        bare,
        found=found,
        baseline=means[0],
        candidate=means[1],
        k_baseline=k_baseline,
        k_candidate=k_candidate,
        worst=_worst(frame, how),
    )
    return _with_power(described, frame, found, how.alpha) if isinstance(found, Paired) else described


def _tested(frame: pl.DataFrame, metric: Metric, alpha: float, seed: int) -> Paired | Unestimated:
    low, high = metric.bounds or (None, None)
    sign = 1.0 if metric.direction is Direction.HIGHER else -1.0
    values = [frame[name].to_numpy() for name in ("baseline", "candidate")]
    one_trial = bool(((frame["k_baseline"] == 1) & (frame["k_candidate"] == 1)).all())
    if low is None and all(((each == 0) | (each == 1)).all() for each in values) and one_trial:
        low, high = 0.0, 1.0  # a yes or no, whoever scored it
    if low is not None and high is not None and sign < 0:  # mirrored within its range: 0/1 stays 0/1
        values = [low + high - each for each in values]
    else:
        values = [sign * each for each in values]
    bounds = None if low is None or high is None else (low, high)
    return paired(values[0], values[1], one_trial=one_trial, bounds=bounds, alpha=alpha, slack=metric.slack, seed=seed)


def _with_power(one: Compared, frame: pl.DataFrame, found: Paired, alpha: float) -> Compared:
    variance = found.variance
    if not variance:  # one example, or no spread
        return one
    delta = one.metric.margin if one.metric.margin else abs(found.difference)
    return replace(
        one,
        spread=spread_of(frame, variance),
        detectable=detectable(variance, found.n, alpha, POWER),
        needed=examples_needed(variance, delta, alpha, POWER) if delta > 0 else None,
    )


def _mean(frame: pl.DataFrame, name: str) -> float:
    return float(frame.select(pl.col(name).mean()).item())


def _worst(frame: pl.DataFrame, how: _How) -> tuple[ExampleDelta, ...]:
    """The examples that lost most, worst first; equal ones by id."""
    told = frame if how.every_example else frame.filter(pl.col("difference") < 0)
    lost = told.sort("difference", "example_id").head(max(0, how.worst))
    names = ExampleDelta.__dataclass_fields__.keys()
    return tuple(ExampleDelta(**{name: row[name] for name in names}) for row in lost.iter_rows(named=True))


def _strata(made: Pairs, asked: Sequence[str] | None) -> list[str]:
    counts = made.frame["stratum"].drop_nulls().value_counts()
    there = {name: n for name, n in counts.rows() if n >= LEAST_IN_STRATUM}
    if asked is None:
        most = sorted(there, key=lambda name: (-there[name], name))[:MOST_STRATA]
        return sorted(most) if len(counts) > 1 else []
    unknown = sorted(set(asked) - set(counts["stratum"].to_list()))
    if unknown:
        raise InvalidInput(f"no example is of stratum {', '.join(unknown)[:200]}", field="strata")
    return sorted(set(asked))


def _part(made: Pairs, stratum: str) -> Pairs:
    """The pairs of one stratum; what is missing is counted over all."""
    frame = made.frame.filter(pl.col("stratum") == stratum)
    return Pairs(frame=frame, unpaired={}, unscored_baseline={}, unscored_candidate={})


def _adjusted(compared: Sequence[Compared]) -> list[Compared]:
    p = {
        at: one.found.p_two_sided
        for at, one in enumerate(compared)
        if isinstance(one.found, Paired) and one.found.p_two_sided is not None
    }
    q = dict(zip(p, benjamini_hochberg([*p.values()]), strict=True)) if p else {}
    return [replace(one, q=q.get(at)) for at, one in enumerate(compared)]


def _notes(baseline: RunScores, candidate: RunScores) -> list[str]:
    notes = [
        f"run {one.run_id} is {one.status}: only what is scored so far is compared"
        for one in (baseline, candidate)
        if not one.finished
    ]
    if baseline.run_id == candidate.run_id:
        notes.append("both are the same run")
    return notes
