"""Drift of a stream whose beginning says what was: the first days are the baseline, the others are watched."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import scipy

from core.errors import InvalidInput
from evaluators.statistics.estimates import Unestimated
from evaluators.statistics.rates import FloatArray
from judges.correction.choose import corrected
from judges.correction.drift import ARL_DAYS, Detected, Drift, Range, judge_drift, product_drift, which
from judges.correction.records import Judged

LEAST_REFERENCE: Final = 30  # labels in the baseline
LEAST_OF_CLASS: Final = 5  # labels of a class there, or the judge's errors in it are not watched
ANY: Final = Range(low=0.0, high=1.0)


@dataclass(frozen=True, kw_only=True)
class Watched:
    """What changed since the baseline. `drift` None: it cannot be told, and `why` says why.

    The baseline are the days from `first` to `last`, and in it the rate lay in `rate`, the judge's sensitivity and its
    share of wrong passes in theirs (0 to 1: too few labels of that class, so that it is not watched). `days` are those
    that were watched, with the evidence after each; `arl` days is how seldom it is found where nothing changes.
    """

    drift: Drift | None
    why: str
    arl: float
    first: str = ""
    last: str = ""
    rate: Range | None = None
    sensitivity: Range | None = None
    false_pass: Range | None = None
    days: tuple[str, ...] = ()
    product: Detected | None = None
    judge: Detected | None = None


def watched(
    judged: Judged,
    x: FloatArray,
    weights: FloatArray,
    days: list[str],
    *,
    level: float = 0.95,
    baseline: float | None = None,
    arl: float = ARL_DAYS,
) -> Watched:
    """Whether the product or its judge changed after the first third of `days` (at least LEAST_REFERENCE labels).

    `x` are the corrected values of the targets in order of time, `weights` 1 / p_judge, `days` the UTC day of each.
    With `baseline` the product is held against that rate, else against the interval of the baseline's. Raises
    InvalidInput for an arl below 1 or a baseline that is no rate.
    """
    if not arl >= 1 or (baseline is not None and not 0 <= baseline <= 1):
        raise InvalidInput("an average run length is 1 day or more, a baseline is a rate from 0 to 1", field="baseline")
    names, day = np.unique(np.array(days), return_inverse=True)
    split = _split(judged.labelled, day)
    if split is None:
        told = f"the baseline needs {LEAST_REFERENCE} labels, and days after it"
        return Watched(drift=None, why=told, arl=arl)
    before = Judged(**{name: getattr(judged, name)[:split] for name in ("judge", "label", "p_judge", "p_human")})
    rate = Range(low=baseline, high=baseline) if baseline is not None else _rate(before, level)
    if rate is None:
        return Watched(drift=None, why="the baseline's rate cannot be told", arl=arl)
    n_before = int(day[split])
    known = Watched(
        drift=None,
        why="",
        arl=arl,
        first=str(names[0]),
        last=str(names[n_before - 1]),
        rate=rate,
        sensitivity=_share(before, True, level),
        false_pass=_share(before, False, level),
        days=tuple(str(one) for one in names[n_before:]),
    )
    return _after(known, judged, x, weights, day - n_before, split)


def _after(known: Watched, judged: Judged, x: FloatArray, weights: FloatArray, day: np.ndarray, split: int) -> Watched:
    """With what is found after the baseline, that ends before target `split`."""
    if known.rate is None or known.sensitivity is None or known.false_pass is None:
        return known
    later, seen = day[split:], judged.labelled[split:]
    least = float(np.nanmin(judged.p_human))
    product = product_drift(x[split:], later, known.rate, least, weight=weights[split:], arl=known.arl)
    weight = (weights / np.where(judged.labelled, judged.p_human, 1.0))[split:][seen]
    said, label = judged.judge[split:][seen], judged.label[split:][seen]
    judge = judge_drift(said, label, weight, later[seen], known.sensitivity, known.false_pass, arl=known.arl)
    drift = which(product, judge)
    return replace(known, drift=drift, why=_why(drift, product, judge, known.days), product=product, judge=judge)


def _split(labelled: np.ndarray, day: np.ndarray) -> int | None:
    """The first target after the baseline; None where it has too few labels or nothing is left to watch."""
    n_days = int(day[-1]) + 1 if len(day) else 0
    for n in range(max(1, n_days // 3), n_days):
        split = int(np.searchsorted(day, n))
        if labelled[:split].sum() >= LEAST_REFERENCE:
            return split
    return None


def _rate(before: Judged, level: float) -> Range | None:
    found = corrected(before, level=level)
    return None if isinstance(found, Unestimated) else Range(low=found.interval.low, high=found.interval.high)


def _share(before: Judged, passed: bool, level: float) -> Range:
    """Jeffreys' interval of the judge's mean among the labels of one class."""
    among = before.labelled & ((before.label >= 0.5) == passed)
    if among.sum() < LEAST_OF_CLASS:
        return ANY
    weights = 1 / (before.p_judge * before.p_human)[among]
    n = float(weights.sum() ** 2 / (weights @ weights))
    ones, tail = n * float(weights @ before.judge[among] / weights.sum()), (1 - level) / 2
    posterior = scipy.stats.beta(0.5 + ones, 0.5 + max(0.0, n - ones))
    return Range(low=float(posterior.ppf(tail)), high=float(posterior.isf(tail)))


def _why(drift: Drift, product: Detected, judge: Detected, days: tuple[str, ...]) -> str:
    def since(one: Detected) -> str:
        return "" if one.at is None else f"evidence {one.evidence[one.at]:.3g} of {one.arl:g} on {days[one.at]}"

    match drift:
        case Drift.PRODUCT:
            return f"what people would say changed ({since(product)}); the judge errs as it did"
        case Drift.JUDGE:
            return f"the judge errs otherwise than it did ({since(judge)}); nothing shows that the product changed"
        case Drift.BOTH:
            return f"the product changed ({since(product)}) and so did the judge's errors ({since(judge)})"
        case Drift.NOTHING:
            return "neither the product nor the judge's errors changed beyond doubt"
