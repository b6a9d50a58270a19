"""The agent's answer against the expected one, and what became of the session."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from functools import lru_cache
from typing import Final

import polars as pl

from evaluators.records import Dimension, EvaluatorSpec, Expected, Reason, Score, Scored, Target, Unscored, shortened
from evaluators.rules.comparators import comparator
from evaluators.rules.rule import ANY_TARGET, WHOLE, FrameRule, Rule, not_expected, not_recorded
from evaluators.rules.values import normalised, number_of, numbers_in

MOST_CHARACTERS: Final = 2_000_000


def equal_texts(one: str, other: str) -> bool:
    """The same number, or the same words without case, spacing and punctuation at the edges."""
    first, second = number_of(one), number_of(other)
    if first is not None and second is not None:
        return first == second
    return normalised(one) == normalised(other)


def says(text: str, piece: str) -> bool:
    """Whether a text says a piece: as whole words, or as an equal number where the piece is one."""
    number = number_of(piece)
    if number is not None and number in _numbers(text):
        return True
    wanted, whole = normalised(piece), _normalised(text)
    at = whole.find(wanted)
    while wanted and at >= 0:
        end = at + len(wanted)
        if not _joins(whole, at) and not _joins(whole, end):
            return True
        at = whole.find(wanted, at + 1)
    return False


def _joins(text: str, at: int) -> bool:
    """Whether the places before and at `at` are of one word or number."""
    if not 0 < at < len(text) or not text[at - 1].isascii() or not text[at].isascii():
        return False
    return text[at - 1].isalnum() and text[at].isalnum()


def word_f1(gold: str, found: str) -> float:
    """F1 over the words of two texts, each as often as it is there (Rajpurkar et al. 2016; articles stay)."""
    wanted, given = Counter(_words(gold)), Counter(_words(found))
    both = wanted.total() + given.total()
    return 2 * (wanted & given).total() / both if both else 1.0


def _words(text: str) -> list[str]:
    return [word for word in (normalised(one) for one in text.split()) if word]


@lru_cache(maxsize=4)
def _normalised(text: str) -> str:
    return normalised(text)


@lru_cache(maxsize=4)
def _numbers(text: str) -> frozenset[Decimal]:
    return frozenset(numbers_in(text))


def accepted(expected: Expected | None) -> tuple[str, ...]:
    """The answers that are right, any of them."""
    if expected is None:
        return ()
    return ((expected.answer,) if expected.answer is not None else ()) + tuple(expected.answers)


def _readable(text: str | None) -> str | Unscored:
    if text is None:
        return not_recorded("answer")
    if len(text) > MOST_CHARACTERS:
        return Unscored(reason=Reason.TOO_LARGE, detail=f"the answer has {len(text)} characters")
    return text


def _answer_match(target: Target) -> Scored:
    right = accepted(target.expected)
    if not right:
        return not_expected("answer")
    answer = _readable(target.trajectory.answer)
    if isinstance(answer, Unscored):
        return answer
    fits = any(equal_texts(one, answer) for one in right)
    return Score(value=float(fits), passed=fits, explanation="" if fits else f"expected {right[0][:200]!r}")


def _answer_f1(target: Target) -> Scored:
    right = accepted(target.expected)
    if not right:
        return not_expected("answer")
    answer = _readable(target.trajectory.answer)
    if isinstance(answer, Unscored):
        return answer
    return Score(value=max(word_f1(one, answer) for one in right))


def _answer_contains(target: Target) -> Scored:
    pieces = target.expected.contains if target.expected is not None else ()
    if not pieces:
        return not_expected("contains")
    if target.trajectory.answer is None:
        return not_recorded("answer")
    text = _readable(target.trajectory.said)
    if isinstance(text, Unscored):
        return text
    missing = [one for one in pieces if not says(text, one)]
    return Score(
        value=1 - len(missing) / len(pieces),
        passed=not missing,
        explanation=f"not said: {shortened([one[:100] for one in missing])}" if missing else "",
        parts={"missing": [one[:200] for one in missing[:50]], "n_pieces": len(pieces)},
    )


def _answer_number(target: Target) -> Scored:
    right = accepted(target.expected)
    if not right or target.expected is None:
        return not_expected("answer")
    golds = [found for found in map(numbers_in, right) if found]
    if not golds:
        return not_expected("number in its answer")
    answer = _readable(target.trajectory.answer)
    if isinstance(answer, Unscored):
        return answer
    compared = comparator(target.expected.comparators.get("answer", "number"))
    given = [str(one) for one in dict.fromkeys(numbers_in(answer))][:1000]
    fits = any(all(any(compared(str(one), other) for other in given) for one in gold) for gold in golds)
    said = "" if fits else f"expected {_listed(golds[0])}, found {_listed(given) or 'no number'}"
    return Score(value=float(fits), passed=fits, explanation=said, parts={"found": given[:20]})


def _listed(numbers: Sequence[object]) -> str:
    return shortened([str(one)[:40] for one in numbers])


def _outcome(target: Target) -> Scored:
    value = target.trajectory.outcome
    if value is None or value != value:
        return not_recorded("outcome: nobody has told what became of it")
    return Score(value=float(value > 0), passed=value > 0, parts={"recorded": value} if abs(value) < 1e15 else {})


def _spec(
    name: str, summary: str, *failure_modes: str, needs: tuple[str, ...], binary: bool, validity: str | None = None
) -> EvaluatorSpec:
    return EvaluatorSpec(
        name=name,
        version="1",
        dimension=Dimension.CORRECTNESS,
        summary=summary,
        failure_modes=failure_modes,
        targets=WHOLE if name == "outcome" else ANY_TARGET,
        binary=binary,
        needs=needs,
        validity=validity,
    )


_WORDING: Final = "a right answer in other words counts as wrong"
_NUMBERS: Final = "numbers are read as in English: 1,234.5"

ANSWER_MATCH: Final = Rule(
    spec=_spec(
        "answer_match",
        "The answer is one of the expected ones: the same number, or the same words without case, spacing and "
        "punctuation at the edges.",
        _WORDING,
        _NUMBERS,
        needs=("answer", "answers"),
        binary=True,
    ),
    score=_answer_match,
)
ANSWER_F1: Final = Rule(
    spec=_spec(
        "answer_f1",
        "F1 over the words of the answer and of the expected answer that it is nearest to.",
        "a 'not' more or less changes it hardly",
        "long answers are marked down for what they say besides",
        needs=("answer", "answers"),
        binary=False,
    ),
    score=_answer_f1,
)
ANSWER_CONTAINS: Final = Rule(
    spec=_spec(
        "answer_contains",
        "The share of the expected pieces that the agent said in any of its messages, as whole words or numbers.",
        "a piece that is said and denied counts as said",
        _WORDING,
        _NUMBERS,
        needs=("contains",),
        binary=False,
    ),
    score=_answer_contains,
)
ANSWER_NUMBER: Final = Rule(
    spec=_spec(
        "answer_number",
        "All numbers of an expected answer are in the answer; within a tolerance where comparators names one for "
        "answer, as number:1%.",
        "other numbers in the answer are not held against it",
        "a number written in words is not read",
        _NUMBERS,
        needs=("answer", "answers"),
        binary=True,
    ),
    score=_answer_number,
)
OUTCOME: Final = FrameRule(
    spec=_spec(
        "outcome",
        "The session's latest recorded outcome is above 0: what somebody told afterwards, not what it looks like.",
        "says nothing until the outcome arrives",
        "is as good as whoever told it",
        needs=(),
        binary=True,
    ),
    score=_outcome,
    expression=lambda: pl.when(pl.col("outcome").is_not_nan()).then((pl.col("outcome") > 0).cast(pl.Float64)),
)
