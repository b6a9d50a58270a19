"""The error rates of a comparison over 4,000 simulated pairs of runs: the figures of docs/statistics.md."""

from __future__ import annotations

from benchmarks.evaluators.simulation import bounds_hold, design, early_stop


def test_false_alarms_are_five_percent_and_a_drop_of_five_points_is_found() -> None:
    told = design(200, 4, 4000, seed=3)
    assert 0.04 <= told["false_alarms"]["paired"] <= 0.06
    assert told["power_5pp"]["paired"] >= 0.91
    assert told["power_5pp"]["unpaired"] < 0.55
    assert {told[name]["same_as_the_product"] for name in ("false_alarms", "power_5pp")} == {"100 of 100"}


def test_one_trial_each_alarms_no_more_often_than_said() -> None:
    told = design(200, 1, 4000, seed=1)
    assert 0.02 <= told["false_alarms"]["paired"] <= 0.05  # an exact test of few discordant pairs
    assert told["false_alarms"]["fixed_3pp"] > 0.1
    assert told["power_5pp"]["paired"] > told["power_5pp"]["unpaired"]


def test_a_run_that_stops_early_is_wrong_no_more_often_than_alpha() -> None:
    told = early_stop(200, 4, 4000, seed=99)
    assert told["no_drop"]["stopped"] <= 0.05
    assert told["no_drop"]["a_t_test_peeked_every_10_examples"] > 0.15
    assert told["drop_10pp"]["stopped"] > 0.95
    assert told["drop_10pp"]["examples_saved"] >= 0.4


def test_rare_whole_losses_do_not_pass() -> None:
    told = bounds_hold(400, seed=7)
    assert told["gaffke"] <= 0.05 < told["paired_t"]
