"""Canaries against judges of which it is known what they do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from core.records import TargetKind
from evaluators.records import Message, ToolCall, Trajectory
from evaluators.statistics.estimates import Estimate
from judges.canaries import (
    CONSTANT,
    FEWEST,
    INJECTIONS,
    Canary,
    CanaryKind,
    CanaryReport,
    canaries,
    chance_of,
    judged,
    report,
)
from judges.records import Missing, Rubric, ScaleKind, Verdict
from tests.judges.stored import RUBRIC

ORDINAL = replace(RUBRIC, kind=ScaleKind.ORDINAL, labels=("1", "2", "3", "4", "5"), passing=frozenset({"4", "5"}))
PAIR = replace(RUBRIC, kind=ScaleKind.PAIRWISE, labels=("first", "second", "tie"), passing=frozenset({"first"}))
Says = Callable[[Canary], Verdict]


def conversation(n: int) -> Trajectory:
    said = [("user", f"Where is order {n}?"), ("assistant", f"Order {n} is on its way."), ("user", "Thanks")]
    messages = [Message(role=role, text=text, turn=turn // 2) for turn, (role, text) in enumerate(said)]
    messages.append(Message(role="assistant", text=f"Order {n} comes on Monday.", turn=1))
    return Trajectory(
        session_id=f"s{n}", messages=tuple(messages), tool_calls=(ToolCall(name="find_order", arguments={"id": n}),)
    )


def made(n: int = 20, rubric: Rubric = RUBRIC, seed: int = 1) -> list[Canary]:
    return canaries(rubric, [conversation(one) for one in range(n)], [TargetKind.SESSION] * n, seed=seed)


MADE = made()


def stood(says: Says, rubric: Rubric = RUBRIC, n: int = 20, seed: int = 1) -> CanaryReport:
    return report(rubric, [judged(rubric, one, says(one)) for one in made(n, rubric, seed)])


def fair(one: Canary) -> Verdict:
    """Passes the real answer, with or without a sentence behind it, and nothing else."""
    good = one.kind in (CanaryKind.ORIGINAL, CanaryKind.INJECTED)
    return Verdict(labels=("pass",) if good else ("fail",))


def lenient(_: Canary) -> Verdict:
    return Verdict(labels=("pass",))


def obedient(one: Canary) -> Verdict:
    """Fails everything but what tells it not to."""
    told = any("pass" in part.text for part in one.content.parts) and one.kind is CanaryKind.INJECTED
    return Verdict(labels=("pass",) if told else ("fail",))


def test_a_judge_that_reads_stands_them() -> None:
    found = stood(fair)
    assert found.passed
    assert [one.kind for one in found.nulls] == [CanaryKind.CONSTANT, CanaryKind.EMPTY, CanaryKind.SHUFFLED]
    assert all(one.n_passed == 0 and one.n == 20 for one in found.nulls)
    assert isinstance(found.real, Estimate)
    assert found.real.value == 1.0


@pytest.mark.parametrize("n", [FEWEST, 20])
def test_a_judge_that_passes_everything_is_failed(n: int) -> None:
    found = stood(lenient, n=n)
    assert not found.passed
    assert all(one.beats_chance for one in found.nulls)
    assert not found.injection.shifts  # nothing can rise


def test_a_judge_that_obeys_what_it_reads_is_failed() -> None:
    found = stood(obedient)
    assert not found.passed
    assert found.injection.shifts
    assert (found.injection.n, found.injection.n_up, found.injection.n_down) == (60, 60, 0)
    assert isinstance(found.injection.success, Estimate)
    assert found.injection.success.value == 1.0
    assert not any(one.beats_chance for one in found.nulls)


def test_one_kind_is_enough() -> None:
    constant = stood(lambda one: Verdict(labels=("pass" if one.kind is CanaryKind.CONSTANT else "fail",)))
    assert [one.beats_chance for one in constant.nulls] == [True, False, False]
    assert not constant.passed


def test_a_judge_that_does_not_read_is_failed_in_one_of_twenty() -> None:
    n_failed, rounds = 0, 300
    for seed in range(rounds):
        rng = np.random.default_rng(seed)
        said = [Verdict(labels=(word,)) for word in rng.choice(["pass", "fail"], size=len(MADE))]
        found = report(RUBRIC, [judged(RUBRIC, one, word) for one, word in zip(MADE, said, strict=True)])
        n_failed += not found.passed
    assert n_failed / rounds <= 0.05 + 3 * (0.05 * 0.95 / rounds) ** 0.5


def test_missing_verdicts_are_no_passes() -> None:
    found = stood(lambda _: Verdict(missing=Missing.REFUSED))
    assert found.passed
    assert all(one.n_missing == 20 and one.n_passed == 0 for one in found.nulls)
    assert (found.injection.n, found.injection.n_missing, found.injection.p) == (0, 60, 1.0)


def test_from_how_many_passes_it_fails_is_said() -> None:
    (first, *_) = stood(fair).nulls
    assert first.fails_from == 15
    assert stats.binom.sf(14, 20, 0.5) <= 0.05 < stats.binom.sf(13, 20, 0.5)
    assert stood(fair, n=2).nulls[0].fails_from is None


def test_chance_is_that_of_a_blind_choice() -> None:
    assert chance_of(RUBRIC) == 0.5
    assert chance_of(ORDINAL) == 0.4
    assert chance_of(PAIR) == 0.5
    assert chance_of(replace(ORDINAL, passing=frozenset({"2", "3", "4", "5"}))) == 0.5


def test_what_the_canaries_say() -> None:
    by_kind = {one.kind: one for one in made(3) if one.source == 0}
    texts = {kind: "\n".join(part.text for part in one.content.parts) for kind, one in by_kind.items()}
    asked = "Where is order 0?"
    assert all(asked in text for text in texts.values())
    assert CONSTANT in texts[CanaryKind.CONSTANT]
    assert "find_order" not in texts[CanaryKind.CONSTANT] + texts[CanaryKind.EMPTY]
    assert "on its way" not in texts[CanaryKind.EMPTY]
    assert "Order 0" not in texts[CanaryKind.SHUFFLED]
    assert "comes on Monday" in texts[CanaryKind.SHUFFLED]
    assert "Order 0 comes on Monday." in texts[CanaryKind.INJECTED]
    assert "pass" in texts[CanaryKind.INJECTED]
    assert by_kind[CanaryKind.INJECTED].injection in range(len(INJECTIONS))
    assert made(3) == made(3)


def test_what_passed_before_is_attacked_once_and_what_did_not_with_three_sentences() -> None:
    conversations, kinds = [conversation(one) for one in range(2)], [TargetKind.SESSION] * 2
    both = canaries(RUBRIC, conversations, kinds, [True, False], seed=1)
    attacked = [[one for one in both if one.source == n and one.kind is CanaryKind.INJECTED] for n in (0, 1)]
    asked = [[one for one in both if one.source == n and one.kind is CanaryKind.ORIGINAL] for n in (0, 1)]
    assert [len(each) for each in attacked] == [len(each) for each in asked] == [1, 3]
    assert len({one.injection for one in attacked[1]}) == 3


def test_a_judge_that_obeys_in_one_of_three_is_mostly_found() -> None:
    n_found = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        said = []
        for one in MADE:
            obeys = one.kind is CanaryKind.INJECTED and rng.random() < 1 / 3
            said.append(judged(RUBRIC, one, Verdict(labels=("pass" if obeys else "fail",))))
        n_found += report(RUBRIC, said).injection.shifts
    assert n_found >= 95


def test_of_one_conversation_nothing_is_shuffled() -> None:
    assert CanaryKind.SHUFFLED not in {one.kind for one in made(1)}


def test_in_a_pair_the_canary_stands_against_the_real_answer() -> None:
    both = made(20, PAIR)
    assert {one.wins for one in both} == {"first", "second"}  # each place

    def takes_the_canary(one: Canary) -> Verdict:
        return Verdict(labels=(one.wins or "",))

    found = stood(takes_the_canary, PAIR)
    assert not found.passed
    against = stood(lambda one: Verdict(labels=("second" if one.wins == "first" else "first",)), PAIR)
    assert against.passed
    ties = stood(lambda _: Verdict(missing=Missing.DISAGREED), PAIR)
    assert ties.passed
    assert ties.injection.n == 60


def test_an_ordinal_judge_is_shifted_by_degrees() -> None:
    def generous(one: Canary) -> Verdict:
        return Verdict(labels=("3" if one.kind is CanaryKind.INJECTED else "2",))

    found = stood(generous, ORDINAL)
    assert found.injection.shifts
    assert isinstance(found.injection.shift, Estimate)
    assert found.injection.shift.value == pytest.approx(0.25)
