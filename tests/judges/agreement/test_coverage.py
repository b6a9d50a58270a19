"""The benchmark of coverage in small: intervals hold the truth, and judges below the bar are not certified."""

from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks.judges.coverage import ROOT, cell, deviation, many, proportions, weighted


@pytest.mark.parametrize("prevalence", [0.5, 0.9])
def test_the_interval_covers_and_a_judge_of_kappa_point_six_is_not_certified(prevalence: float) -> None:
    told = cell(0.6, 50, prevalence, 1_500, np.random.default_rng(1))
    assert 0.93 <= told["interval_95"] <= 0.97  # 1,500 runs are known to 0.6%
    assert told["certified"] <= 0.05
    assert told["point_rule_passes"] >= 0.15


def test_the_proportions_have_the_kappa_that_they_are_made_for() -> None:
    p = proportions(0.7, (0.1, 0.9))
    assert p.sum() == pytest.approx(1)
    assert deviation(proportions(0.8, (0.5, 0.5))) == pytest.approx(0.6)  # 2 sqrt(.9 * .1)


def test_many_labels_and_weights_cover_too() -> None:
    told = {(one["shares"], one["kappa"], one["n"]): one for one in many(60, 3)}
    five = told[(0.2,) * 5, 0.8, 50]
    assert five["interval_95"] >= 0.8
    assert five["half_per_cell_interval_95"] <= 0.5
    uneven = weighted(40, 5)[2]
    assert uneven["product"]["interval_95"] >= 0.8
    assert uneven["no_weights"]["interval_95"] <= 0.2


def test_the_recorded_figures_are_those_that_are_claimed() -> None:
    recorded = json.loads((ROOT / "benchmarks" / "results" / "judge_agreement.json").read_text(encoding="utf-8"))
    cells = recorded["kappa"]["cells"]
    assert len(cells) == 27
    assert all(0.94 <= one["interval_95"] <= 0.96 for one in cells)
    poor = [one for one in cells if (one["kappa"], one["n"]) == (0.6, 50)]
    assert all(one["certified"] <= 0.05 and 0.18 <= one["point_rule_passes"] <= 0.29 for one in poor)
    assert all(one["certified"] <= 0.05 and one["failed"] <= 0.05 for one in cells if one["kappa"] == 0.7)
