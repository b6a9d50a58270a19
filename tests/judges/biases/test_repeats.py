"""Self-consistency: by hand, and what is missing."""

from __future__ import annotations

import pytest

from evaluators.statistics.estimates import Estimate, Unestimated
from evaluators.statistics.rates import wilson
from judges.biases.repeats import self_consistency


def test_two_askings_of_each_are_a_rate() -> None:
    found = self_consistency([["pass", "pass"], ["pass", "fail"], ["fail", None], ["fail", "fail"]])
    assert (found.n, found.n_missing) == (3, 1)
    assert isinstance(found.flip_rate, Estimate)
    assert found.flip_rate.value == pytest.approx(1 / 3)
    assert found.flip_rate.interval == wilson(1, 3)


def test_more_askings_are_the_mean_over_targets_of_their_pairs() -> None:
    found = self_consistency([["a", "a", "b"], ["a", "a", "a"], ["a", "b"]])
    assert isinstance(found.flip_rate, Estimate)
    assert found.flip_rate.value == pytest.approx((2 / 3 + 0 + 1) / 3)
    assert isinstance(found.ever, Estimate)
    assert found.ever.value == pytest.approx(2 / 3)


def test_nothing_asked_twice_is_no_number() -> None:
    found = self_consistency([["a"], ["b", None]])
    assert isinstance(found.flip_rate, Unestimated)
    assert found.n_missing == 1
