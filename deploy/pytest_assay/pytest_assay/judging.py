"""Whether a suite's scores meet what is accepted: by bounds of their mean, never by the mean alone. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean, stdev
from typing import Any

PASS, FAIL, INCONCLUSIVE = "pass", "fail", "inconclusive"
ALPHA = 0.05  # of each bound, one-sided
MOST_EXAMPLES = 100_000


@dataclass(frozen=True)
class Bounds:
    """A mean over examples with its one-sided 95 % bounds; None where they are not known."""

    mean: float
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True)
class Verdict:
    """What became of one metric, and why."""

    metric: str
    word: str
    why: str
    bounds: Bounds | None = None
    accept: float | None = None
    missing: Mapping[str, int] | None = None


def bounds_of(means: Sequence[float], share: bool = True) -> Bounds:
    """Bounds of the mean of one value per example: Wilson's for yes and no, Student's for other numbers, and where
    all are equal Hoeffding's, which needs shares between 0 and 1."""
    n, mean = len(means), fmean(means)
    if share and all(value in (0.0, 1.0) for value in means):
        return Bounds(mean, *_wilson(mean, n), n)
    spread = stdev(means) if n > 1 else 0.0
    if spread > 0:
        half = student(n - 1) * spread / math.sqrt(n)
        return Bounds(mean, mean - half, mean + half, n)
    if not share or not 0 <= mean <= 1:
        return Bounds(mean, None, None, n)
    half = math.sqrt(math.log(1 / ALPHA) / (2 * n))
    return Bounds(mean, max(0.0, mean - half), min(1.0, mean + half), n)


def _wilson(rate: float, n: int) -> tuple[float, float]:
    """Wilson 1927 (JASA 22:209), one-sided bounds."""
    z = NormalDist().inv_cdf(1 - ALPHA)
    over = z * z / n
    half = z * math.sqrt(rate * (1 - rate) / n + over / (4 * n))
    low, high = (rate + over / 2 - half) / (1 + over), (rate + over / 2 + half) / (1 + over)
    return 0.0 if rate == 0 else low, 1.0 if rate == 1 else high


def student(freedom: int) -> float:
    """The 95 % quantile of Student's t, by bisection of its distribution function (to 1e-9)."""
    low, high = 0.0, 1000.0
    while high - low > 1e-9:
        middle = (low + high) / 2
        low, high = (middle, high) if _above(middle, freedom) > ALPHA else (low, middle)
    return high


def _above(t: float, freedom: int) -> float:
    """P(T > t), from the finite series of the distribution for whole degrees of freedom.

    Abramowitz and Stegun 1964, 26.7.3 and 26.7.4.
    """
    angle = math.atan(t / math.sqrt(freedom))
    cosine, sine = math.cos(angle), math.sin(angle)
    if freedom == 1:
        inside = 2 * angle / math.pi
    else:
        odd = freedom % 2
        term = total = cosine if odd else 1.0
        for step in range(3 if odd else 2, freedom - 1, 2):
            term *= cosine * cosine * (step - 1) / step
            total += term
        inside = 2 / math.pi * (angle + sine * total) if odd else sine * total
    return (1 - inside) / 2


def judged(metric: str, values: Mapping[str, Sequence[float]], accept: float, *, lower: bool, share: bool) -> Verdict:
    """A metric's verdict from its values by example (trials of one example are averaged: they are no new examples).

    Passes when the bound on the bad side meets `accept`, fails when the bound on the good side does not.
    """
    told = [fmean(each) for each in values.values() if each]
    if not told:
        return Verdict(metric, INCONCLUSIVE, "no example has a value", accept=accept)
    found = bounds_of(told, share)
    sign, wanted = ("at most", "most") if lower else ("at least", "least")
    if found.low is None or found.high is None:
        return Verdict(metric, INCONCLUSIVE, f"no bounds: all {found.n} values are {found.mean:g}", found, accept)
    passes = found.high <= accept if lower else found.low >= accept
    fails = found.low > accept if lower else found.high < accept
    said = f"{found.mean:.4g} [{found.low:.4g}, {found.high:.4g}] of {found.n} examples, accepted is {sign} {accept:g}"
    if passes:
        return Verdict(metric, PASS, said, found, accept)
    if fails:
        return Verdict(metric, FAIL, said, found, accept)
    more = _examples_needed(found, accept) if share and not lower else None
    settle = f"; about {more:,} examples would settle it" if more else f"; the bounds hold {accept:g} ({wanted})"
    return Verdict(metric, INCONCLUSIVE, said + settle, found, accept)


def _examples_needed(found: Bounds, accept: float) -> int | None:
    """How many examples of this mean would settle it, if they were yes and no; None: more than MOST_EXAMPLES."""
    n = found.n
    while n < MOST_EXAMPLES:
        low, high = _wilson(found.mean, n)
        if low >= accept or high < accept:
            return n
        n += max(1, n // 50)
    return None


def compared(baseline: str, rows: Sequence[Mapping[str, Any]]) -> list[Verdict]:
    """A verdict of each metric of a comparison with another release: it fails where Assay finds it worse."""
    found = []
    for row in rows:
        metric = f"{row['metric']} against {baseline}"
        if row["difference"] is None:
            found.append(
                Verdict(metric, INCONCLUSIVE, str(row.get("detail") or row.get("lack") or "no difference is known"))
            )
            continue
        ends = [f"{row[end]:.4g}" if row[end] is not None else "?" for end in ("low", "high")]
        told = (
            f"{row['difference']:+.4g} [{', '.join(ends)}] over {row['n']} examples: {row['finding'].replace('_', ' ')}"
        )
        found.append(Verdict(metric, FAIL if row["finding"] == "worse" else PASS, told))
    return found


def whole(verdicts: Sequence[Verdict], trouble: str) -> str:
    """The suite's word: it fails when a metric does, passes when all do and nothing is missing."""
    words = {each.word for each in verdicts}
    if FAIL in words:
        return FAIL
    return PASS if words == {PASS} and not trouble else INCONCLUSIVE
