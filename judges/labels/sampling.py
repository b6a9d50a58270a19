"""Which of the judged things people are asked to label, and with what chance each was drawn. Pure.

First n_r of all N are drawn at random (strata that are taken whole left out); then, of what is left, n_h of each
stratum, by Neyman's allocation n_h ~ N_h * sd(Y - lambda J | h) (Neyman 1934; for judge-assisted estimates Fisch et
al., arXiv:2406.04291). A stratum holds things of one verdict, so J is constant in it and the deviation is that of the
label alone, whatever lambda. The inclusion probability of a thing of stratum h is exact, floors and rounding included,
since they are in n_h:

    n_r/N + (1 - n_r/N) E[min(1, n_h / (N_h - R))],  R ~ hypergeometric(N - 1, N_h - 1, n_r)

where R is how many others of the stratum the random draw took.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from core.errors import InvalidInput

FLOOR: Final = 10  # of each stratum, where it has so many
RANDOM_SHARE: Final = 0.02
NO_VERDICT: Final = "no verdict"
BANDS: Final = ((0.6, "low"), (0.85, "medium"), (math.inf, "high"))  # of a judge's confidence, up to
_UNKNOWN_ERROR: Final = 0.2  # of a judge that says nothing of its confidence
_PRIOR_LABELS: Final = 5.0  # as many labels as what is assumed counts for
_STEPS: Final = 200  # of bisection


@dataclass(frozen=True, kw_only=True)
class Stratum:
    """A part of the population: of `n` things `n_drawn` are drawn. `sd` is that of their labels, assumed or seen;
    `probability` that a thing of it is in the sample, by whichever draw."""

    name: str
    n: int
    sd: float
    n_drawn: int
    probability: float


@dataclass(frozen=True, kw_only=True)
class Design:
    """How a sample is drawn. `floor` is smaller than it was asked for where there are not enough draws for it."""

    n_population: int
    n_random: int
    floor: int
    strata: tuple[Stratum, ...]

    def probability(self, stratum: str) -> float:
        """The chance that a thing of this stratum is drawn; 0 for a stratum that was not there."""
        return next((one.probability for one in self.strata if one.name == stratum), 0.0)


def stratum_of(verdict: str | None, confidence: float | None, segment: str | None) -> str:
    """The name of the stratum of a judged thing: verdict, band of confidence, segment."""
    parts = [verdict if verdict is not None else NO_VERDICT, band_of(confidence)]
    return " / ".join(parts if segment is None else [*parts, segment])


def band_of(confidence: float | None) -> str:
    """The band of a judge's confidence: low under 0.6, medium under 0.85, high; unknown where it says none."""
    if confidence is None or not math.isfinite(confidence):
        return "unknown"
    return next(name for below, name in BANDS if confidence < below)


def assumed_sd(confidences: Sequence[float | None], *, has_verdict: bool) -> float:
    """What a label's standard deviation in a stratum is taken for before anything is labelled: a judge is wrong as
    often as it says, and in 20 % where it says nothing; without a verdict nothing is known."""
    if not has_verdict:
        return 0.5
    known = [one for one in confidences if one is not None and math.isfinite(one)]
    wrong = 1 - sum(known) / len(known) if known else _UNKNOWN_ERROR
    wrong = min(max(wrong, 0.02), 0.5)
    return math.sqrt(wrong * (1 - wrong))


def seen_sd(assumed: float, labels: Sequence[float]) -> float:
    """The standard deviation after labels (values 0 to 1) of the stratum: what was assumed counts as five of them."""
    if not labels:
        return assumed
    mean = sum(labels) / len(labels)
    squares = sum((one - mean) ** 2 for one in labels)
    return math.sqrt((_PRIOR_LABELS * assumed**2 + squares) / (_PRIOR_LABELS + len(labels) - 1))


def allocate(sizes: Sequence[int], sds: Sequence[float], n: int, floor: int = FLOOR) -> list[int]:
    """How many of each stratum to draw, `n` together (all, where there are fewer): in proportion to size times
    standard deviation, at least `floor` and never more than there are.

    Raises InvalidInput when `n` is under the sum of the floors; `possible_floor` says which one fits.
    """
    n = min(n, sum(sizes))
    least = [min(floor, size) for size in sizes]
    if n < sum(least):
        raise InvalidInput(f"{n} draws are too few for {len(sizes)} strata with {floor} each", field="n")
    weights = np.array([size * max(sd, 1e-6) for size, sd in zip(sizes, sds, strict=True)], dtype=float)
    low, high = np.array(least, dtype=float), np.array(sizes, dtype=float)
    if not len(sizes) or n == sum(sizes):
        return list(sizes)
    below, above = 0.0, float(np.max(high / np.maximum(weights, 1e-300))) + 1.0
    for _ in range(_STEPS):
        middle = (below + above) / 2
        below, above = (middle, above) if np.clip(middle * weights, low, high).sum() < n else (below, middle)
    return _rounded(np.clip(above * weights, low, high), low, high, n)


def possible_floor(sizes: Sequence[int], n: int, floor: int = FLOOR) -> int:
    """The largest floor up to the wanted one for which `n` draws suffice. Raises InvalidInput when not even one of each
    stratum can be drawn."""
    n = min(n, sum(sizes))
    for least in range(floor, 0, -1):
        if sum(min(least, size) for size in sizes) <= n:
            return least
    raise InvalidInput(f"there are {len(sizes)} strata: draw at least {len(sizes)}, or use fewer segments", field="n")


def design(
    strata: Sequence[str],
    sds: Mapping[str, float],
    n: int,
    *,
    floor: int = FLOOR,
    random_share: float = RANDOM_SHARE,
) -> Design:
    """The design for `n` draws from things whose strata these are. Raises InvalidInput for too few draws."""
    if n < 1:
        raise InvalidInput("draw at least one", field="n")
    if not 0 <= random_share <= 1:
        raise InvalidInput("the random share is from 0 to 1", field="random_share")
    sizes = Counter(strata)
    names, total = sorted(sizes), len(strata)
    n_random = min(total, math.ceil(random_share * n))
    counts = [sizes[name] for name in names]
    n_stratified = min(n - min(n_random, n), total)
    if n >= total:
        n_stratified = total
    least = 0 if n_stratified == 0 else possible_floor(counts, n_stratified, floor) if floor else 0
    drawn = allocate(counts, [sds[name] for name in names], n_stratified, least)
    others = sum(size for size, k in zip(counts, drawn, strict=True) if k < size)
    n_random = min(n_random, others)
    return Design(
        n_population=total,
        n_random=n_random,
        floor=least,
        strata=tuple(
            Stratum(
                name=name,
                n=size,
                sd=sds[name],
                n_drawn=k,
                probability=inclusion(others, size, n_random, k),
            )
            for name, size, k in zip(names, counts, drawn, strict=True)
        ),
    )


def inclusion(n_population: int, n_stratum: int, n_random: int, n_drawn: int) -> float:
    """The chance that a thing is in the sample: of `n_population` things `n_random` are drawn at random, then `n_drawn`
    of what is left of its stratum of `n_stratum`."""
    if n_drawn >= n_stratum or n_random >= n_population:
        return 1.0
    first, inside, outside = n_random / n_population, n_stratum - 1, n_population - n_stratum
    taken = range(max(0, n_random - outside), min(n_random, inside) + 1)
    logs = [_log_comb(inside, r) + _log_comb(outside, n_random - r) for r in taken]
    weights = [math.exp(one - max(logs)) for one in logs]
    then = sum(w * min(1.0, n_drawn / (n_stratum - r)) for w, r in zip(weights, taken, strict=True)) / sum(weights)
    return first + (1 - first) * then


def _log_comb(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def draw(strata: Sequence[str], chosen: Design, rng: np.random.Generator) -> list[int]:
    """The positions of what is drawn, each once, in random order: where a thing stands in a queue says nothing of its
    stratum."""
    whole = {one.name for one in chosen.strata if one.n_drawn == one.n}
    others = [at for at, name in enumerate(strata) if name not in whole]
    found = set(rng.choice(others, size=chosen.n_random, replace=False).tolist()) if chosen.n_random else set()
    names = np.array(strata, dtype=object)
    for one in chosen.strata:
        left = [int(at) for at in np.flatnonzero(names == one.name) if at not in found]
        k = min(one.n_drawn, len(left))
        found.update(rng.choice(left, size=k, replace=False).tolist() if k else ())
    return [int(one) for one in rng.permutation(sorted(found))]


def either(probabilities: Sequence[float]) -> float:
    """The chance of being in at least one of several draws that know nothing of each other."""
    return 1 - math.prod(1 - one for one in probabilities)


def _rounded(
    wanted: np.ndarray[tuple[int], np.dtype[np.float64]],
    low: np.ndarray[tuple[int], np.dtype[np.float64]],
    high: np.ndarray[tuple[int], np.dtype[np.float64]],
    n: int,
) -> list[int]:
    """Whole numbers within the bounds that add up to `n`: the largest remainders are rounded up."""
    whole = np.clip(np.floor(wanted + 1e-9), low, high)
    order = np.argsort(-(wanted - whole), kind="stable")
    while (missing := int(n - whole.sum())) != 0:
        step = 1 if missing > 0 else -1
        for at in order if step > 0 else order[::-1]:
            if missing == 0:
                break
            if low[at] <= whole[at] + step <= high[at]:
                whole[at] += step
                missing -= step
    return [int(one) for one in whole]
