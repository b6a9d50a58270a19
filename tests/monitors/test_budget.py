"""False pages a week, divided and honoured; and the scales on which points are compared."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvalidInput
from monitors.bands.stabilise import sampling, transformed, unscaled
from monitors.budget import Watched, allot, arl0_for, pages_for
from monitors.calibration import k_for
from monitors.records import Kind, Points
from monitors.student import student_arl0


def test_one_page_in_ten_weeks_of_one_series_of_five_minutes() -> None:
    assert arl0_for(0.1, n_series=1, step_s=300) == 20_160
    assert arl0_for(1.0, n_series=12, step_s=60) == 12 * 10_080
    assert pages_for(20_160, n_series=1, step_s=300) == pytest.approx(0.1)


@given(
    pages=st.floats(0.01, 50),
    monitors=st.lists(
        st.tuples(st.integers(1, 10_000), st.sampled_from([60, 300, 900, 3600]), st.floats(0.1, 10)),
        min_size=1,
        max_size=8,
    ),
)
def test_what_is_allotted_adds_up_to_the_budget_and_never_to_more(
    pages: float, monitors: list[tuple[int, int, float]]
) -> None:
    watched = [Watched(name=f"m{i}", n_series=n, step_s=s, share=w) for i, (n, s, w) in enumerate(monitors)]
    told = allot(pages, watched)
    assert sum(one.false_pages_per_week for one in told) <= pages * (1 + 1e-9)
    if all(one.arl0 > 20 for one in told):
        assert sum(one.false_pages_per_week for one in told) == pytest.approx(pages)
    for one, what in zip(told, watched, strict=True):
        assert what.n_series * what.points_per_week / one.arl0 == pytest.approx(one.false_pages_per_week)


def test_the_width_that_a_budget_leads_to_breaches_as_seldom_as_it_says() -> None:
    """By Student's law, which is right for slow means: the budget, the table and the band's width fit together."""
    arl0 = arl0_for(0.5, n_series=5, step_s=300)
    k = k_for(0.01, arl0)
    assert pages_for(student_arl0(0.01, k), n_series=5, step_s=300) == pytest.approx(0.5, rel=0.1)


def test_a_budget_that_is_none_is_refused() -> None:
    for pages in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(InvalidInput):
            arl0_for(pages, n_series=1, step_s=300)
    with pytest.raises(InvalidInput):
        arl0_for(1.0, n_series=0, step_s=300)
    with pytest.raises(InvalidInput):
        allot(1.0, [Watched(name="a", n_series=1, step_s=60, share=0.0)])
    assert allot(1.0, []) == ()
    # a page each minute is no band: one in twenty points is the most
    assert arl0_for(10_080, n_series=1, step_s=60) == 20.0


@given(
    share=st.floats(0, 1), n=st.sampled_from([1.0, 7.0, 200.0, 1e6]), positive=st.floats(1e-6, 1e9),
    level=st.floats(-1e9, 1e9), count=st.integers(0, 10**9),
)  # fmt: skip
def test_the_scales_lead_back_to_the_values(share: float, n: float, positive: float, level: float, count: int) -> None:
    kinds = [Kind.RATE, Kind.POSITIVE, Kind.LEVEL, Kind.COUNT]
    points = Points.of(0, [share, positive, level, float(count)], n=[n] * 4, kinds=kinds)
    back = unscaled(transformed(points), points.n, points.kinds)
    np.testing.assert_allclose(back, points.x, rtol=1e-6, atol=2e-4)


@pytest.mark.parametrize("share", [0.5, 0.9, 0.97])
def test_of_a_rate_the_scale_has_the_variance_it_says_and_hardly_a_skew(share: float) -> None:
    chance = np.random.default_rng(1)
    draws = chance.binomial(200, share, 40_000)
    points = Points.of(0, draws / 200, n=np.full(40_000, 200.0), kinds=Kind.RATE)
    y = transformed(points)
    middle = transformed(Points.of(0, [share], n=[200.0], kinds=Kind.RATE))
    expected = sampling(middle, Points.of(0, [share], n=[200.0], kinds=Kind.RATE))[0]
    assert y.var() == pytest.approx(expected, rel=0.12)
    d = (y - y.mean()) / y.std()
    plain = (draws - draws.mean()) / draws.std()
    assert abs((d**3).mean()) < max(0.1, 0.5 * abs((plain**3).mean()))
    assert y.mean() == pytest.approx(middle[0], abs=0.1 * y.std())


def test_of_a_count_too() -> None:
    draws = np.random.default_rng(2).poisson(20, 40_000).astype(float)
    points = Points.of(0, draws, kinds=Kind.COUNT)
    middle = transformed(Points.of(0, [20.0], kinds=Kind.COUNT))
    assert transformed(points).var() == pytest.approx(
        sampling(middle, Points.of(0, [20.0], kinds=Kind.COUNT))[0], rel=0.05
    )


def test_a_rate_without_its_n_is_compared_without_counting() -> None:
    points = Points.of(0, [0.5, 0.5], n=[math.nan, 100.0], kinds=Kind.RATE)
    assert sampling(transformed(points), points)[0] == 0.0
    assert sampling(transformed(points), points)[1] > 0.0
