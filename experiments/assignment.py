"""Which release a unit (a session) goes to: a pure function of the unit, the weights and a salt.

A unit has a place in [0, 1): the first 64 bits of SHA-256 of salt, colon and unit, in UTF-8. A cryptographic hash
(FIPS 180-4) makes places of related names ("user-1", "user-2") uniform, and those under two salts independent; weaker
ones were found to correlate experiments (Kohavi, Longbotham, Sommerfield and Henne, Controlled experiments on the web:
survey and practical guide, Data Mining and Knowledge Discovery 18, 2009, section 4.1, "hash and partition"). Every
language and every database has this one: docs/assignment.md computes the same places in JavaScript and SQL.

Candidates take parts of [0, 1), the baseline what is left. Each grows from an anchor of its own that does not depend
on the weights: the first by name from 0 upwards, the second from 1 downwards, the third and fourth from 1/2, then 1/4,
3/4 and so on (the radical inverse of van der Corput, 1935). Hence:

* one or two candidates: another weight moves exactly the units that it must, between that release and the baseline;
* more: the same as long as none grows into another, as in a rollout that begins small. Where one does, it takes those
  places if its name comes first, and goes round them otherwise. No layout without memory can do better for all weights:
  three releases of one half each would need three disjoint halves;
* a candidate that joins with a later name moves nothing that the others have.

`GOLDEN` in tests/experiments/test_assignment.py holds places for ever: who changes this function moves every user.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from math import fsum
from typing import Final

from core.errors import InvalidInput

WHOLE: Final = 1 << 64  # places are whole numbers from 0 to below it
MOST_WEIGHT: Final = 1e15


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Which places are whose: part n ends before `ends[n]` and is of `releases[n]`; the last ends at WHOLE."""

    ends: tuple[int, ...]
    releases: tuple[str, ...]

    def at(self, place: int) -> str:
        """The release of a place."""
        return self.releases[bisect_right(self.ends, place)]

    def shares(self) -> dict[str, float]:
        """The part of all units that each release gets; only those that get any."""
        found: dict[str, float] = {}
        begin = 0
        for end, release in zip(self.ends, self.releases, strict=True):
            found[release] = found.get(release, 0.0) + (end - begin) / WHOLE
            begin = end
        return found


def assign(unit: str, weights: Mapping[str, float], baseline: str, salt: str) -> str:
    """The release of `unit`. Raises InvalidInput as `layout` does."""
    return layout(weights, baseline).at(place_of(unit, salt))


def place_of(unit: str, salt: str) -> int:
    """The place of a unit under a salt, uniform from 0 to below WHOLE."""
    return int.from_bytes(sha256(f"{salt}:{unit}".encode("utf-8", "surrogatepass")).digest()[:8], "big")


def layout(weights: Mapping[str, float], baseline: str) -> Layout:
    """Lays out the releases by their weights, whose sum need not be 1. A weight of 0 gets no unit. The baseline need
    not be among them; then it gets what is missing to 1, so that {"v2": 0.1} is a tenth for v2 and the rest as before.

    Raises InvalidInput for a weight that is negative, above MOST_WEIGHT or no number, and for weights that leave the
    baseline less than nothing: above 1 together without it, or all of them 0 with it.
    """
    for name, weight in weights.items():
        if not 0 <= weight <= MOST_WEIGHT:  # NaN neither
            raise InvalidInput(f"the weight of {name[:80]!r} is {weight}; weights are from 0 on", field="weights")
    total = fsum(weights.values()) if baseline in weights else 1.0  # exact: the order in which they come says nothing
    if not total:
        raise InvalidInput("the weights sum to nothing; at least one is above 0", field="weights")
    lengths = {n: round(weights[n] / total * WHOLE) for n in sorted(weights) if n != baseline}
    if sum(lengths.values()) > WHOLE + (WHOLE >> 30):  # more than what rounding makes of shares
        raise InvalidInput("the weights of the candidates are above 1 together", field="weights")
    taken: list[tuple[int, int, str]] = []  # begin, end, release; sorted, disjoint
    for index, (name, length) in enumerate(lengths.items()):
        for begin, end in _parts(taken, length, _anchor(index), upwards=index % 2 == 0):
            insort(taken, (begin, end, name))
    return _filled(taken, baseline)


def _anchor(index: int) -> int:
    """Where the candidate of this number begins: 0 and 1, 1/2 twice, 1/4 twice, 3/4 twice..."""
    pair = index // 2
    if pair == 0:
        return 0 if index % 2 == 0 else WHOLE
    mirrored = int(bin(pair)[:1:-1], 2)  # the bits of pair, the last first
    return mirrored << (64 - pair.bit_length())


def _parts(taken: list[tuple[int, int, str]], length: int, anchor: int, *, upwards: bool) -> list[tuple[int, int]]:
    """The free places nearest to `anchor` in one direction, round the end if need be, `length` of them together."""
    free: list[tuple[int, int]] = []
    at = 0
    for begin, end in [(begin, end) for begin, end, _ in taken] + [(WHOLE, WHOLE)]:
        for low, high in ((at, min(begin, anchor)), (max(at, anchor), begin)):
            if low < high:
                free.append((low, high))
        at = end
    before = [part for part in free if part[1] <= anchor]
    after = [part for part in free if part[0] >= anchor]
    found: list[tuple[int, int]] = []
    for begin, end in (after + before) if upwards else (before[::-1] + after[::-1]):
        size = min(length, end - begin)
        if size > 0:
            found.append((begin, begin + size) if upwards else (end - size, end))
        length -= size
    return found


def _filled(taken: list[tuple[int, int, str]], baseline: str) -> Layout:
    ends: list[int] = []
    releases: list[str] = []
    at = 0
    for begin, end, name in [*taken, (WHOLE, WHOLE, "")]:
        if at < begin:
            ends.append(begin)
            releases.append(baseline)
        if begin < end:
            ends.append(end)
            releases.append(name)
        at = end
    return Layout(ends=tuple(ends), releases=tuple(releases))
