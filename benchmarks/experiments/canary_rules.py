"""Rules that roll a canary back, each over many streams at once: the minute of the roll back, or infinity.

Ours, and imitations of what others do with their usual settings: Flagger (threshold 5 failed checks of 1 minute), Argo
Rollouts (failureLimit 3), a z-test looked at each minute, and Kayenta (Mann-Whitney's 98 % interval of the shift
between the minutes' rates, tolerance .25 of its estimate, judged every 10 minutes). Flagger and Argo have to be given
a limit: here twice the baseline's rate, which they are told.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np

from benchmarks.experiments.canary_streams import MINUTES, Floats, Stream
from experiments.canary.eprocess import (
    ODDS_RATIOS,
    PRIOR_FAILURES,
    PRIOR_UNITS,
    harm_factors,
    log_mean,
    non_inferior_factors,
)

Z95: Final = 1.6448536269514722
Z99: Final = 2.3263478740408408  # two-sided 98 %


def first(crossed: np.ndarray) -> Floats:
    """The first minute, from 1, of each column; infinity where there is none."""
    return np.where(crossed.any(axis=0), crossed.argmax(axis=0) + 1.0, np.inf)


def ours(stream: Stream, alpha: float) -> Floats:
    """The e-process for harm reaches 1 / alpha."""
    return first(harm_path(stream.units) >= math.log(1 / alpha))


def harm_path(units: Sequence[Floats], past: tuple[Floats | float, float] = (0.0, 0.0)) -> Floats:
    """Logarithm of the e-value for harm, minutes x streams. `past`: the baseline's failures and units before them."""
    n_c, f_c, n_b, f_b = units
    base = base_rate(n_b, f_b, past)
    factors = [harm_factors(base[t], n_c[t], f_c[t], n_b[t], f_b[t]) for t in range(MINUTES)]
    return path(factors, len(ODDS_RATIOS))


def proof_path(units: Sequence[Floats], margin: float) -> Floats:
    """Logarithm of the e-value for non-inferiority, minutes x streams."""
    n_c, f_c, n_b, f_b = units
    base = base_rate(n_b, f_b)
    factors = [non_inferior_factors(base[t], margin, n_c[t], f_c[t], n_b[t], f_b[t]) for t in range(MINUTES)]
    return path(factors, len(ODDS_RATIOS) + 1)


def path(factors: list[Floats], many: int) -> Floats:
    """Of the mean over alternatives of the products over minutes."""
    products = np.zeros((many, factors[0].shape[1]))
    rows = []
    for one in factors:
        products = products + one
        rows.append(log_mean(products))
    return np.stack(rows)


def base_rate(n_b: Floats, f_b: Floats, past: tuple[Floats | float, float] = (0.0, 0.0)) -> Floats:
    """Of the past and the minutes before each."""
    nothing = np.zeros((1, n_b.shape[1]))
    failures = np.cumsum(np.vstack([nothing, f_b[:-1]]), axis=0) + PRIOR_FAILURES + past[0]
    return np.asarray(failures / (np.cumsum(np.vstack([nothing, n_b[:-1]]), axis=0) + PRIOR_UNITS + past[1]))


def breaches(stream: Stream, failed_checks: int) -> Floats:
    """So many minutes in which the candidate's rate is above twice the baseline's usual one."""
    n_c, f_c, _, _ = stream.shown
    bad = f_c / np.maximum(n_c, 1) > 2 * stream.rate + 1e-12
    return first(np.cumsum(bad, axis=0) >= failed_checks)


def z_each_minute(stream: Stream, at_least: int = 1) -> Floats:
    """One-sided z of two proportions at 5 %, of all sessions so far."""
    n_c, f_c, n_b, f_b = (np.cumsum(one, axis=0) for one in stream.shown)
    pooled = (f_c + f_b) / (n_c + n_b)
    spread = np.sqrt(pooled * (1 - pooled) * (1 / np.maximum(n_c, 1) + 1 / np.maximum(n_b, 1)))
    with np.errstate(invalid="ignore", divide="ignore"):
        z = (f_c / np.maximum(n_c, 1) - f_b / np.maximum(n_b, 1)) / spread
    return first((z > Z95) & (n_c >= at_least))


def kayenta(stream: Stream, every: int = 10, tolerance: float = 0.25) -> Floats:
    """The interval is of the sorted differences between minutes of the two arms, ranks by the normal approximation
    without a correction for ties."""
    n_c, f_c, n_b, f_b = stream.shown
    candidate, baseline = f_c / np.maximum(n_c, 1), f_b / np.maximum(n_b, 1)
    found = np.full(candidate.shape[1], np.inf)
    for look in range(every, MINUTES + 1, every):
        pairs = look * look
        half = Z99 * math.sqrt(pairs * (2 * look + 1) / 12)
        low = max(0, math.floor(pairs / 2 - half) - 1)
        for i in np.flatnonzero(np.isinf(found)):
            shifts = (candidate[:look, i][:, None] - baseline[:look, i][None]).ravel()
            ordered = np.partition(shifts, (low, pairs // 2))
            if ordered[low] > tolerance * abs(ordered[pairs // 2]):
                found[i] = look
    return found


RULES: Final[Mapping[str, Callable[[Stream], Floats]]] = {
    "ours_alpha_05": lambda one: ours(one, 0.05),
    "ours_alpha_01": lambda one: ours(one, 0.01),
    "flagger_like_5_failed_checks": lambda one: breaches(one, 5),
    "argo_like_failure_limit_3": lambda one: breaches(one, 4),
    "z_each_minute": z_each_minute,
    "z_each_minute_from_200": lambda one: z_each_minute(one, 200),
    "kayenta_like_every_10_minutes": kayenta,
}
