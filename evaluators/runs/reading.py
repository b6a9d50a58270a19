"""What was scored in a run, read back from the lake, and the figures of each metric."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from core.windows import Window
from evaluators.protocol import Evaluator
from evaluators.runs.planning import score_id
from evaluators.statistics.estimates import Estimate, Unestimated
from evaluators.statistics.rates import clustered_mean, wilson
from store.control.run_records import RunRecord, TrialRecord, TrialStatus
from store.scores import scores_by_id
from store.tenant import TenantStore

BUILT_IN: Final[Mapping[str, tuple[str, str]]] = {
    "latency_ms": ("ms", "lower"),
    "cost_usd": ("usd", "lower"),
    "tokens": ("tokens", "lower"),
}
_SKEW_NS: Final = 3_600_000_000_000  # of clocks of servers
_KEYS: Final = pl.Schema(
    {"score_id": pl.String(), "example_id": pl.String(), "trial": pl.Int32(), "metric": pl.String()}
)


def scores_of_run(store: TenantStore, run: RunRecord, trials: Sequence[TrialRecord]) -> pl.DataFrame:
    """One row per example, trial and evaluator of the run: example_id, trial, metric (the evaluator's name), score_id,
    value, label, explanation, unscored, metadata, at. What is not scored yet is missing."""
    keys = [
        (score_id(run.run_id, one.example_id, one.trial, evaluator), one.example_id, one.trial, evaluator)
        for one in trials
        for evaluator in run.spec.evaluators
    ]
    known = pl.DataFrame(keys, schema=_KEYS, orient="row").with_columns(pl.col("metric").str.split("@").list.first())
    until = run.finished_at_ns if run.finished_at_ns is not None else 2**62
    window = Window(start_ns=run.created_at_ns - _SKEW_NS, end_ns=until + 24 * _SKEW_NS)
    found = scores_by_id(store, [key[0] for key in keys], window)
    columns = ("score_id", "value", "label", "explanation", "unscored", "metadata", "at")
    return known.join(found.select(columns), on="score_id", how="inner", maintain_order="left")


def figures(
    scores: pl.DataFrame, trials: Sequence[TrialRecord], evaluators: Sequence[Evaluator] = ()
) -> list[dict[str, Any]]:
    """Per metric: the mean over examples with its clustered interval, how many there are and how many are unscored.
    Latency, cost and tokens of the trials come last, where any trial tells them."""
    specs = {one.spec.name: one.spec for one in evaluators}
    found = []
    for (metric,), rows in scores.group_by(["metric"], maintain_order=True):
        name = str(metric)
        spec = specs.get(name)
        kind = ("", "higher") if spec is None else (spec.unit, spec.direction.value)
        found.append(_figure(name, kind, rows))
    measured = _measured(trials)
    for metric, kind in BUILT_IN.items():
        rows = measured.select("example_id", "trial", value=metric, unscored=pl.lit(None, dtype=pl.String()))
        known = any(one["metric"] == metric for one in found)  # an evaluator of that name measured it in the trace
        if not known and rows["value"].is_not_null().any():
            found.append(_figure(metric, kind, rows))
    return found


def _measured(trials: Sequence[TrialRecord]) -> pl.DataFrame:
    rows = [
        {
            "example_id": one.example_id,
            "trial": one.trial,
            "latency_ms": one.latency_ms,
            "cost_usd": one.cost_usd,
            "tokens": _tokens(one),
        }
        for one in trials
        if one.status is TrialStatus.DONE
    ]
    kinds = dict.fromkeys(BUILT_IN, pl.Float64())
    return pl.DataFrame(rows, schema={"example_id": pl.String(), "trial": pl.Int32(), **kinds})


def _tokens(trial: TrialRecord) -> float | None:
    known = [one for one in (trial.input_tokens, trial.output_tokens) if one is not None]
    return float(sum(known)) if known else None


def _figure(metric: str, kind: tuple[str, str], rows: pl.DataFrame) -> dict[str, Any]:
    told = rows.filter(pl.col("value").is_not_null() & pl.col("value").is_finite())
    reasons = Counter(str(one).split(":")[0] for one in rows["unscored"].drop_nulls())
    said: dict[str, Any] = {
        "metric": metric,
        "unit": kind[0],
        "direction": kind[1],
        "n_trials": told.height,
        "n_examples": told["example_id"].n_unique(),
        "n_unscored": rows.height - told.height,
        "unscored": dict(sorted(reasons.items())),
        **dict.fromkeys(("mean", "low", "high", "se")),
    }
    if not told.height:
        return said
    values = told["value"].to_numpy()
    codes = told["example_id"].rank("dense").cast(pl.Int64).to_numpy()
    said["mean"] = float(np.mean(values))
    found = clustered_mean(values, codes)
    if isinstance(found, Unestimated):
        return said
    low, high = _ends(found, values, share=kind[0] == "share")
    return said | {"mean": found.value, "se": found.se, "low": low, "high": high}


def _ends(found: Estimate, values: NDArray[np.float64], *, share: bool) -> tuple[float | None, float | None]:
    """The ends of the 95 % interval. A rate of yes and no, one trial of each example or the same in all of them, has
    Wilson's; everything else Student's over examples, which for a share ends at 0 and 1."""
    is_rate = len(values) == found.n or found.value in (0.0, 1.0)
    if share and is_rate and ((values == 0) | (values == 1)).all():
        rate = wilson(round(found.value * found.n), found.n)
        return rate.low, rate.high
    if found.interval is None:
        return None, None
    if share:
        return max(0.0, found.interval.low), min(1.0, found.interval.high)
    return found.interval.low, found.interval.high
