"""Holm, Benjamini-Hochberg, power, pass^k and the e-process, against statsmodels, worked numbers and enumeration."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from core.errors import InvalidInput
from evaluators.statistics.eprocess import started, stopped_at, wealth
from evaluators.statistics.estimates import Lack, Unestimated
from evaluators.statistics.multiplicity import benjamini_hochberg, holm
from evaluators.statistics.passk import pass_at_k, pass_hat_k
from evaluators.statistics.power import Spread, detectable, examples_needed, spread

P = [[0.01], [0.04, 0.01, 0.03], [0.001, 0.2, 0.2, 0.9, 0.049, 1.0, 0.0], [0.05] * 5]


@pytest.mark.parametrize("p", P)
def test_adjusted_p_are_those_of_statsmodels(p: list[float]) -> None:
    assert holm(p) == pytest.approx(multipletests(p, method="holm")[1], abs=1e-12)
    assert benjamini_hochberg(p) == pytest.approx(multipletests(p, method="fdr_bh")[1], abs=1e-12)


def test_no_p_is_nothing_to_adjust_and_nan_is_refused() -> None:
    assert holm([]) == benjamini_hochberg([]) == []
    for broken in (float("nan"), -0.1, 1.1):
        with pytest.raises(InvalidInput):
            holm([0.1, broken])


def test_examples_needed_by_hand() -> None:
    """(1.644854 + .841621)^2 x .0523 / .05^2 = 129.3."""
    assert examples_needed(0.0523, 0.05) == 130
    assert detectable(0.0523, 130) == pytest.approx(0.05, abs=2e-4)


def test_the_parts_of_a_variance_add_up_and_need_two_trials() -> None:
    parts = spread(0.09, 0.16, 4, 4)
    assert isinstance(parts, Spread)
    assert (parts.between, parts.within) == pytest.approx((0.01, 0.16))
    none = spread(0.09, None, 1, 1)
    assert isinstance(none, Unestimated)
    assert none.reason is Lack.ONE_TRIAL
    for wrong in (0.0, -1.0, float("nan")):
        with pytest.raises(InvalidInput):
            examples_needed(0.1, wrong)


@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_pass_k_is_the_share_of_all_choices_of_k_trials(k: int) -> None:
    tasks = [(5, 0), (5, 2), (7, 6), (6, 6), (9, 4)]
    every, some = [], []
    for n, c in tasks:
        chosen = list(itertools.combinations([1] * c + [0] * (n - c), k))
        every.append(np.mean([all(one) for one in chosen]))
        some.append(np.mean([any(one) for one in chosen]))
    n, c = np.array(tasks).T
    assert pass_hat_k(n, c, k).value == pytest.approx(np.mean(every), abs=1e-12)
    assert pass_at_k(n, c, k).value == pytest.approx(np.mean(some), abs=1e-12)
    assert pass_hat_k(n, c, k).se == pytest.approx(np.std(every, ddof=1) / np.sqrt(5), abs=1e-12)


def test_pass_k_of_many_trials_does_not_overflow() -> None:
    n, c = np.array([2000, 2000]), np.array([1990, 1000])
    by_products = 1.0
    for step in range(80):
        by_products *= (1990 - step) / (2000 - step)
    assert pass_hat_k(n, c, 80).value == pytest.approx(by_products / 2, rel=1e-6)


@pytest.mark.parametrize(("n", "c", "k"), [([4, 3], [1, 1], 4), ([4], [5], 1), ([4], [1], 0), ([], [], 1)])
def test_more_than_the_trials_is_refused(n: list[int], c: list[int], k: int) -> None:
    with pytest.raises(InvalidInput):
        pass_hat_k(np.array(n, dtype=np.int64), np.array(c, dtype=np.int64), k)


def test_the_refusal_says_what_k_can_be() -> None:
    with pytest.raises(InvalidInput, match="1 of 2 have fewer, the least 3; k can be 3 at most"):
        pass_hat_k(np.array([4, 3]), np.array([1, 1]), 4)


def test_a_bet_at_a_time_is_the_whole_series() -> None:
    d = np.random.default_rng(2).integers(-4, 5, 50) / 4
    state, seen = started(slack=0.02), []
    for one in d:
        state = state.after(float(one))
        seen.append(state.e_value)
    assert seen == pytest.approx(wealth(d[None], slack=0.02)[0], rel=1e-9)
    assert state.n == 50


def test_harm_stops_a_run_and_a_better_candidate_never_does() -> None:
    worse = started()
    while not worse.harm_proved:
        worse = worse.after(-0.5)
    assert 5 < worse.n < 20
    assert stopped_at(np.full((1, 40), -0.5))[0] == worse.n
    assert stopped_at(np.full((1, 4000), 0.25))[0] == 0
    with pytest.raises(InvalidInput):
        worse.after(-1.5)


def test_the_worst_bet_is_never_ruined() -> None:
    state = started()
    for _ in range(300):
        state = state.after(1.0)
    assert state.e_value >= 0
    assert not state.harm_proved


@pytest.mark.parametrize(("delta", "n"), [(1e300, 2), (1e-300, 10**18), (5e-324, 10**18)])
def test_no_delta_is_too_small_or_large(delta: float, n: int) -> None:
    assert examples_needed(0.25, delta) == n
