"""Length bias: against statsmodels, planted and taken out, and on LLMBar."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import statsmodels.api as sm

from core.errors import InvalidInput
from evaluators.statistics.estimates import Estimate, Unestimated
from evaluators.statistics.rates import FloatArray
from judges.biases.length import length_controlled, length_effect, longer_chosen
from judges.biases.order import mean_of_orders
from tests.judges.biases.llmbar import choices, verdicts


def of(found: object) -> Estimate:
    assert isinstance(found, Estimate)
    return found


def sigmoid(x: FloatArray) -> FloatArray:
    return np.asarray(1 / (1 + np.exp(-x)))


def test_the_model_is_that_of_statsmodels() -> None:
    rng = np.random.default_rng(1)
    n = 500
    difference, gamma = rng.normal(30, 200, n), rng.normal(size=n)
    won = (rng.random(n) < sigmoid(0.2 + np.tanh(difference / 200) + 0.5 * gamma)).astype(float)
    found = length_controlled(won, difference, gamma)
    design = np.column_stack([np.ones(n), np.tanh(difference / difference.std()), gamma - gamma.mean()])
    theirs = sm.Logit(won, design).fit(
        disp=0, method="newton", tol=1e-14, cov_type="cluster", cov_kwds={"groups": np.arange(n)}
    )
    assert of(found.effect).value == pytest.approx(theirs.params[1], abs=1e-9)
    assert of(found.effect).se == pytest.approx(theirs.bse[1], abs=1e-9)
    assert of(found.controlled).value == pytest.approx(sigmoid(theirs.params[0]), abs=1e-9)


def test_a_win_by_length_alone_is_taken_out() -> None:
    rng = np.random.default_rng(2)
    n = 3_000
    difference = rng.normal(250, 200, n)  # the first answer is mostly longer, and not better
    won = (rng.random(n) < sigmoid(1.5 * np.tanh(difference / 200))).astype(float)
    found = length_controlled(won, difference)
    assert of(found.raw).value > 0.7
    ends = of(found.controlled).interval
    assert ends is not None
    assert ends.low < 0.5 < ends.high
    assert of(found.effect).value > 1


def test_missing_verdicts_are_left_out_and_halves_are_taken() -> None:
    won = np.array([1.0, 0.5, np.nan, 0.0, 1.0, 0.0, 0.5, 1.0])
    found = length_controlled(won, np.array([10.0, -5, 3, 8, -9, 4, 6, 2]))
    assert found.n == 7
    assert of(found.raw).value == pytest.approx(4 / 7)


@pytest.mark.parametrize(
    ("won", "difference", "reason"),
    [([], [], "no_examples"), ([1.0], [3.0], "one_example"), ([1.0, 0.0, 1.0], [5.0, 5.0, 5.0], "zero_variance")],
)
def test_what_cannot_be_told_says_why(won: list[float], difference: list[float], reason: str) -> None:
    found = length_controlled(np.array(won), np.array(difference))
    assert isinstance(found.controlled, Unestimated)
    assert found.controlled.reason.value == reason


def test_of_one_answer_length_is_told_from_quality() -> None:
    rng = np.random.default_rng(4)
    n = 2_000
    label = (rng.random(n) < 0.6).astype(float)
    length = rng.normal(600, 150, n) + 200 * label  # good answers are longer
    fair = (rng.random(n) < np.where(label == 1, 0.9, 0.2)).astype(float)
    found = length_effect(fair, length, label)
    ends = of(found.effect).interval
    assert ends is not None
    assert ends.low < 0 < ends.high
    biased = (rng.random(n) < sigmoid(2 * label - 1 + 1.5 * np.tanh((length - length.mean()) / length.std()))).astype(
        float
    )
    found = length_effect(biased, length, label)
    ends = of(found.effect).interval
    assert ends is not None
    assert ends.low > 1
    assert of(found.long).value > of(found.short).value + 0.3


def test_labels_that_are_all_alike_leave_length_alone() -> None:
    rng = np.random.default_rng(6)
    found = length_effect((rng.random(200) < 0.5).astype(float), rng.normal(size=200), np.ones(200))
    assert isinstance(found.effect, Estimate)


def test_longer_chosen_by_hand() -> None:
    found = longer_chosen(np.array([1, 0.5, 0, np.nan, 1]), np.array([0.0, 1, 0, 1, 1]), np.array([5.0, -2, 3, 4, 0]))
    assert found.n == 3  # one without a verdict, one of equal lengths
    assert of(found.judge).value == pytest.approx((1 + 0.5 + 0) / 3)
    assert of(found.gold).value == pytest.approx(0.0)
    assert of(found.excess).value == pytest.approx(0.5)


def test_chatgpt_likes_length_on_the_adversarial_part_of_llmbar() -> None:
    part = verdicts().filter(
        pl.col("subset").str.contains("Adversarial")
        & (pl.col("judge") == "ChatGPT")
        & (pl.col("prompting") == "Vanilla_NoRules")
    )
    judge = mean_of_orders(choices(part, "winner_ab"), choices(part, "winner_ba"))
    gold = (part["label"] == 1).cast(pl.Float64).to_numpy()
    found = longer_chosen(judge, gold, (part["first"].cast(pl.Int64) - part["second"].cast(pl.Int64)).to_numpy() * 1.0)
    ends = of(found.excess).interval
    assert ends is not None
    assert ends.low > 0.3


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InvalidInput):
        length_controlled(np.ones(3), np.ones(4))
    with pytest.raises(InvalidInput):
        length_effect(np.ones(3), np.ones(3), np.ones(2))
