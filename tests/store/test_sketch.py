"""The quantile sketch: accuracy, merging, and what is no measurement."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from store import sketch


def test_bucket_of_known_values() -> None:
    # gamma = 1.01 / 0.99 = 1.020202..., ln gamma = 0.0200007; ceil(ln 1 / g) = 0, ceil(ln 100 / g) = ceil(230.25) = 231
    assert sketch.bucket_indexes(np.array([1.0, 100.0])).tolist() == [0, 231]


def test_zero_and_less_than_a_nanosecond_share_the_zero_bucket() -> None:
    assert sketch.bucket_indexes(np.array([0.0, 1e-9])).tolist() == [sketch.ZERO_BUCKET] * 2
    assert sketch.bucket_value(sketch.ZERO_BUCKET) == 0.0


def test_what_is_no_measurement_gets_no_bucket() -> None:
    odd = np.array([float("nan"), float("inf"), -float("inf"), -1.0])
    assert sketch.bucket_indexes(odd).tolist() == [sketch.NO_BUCKET] * 4
    assert sketch.sketch_of(odd) == {}


def test_an_empty_sketch_has_no_quantile() -> None:
    assert sketch.quantile({}, 0.5) is None
    assert sketch.quantiles({3: 0}, [0.5, 0.9]) == [None, None]


def test_a_quantile_outside_0_to_1_is_refused() -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        sketch.quantile({1: 1}, 1.5)


def test_the_largest_and_smallest_durations_have_finite_estimates() -> None:
    longest_ms = 2**63 / 1e6
    assert sketch.quantile(sketch.sketch_of(np.array([longest_ms])), 1.0) == pytest.approx(longest_ms, rel=0.01)
    assert sketch.quantile(sketch.sketch_of(np.array([1e-6])), 0.0) == pytest.approx(1e-6, rel=0.011)


durations = st.lists(st.floats(min_value=1e-3, max_value=1e9), min_size=1, max_size=300)


@given(durations, st.sampled_from([0.0, 0.5, 0.9, 0.95, 0.99, 1.0]))
def test_quantiles_are_within_one_percent_of_the_exact_ones(values: list[float], q: float) -> None:
    exact = float(np.quantile(values, q, method="lower"))
    assert sketch.quantile(sketch.sketch_of(np.array(values)), q) == pytest.approx(exact, rel=0.0101)


@given(durations, durations)
def test_merging_sketches_equals_sketching_together(left: list[float], right: list[float]) -> None:
    together = sketch.sketch_of(np.array(left + right))
    assert sketch.merge([sketch.sketch_of(np.array(left)), sketch.sketch_of(np.array(right))]) == together
    assert sum(together.values()) == len(left) + len(right)
