"""Small simulations of what the benchmarks measure in full, and the committed figures against what is promised."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from benchmarks.evaluators.throughput import ROOT
from benchmarks.experiments.clustered import rejections
from benchmarks.experiments.family import NAMES, errors
from benchmarks.experiments.simulated import FAST, fast_paths, paths
from benchmarks.experiments.type_one import DEFAULTS, LOOKS, ever, limits, rejected


def kept(name: str) -> Any:
    return json.loads((ROOT / "benchmarks" / "results" / f"experiment_{name}.json").read_text(encoding="utf-8"))


def most(rate: float, reps: int) -> float:
    return rate + 3 * math.sqrt(rate * (1 - rate) / reps)


@pytest.mark.parametrize("kind", ["share", "sessions"])
def test_experiments_without_an_effect_reject_as_seldom_as_their_design_says(kind: str) -> None:
    reps = 250
    z = paths(np.random.default_rng(5), kind, reps, 28)
    found = {name: float(ever(rejected(z, 28, limit)).mean()) for name, limit in limits(28).items()}
    assert all(found[name] <= most(0.05, reps) for name in DEFAULTS)
    assert found["naive"] > 0.15


@pytest.mark.parametrize("kind", sorted(FAST))
def test_formulas_over_arrays_are_the_contrasts(kind: str) -> None:
    """At looks of at least 350 users, where no answer is rare."""
    fast = fast_paths(np.random.default_rng(7), kind, 1, 8)
    one = paths(np.random.default_rng(7), kind, 1, 8)
    assert fast == pytest.approx(one, abs=1e-9)


def test_counting_users_holds_and_counting_sessions_does_not() -> None:
    found = rejections(200, 20, 1.0, 400)
    assert found["delta_t"] <= most(0.05, 400)
    assert found["naive"] > 0.3


def test_ten_metrics_show_nothing_together() -> None:
    chance = np.random.default_rng(6)
    shares = dict(zip(NAMES, np.mean([errors(chance) for _ in range(40)], axis=0), strict=True))
    assert shares["holm"] <= most(0.05, 40)
    assert shares["naive"] > 0.6


def test_the_committed_type_one_error_and_power_are_what_is_promised() -> None:
    found = kept("type_one")
    for n_looks in LOOKS:
        assert all(found["type_one"][str(n_looks)][name]["rate"] <= 0.055 for name in DEFAULTS)
        for by_looks in found["type_one_of_kinds"].values():
            for name in DEFAULTS:
                told = by_looks[str(n_looks)][name]
                assert told["rate"] <= 0.055 + (2 * told["mc_se"] if told["mc_se"] > 0.003 else 0)
    assert found["power_at_28_looks"]["group_sequential"]["power"]["rate"] >= 0.78
    assert found["power_at_28_looks"]["one_look"]["power"]["rate"] == pytest.approx(0.81, abs=0.01)


def test_the_committed_clustered_error_is_what_is_promised() -> None:
    rows = kept("clustered")["rows"]
    assert {row["users"] for row in rows} == {40, 200, 1000}
    alike = [row for row in rows if "of_one_user" not in row]
    assert all(row["delta_t"] <= 0.06 for row in alike if row["users"] >= 200)
    assert all(row["delta_t"] <= 0.065 for row in alike)
    assert all(row["naive"] > 0.15 for row in rows)
    heavy = [row for row in rows if row.get("of_one_user", 0) >= 0.3]
    assert all(row["delta_t"] < min(0.11, 0.7 * row["delta_n"]) for row in heavy)


def test_the_committed_family_error_is_what_is_promised() -> None:
    rates = kept("family")["rates"]
    assert rates["bonferroni"] <= 0.05
    assert rates["holm"] <= 0.05
    assert rates["naive"] > 0.8
    error = 2 * kept("family")["mc_se"]
    assert rates["guarded"] <= 0.05 + error
    assert rates["decided_by"] <= 0.05 + error
    assert rates["explored"] <= 0.05
    assert rates["false_share"] <= 0.05


def test_the_committed_words_of_experiments_without_an_effect_are_seldom_wrong() -> None:
    found = kept("verdicts")
    for design in found["designs"].values():
        assert design["wrong"] <= 0.05 + 2 * found["mc_se"]
        assert design["false_alarm_of_health"] <= 0.01
