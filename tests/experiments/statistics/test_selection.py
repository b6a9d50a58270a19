"""Estimates after stopping, and the Bayesian view."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import integrate, stats

from core.errors import InvalidInput
from experiments.records import Better
from experiments.statistics.bayes import view
from experiments.statistics.effects import difference, z_of
from experiments.statistics.records import Effect
from experiments.statistics.selection import selected
from experiments.statistics.spending import bounds
from tests.experiments.statistics.sampled import sums
from tests.thorough import often

LOOKS = tuple(k / 10 for k in range(1, 11))
LIMITS = bounds(LOOKS, 0.05)


def test_a_single_look_needs_no_correction() -> None:
    found = selected((1.0,), (z_of(0.05),), z=1.5, estimate=0.3, alpha=0.05)
    assert found.median_unbiased == pytest.approx(0.3, abs=1e-6)
    assert (found.low, found.high) == pytest.approx((0.3 - 0.2 * z_of(0.05), 0.3 + 0.2 * z_of(0.05)), abs=1e-6)
    assert found.exaggeration is None


def test_after_stopping_half_of_the_corrected_estimates_are_too_high_and_most_raw_ones() -> None:
    chance, drift, n_rounds = np.random.default_rng(1), 2.8, often(500, 200)
    steps = chance.normal(drift * 0.1, math.sqrt(0.1), (n_rounds, 10))
    z = np.cumsum(steps, axis=1) / np.sqrt(LOOKS)
    raw, corrected, covered = [], [], 0
    for path in z:
        crossed = np.abs(path) > LIMITS
        k = int(crossed.argmax()) if crossed.any() else 9
        estimate = float(path[k]) / math.sqrt(LOOKS[k])
        found = selected(LOOKS[: k + 1], LIMITS[: k + 1], z=float(path[k]), estimate=estimate, alpha=0.05)
        raw.append(estimate)
        corrected.append(found.median_unbiased)
        covered += found.low <= drift <= found.high
    error = 3 * 0.5 / math.sqrt(n_rounds)
    assert np.mean(np.array(corrected) > drift) == pytest.approx(0.5, abs=error)
    assert np.mean(raw) > drift + 0.1
    assert covered / n_rounds == pytest.approx(0.95, abs=3 * math.sqrt(0.05 * 0.95 / n_rounds))


def test_an_early_winner_is_told_to_be_exaggerated_and_a_late_one_hardly() -> None:
    early = selected(LOOKS[:3], LIMITS[:3], z=LIMITS[2] + 0.1, estimate=0.09, alpha=0.05)
    late = selected(LOOKS, LIMITS, z=4.0, estimate=0.09, alpha=0.05)
    assert early.exaggeration is not None
    assert early.exaggeration > 1.1
    assert early.median_unbiased < 0.09
    assert f"{early.exaggeration:.2f} times" in early.text
    assert early.exaggeration > (late.exaggeration or 1)


def test_losers_mirror_winners() -> None:
    up = selected(LOOKS[:4], LIMITS[:4], z=3.9, estimate=0.1, alpha=0.05)
    down = selected(LOOKS[:4], LIMITS[:4], z=-3.9, estimate=-0.1, alpha=0.05)
    assert down.median_unbiased == pytest.approx(-up.median_unbiased, abs=1e-7)
    assert (down.low, down.high) == pytest.approx((-up.high, -up.low), abs=1e-7)
    assert down.exaggeration == pytest.approx(up.exaggeration)


@pytest.mark.parametrize(("z", "estimate", "limits"), [(1.0, -0.5, (2.0,)), (1.0, 0.5, ()), (1.0, math.nan, (2.0,))])
def test_an_estimate_that_does_not_belong_to_its_look_is_refused(
    z: float, estimate: float, limits: tuple[float, ...]
) -> None:
    with pytest.raises(InvalidInput):
        selected((1.0,), limits, z=z, estimate=estimate, alpha=0.05)


def told() -> Effect:
    chance = np.random.default_rng(2)
    found = difference(sums(chance.normal(0, 1, 300)), sums(chance.normal(0.1, 1, 300)), alpha=0.05)
    assert isinstance(found, Effect)
    return found


@pytest.mark.parametrize("better", list(Better))
@pytest.mark.parametrize("prior_sd", [None, 0.05])
def test_the_posterior_is_that_of_normals(better: Better, prior_sd: float | None) -> None:
    effect = told()
    found = view(effect, better=better, prior_sd=prior_sd)
    precision = 1 / effect.se**2 + (0 if prior_sd is None else 1 / prior_sd**2)
    posterior = stats.norm(effect.estimate / effect.se**2 / precision, precision**-0.5)
    sign = 1 if better is Better.HIGHER else -1
    loss, _ = integrate.quad(lambda d: max(0.0, -sign * d) * posterior.pdf(d), -2, 2, points=[0.0])
    assert found.p_better == pytest.approx(posterior.sf(0) if sign > 0 else posterior.cdf(0), abs=1e-12)
    assert found.expected_loss == pytest.approx(loss, abs=1e-8)
    assert (found.low, found.high) == pytest.approx(posterior.interval(0.95), abs=1e-12)


def test_a_prior_draws_toward_nothing() -> None:
    assert abs(sum(view(told(), prior_sd=0.01)[2:])) < abs(sum(view(told())[2:]))


@pytest.mark.parametrize("prior_sd", [0.0, -1.0, math.nan, math.inf])
def test_a_prior_without_width_is_refused(prior_sd: float) -> None:
    with pytest.raises(InvalidInput, match="prior"):
        view(told(), prior_sd=prior_sd)
