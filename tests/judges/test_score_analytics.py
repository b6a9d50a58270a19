"""Figures of one score and of two, against hand-worked numbers and scipy."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy import stats
from sklearn.metrics import cohen_kappa_score

from evaluators.statistics.correlation import pearson, spearman
from evaluators.statistics.estimates import Estimate, Lack, Unestimated
from judges.score_analytics import OTHER, figures, together

HOUR = 3600 * 10**9
SCHEMA: dict[str, Any] = {
    "target": pl.String, "kind": pl.String, "session_id": pl.String, "at_ns": pl.Int64, "evaluator_version": pl.String,
    "value": pl.Float64, "label": pl.String, "unscored": pl.String, "app": pl.String,
}  # fmt: skip


def rows(*given: dict[str, Any]) -> pl.DataFrame:
    plain = {"kind": "session", "at_ns": 0, "evaluator_version": "1", "app": "shop"}
    blank = dict.fromkeys(SCHEMA)
    return pl.DataFrame(
        [{**blank, **plain, "target": f"session:{n}", **one} for n, one in enumerate(given)], schema=SCHEMA
    )


def of_values(values: list[float]) -> pl.DataFrame:
    return rows(*({"value": value} for value in values))


def of_labels(labels: list[str]) -> pl.DataFrame:
    return rows(*({"label": label, "value": float(label == "pass")} for label in labels))


def test_figures_of_values() -> None:
    given = rows(
        {"value": 0.0}, {"value": 0.5, "at_ns": HOUR}, {"value": 1.0, "at_ns": HOUR + 5}, {"unscored": "no retrieval"}
    )
    told = figures(given, HOUR)
    assert (told.n, told.n_unscored, told.unscored) == (3, 1, {"no retrieval": 1})
    assert isinstance(told.mean, Estimate)
    assert told.mean.value == pytest.approx(0.5)
    assert told.quantiles == (0.0, 0.25, 0.5, 0.75, 1.0)
    assert sum(one.n for one in told.bins) == 3
    assert (told.bins[0].low, told.bins[-1].high) == (0.0, 1.0)
    assert [(one.start_ns, one.n, one.n_unscored) for one in told.series] == [(0, 1, 1), (HOUR, 2, 0)]
    assert told.apps == {"shop": 4}


def test_a_rate_has_wilsons_interval() -> None:
    told = figures(of_labels(["pass"] * 8 + ["fail"] * 2), HOUR)
    assert isinstance(told.mean, Estimate)
    assert told.mean.interval is not None
    assert told.mean.interval.method == "wilson"
    assert told.labels == {"pass": 8, "fail": 2}


def test_nothing_and_numbers_beyond_bounds() -> None:
    nothing = figures(rows(), HOUR)
    assert isinstance(nothing.mean, Unestimated)
    assert (nothing.n, nothing.quantiles, nothing.bins, nothing.series) == (0, None, (), ())
    huge = figures(of_values([-1e308, 1e308, 1e308]), HOUR)
    assert isinstance(huge.mean, Unestimated)
    assert (huge.bins, huge.quantiles) == ((), None)
    both = together(of_values([-1e308, 1e308, 1e308, 0.0]), of_values([1.0, 2.0, 3.0, 4.0]))
    assert sum(map(sum, both.counts)) == 4


def test_kappa_of_two_that_choose_from_the_same_labels_is_scikit_learns() -> None:
    rng = np.random.default_rng(3)
    first = rng.choice(["pass", "fail"], 60).tolist()
    second = [one if rng.random() < 0.8 else "pass" for one in first]
    told = together(of_labels(first), of_labels(second))
    assert (told.by, told.rows, told.columns, told.n) == ("labels", ("fail", "pass"), ("fail", "pass"), 60)
    assert told.kappa.value == pytest.approx(cohen_kappa_score(first, second), abs=1e-9)
    assert isinstance(told.kappa.estimate, Estimate)
    assert told.kappa.estimate.interval is not None
    assert isinstance(told.agreement, Estimate)
    assert told.agreement.value == pytest.approx(np.mean([a == b for a, b in zip(first, second, strict=True)]))


def test_labels_beside_a_value_of_0_or_1_are_compared_by_whether_they_pass() -> None:
    told = together(of_labels(["pass", "fail", "pass", "fail"]), of_values([1.0, 0.0, 1.0, 1.0]))
    assert (told.by, told.rows) == ("passing", ("0", "1"))
    assert told.counts == ((1, 1), (0, 2))
    assert told.kappa.value == pytest.approx(0.5)


def test_labels_of_two_rubrics_stand_in_a_table_without_kappa() -> None:
    told = together(
        rows({"label": "good", "value": 0.9}, {"label": "bad", "value": 0.1}),
        rows({"label": "rude", "value": 0.5}, {"label": "kind", "value": 0.6}),
    )
    assert told.by == "apart"
    assert told.kappa.estimate == Unestimated(reason=Lack.OTHER_LABELS)
    assert sum(map(sum, told.counts)) == 2


def test_targets_that_one_of_both_lacks_are_counted() -> None:
    told = together(of_values([1.0, 0.0, 1.0]), rows({"value": 1.0}, {"unscored": "why"}))
    assert (told.n, told.n_first, told.n_second) == (1, 2, 0)
    none = together(rows(), rows({"value": 1.0}))
    assert (none.n, none.counts, none.kappa.value) == (0, (), None)


def test_many_labels_are_counted_together() -> None:
    labels = [f"label {n:02}" for n in range(30)]
    told = figures(of_labels(labels), HOUR)
    assert told.labels[OTHER] == 10
    both = together(of_labels(labels), of_values([float(n) for n in range(30)]))
    assert len(both.rows) == 21
    assert len(both.columns) == 10
    assert sum(map(sum, both.counts)) == 30


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_correlations_are_scipys(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=40)
    y = x + rng.normal(size=40)
    told, ranks = pearson(x, y), spearman(np.round(x, 1), np.round(y, 1))
    assert isinstance(told, Estimate)
    assert isinstance(ranks, Estimate)
    theirs = stats.pearsonr(x, y)
    assert told.value == pytest.approx(theirs.statistic, abs=1e-12)
    assert told.interval is not None
    ends = theirs.confidence_interval(0.95)
    assert (told.interval.low, told.interval.high) == pytest.approx((ends.low, ends.high), abs=1e-9)
    assert ranks.value == pytest.approx(stats.spearmanr(np.round(x, 1), np.round(y, 1)).statistic, abs=1e-12)


def test_correlations_that_are_none_say_why() -> None:
    one, four = np.ones(1), np.arange(4.0)
    assert pearson(np.empty(0), np.empty(0)) == Unestimated(reason=Lack.NO_EXAMPLES)
    assert pearson(one, one) == Unestimated(reason=Lack.TOO_FEW)
    told = pearson(four, np.ones(4))
    assert isinstance(told, Unestimated)
    assert told.reason is Lack.ZERO_VARIANCE
    assert pearson(four, np.array([1, 2, 3, np.nan])) == Unestimated(reason=Lack.NOT_FINITE)
    straight = pearson(four, 2 * four)
    assert isinstance(straight, Estimate)
    assert straight.interval is None
    large = pearson(four * 1e307, four[::-1] * 1e307)
    assert isinstance(large, Estimate)
    assert large.value == pytest.approx(-1.0)
