"""Streams of a canary's traffic, minute by minute, many at once: the nine scenarios.

A stream is what a rule can see in each of 120 minutes: units that became mature, in both arms, with the sum of their
failure scores (what our e-process reads), and sessions with their failures as a counter shows them in that minute (what
the other rules read). Arrays are minutes x streams.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Rng = np.random.Generator

MINUTES: Final = 120
A_MINUTE: Final = 20  # units of each arm, as in ../shared/reference/science.md 4
DELAY: Final = 30
TIMES: Final = (1.0, 1.5, 2.0, 3.0)  # the candidate's failure rate over the baseline's


@dataclass(frozen=True, kw_only=True)
class Stream:
    """`units`: n and failures of the candidate, n and failures of the baseline, mature in that minute; `shown`: the
    same of sessions as they are shown in that minute. `rate`: the baseline's, by which limits are set."""

    rate: float
    units: Sequence[Floats]
    shown: Sequence[Floats]


def plain(rate: float, n_c: Floats, n_b: Floats, times: float, rng: Rng, moving: Floats | None = None) -> Stream:
    """Units of one session each, whose failures are known at once; `moving` multiplies the rate of both arms."""
    at = rate * (1.0 if moving is None else moving)
    f_c = rng.binomial(n_c.astype(int), np.minimum(1.0, at * times)).astype(float)
    f_b = rng.binomial(n_b.astype(int), np.minimum(1.0, at)).astype(float)
    counts = (n_c, f_c, n_b, f_b)
    return Stream(rate=rate, units=counts, shown=counts)


def steady(rate: float, n_c: float = A_MINUTE, n_b: float = A_MINUTE) -> Callable[[float, int, Rng], Stream]:
    """As many units each minute."""

    def made(times: float, runs: int, rng: Rng) -> Stream:
        shape = (MINUTES, runs)
        return plain(rate, np.full(shape, float(n_c)), np.full(shape, float(n_b)), times, rng)

    return made


def bursts(times: float, runs: int, rng: Rng) -> Stream:
    """One minute of ten brings eleven times as many units as the others; 20 a minute and arm on average."""
    mean = np.where(rng.random((MINUTES, runs)) < 0.1, 110.0, 10.0)
    return plain(0.05, rng.poisson(mean).astype(float), rng.poisson(mean).astype(float), times, rng)


def correlated(times: float, runs: int, rng: Rng) -> Stream:
    """20 users a minute and arm with 1 to 9 sessions each; a user's sessions share a rate (beta, intraclass correlation
    .3). A unit's score is the mean over its sessions; the other rules count sessions."""
    concentration = 1 / 0.3 - 1
    parts: list[Floats] = []
    for mean in (0.05 * times, 0.05):
        n, failed, score = (np.zeros((MINUTES, runs)) for _ in range(3))
        for _ in range(A_MINUTE):
            sessions = rng.integers(1, 10, (MINUTES, runs))
            own = rng.beta(mean * concentration, (1 - mean) * concentration, (MINUTES, runs))
            bad = rng.binomial(sessions, own)
            n, failed, score = n + sessions, failed + bad, score + bad / sessions
        parts += [n, failed, score]
    full = np.full((MINUTES, runs), float(A_MINUTE))
    return Stream(
        rate=0.05, units=(full, parts[2], full, parts[5]), shown=(parts[0], parts[1], parts[3], parts[4])
    )  # fmt: skip


def delayed(times: float, runs: int, rng: Rng) -> Stream:
    """A failure is known 30 minutes after its session. Units enter when they are as old; a counter shows sessions of
    this minute and the failures of those 30 minutes ago, of which the baseline has some from the first minute on."""
    full = np.full((MINUTES, runs), float(A_MINUTE))
    f_c = rng.binomial(A_MINUTE, 0.05 * times, (MINUTES, runs)).astype(float)
    f_b = rng.binomial(A_MINUTE, 0.05, (MINUTES + DELAY, runs)).astype(float)
    late, late_n = np.zeros_like(f_c), np.zeros_like(full)
    late[DELAY:], late_n[DELAY:] = f_c[:-DELAY], full[:-DELAY]
    of_baseline = np.where(late_n > 0, np.vstack([np.zeros((DELAY, runs)), f_b[DELAY:MINUTES]]), 0.0)
    return Stream(
        rate=0.05, units=(late_n, late, late_n, of_baseline), shown=(full, late, full, f_b[:MINUTES])
    )  # fmt: skip


def ramped(times: float, runs: int, rng: Rng) -> Stream:
    """400 units a minute over both arms, of which the candidate has 1, 5, 25 and 50 % for 30 minutes each."""
    share = np.repeat([0.01, 0.05, 0.25, 0.5], MINUTES // 4)[:, None] * np.ones((1, runs))
    return plain(0.05, np.round(400 * share), np.round(400 * (1 - share)), times, rng)


def moving(times: float, runs: int, rng: Rng) -> Stream:
    """The rate of both arms swings by half over an hour, and ten minutes of an outage of what both stand on multiply it
    by 6."""
    wave = 1 + 0.5 * np.sin(2 * np.pi * (np.arange(MINUTES)[:, None] / 60 + rng.random((1, runs))))
    began = rng.integers(0, MINUTES - 10, (1, runs))
    minute = np.arange(MINUTES)[:, None]
    out = np.where((minute >= began) & (minute < began + 10), 6.0, 1.0)
    full = np.full((MINUTES, runs), float(A_MINUTE))
    return plain(0.05, full, full, times, rng, np.minimum(wave * out, 1 / (0.05 * times)))


SCENARIOS: Final[Mapping[str, Callable[[float, int, Rng], Stream]]] = {
    "1 base: rate 5 %, 20 units a minute and arm": steady(0.05),
    "2 rate 0.5 %": steady(0.005),
    "3 rate 30 %": steady(0.3),
    "4 split 5/95: 2 and 38 units a minute": steady(0.05, 2, 38),
    "5 bursts of arrivals": bursts,
    "6 correlated sessions, 1 to 9 of each of 20 users": correlated,
    "7 failures known after 30 minutes": delayed,
    "8 ramp 1, 5, 25, 50 % of 400 a minute": ramped,
    "9 a rate that moves in both arms, with an outage": moving,
}
# Not among the nine: what traffic the second and the fourth take to be as quick as the first.
WITH_TRAFFIC: Final[Mapping[str, Callable[[float, int, Rng], Stream]]] = {
    "rate 0.5 %, 200 units a minute and arm": steady(0.005, 200, 200),
    "split 5/95 of 400 units a minute": steady(0.05, 20, 380),
}
