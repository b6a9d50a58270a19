"""Self-preference: planted and found, lenience is none, and without labels it is only a disagreement."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from core.errors import InvalidInput
from evaluators.statistics.estimates import Estimate, Unestimated
from judges.biases.family import Answers, self_preference

OWN = 0


def made(n: int, lift: dict[int, float], *, seed: int = 1, chances: Sequence[float] = (0.7, 0.5, 0.4)) -> Answers:
    """Three families answer each of n prompts; the judge passes a family's answers by `lift` more often than people."""
    rng = np.random.default_rng(seed)
    prompt = np.repeat(np.arange(n), 3)
    family = np.tile(np.arange(3), n)
    chance = np.array(chances)[family]
    human = (rng.random(3 * n) < chance).astype(float)
    more = np.array([lift.get(one, 0.0) for one in range(3)])[family]
    agrees = np.where(human == 1, 0.9 + more.clip(max=0.1), 0.1 + more).clip(0, 1)
    judge = (rng.random(3 * n) < agrees).astype(float)
    return Answers(prompt=prompt, family=family, judge=judge, human=human)


def of(found: object) -> Estimate:
    assert isinstance(found, Estimate)
    return found


def test_a_judge_that_favours_its_own_is_seen_in_both_forms() -> None:
    found = self_preference(made(400, {OWN: 0.4}), OWN, seed=3)
    assert found.labelled
    ends, opportunity = of(found.preference).interval, of(found.equal_opportunity).interval
    assert ends is not None
    assert opportunity is not None
    assert ends.low > 0
    assert of(found.equal_opportunity).value > 0.02


def test_a_lenient_judge_has_no_preference() -> None:
    even = [0.5, 0.5, 0.5]
    found = self_preference(made(600, dict.fromkeys(range(3), 0.2), chances=even), OWN, seed=3)
    ends = of(found.preference).interval
    assert ends is not None
    assert ends.low < 0 < ends.high


def test_a_better_family_is_no_bias_once_people_said_so() -> None:
    answers = made(400, {})
    right = Answers(prompt=answers.prompt, family=answers.family, judge=answers.human, human=answers.human)
    found = self_preference(right, OWN, seed=3)
    assert of(found.preference).value == pytest.approx(0)
    disagreement = of(found.disagreement).interval
    assert disagreement is not None
    assert disagreement.low > 0.1  # which looks like a preference without labels


def test_without_labels_it_says_so() -> None:
    answers = made(50, {OWN: 0.4})
    bare = Answers(
        prompt=answers.prompt, family=answers.family, judge=answers.judge, human=np.full(len(answers.prompt), np.nan)
    )
    found = self_preference(bare, OWN, seed=1)
    assert not found.labelled
    assert isinstance(found.preference, Unestimated)
    assert found.preference.reason.value == "no_labels"
    assert isinstance(found.equal_opportunity, Unestimated)
    assert isinstance(found.disagreement, Estimate)


def test_by_hand() -> None:
    answers = Answers(
        prompt=np.array([0, 0, 1, 1]),
        family=np.array([0, 1, 0, 1]),
        judge=np.array([1.0, 0, 1, 1]),
        human=np.array([1.0, 0, 0, 1]),
    )
    found = self_preference(answers, OWN, seed=1)
    assert of(found.preference).value == pytest.approx(0.5)  # own: (0 + 1)/2, other: 0
    assert of(found.equal_opportunity).value == pytest.approx(0.0)
    assert of(found.disagreement).value == pytest.approx(0.5)


def test_without_an_answer_of_its_own_there_is_no_number() -> None:
    found = self_preference(made(20, {}), 7, seed=1)
    assert isinstance(found.preference, Unestimated)
    assert found.n_own == 0


def test_the_same_seed_gives_the_same_interval() -> None:
    answers = made(60, {OWN: 0.3})
    assert self_preference(answers, OWN, seed=5) == self_preference(answers, OWN, seed=5)


def test_columns_of_other_lengths_are_refused() -> None:
    with pytest.raises(InvalidInput):
        Answers(prompt=np.arange(3), family=np.arange(3), judge=np.ones(3), human=np.ones(2))
