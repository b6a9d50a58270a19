"""What the benchmark of corrected rates found, as it is committed, against what is promised."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

RESULT = Path(__file__).resolve().parents[3] / "benchmarks" / "results" / "judge_correction.json"


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    told: dict[str, Any] = json.loads(RESULT.read_text(encoding="utf-8"))
    return told


def test_the_intervals_cover_in_every_cell_and_are_narrower_than_labels_alone(found: dict[str, Any]) -> None:
    cells = found["cells"]["found"]
    assert len(cells) == 12
    assert sum(one["rate"] == 0.97 for one in cells) == 3
    for one in cells:
        assert one["covers"]["corrected"] >= 0.94, one
        assert one["labels_alone_width2_over_ours"] >= 1.3, one
        assert abs(one["bias"]["corrected"]) < 0.01
    assert min(one["covers"]["raw"] for one in cells) < 0.05


def test_the_sequence_is_right_at_all_looks_where_others_are_not(found: dict[str, Any]) -> None:
    for one in found["anytime"]["found"]:
        right = one["right_at_all_60_looks"]
        assert right["ours"] >= 0.95, one
        assert right["ours_with_an_interval_for_one_look"] < 0.8
        assert right["raw_judge"] < 0.1
        assert one["labels_alone_width2_over_ours"] > 1.2


def test_forty_labels_mend_the_stored_judges(found: dict[str, Any]) -> None:
    judges = {one["judge"]: one for one in found["stored"]["found"]}
    assert len(judges) == 4
    assert all(one["corrected_covers"] >= 0.94 for one in judges.values())
    assert judges["quick_triage_v1"]["raw_judge"] > 0.9
    assert [name for name, one in judges.items() if one["raw_covers"]] == [
        "policy_conversation_v1"
    ]  # its errors cancel


def test_a_shift_of_prevalence_and_labels_by_verdict(found: dict[str, Any]) -> None:
    shift = found["shift"]["found"]
    assert shift["rogan_gladen"]["covers"] >= 0.94
    assert shift["ppi_as_if_of_these_targets"]["covers"] < 0.1
    assert found["by_verdict"]["found"]["covers"] >= 0.94
    assert found["by_verdict"]["found"]["bias_of_the_plain_mean_of_labels"] < -0.1


def test_drift_of_the_judge_is_not_blamed_on_the_product(found: dict[str, Any]) -> None:
    drift = found["drift"]["found"]
    judged = drift["judge_5_points_less_sensitive"]
    assert judged["product"]["within_150_batches_after"] <= 0.1
    assert judged["raw_judge"]["within_150_batches_after"] >= 0.9
    assert judged["judge"]["within_150_batches_after"] >= 0.9
    worse = drift["product_5_points_worse"]
    assert worse["product"]["within_150_batches_after"] >= 0.9
    assert worse["product"]["median_delay"] < worse["labels_alone"]["median_delay"]
