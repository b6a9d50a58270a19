"""Estimates of the API in words."""

from __future__ import annotations

from typing import Any

import pytest

from dashboard.parts import estimates

KNOWN: dict[str, Any] = {"value": 0.8312, "n": 40, "se": 0.05, "interval": {"low": 0.714, "high": 0.9, "level": 0.95}}


def test_a_number_stands_with_its_interval() -> None:
    assert estimates.whole(KNOWN) == "0.83 (0.71 to 0.90)"
    assert estimates.whole(KNOWN, estimates.share) == "83.1% (71.4% to 90.0%)"
    assert estimates.between(KNOWN) == "0.71 to 0.90"


def test_without_an_interval_the_number_stands_alone() -> None:
    alone = {**KNOWN, "interval": None, "lack": "zero_variance"}
    assert estimates.whole(alone) == "0.83"
    assert estimates.between(alone) == "–"


def test_what_is_not_known_says_why() -> None:
    assert estimates.whole({"reason": "few_annotators", "detail": ""}) == "too few people answered the same items"
    assert estimates.whole({"reason": "a_new_one"}) == "a new one"
    assert estimates.whole(None) == "not measured"
    assert estimates.said({"reason": "one_class"}) == "–"


@pytest.mark.parametrize(
    ("kappa", "word"),
    [(None, ""), (-0.1, "worse than chance"), (0.0, "slight"), (0.2, "fair"), (0.59, "moderate"), (0.6, "substantial"),
     (1.0, "almost perfect")],
)  # fmt: skip
def test_strength_is_landis_and_kochs(kappa: float | None, word: str) -> None:
    assert estimates.strength(kappa) == word


def test_signs_and_large_numbers() -> None:
    assert estimates.points(0.031) == "+3.1 points"
    assert estimates.points(-0.0001) == "0.0 points"
    assert estimates.number(-0.0796) == "-0.08"
    assert estimates.number(-0.001) == "0.00"
    assert estimates.number(12345.6) == "12.3k"
