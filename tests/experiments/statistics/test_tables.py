"""Tables over strata: equal to statsmodels, and no answer where there is none."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from statsmodels.stats.contingency_tables import StratifiedTable

from experiments.statistics import strata, tables
from experiments.statistics.records import Moments, NoEffect, Why
from experiments.statistics.tables import ChiSquare, Common, TwoByTwo
from tests.experiments.statistics.stratified import KIDNEY, UCB, Counts
from tests.thorough import often


def made(counts: Counts) -> list[TwoByTwo]:
    return [
        TwoByTwo(control_successes=one[0], control_n=one[1], treatment_successes=one[2], treatment_n=one[3])
        for one in counts.values()
    ]


def theirs(given: list[TwoByTwo]) -> StratifiedTable:
    return StratifiedTable(
        [
            np.array(
                [
                    [one.treatment_successes, one.treatment_n - one.treatment_successes],
                    [one.control_successes, one.control_n - one.control_successes],
                ],
                dtype=np.float64,
            )
            for one in given
        ]
    )


def weighed(one: ChiSquare | NoEffect) -> ChiSquare:
    assert isinstance(one, ChiSquare)
    return one


def common(one: Common | NoEffect) -> Common:
    assert isinstance(one, Common)
    return one


def test_published_figures() -> None:
    ucb, kidney = made(UCB), made(KIDNEY)
    assert common(tables.odds_ratio(ucb)).estimate == pytest.approx(0.9047, abs=5e-5)
    assert weighed(tables.cmh(ucb)).statistic == pytest.approx(1.427, abs=5e-4)
    assert weighed(tables.cmh(ucb)).p_value == pytest.approx(0.232, abs=5e-4)
    assert weighed(tables.homogeneity(ucb)).statistic == pytest.approx(18.83, abs=5e-3)
    assert weighed(tables.homogeneity(ucb)).p_value == pytest.approx(0.0021, abs=5e-5)
    assert common(tables.odds_ratio(kidney)).estimate == pytest.approx(1.44684662494262, rel=1e-12)
    assert weighed(tables.cmh(kidney)).p_value == pytest.approx(0.14814414859008396, rel=1e-9)
    assert weighed(tables.homogeneity(kidney)).statistic == pytest.approx(0.9684464408408886, rel=1e-9)


cells = some.tuples(some.integers(1, 40), some.integers(1, 40), some.integers(1, 40), some.integers(1, 40))


@settings(max_examples=often(60, 15), deadline=None)
@given(some.lists(cells, min_size=2, max_size=6))
def test_equal_to_statsmodels(drawn: list[tuple[int, int, int, int]]) -> None:
    ours = [
        TwoByTwo(control_successes=a, control_n=a + b, treatment_successes=c, treatment_n=c + d) for a, b, c, d in drawn
    ]
    other = theirs(ours)
    for continuity in (True, False):
        found, wanted = weighed(tables.cmh(ours, continuity=continuity)), other.test_null_odds(continuity)
        excess = abs(sum(one.treatment_successes - one.treatment_n * one.successes / one.n for one in ours))
        if continuity and excess < 0.5:  # theirs squares a negative distance there
            assert found.statistic == 0
            continue
        assert found.statistic == pytest.approx(wanted.statistic, rel=1e-9, abs=1e-9)
        assert found.p_value == pytest.approx(wanted.pvalue, rel=1e-9, abs=1e-9)
    ratio = common(tables.odds_ratio(ours))
    assert ratio.estimate == pytest.approx(other.oddsratio_pooled, rel=1e-9, abs=1e-9)
    assert (ratio.low, ratio.high) == pytest.approx(other.oddsratio_pooled_confint(), rel=1e-9, abs=1e-9)
    for tarone in (True, False):
        alike, wanted = weighed(tables.homogeneity(ours, tarone=tarone)), other.test_equal_odds(adjust=tarone)
        if abs(ratio.estimate - 1) < 1e-3:  # theirs divides by what is nearly 0 there
            continue
        assert alike.statistic == pytest.approx(wanted.statistic, rel=1e-9, abs=1e-9)
        assert alike.p_value == pytest.approx(wanted.pvalue, rel=1e-9, abs=1e-9)


def test_risk_difference_of_one_stratum_is_the_difference() -> None:
    """Sato's variance is then Wald's, with equal arms exactly."""
    found = common(
        tables.risk_difference([TwoByTwo(control_successes=60, control_n=200, treatment_successes=90, treatment_n=200)])
    )
    assert found.estimate == pytest.approx(0.15)
    half = 1.959963984540054 * math.sqrt(0.3 * 0.7 / 200 + 0.45 * 0.55 / 200)
    assert (found.low, found.high) == pytest.approx((0.15 - half, 0.15 + half), rel=1e-9)


def test_risk_difference_covers_in_many_small_strata() -> None:
    chance, covered = np.random.default_rng(7), 0
    for _ in range(400):
        base = chance.uniform(0.2, 0.6, 60)
        y0, y1 = chance.binomial(3, base), chance.binomial(2, base + 0.1)
        ours = [
            TwoByTwo(control_successes=a, control_n=3, treatment_successes=b, treatment_n=2)
            for a, b in zip(y0.tolist(), y1.tolist(), strict=True)
        ]
        found = common(tables.risk_difference(ours))
        covered += found.low <= 0.1 <= found.high
    assert 0.92 <= covered / 400 <= 0.98


def test_nothing_to_weigh_has_no_p() -> None:
    constant = [TwoByTwo(control_successes=5, control_n=5, treatment_successes=7, treatment_n=7)] * 2
    one_arm = [TwoByTwo(control_successes=2, control_n=5, treatment_successes=0, treatment_n=0)]
    for found in (tables.cmh(constant), tables.odds_ratio(constant), tables.homogeneity(constant)):
        assert isinstance(found, NoEffect)
        assert found.why is Why.CONSTANT
    assert isinstance(tables.risk_difference(constant), NoEffect)
    found = tables.cmh(one_arm)
    assert isinstance(found, NoEffect)
    assert found.why is Why.ONE_ARM


def test_successes_in_one_arm_alone_have_no_odds_ratio_and_a_risk_difference() -> None:
    given = [TwoByTwo(control_successes=0, control_n=20, treatment_successes=k, treatment_n=20) for k in (5, 6)]
    for found in (tables.odds_ratio(given), tables.homogeneity(given)):
        assert isinstance(found, NoEffect)
        assert "risk difference" in found.text
    assert common(tables.risk_difference(given)).low > 0
    assert weighed(tables.cmh(given)).p_value < 0.01


def test_a_stratum_without_one_arm_changes_nothing() -> None:
    empty = TwoByTwo(control_successes=3, control_n=9, treatment_successes=0, treatment_n=0)
    assert tables.cmh([*made(KIDNEY), empty]) == tables.cmh(made(KIDNEY))
    assert tables.odds_ratio([*made(KIDNEY), empty]) == tables.odds_ratio(made(KIDNEY))


def test_repeated_observations_of_a_unit_are_no_news() -> None:
    """Ten equal observations per unit weigh as one: the test over strata is that of the units (Rao, Scott 1992)."""
    found = strata.collapse(*_ten_times())
    assert isinstance(found, strata.Strata)
    once = weighed(tables.cmh(made(KIDNEY), continuity=False))
    ten = weighed(tables.cmh(strata.tables_of(found), continuity=False))
    assert ten.statistic == pytest.approx(once.statistic, rel=0.02)


def _ten_times() -> tuple[dict[str, Moments], dict[str, Moments]]:
    def ten(y: int, n: int) -> Moments:
        return Moments(n=n, y=10 * y, s=10 * n, yy=100 * y, ss=100 * n, sy=100 * y)

    control = {level: ten(one[0], one[1]) for level, one in KIDNEY.items()}
    return control, {level: ten(one[2], one[3]) for level, one in KIDNEY.items()}
