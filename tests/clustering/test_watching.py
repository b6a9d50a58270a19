"""Whether a watched cluster grew: an exact bound on the ratio of two rates."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from clustering.watching import FEWEST, LEVEL, growth

COUNTS = st.integers(min_value=0, max_value=200)
OF = st.integers(min_value=200, max_value=100_000)


@given(n=st.integers(min_value=FEWEST, max_value=200), of=OF, n_then=COUNTS, of_then=OF)
def test_at_the_bound_so_many_come_by_chance_as_the_level_says(n: int, of: int, n_then: int, of_then: int) -> None:
    """The defining equation of the exact bound (Clopper, Pearson 1934): with the ratio at the bound, n or more of
    n + n_then come with a chance of 1 - LEVEL."""
    found = growth(n, of, n_then, of_then, 1.5)
    share = found.low * of / (found.low * of + of_then)
    assert abs(float(binom.sf(n - 1, n + n_then, share)) - (1 - LEVEL)) < 1e-6


@given(n=COUNTS, of=OF, n_then=COUNTS, of_then=OF, min_ratio=st.floats(min_value=1.0, max_value=10.0))
def test_it_grew_only_where_the_bound_is_above_what_was_asked_for(
    n: int, of: int, n_then: int, of_then: int, min_ratio: float
) -> None:
    found = growth(n, of, n_then, of_then, min_ratio)
    assert found.grew == (n >= FEWEST and found.low > min_ratio)
    if found.grew and found.ratio is not None:
        assert found.ratio > min_ratio


def test_three_times_as_many_of_as_many_is_growth_and_as_many_of_three_times_as_many_is_none() -> None:
    assert growth(60, 1000, 20, 1000, 1.5).grew
    assert not growth(60, 3000, 20, 1000, 1.5).grew


def test_a_cluster_that_did_not_come_at_all_before_can_grow_without_a_ratio() -> None:
    found = growth(20, 1000, 0, 1000, 1.5)
    assert (found.ratio, found.grew) == (None, True)


def test_without_sessions_then_or_now_nothing_is_known() -> None:
    assert not growth(20, 1000, 0, 0, 1.5).grew
    assert not growth(0, 0, 5, 1000, 1.5).grew
    assert not growth(FEWEST - 1, 10, 0, 100_000, 1.5).grew
