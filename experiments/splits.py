"""Which variant of an experiment a unit gets: a pure function of the definition, its coverage and the unit.

In this order: a tester's override; the holdout; the layer's slot; the coverage; the arm. Each question has a salt of
its own, so that the answers are independent of each other, and each compares one place (experiments/assignment.py)
with bounds that never move while the version lives. Hence:

* coverage from 0 up: who is in stays in, and keeps its arm (a ramp moves nobody out, and nobody between arms);
* slots of one layer that are disjoint never have a unit in common;
* a holdout is the same units for every experiment of the app that names that share, and a smaller one is inside it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from itertools import accumulate
from typing import Final

from experiments.assignment import WHOLE, place_of
from experiments.records import Definition

COVERAGE: Final = "coverage"  # what is added to the version's salt for the question whether a unit takes part
OVERRIDE: Final = "override"


class Reason(StrEnum):
    """Which of the questions decided. The last one alone makes a unit count."""

    OVERRIDE = "override"
    HOLDOUT = "holdout"
    OTHER_SLOT = "other_slot"
    NOT_COVERED = "not_covered"
    HASH = "hash"


@dataclass(frozen=True, kw_only=True)
class Placement:
    """What an experiment does with a unit. `variant` None: nothing. `release` None: the app knows, or nothing."""

    reason: Reason
    variant: str | None = None
    release: str | None = None

    @property
    def counts(self) -> bool:
        """Whether the unit is one of the experiment's: a tester never is."""
        return self.reason is Reason.HASH


@dataclass(frozen=True, kw_only=True)
class Part:
    """Units whose place under `salt` is from `first` up to and with `last`. As hexadecimal digits, which sort as the
    numbers do, it is the first sixteen of SHA-256's."""

    salt: str
    first: int
    last: int

    def has(self, unit: str) -> bool:
        """Whether a unit is in it."""
        return self.first <= place_of(unit, self.salt) <= self.last

    @property
    def digits(self) -> tuple[str, str]:
        """`first` and `last` as sixteen hexadecimal digits."""
        return f"{self.first:016x}", f"{self.last:016x}"


def placed(definition: Definition, coverage: float, unit: str, *, tester: str | None = None) -> Placement:
    """What happens to a unit. `tester`: the variant that an override gives it, if there is one."""
    releases = {arm.variant: arm.release for arm in definition.arms}
    if tester is not None and tester in releases:
        return Placement(reason=Reason.OVERRIDE, variant=tester, release=releases[tester])
    for part, reason in zip(entrance(definition, coverage), _REFUSALS, strict=True):
        if part is None or not part.has(unit):
            return Placement(reason=reason)
    variant = arm_of(definition, unit)
    return Placement(reason=Reason.HASH, variant=variant, release=releases[variant])


def entrance(definition: Definition, coverage: float) -> tuple[Part | None, Part | None, Part | None]:
    """The parts that a unit has to be in to take part: outside the holdout, in the slot, covered. None: nobody is."""
    low, high = definition.slot
    return (
        _part(f"holdout:{definition.app}", definition.holdout, 1.0),
        _part(f"layer:{definition.app}:{definition.layer}", low, high),
        _part(f"{definition.salt}:{COVERAGE}", 0.0, coverage),
    )


def arms(definition: Definition) -> dict[str, Part]:
    """The part of each variant, in the order of the definition; one without a weight has none."""
    found: dict[str, Part] = {}
    first = 0
    for arm, end in zip(definition.arms, _ends(definition), strict=True):
        if end > first:
            found[arm.variant] = Part(salt=definition.salt, first=first, last=end - 1)
        first = end
    return found


def arm_of(definition: Definition, unit: str) -> str:
    """The variant of a unit that takes part: its place among the cumulative weights."""
    return definition.arms[bisect_right(_ends(definition), place_of(unit, definition.salt))].variant


def covered_from(definition: Definition, unit: str) -> float:
    """The coverage above which a unit takes part, given that holdout and slot let it."""
    return place_of(unit, f"{definition.salt}:{COVERAGE}") / WHOLE


def shares(definition: Definition) -> dict[str, float]:
    """The part of the units in the experiment that each variant gets."""
    total = sum(arm.weight for arm in definition.arms)
    return {arm.variant: arm.weight / total for arm in definition.arms}


def hash_of(key: str, unit: str) -> str:
    """What an override is kept by instead of a unit's id: sixty-four hexadecimal digits. `key` is the experiment's and
    a secret, so that nobody finds the id by trying."""
    return sha256(f"{key}:{unit}".encode("utf-8", "surrogatepass")).hexdigest()


def override_of(overrides: Mapping[str, str | None], key: str, unit: str) -> str | None:
    """The variant that an override gives a unit. `overrides`: hash of a unit -> variant."""
    return overrides.get(hash_of(key, unit)) if overrides else None


_REFUSALS: Final = (Reason.HOLDOUT, Reason.OTHER_SLOT, Reason.NOT_COVERED)


def _part(salt: str, low: float, high: float) -> Part | None:
    first, end = int(low * WHOLE), int(high * WHOLE)  # cut off, as every language does it alike
    return Part(salt=salt, first=first, last=end - 1) if first < end else None


def _ends(definition: Definition) -> list[int]:
    """Where the parts of the arms end; exactly WHOLE from the last arm with a weight on."""
    sums = list(accumulate(arm.weight for arm in definition.arms))
    return [int(each / sums[-1] * WHOLE) for each in sums]
