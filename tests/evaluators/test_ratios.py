"""Cost per resolved session: its value, its error against resampling, and what it refuses."""

from __future__ import annotations

from random import Random
from statistics import stdev

import pytest

from evaluators.ratios import Ratio, Session, cost_per_resolved
from evaluators.records import Reason, Unscored


def _drawn(chance: Random, n: int) -> list[Session]:
    made = []
    for example in range(n):
        hard = chance.random()
        for _ in range(3):
            resolved = chance.random() > hard
            made.append(Session(cluster=str(example), cost_usd=0.01 + 0.05 * hard, resolved=resolved))
    return made


def test_failed_sessions_cost_too_and_unknown_ones_are_counted_apart() -> None:
    sessions = [
        Session(cluster="a", cost_usd=0.2, resolved=True),
        Session(cluster="b", cost_usd=0.4, resolved=False),
        Session(cluster="c", cost_usd=None, resolved=True),
        Session(cluster="d", cost_usd=1.0, resolved=None),
    ]
    found = cost_per_resolved(sessions)
    assert isinstance(found, Ratio)
    assert found.value == pytest.approx(0.6)
    assert (found.n_sessions, found.n_resolved, found.n_unscored) == (2, 1, 2)


def test_without_a_resolved_session_there_is_no_ratio() -> None:
    none = cost_per_resolved([Session(cluster="a", cost_usd=0.2, resolved=False)])
    assert isinstance(none, Unscored)
    assert none.reason is Reason.NOT_APPLICABLE
    assert isinstance(cost_per_resolved([]), Unscored)


def test_the_standard_error_is_that_of_repeated_draws() -> None:
    chance = Random(3)
    draws = [found for _ in range(400) if isinstance(found := cost_per_resolved(_drawn(chance, 100)), Ratio)]
    told = sum(one.standard_error or 0.0 for one in draws) / len(draws)
    assert told == pytest.approx(stdev([one.value for one in draws]), rel=0.12)


def test_every_trial_twice_makes_no_smaller_error() -> None:
    sessions = _drawn(Random(5), 50)
    once, twice = cost_per_resolved(sessions), cost_per_resolved([*sessions, *sessions])
    assert isinstance(once, Ratio)
    assert isinstance(twice, Ratio)
    assert twice.standard_error == pytest.approx(once.standard_error)
