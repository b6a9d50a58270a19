"""Order bias: by hand, on LLMBar's stored verdicts, and the effect of place against statsmodels."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import statsmodels.api as sm
from sklearn.metrics import cohen_kappa_score

from core.errors import InvalidInput
from evaluators.statistics.estimates import Estimate, Unestimated
from judges.biases.logistic import Fit, fit_logistic
from judges.biases.order import accuracy_of_orders, first_share, mean_of_orders, order_bias, place_effect
from tests.judges.biases.llmbar import CELL, choices, published, verdicts


def value(found: object) -> float:
    assert isinstance(found, Estimate)
    return found.value


def test_by_hand() -> None:
    ab, ba = np.array([0, 0, 1, 0, -1, 1]), np.array([0, 1, 1, 1, 0, 0])
    found = order_bias(ab, ba)
    assert (found.n, found.n_missing) == (5, 1)
    assert value(found.consistency) == pytest.approx(2 / 5)
    assert (found.n_first_twice, found.n_second_twice) == (2, 1)
    assert value(found.p_first) == pytest.approx((0.5 + 1 + 0.5 + 1 + 0) / 5)
    assert value(found.first_rate) == pytest.approx(0.1)
    assert found.p_no_bias == 1.0  # 2 against 1
    assert np.array_equal(mean_of_orders(ab, ba), [1, 0.5, 0, 0.5, np.nan, 0.5], equal_nan=True)


def test_a_judge_that_always_takes_the_first_is_seen() -> None:
    found = order_bias(np.zeros(20, dtype=np.int64), np.ones(20, dtype=np.int64))
    assert value(found.p_first) == 1.0
    assert value(found.consistency) == 0.0
    assert found.p_no_bias < 1e-5


def test_nothing_is_no_number() -> None:
    none = np.empty(0, dtype=np.int64)
    found = order_bias(none, none)
    assert isinstance(found.consistency, Unestimated)
    assert isinstance(found.first_rate, Unestimated)
    assert isinstance(first_share(np.empty(0, dtype=np.bool_)), Unestimated)
    assert accuracy_of_orders(none, none, none) is None


@pytest.mark.parametrize("wrong", [[0, 2], [0, -2], [0]])
def test_what_is_no_choice_is_refused(wrong: list[int]) -> None:
    with pytest.raises(InvalidInput):
        order_bias(np.array(wrong), np.array([0, 1]))


def test_every_cell_of_llmbar_has_the_published_accuracy_and_consistency() -> None:
    frame = verdicts()
    cells = dict(frame.group_by(CELL, maintain_order=True))
    compared = 0
    for one in published():
        part = cells[tuple(one[name] for name in CELL)]
        ab, ba, gold = (choices(part, name) for name in ("winner_ab", "winner_ba", "label"))
        if (ab < 0).any() or (ba < 0).any():
            continue  # the file counts a missing verdict as one of the classes
        found = order_bias(ab, ba)
        accuracy = accuracy_of_orders(ab, ba, gold)
        assert accuracy is not None
        assert 100 * accuracy == pytest.approx(float(one["correct_average"].rstrip("%")), abs=1e-9)
        assert 100 * value(found.consistency) == pytest.approx(float(one["equal"].split("=")[1].strip(" %")), abs=1e-9)
        compared += 1
    assert compared == 259


def test_gpt_4_on_llmbar_natural_is_as_science_has_it() -> None:
    part = verdicts().filter(
        (pl.col("subset") == "LLMBar/Natural")
        & (pl.col("judge") == "GPT-4")
        & (pl.col("prompting") == "Vanilla_NoRules")
    )
    ab, ba, gold = (choices(part, name) for name in ("winner_ab", "winner_ba", "label"))
    assert accuracy_of_orders(ab, ba, gold) == pytest.approx(0.935)
    assert value(order_bias(ab, ba).consistency) == pytest.approx(0.970)
    kappas = [cohen_kappa_score(gold, one) for one in (ab, ba)]
    assert np.mean(kappas) == pytest.approx(0.867, abs=5e-4)


def test_the_effect_of_place_is_that_of_statsmodels_and_found_where_it_is() -> None:
    rng = np.random.default_rng(3)
    n, beta = 4_000, 0.8
    strength, place = rng.normal(size=n), rng.choice([-1.0, 1.0], size=n)
    won = (rng.random(n) < 1 / (1 + np.exp(-(0.2 + strength + beta * place)))).astype(float)
    found = place_effect(won, place, strength)
    assert isinstance(found, Fit)
    theirs = sm.Logit(won, np.column_stack([np.ones(n), place, strength])).fit(disp=0, method="newton", tol=1e-14)
    assert found.coefficients == pytest.approx(theirs.params, abs=1e-9)
    assert np.sqrt(np.diag(found.covariance)) == pytest.approx(theirs.bse, abs=1e-9)
    ends = found.estimate(1).interval
    assert ends is not None
    assert ends.low - 0.1 < beta < ends.high + 0.1


def test_cluster_robust_errors_are_those_of_statsmodels() -> None:
    rng = np.random.default_rng(5)
    n = 600
    groups = rng.integers(0, 60, n)
    x = np.column_stack([np.ones(n), rng.normal(size=(n, 2))])
    y = (rng.random(n) < 1 / (1 + np.exp(-(x @ [0.3, 1, -0.5] + rng.normal(size=60)[groups])))).astype(float)
    found = fit_logistic(y, x, groups)
    assert isinstance(found, Fit)
    theirs = sm.Logit(y, x).fit(disp=0, method="newton", tol=1e-14, cov_type="cluster", cov_kwds={"groups": groups})
    assert found.n_clusters == len(np.unique(groups))
    assert found.coefficients == pytest.approx(theirs.params, abs=1e-9)
    assert np.sqrt(np.diag(found.covariance)) == pytest.approx(theirs.bse, abs=1e-9)


@pytest.mark.parametrize(
    ("outcome", "column", "reason"),
    [
        ([0, 0, 1, 1], [-2, -1, 1, 2], "separated"),
        ([1, 1, 1, 1], [-2, -1, 1, 2], "separated"),
        ([0, 1, 0, 1], [3, 3, 3, 3], "collinear"),
        ([0, 1, 0, 1], [1, float("nan"), 2, 3], "not_finite"),
        ([], [], "no_examples"),
    ],
)
def test_what_has_no_solution_says_why(outcome: list[float], column: list[float], reason: str) -> None:
    y, x = np.array(outcome, dtype=np.float64), np.array(column, dtype=np.float64)
    found = fit_logistic(y, np.column_stack([np.ones(len(y)), x]))
    assert isinstance(found, Unestimated)
    assert found.reason.value == reason


def test_a_place_is_first_or_second() -> None:
    with pytest.raises(InvalidInput):
        place_effect(np.array([1.0, 0.0]), np.array([0.0, 1.0]))
