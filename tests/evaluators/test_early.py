"""Harm proved before a run is over: by what was asked, in an order that no score decides, and seldom wrongly."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from evaluators.early import order_of, proof_of_harm
from evaluators.evidence import RunScores
from evaluators.pairing import Metric

CORRECT = Metric(name="answer_match", bounds=(0.0, 1.0))


def run_of(run_id: str, values: dict[str, list[float | None]], k: int) -> RunScores:
    rows = [
        {"example_id": example, "trial": trial, "metric": "answer_match", "value": value}
        for example, trials in values.items()
        for trial, value in enumerate(trials)
    ]
    schema = {"example_id": pl.String(), "trial": pl.Int32(), "metric": pl.String(), "value": pl.Float64()}
    return RunScores(
        run_id=run_id,
        app="shop",
        release="v2",
        dataset="golden",
        dataset_version=1,
        content_hash="c",
        k=k,
        finished_at_ns=None,
        status="cancelled",
        evaluators={"answer_match": "1"},
        rows=pl.DataFrame(rows, schema=schema),
    )


NAMES = [f"e{n}" for n in range(60)]


def test_harm_in_the_first_examples_is_proved_before_the_rest_is_asked() -> None:
    baseline = run_of("a", {name: [1.0] for name in NAMES}, 1)
    first = order_of("b", NAMES)[:12]
    found = proof_of_harm(baseline, run_of("b", {name: [0.0] for name in first}, 1), [CORRECT])
    assert found is not None
    assert found.metric == "answer_match"
    assert found.n <= 12
    assert found.n_planned == 60
    assert found.e_value >= 20
    assert found.difference == -1.0
    assert "of 60 examples" in found.text


def test_what_lies_behind_an_example_that_was_not_asked_yet_is_not_looked_at() -> None:
    baseline = run_of("a", {name: [1.0, 0.0, 1.0] for name in NAMES}, 3)
    order = order_of("b", NAMES)
    lost: dict[str, list[float | None]] = {name: [0.0] for name in order[:40]}
    assert proof_of_harm(baseline, run_of("b", lost, 1), [CORRECT]) is not None
    del lost[order[0]]
    assert proof_of_harm(baseline, run_of("b", lost, 1), [CORRECT]) is None


def test_an_example_counts_once_however_often_it_was_tried() -> None:
    baseline = run_of("a", {name: [1.0] for name in NAMES}, 1)
    few = order_of("b", NAMES)[:3]
    often: dict[str, list[float | None]] = {name: [0.0] * 50 for name in few}
    assert proof_of_harm(baseline, run_of("b", often, 50), [CORRECT]) is None


def test_an_unscored_example_is_passed_over_and_proves_nothing() -> None:
    baseline = run_of("a", {name: [1.0] for name in NAMES}, 1)
    nothing: dict[str, list[float | None]] = {name: [None] for name in NAMES}
    assert proof_of_harm(baseline, run_of("b", nothing, 1), [CORRECT]) is None


def test_metrics_share_alpha_and_one_without_a_range_is_never_proved() -> None:
    baseline = run_of("a", {name: [1.0] for name in NAMES}, 1)
    candidate = run_of("b", {name: [0.0] for name in NAMES}, 1)
    one, many = (proof_of_harm(baseline, candidate, [CORRECT] * n) for n in (1, 10))
    assert one is not None
    assert many is not None
    assert many.n > one.n
    assert proof_of_harm(baseline, candidate, [Metric(name="answer_match")]) is None


@pytest.mark.parametrize("slack", [0.0, 0.05])
def test_looking_after_every_example_raises_false_alarms_in_few_runs(slack: float) -> None:
    """400 runs of a candidate that is as good as its baseline less the slack: alpha 5 % allows 20."""
    chance = np.random.default_rng(20261121)
    metric = Metric(name="answer_match", bounds=(0.0, 1.0), slack=slack)
    alarms = 0
    for n in range(400):
        rates = chance.beta(2, 1, len(NAMES))
        before, after = (
            run_of(
                run_id,
                {name: [float(chance.random() < max(0.0, p - less))] for name, p in zip(NAMES, rates, strict=True)},
                1,
            )
            for run_id, less in (("a", 0.0), (f"b{n}", slack))
        )
        found = proof_of_harm(before, after, [metric])
        alarms += found is not None
    assert alarms <= 20


def test_the_order_is_of_the_run_and_not_of_the_ids() -> None:
    assert order_of("a", NAMES) == order_of("a", NAMES[::-1])
    assert order_of("a", NAMES) != order_of("b", NAMES)
    assert sorted(order_of("a", NAMES)) == sorted(NAMES)
