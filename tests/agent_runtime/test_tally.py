"""What a run counts: intervals, pass^k against its definition, and every fault at the rate that was asked for."""

from __future__ import annotations

from itertools import combinations
from random import Random
from statistics import mean

import pytest

from agent_runtime.records import Release
from agent_runtime.simulation.faults.table import FAULTS
from agent_runtime.simulation.full import Played
from agent_runtime.simulation.goals import Outcome, pass_hat_k
from agent_runtime.simulation.loading import all_scenarios
from agent_runtime.simulation.plans import cast, plan_of
from agent_runtime.simulation.scenario import Prepared
from agent_runtime.simulation.tally import Tally, wilson

RATE = 0.2
N = 4000
NAMES = sorted(FAULTS)
Z999 = 3.2905  # 99.9 %: sixteen faults are looked at


def _as_it_must(release: Release, numbers: range) -> Tally:
    """Sessions that end as what was planted in them says; that they really do is tested with full sessions."""
    plan = plan_of(release, 7)
    tally = Tally(plans=[plan])
    for number in numbers:
        chosen = cast(plan, f"tally-{number}")
        fails = any(FAULTS[name].fails_task for name in chosen.faults)
        prepared = Prepared(session_id=chosen.session_id, user_id="u", scenario=chosen.scenario, names={})
        ended = Outcome(passed=not fails, reasons=("planted",) if fails else ())
        tally.add(Played(chosen=chosen, prepared=prepared, release=release.name, outcome=ended, transcript=()))
    return tally


@pytest.mark.parametrize(
    ("n_passed", "n", "low", "high"),
    [(0, 0, 0.0, 1.0), (0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (8, 10, 0.4902, 0.9433), (81, 263, 0.2553, 0.3662)],
)
def test_intervals_are_those_of_wilson(n_passed: int, n: int, low: float, high: float) -> None:
    """The last is the example of Newcombe 1998 (Statistics in Medicine 17, table I), as is 0 of 10 by the formula."""
    assert wilson(n_passed, n) == pytest.approx((low, high), abs=5e-5)
    assert all(wilson(m, m)[1] == 1.0 and wilson(0, m)[0] == 0.0 for m in range(1, 400))
    assert wilson(n_passed, n, Z999)[0] <= low
    assert wilson(n_passed, n, Z999)[1] >= high - 5e-5


@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_pass_hat_k_is_the_share_of_k_trials_that_all_pass(k: int) -> None:
    """By the definition: of all ways to take k of a task's trials, those without a failure; the mean over tasks."""
    chance = Random(k)
    tasks = [[chance.random() < 0.7 for _ in range(chance.randrange(k, 9))] for _ in range(6)]
    by_hand = mean(mean(all(taken) for taken in combinations(trials, k)) for trials in tasks)
    assert pass_hat_k([(sum(trials), len(trials)) for trials in tasks], k) == pytest.approx(by_hand)


@pytest.mark.parametrize("name", NAMES)
def test_a_fault_is_planted_at_its_rate_where_it_can_show_and_lowers_success_by_it(name: str) -> None:
    found = _as_it_must(Release(name="v2", faults={name: RATE}), range(N)).as_json()
    (planted,) = found["planted"]
    could_show = sum(FAULTS[name].applies(each) for each in all_scenarios()) / len(all_scenarios())
    assert planted["rate"] == RATE
    low, high = wilson(planted["planted"], planted["could_show"], Z999)
    assert low <= RATE <= high
    (release,) = found["releases"]
    low, high = wilson(release["passed"], release["sessions"], Z999)
    assert low <= (1 - RATE * could_show if FAULTS[name].fails_task else 1.0) <= high


def test_pass_hat_k_of_a_release_follows_from_its_rate() -> None:
    """A task with a fault of rate p passes k times of k with chance (1 - p)^k."""
    (release,) = _as_it_must(Release(name="v2", faults={"tool_loop": RATE}), range(N)).as_json()["releases"]
    could_show = sum(FAULTS["tool_loop"].applies(each) for each in all_scenarios()) / len(all_scenarios())
    for k in (1, 2, 4, 8):
        expected = could_show * (1 - RATE) ** k + 1 - could_show
        assert release["pass_hat_k"][str(k)] == pytest.approx(expected, abs=0.03)
    (whole,) = _as_it_must(Release(name="v1"), range(N)).as_json()["releases"]
    assert set(whole["pass_hat_k"].values()) == {1.0}
