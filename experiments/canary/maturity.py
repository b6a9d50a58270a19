"""Delayed outcomes: only units that are old enough enter, those of both arms from the same span of time, each once.

Failures often arrive later than successes, so that a young unit looks healthier than it is, and in a canary that has
just been given traffic all units are young. A block is a cohort: the units whose first session of the rollout began in
a span of time that ended `mature_s` ago, in both arms. So the arms are equally old, met the same hours, and what enters
in one block never depends on what a unit did in another.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from core.errors import InvalidInput
from experiments.canary.records import Block

NANOSECONDS = 1_000_000_000


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One session of the rollout: whose it is, which arm it met, when it began, and its failure score from 0 to 1
    (None: none has come). `observations`: how many the score is of, its weight within the unit."""

    unit: str
    candidate: bool
    began_at_ns: int
    score: float | None
    observations: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Cohort:
    """A half-open span of time in which units' first sessions began."""

    from_ns: int
    until_ns: int


def next_cohort(counted_until_ns: int, now_ns: int, mature_s: float) -> Cohort | None:
    """The cohort that is mature now and has not entered; None while there is none. Raises InvalidInput."""
    if mature_s < 0:
        raise InvalidInput(f"mature_s is {mature_s}; write seconds from 0 on")
    until = now_ns - round(mature_s * NANOSECONDS)
    return Cohort(from_ns=counted_until_ns, until_ns=until) if until > counted_until_ns else None


def block_of(outcomes: Iterable[Outcome], cohort: Cohort, at_ns: int, *, zero_tolerance: bool = False) -> Block:
    """One guardrail's block.

    `outcomes` are all sessions since the rollout began, so that it shows which unit was seen before: a unit is of the
    cohort, and of the arm, of its first session, and is counted there and never again, whichever arm it meets later.
    Its score is the mean over its sessions in that arm that began before the cohort's end, each of which is mature,
    weighted by their observations; under zero tolerance it is 1 if any of them has a violation. Sessions without a
    score are left out; a unit with none that has one is missing. Raises InvalidInput for a score outside 0 to 1.
    """
    units: dict[str, list[Outcome]] = {}
    for one in sorted(outcomes, key=lambda each: each.began_at_ns):
        if one.began_at_ns < cohort.until_ns:
            units.setdefault(one.unit, []).append(one)
    counts = {True: [0, 0.0, 0], False: [0, 0.0, 0]}
    for sessions in units.values():
        first = sessions[0]
        if first.began_at_ns < cohort.from_ns:
            continue
        score = _score([one for one in sessions if one.candidate == first.candidate], zero_tolerance=zero_tolerance)
        arm = counts[first.candidate]
        if score is None:
            arm[2] += 1
        else:
            arm[0] += 1
            arm[1] += score
    (n_c, f_c, missing_c), (n_b, f_b, missing_b) = counts[True], counts[False]
    return Block(
        at_ns=at_ns,
        n_candidate=int(n_c),
        failures_candidate=float(f_c),
        n_baseline=int(n_b),
        failures_baseline=float(f_b),
        n_missing_candidate=int(missing_c),
        n_missing_baseline=int(missing_b),
    )


def _score(sessions: list[Outcome], *, zero_tolerance: bool) -> float | None:
    known = [(one.score, one.observations) for one in sessions if one.score is not None and one.observations > 0]
    if not known:
        return None
    for score, _ in known:
        if not 0 <= score <= 1:
            raise InvalidInput(f"a failure score is {score}; scores of guardrails are from 0 to 1")
    if zero_tolerance:
        return float(any(score > 0 for score, _ in known))
    return sum(score * weight for score, weight in known) / sum(weight for _, weight in known)


def threshold_of(past: Iterable[float], share: float) -> float | None:
    """What `share` of the baseline's past observations did not exceed, fixed before the rollout begins: the smallest
    of them with at least that share at or below it. None without an observation. Raises InvalidInput."""
    if not 0 < share < 1:
        raise InvalidInput(f"the share at or below a threshold is {share}; write one between 0 and 1")
    ordered = sorted(past)
    if not ordered:
        return None
    needed = share * len(ordered)
    return next(value for place, value in enumerate(ordered, 1) if place >= needed - 1e-9)


def exceeding(values: Iterable[float], threshold: float) -> float | None:
    """The share of a session's observations above the threshold; None without one."""
    seen = list(values)
    return sum(value > threshold for value in seen) / len(seen) if seen else None


def units_moved(outcomes: Iterable[Outcome]) -> Mapping[str, int]:
    """How many units met both arms, by the arm that they met first; a ramp moves some, and none of their later
    sessions counts."""
    first: dict[str, bool] = {}
    moved: dict[str, bool] = {}
    for one in sorted(outcomes, key=lambda each: each.began_at_ns):
        if first.setdefault(one.unit, one.candidate) != one.candidate:
            moved[one.unit] = first[one.unit]
    return {"candidate": sum(moved.values()), "baseline": sum(not one for one in moved.values())}
