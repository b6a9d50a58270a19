"""The figures that evaluators tell of themselves, on recorded conversations whose reward is known."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from evaluators.catalogue import BY_NAME
from evaluators.records import Direction, Score, Target
from tests.evaluators.recorded import auc, tau1, tau2

Recorded = Sequence[tuple[Target, float]]


def _auc(name: str, recorded: Recorded) -> float:
    """As a predictor of reward, turned so that .5 and more is the way that it says is better."""
    rule = BY_NAME[name]
    found = [(rule.evaluate(target), reward) for target, reward in recorded]
    sign = -1 if rule.spec.direction is Direction.LOWER else 1
    return auc([(sign * score.value, reward) for score, reward in found if isinstance(score, Score)])


@pytest.mark.parametrize(
    ("name", "airline", "every"),
    [
        ("resolution", 0.37, 0.58),
        ("turns_to_resolution", 0.56, 0.51),
        ("escalation", 0.36, 0.55),
        ("user_frustration", 0.50, 0.54),
        ("repeated_questions", 0.49, 0.56),
        ("confirmation_before_irreversible", 0.52, 0.49),
    ],
)
def test_how_well_a_rule_predicts_the_reward(name: str, airline: float, every: float) -> None:
    assert _auc(name, tau1()) == pytest.approx(airline, abs=0.005)
    assert _auc(name, tau2()) == pytest.approx(every, abs=0.005)
    said = BY_NAME[name].spec.validity or ""
    assert f"{airline:.2f}"[1:] in said
    assert f"{every:.2f}"[1:] in said


def _flagged(name: str, recorded: Recorded) -> tuple[int, int]:
    scores = [BY_NAME[name].evaluate(target) for target, _ in recorded]
    scored = [one for one in scores if isinstance(one, Score)]
    return sum(one.passed is False for one in scored), len(scored)


def test_false_alarms_on_recorded_conversations_are_those_told() -> None:
    assert _flagged("pii_leak", [*tau1(), *tau2()]) == (0, 524)
    assert _flagged("secret_leak", [*tau1(), *tau2()]) == (0, 524)
    assert _flagged("system_prompt_leak", tau1()) == (8, 120)
    assert _flagged("number_support", [*tau1(), *tau2()]) == (118, 345)
    assert _flagged("id_support", tau1()) == (0, 96)
    assert _flagged("id_support", tau2()) == (18, 209)
