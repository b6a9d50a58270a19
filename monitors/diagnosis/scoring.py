"""Which pattern fits what was seen: a naive Bayes rule over signs whose moves are known with more or less certainty.

A pattern gives each sign probabilities to go up, stay, go down (`CHANCES`); what was seen gives their likelihoods; the
product over signs is the fit. A sign of which nothing is known changes nothing. Two explanations stand beside the
patterns: that nothing happened, and that something did which no pattern knows. A pattern is told when it has more than
half of the whole fit and all its key signs are seen; else nothing is told, and why.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from monitors.diagnosis import words
from monitors.diagnosis.patterns import PATTERNS
from monitors.diagnosis.records import Cause, Change, Diagnosis, Expect, Move, Pattern, Seen
from monitors.diagnosis.runbooks import FIRST, runbook_of
from monitors.diagnosis.signs import BY_NAME, seen

Chances = tuple[float, float, float]  # to go up, to stay, to go down

CHANCES: Final[Mapping[Expect, Chances]] = {
    Expect.UP: (0.88, 0.10, 0.02),
    Expect.DOWN: (0.02, 0.10, 0.88),
    Expect.FLAT: (0.015, 0.97, 0.015),
    Expect.RISES: (0.35, 0.62, 0.03),
    Expect.FALLS: (0.03, 0.62, 0.35),
    Expect.FREE: (0.16, 0.68, 0.16),
    Expect.ANY: (0.35, 0.3, 0.35),
}
KEY: Final[Mapping[Expect, Chances]] = {
    **CHANCES,
    Expect.UP: (0.97, 0.02, 0.01),
    Expect.DOWN: (0.01, 0.02, 0.97),
}
OTHERWISE: Final[Chances] = (0.04, 0.92, 0.04)  # of a sign that a pattern does not name
SPECIFIC: Final[Chances] = (0.008, 0.984, 0.008)  # the same, of a sign that has hardly another cause than its own
UNEXPLAINED: Final[Chances] = (0.12, 0.76, 0.12)
NOTHING: Final[Chances] = (0.01, 0.98, 0.01)
TOLD_FROM: Final = 0.5  # share of the fit
SEEN_FROM: Final = 0.5  # how likely a key sign must have moved as the pattern says
RULED_OUT: Final = 0.1  # below this a key sign that should have stayed did not
MOST_CAUSES: Final = 5
NO_CAUSE: Final = "nothing moved beyond what happens by chance: a false alarm, or too early to tell"
NO_PATTERN: Final = "what moved fits no pattern that is known"
NOT_KNOWN: Final = "no series could be held against the time before"
NOT_SURE: Final = "several causes fit about as well"


def diagnose(changes: Iterable[Change], patterns: Sequence[Pattern] = PATTERNS) -> Diagnosis:
    """The causes that fit these changes, the likeliest first."""
    signs = seen(changes)
    patterns = [_as_seen(one, signs) for one in patterns]
    fits = {one.name: _fit(one, signs) for one in patterns if _is_possible(one, signs)}
    nothing = sum(_log_fit(one, NOTHING) for one in signs)
    unexplained = sum(_log_fit(one, UNEXPLAINED) for one in signs)
    best = max([nothing, unexplained, *fits.values()])
    whole = sum(math.exp(fit - best) for fit in (nothing, unexplained, *fits.values()))
    causes = [
        _cause(one, signs, math.exp(fits[one.name] - best) / whole, fits[one.name] - unexplained)
        for one in patterns
        if one.name in fits
    ]
    ranked = tuple(sorted(causes, key=lambda one: (-one.share, one.pattern))[:MOST_CAUSES])
    told = ranked[0] if ranked and ranked[0].share > TOLD_FROM else None
    why = words.why(told) if told is not None else _why_not(signs, nothing, unexplained, best)
    moved = sorted((one for one in signs if one.move in (Move.UP, Move.DOWN)), key=lambda one: -abs(one.weight))
    unknown = tuple(one.words for one in signs if one.n_series == 0)
    return Diagnosis(told=told, why=why, causes=ranked, moved=tuple(moved), unknown=unknown)


def _why_not(signs: Sequence[Seen], nothing: float, unexplained: float, best: float) -> str:
    if not any(one.n_series for one in signs):
        return NOT_KNOWN
    if nothing == best:
        return NO_CAUSE
    return NO_PATTERN if unexplained == best else NOT_SURE


def _as_seen(pattern: Pattern, signs: Sequence[Seen]) -> Pattern:
    """With the signs that stand for those of its key signs of which nothing is known."""
    unknown = {one.sign for one in signs if one.n_series == 0}
    instead = {name: BY_NAME[name].instead or name for name in pattern.key if name in unknown}
    return replace(pattern, key={instead.get(name, name): expected for name, expected in pattern.key.items()})


def _is_possible(pattern: Pattern, signs: Sequence[Seen]) -> bool:
    """Whether every key sign was seen to move as the pattern says, and none that should have stayed moved for sure."""
    by_name = {one.sign: one for one in signs}
    for name, expected in pattern.key.items():
        one = by_name[name]
        if expected in (Expect.UP, Expect.DOWN):
            p = one.p_up if expected is Expect.UP else one.p_down
            if one.n_series == 0 or p < SEEN_FROM:
                return False
        elif expected is Expect.FLAT and one.p_flat < RULED_OUT:
            return False
    return True


def _fit(pattern: Pattern, signs: Sequence[Seen]) -> float:
    """The log of the product over signs. What goes anywhere does so together, much or little: both are as likely."""
    named, much, little = 0.0, 0.0, 0.0
    for one in signs:
        if pattern.expects.get(one.sign) is Expect.ANY:
            much += _log_fit(one, CHANCES[Expect.ANY])
            little += _log_fit(one, CHANCES[Expect.FREE])
        else:
            named += _log_fit(one, chances_of(pattern, one.sign))
    return named + float(np.logaddexp(much, little)) - math.log(2)


def chances_of(pattern: Pattern, sign: str) -> Chances:
    """What a pattern says of a sign, as chances to go up, stay, go down."""
    if sign in pattern.key:
        return KEY[pattern.key[sign]]
    if sign in pattern.expects:
        return CHANCES[pattern.expects[sign]]
    return SPECIFIC if BY_NAME[sign].is_specific else OTHERWISE


def _log_fit(one: Seen, chances: Chances) -> float:
    return math.log(one.p_up * chances[0] + one.p_flat * chances[1] + one.p_down * chances[2])


def _cause(pattern: Pattern, signs: Sequence[Seen], share: float, score: float) -> Cause:
    """With its reasons: the signs that fit it better, and worse, than if something unknown had happened."""
    gains = [(_log_fit(one, chances_of(pattern, one.sign)) - _log_fit(one, UNEXPLAINED), one) for one in signs]
    named = {**pattern.expects, **pattern.key}
    speaks = sorted(
        (each for each in gains if each[0] > 0.1 and each[1].sign in named and each[1].n_series),
        key=lambda each: (each[1].sign not in pattern.key, -each[0]),
    )
    against = sorted((each for each in gains if each[0] < -0.3), key=lambda each: each[0])
    return Cause(
        pattern=pattern.name,
        title=pattern.title,
        share=share,
        score=score,
        reasons=tuple(words.told(one) for _, one in speaks),
        against=tuple(words.told(one) for _, one in against),
        first=FIRST[pattern.name],
        runbook=runbook_of(pattern.name),
    )
