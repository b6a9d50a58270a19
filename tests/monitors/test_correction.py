"""A judge's rate as its known errors correct it."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitors.correction import Correction, corrected, correction_of


@settings(deadline=None)
@given(st.floats(0, 1), st.floats(0.6, 1), st.floats(0.6, 1))
def test_what_a_judge_would_say_of_a_rate_comes_back_as_that_rate(rate: float, q1: float, q0: float) -> None:
    said = rate * q1 + (1 - rate) * (1 - q0)
    frame = pl.DataFrame({"x": [said], "n": [400.0]})
    found = corrected(frame, Correction(sensitivity=q1, specificity=q0))
    assert found["x"][0] == pytest.approx(rate, abs=1e-9)
    assert found["n"][0] == pytest.approx(400 * (q1 + q0 - 1) ** 2)


def test_a_judge_that_knows_nothing_is_left_as_it_is() -> None:
    frame = pl.DataFrame({"x": [0.4], "n": [10.0]})
    assert corrected(frame, Correction(sensitivity=0.5, specificity=0.5)).equals(frame)


def report(**of_pass: Any) -> dict[str, Any]:
    passing = {"label": "pass", "sensitivity": {"value": 0.9}, "specificity": {"value": 0.8}, **of_pass}
    return {"agreement": {"by_label": [{"label": "fail"}, passing]}}


def test_a_calibration_says_how_often_a_judge_is_right() -> None:
    assert correction_of(report(), "pass") == Correction(sensitivity=0.9, specificity=0.8)
    assert correction_of(report(sensitivity={"reason": "no_examples"}), "pass") is None
    assert correction_of(report(), "good") is None
    assert correction_of({}, "pass") is None
    three = {"agreement": {"by_label": [*report()["agreement"]["by_label"], {"label": "unsure"}]}}
    assert correction_of(three, "pass") is None
