"""The figures of a run: means over examples, with an interval that a share cannot leave."""

from __future__ import annotations

import polars as pl
import pytest
from statsmodels.stats.proportion import proportion_confint

from evaluators.catalogue import BY_NAME
from evaluators.runs.reading import figures

ANSWER_MATCH = BY_NAME["answer_match"]


def figure(values: list[list[float]]) -> dict[str, object]:
    rows = [
        {"example_id": f"e{n}", "trial": trial, "metric": "answer_match", "value": value, "unscored": None}
        for n, trials in enumerate(values)
        for trial, value in enumerate(trials)
    ]
    kinds = {"example_id": pl.String(), "trial": pl.Int32(), "metric": pl.String(), "value": pl.Float64(),
             "unscored": pl.String()}  # fmt: skip
    return figures(pl.DataFrame(rows, schema=kinds), [], [ANSWER_MATCH])[0]


def test_a_rate_of_single_trials_has_wilsons_interval() -> None:
    found = figure([[1.0]] * 27 + [[0.0]] * 3)
    low, high = proportion_confint(27, 30, method="wilson")
    assert (found["mean"], found["n_examples"]) == (0.9, 30)
    assert found["low"] == pytest.approx(low, abs=1e-12)
    assert found["high"] == pytest.approx(high, abs=1e-12)


@pytest.mark.parametrize("k", [1, 4])
def test_examples_that_all_pass_are_no_certainty_and_trials_add_no_examples(k: int) -> None:
    found = figure([[1.0] * k] * 30)
    low, _ = proportion_confint(30, 30, method="wilson")
    assert found["low"] == pytest.approx(low, abs=1e-12)
    assert found["high"] == 1.0


def test_a_share_of_several_trials_ends_within_its_range() -> None:
    found = figure([[1.0, 1.0]] * 9 + [[1.0, 0.0]])
    assert found["mean"] == pytest.approx(0.95)
    assert found["high"] == 1.0
    assert isinstance(found["low"], float)
    assert 0.8 < found["low"] < 0.9


def test_a_lone_example_has_wilsons_wide_interval() -> None:
    found = figure([[0.0]])
    assert found["low"] == 0.0
    assert found["high"] == pytest.approx(proportion_confint(0, 1, method="wilson")[1], abs=1e-12)
