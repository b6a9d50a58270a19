"""The tables of figures in docs/rollouts.md are what was measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.experiments.canary_shown import campaign, markdown

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "rollouts.md").read_text(encoding="utf-8")


def result(name: str) -> Any:
    return json.loads((ROOT / "benchmarks" / "results" / f"{name}.json").read_text(encoding="utf-8"))


def test_wrong_calls_and_minutes_of_canary_rules_are_those_that_were_measured() -> None:
    for table in markdown(result("experiment_canary")).split("\n\n"):
        assert table in PAGE, "python -m benchmarks.experiments.canary --table"


def test_what_became_of_each_fault_of_the_demo_world_is_what_was_measured() -> None:
    for table in campaign(result("experiment_rollouts")).split("\n\n"):
        assert table in PAGE


def test_no_scenario_rolls_back_more_healthy_candidates_than_alpha() -> None:
    found = result("experiment_canary")
    shares = [one["1x"]["ours_alpha_05"]["rolled_back"] for one in found["scenarios"].values()]
    assert len(shares) == 9
    assert max(shares) <= 0.05
