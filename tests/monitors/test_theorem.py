"""Updated before it is compared a band cannot fire, however far the point; compared first it does."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from monitors.bands.ema import EmaBand
from monitors.records import Points

STEP_NS = 300 * 10**9


def update_first(before: list[float], spike: float, alpha: float) -> float:
    """|z| by the slides' order of steps: the point is in the mean and the variance that it is compared with."""
    mean, variance = before[0], 0.0
    for x in [*before[1:], spike]:
        d = x - mean
        mean += alpha * d
        variance = (1 - alpha) * (variance + alpha * d * d)
    return abs(spike - mean) / math.sqrt(variance) if variance > 0 else 0.0


@given(
    alpha=st.floats(0.001, 0.999),
    before=st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=40),
    spike=st.floats(-1e12, 1e12),
)
def test_update_first_never_passes_the_root_of_one_minus_alpha_over_alpha(
    alpha: float, before: list[float], spike: float
) -> None:
    bound = math.sqrt((1 - alpha) / alpha)
    assert update_first(before, spike, alpha) <= bound * (1 + 1e-6)


@pytest.mark.parametrize(("alpha", "bound"), [(0.3, 1.53), (0.2, 2.0), (0.1, 3.0), (0.05, 4.36), (0.01, 9.95)])
def test_the_bound_is_reached_by_a_spike_without_end_and_is_the_published_one(alpha: float, bound: float) -> None:
    z = update_first([0.0, 1.0, -1.0] * 5, 1e9, alpha)
    assert z == pytest.approx(math.sqrt((1 - alpha) / alpha), rel=1e-6)
    assert z == pytest.approx(bound, abs=0.005)


@settings(max_examples=20, deadline=None)
@given(alpha=st.floats(0.01, 0.9), seed=st.integers(0, 2**32 - 1), k=st.floats(3.0, 12.0), times=st.floats(1.01, 1e9))
def test_compared_first_every_point_beyond_k_sigma_fires_and_none_within(
    alpha: float, seed: int, k: float, times: float
) -> None:
    """A band learned from noise, then one point a little or far beyond its edge, and one as far inside."""
    band = EmaBand(alpha=alpha, k=k)
    state = band.start(2)
    chance = np.random.default_rng(seed)
    for t in range(band.points_before):
        state, _ = band.step(state, Points.of(t * STEP_NS, np.full(2, chance.normal())))
    assume(float(state.spread[0]) > 1e-12)
    far = k * math.sqrt(float(state.spread[0]))
    x = state.mean + np.array([times, 1 / times]) * far
    _, judged = band.step(state, Points.of(band.points_before * STEP_NS, x))
    assert judged.breach.tolist() == [1, 0]
    assert judged.z[0] == pytest.approx(times * k, rel=1e-6)
