"""E-processes: their expectation under the null by counting every outcome, and how often they are wrong when looked at
after every block."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from core.errors import InvalidInput
from experiments.canary.eprocess import (
    ODDS_RATIOS,
    PRIOR_FAILURES,
    PRIOR_UNITS,
    EProcess,
    Harm,
    NonInferior,
    harm,
    harm_factors,
    log_mean,
    non_inferior,
    non_inferior_factors,
)
from experiments.canary.records import Block
from tests.thorough import often

RATES = st.floats(0, 1)
SMALL = st.integers(1, 5)
BASES = st.floats(0.0005, 0.9995)


def all_blocks(n_c: int, n_b: int) -> list[Block]:
    return [
        Block(at_ns=0, n_candidate=n_c, failures_candidate=f_c, n_baseline=n_b, failures_baseline=f_b)
        for f_c, f_b in product(range(n_c + 1), range(n_b + 1))
    ]


def expected_e(start: EProcess, n: tuple[int, int], rates: tuple[float, float]) -> float:
    """The expectation of the e-value after one block of 0 and 1, by counting all of its outcomes."""
    candidate, baseline = ([chance_of(f, k, rate) for f in range(k + 1)] for k, rate in zip(n, rates, strict=True))
    chances = [c * b for c, b in product(candidate, baseline)]
    return sum(p * start.after(one).e_value for p, one in zip(chances, all_blocks(*n), strict=True))


def chance_of(successes: int, n: int, rate: float) -> float:
    """Of so many successes in n; scipy's binomial overflows at rates near the smallest number there is."""
    return math.comb(n, successes) * rate**successes * (1 - rate) ** (n - successes)


@settings(max_examples=often(40, 15), deadline=None)
@given(n_c=SMALL, n_b=SMALL, base=BASES, p=RATES, better=RATES)
def test_harm_expects_at_most_1_of_a_candidate_that_is_no_worse(
    n_c: int, n_b: int, base: float, p: float, better: float
) -> None:
    start = harm(base * 100, 100)
    assert expected_e(start, (n_c, n_b), (p, p)) <= 1 + 1e-9
    assert expected_e(start, (n_c, n_b), (p * better, p)) <= 1 + 1e-9


@settings(max_examples=often(40, 15), deadline=None)
@given(n_c=SMALL, n_b=SMALL, base=BASES, margin=st.floats(0.005, 0.9), p=RATES, worse=RATES)
def test_non_inferiority_expects_at_most_1_of_a_candidate_at_the_margin_or_beyond(
    n_c: int, n_b: int, base: float, margin: float, p: float, worse: float
) -> None:
    start, baseline = non_inferior(margin, base * 100, 100), p * (1 - margin)
    edge = min(1.0, baseline + margin)
    assert expected_e(start, (n_c, n_b), (edge, baseline)) <= 1 + 1e-9
    assert expected_e(start, (n_c, n_b), (edge + worse * (1 - edge), baseline)) <= 1 + 1e-9


def test_a_worse_candidate_is_expected_to_be_found() -> None:
    assert expected_e(harm(5, 100), (5, 5), (0.2, 0.05)) > 1.1
    assert expected_e(non_inferior(0.2, 5, 100), (5, 5), (0.05, 0.05)) > 1.1


@settings(max_examples=often(40, 15), deadline=None)
@given(
    scores=st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=2, max_size=4),
    base=st.floats(0.01, 0.9),
    p=RATES,
)
def test_scores_between_0_and_1_expect_no_more_than_0_and_1_would(
    scores: list[tuple[float, float]], base: float, p: float
) -> None:
    """Each unit's score is one of two, of mean p where they allow it; both arms have the same law."""
    low, high = min(min(one) for one in scores), max(max(one) for one in scores)
    mean = low + p * (high - low)
    chance = (mean - low) / (high - low) if high > low else 0.0
    start, n = harm(base * 50, 50), len(scores)
    total = 0.0
    for ups_c, ups_b in product(range(n + 1), repeat=2):
        block = Block(
            at_ns=0,
            n_candidate=n,
            failures_candidate=min(n, ups_c * high + (n - ups_c) * low),
            n_baseline=n,
            failures_baseline=min(n, ups_b * high + (n - ups_b) * low),
        )
        weight = chance_of(ups_c, n, chance) * chance_of(ups_b, n, chance)
        total += weight * start.after(block).e_value
    assert total <= 1 + 1e-9


def log_likelihood(failures: int, n: int, rate: float) -> float:
    return float(np.sum(stats.bernoulli.logpmf([1] * failures + [0] * (n - failures), rate)))


def test_a_block_is_the_ratio_of_two_likelihoods() -> None:
    """Turner, Ly and Grünwald (2021): alternatives over the weighted mean of their rates, Bernoulli by Bernoulli."""
    n_c, f_c, n_b, f_b, base = 7, 3, 11, 2, 0.1
    found = harm_factors(np.asarray(base), *(np.asarray(float(one)) for one in (n_c, f_c, n_b, f_b)))
    for log_e, ratio in zip(found, ODDS_RATIOS, strict=True):
        odds = ratio * base / (1 - base)
        worse = odds / (1 + odds)
        same = (n_c * worse + n_b * base) / (n_c + n_b)
        over = log_likelihood(f_c, n_c, worse) + log_likelihood(f_b, n_b, base)
        assert log_e == pytest.approx(over - log_likelihood(f_c + f_b, n_c + n_b, same), abs=1e-12)


def test_the_null_of_non_inferiority_is_the_nearest_point_that_a_grid_finds() -> None:
    n_c, n_b, base, margin = 30.0, 90.0, 0.05, 0.03
    grid = np.linspace(1e-6, 1 - margin - 1e-6, 400_001)

    def distance(wanted: float, other: np.ndarray) -> np.ndarray:
        return wanted * np.log(wanted / other) + (1 - wanted) * np.log((1 - wanted) / (1 - other))

    far = n_c * distance(base, grid + margin) + n_b * distance(base, grid)
    # A block at exactly the supposed rates is worth the distance to the nearest null: sum of n KL.
    at_rates = [np.asarray(one) for one in (n_c, n_c * base, n_b, n_b * base)]
    assert non_inferior_factors(np.asarray(base), margin, *at_rates)[0] == pytest.approx(far.min(), rel=1e-8)


def test_the_base_rate_is_of_past_blocks_only() -> None:
    """What a block says of the baseline is used in the next one, not in its own."""
    first = Block(at_ns=0, n_candidate=10, failures_candidate=1, n_baseline=40, failures_baseline=20)
    second = Block(at_ns=1, n_candidate=10, failures_candidate=9, n_baseline=40, failures_baseline=20)
    after = harm().after(first)
    assert (after.failures, after.units) == (PRIOR_FAILURES + 20, PRIOR_UNITS + 40)
    base = np.asarray(PRIOR_FAILURES / PRIOR_UNITS)
    alone = harm_factors(base, *(np.asarray(one) for one in (10.0, 1.0, 40.0, 20.0)))
    assert after.log_e == pytest.approx(float(log_mean(alone[:, None])[0]))
    assert after.after(second).log_e == pytest.approx(harm().along([first, second])[0].log_e)


def test_blocks_at_once_are_blocks_one_by_one() -> None:
    rng = np.random.default_rng(3)
    blocks = [
        Block(at_ns=i, n_candidate=9, failures_candidate=float(rng.binomial(9, 0.2)), n_baseline=90,
              failures_baseline=float(rng.binomial(90, 0.1)))
        for i in range(60)
    ]  # fmt: skip
    for start in (harm(), non_inferior(0.05)):
        one, path = start, []
        for block in blocks:
            one = one.after(block)
            path.append(one.log_e)
        at_once, same = start.along(blocks)
        assert at_once.log_products == pytest.approx(one.log_products, rel=1e-12)
        assert same == pytest.approx(path, rel=1e-12)
        assert at_once.highest_log_e == pytest.approx(max(0.0, *path))


@pytest.mark.parametrize("arms", [(0, 20), (20, 0), (0, 0)])
def test_one_arm_alone_says_nothing(arms: tuple[int, int]) -> None:
    block = Block(at_ns=0, n_candidate=arms[0], failures_candidate=arms[0], n_baseline=arms[1], failures_baseline=0)
    assert harm().after(block).e_value == 1
    assert non_inferior(0.05).after(block).e_value == 1


@pytest.mark.parametrize("base", [0.0, 1.0])
def test_a_past_without_any_success_or_failure_does_not_bet_everything(base: float) -> None:
    block = Block(at_ns=0, n_candidate=50, failures_candidate=25, n_baseline=50, failures_baseline=25)
    for start in (harm(1e6 * base, 1e6), non_inferior(0.02, 1e6 * base, 1e6), non_inferior(0.999, 1e6 * base, 1e6)):
        assert math.isfinite(start.after(block).log_e)


def test_a_large_e_value_stays_a_number() -> None:
    state: Harm | NonInferior = harm()
    for _ in range(40):
        state = state.after(
            Block(at_ns=0, n_candidate=500, failures_candidate=450, n_baseline=500, failures_baseline=5)
        )
    assert state.log_e > 1000
    assert state.e_value == state.highest_e == 1e300


@pytest.mark.parametrize("past", [(-1, 10), (11, 10), (float("nan"), 10), (1, float("inf"))])
def test_a_past_that_cannot_be_is_refused(past: tuple[float, float]) -> None:
    with pytest.raises(InvalidInput, match="the baseline's past"):
        harm(*past)


@pytest.mark.parametrize("failures", [-0.1, 10.1, float("nan")])
def test_a_block_that_cannot_be_is_refused(failures: float) -> None:
    with pytest.raises(InvalidInput, match="failures of 10 units of the candidate"):
        Block(at_ns=0, n_candidate=10, failures_candidate=failures, n_baseline=10, failures_baseline=1)


def wrong(process: str, rates: tuple[float, float], split: tuple[int, int], runs: int = 3000, looks: int = 60) -> float:
    """How often the e-value is at least 20 at any of the looks; units of an arm share rates that move."""
    rng = np.random.default_rng(11)
    products = np.zeros((len(ODDS_RATIOS) + (process != "harm"), runs))
    failures, units = np.full(runs, PRIOR_FAILURES), np.full(runs, PRIOR_UNITS)
    crossed = np.zeros(runs, dtype=bool)
    for _ in range(looks):
        shock = rng.uniform(0.5, 1.5, runs)  # an hour that is bad for both
        n = [np.full(runs, float(one)) for one in split]
        f_c = rng.binomial(split[0], np.clip(shock * rates[1] + rates[0] - rates[1], 0, 1)).astype(float)
        f_b = rng.binomial(split[1], shock * rates[1]).astype(float)
        counts = (n[0], f_c, n[1], f_b)
        base = failures / units
        products += harm_factors(base, *counts) if process == "harm" else non_inferior_factors(base, 0.05, *counts)
        failures, units = failures + f_b, units + n[1]
        crossed |= log_mean(products) >= math.log(20)
    return float(crossed.mean())


SLACK = 3 * math.sqrt(0.05 * 0.95 / 3000)


@pytest.mark.parametrize(("rate", "split"), [(0.05, (20, 20)), (0.3, (20, 20)), (0.05, (2, 38)), (0.005, (20, 20))])
def test_a_candidate_that_is_no_worse_is_seldom_taken_for_harm(rate: float, split: tuple[int, int]) -> None:
    assert wrong("harm", (rate, rate), split) <= 0.05 + SLACK


@pytest.mark.parametrize("split", [(20, 20), (2, 38)])
def test_a_candidate_at_the_margin_is_seldom_taken_for_no_worse(split: tuple[int, int]) -> None:
    assert wrong("other", (0.15, 0.10), split) <= 0.05 + SLACK


def test_harm_and_its_absence_are_found() -> None:
    assert wrong("harm", (0.10, 0.05), (20, 20)) > 0.95
    assert wrong("other", (0.05, 0.05), (20, 20)) > 0.8
