"""The state machine of rollouts: whatever happens in whatever order, an end is an end and shares are the policy's."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import Conflict, InvalidInput
from experiments.canary.records import DEFAULT_GUARDRAILS, CanaryPolicy, GuardrailKind
from experiments.records import Better, UnitKind
from experiments.rollouts.evidence import Past, cohort_of, same_model, threshold
from experiments.rollouts.policy import guardrail_named, hash_of, policy_json, policy_of, steps_of
from experiments.rollouts.records import Requires, RolloutPolicy, RolloutState
from experiments.rollouts.state import (
    aborted,
    approved,
    begun,
    gone_on,
    held,
    paused,
    planned,
    resumed,
    rolled_back,
    state_json,
    state_of,
)
from store.control.rollout_records import RolloutStatus

POLICY = RolloutPolicy(canary=CanaryPolicy(steps=steps_of((0.1, 0.4)), guardrails=DEFAULT_GUARDRAILS))
PAST = Past(n_sessions=100, thresholds={"cost": 0.5}, history={"cost": (10.0, 100)}, silent=())
ACTS = ("begin", "on", "back", "hold", "pause", "resume", "abort", "approve")


def done(act: str, status: RolloutStatus, state: RolloutState, now_ns: int) -> Any:
    match act:
        case "begin":
            waits = status is RolloutStatus.WAITING
            return begun(POLICY, state, now_ns=now_ns, past=PAST, met=["gate"]) if waits else None
        case "on":
            return gone_on(POLICY, status, state, ["why"], now_ns=now_ns)
        case "back":
            return rolled_back(status, state, ["harm"], now_ns=now_ns) if state.step >= 0 else None
        case "hold":
            return None if status.ended else held(status, state, ["few"], ["few"], told=True)
        case "pause":
            return paused(status, state, "lunch")
        case "resume":
            return resumed(status, state, "back")
        case "abort":
            return aborted(status, state, "enough", now_ns=now_ns)
        case _:
            return approved(status, state, "ben")


@given(st.lists(st.sampled_from(ACTS), max_size=30))
def test_an_end_is_an_end_and_every_share_is_the_policys(acts: list[str]) -> None:
    status, state = RolloutStatus.WAITING, planned(POLICY)
    shares: list[float] = []
    for now_ns, act in enumerate(acts, start=1):
        try:
            change = done(act, status, state, now_ns)
        except Conflict:
            change = None
        if change is None:
            continue
        assert not status.ended, f"{act} changed one that is {status}"
        status, state = change.status, change.state
        assert state_of(state_json(state)) == state
        if change.share is not None:
            shares.append(change.share)
        assert change.certified == (change.verb is not None and act in ("on", "back"))
    rising = [one for one in shares if one > 0]
    assert rising == [0.1, 0.4, 1.0][: len(rising)]
    assert (0.0 in shares) == (status in (RolloutStatus.ROLLED_BACK, RolloutStatus.ABORTED))
    assert (1.0 in shares) == (status is RolloutStatus.PROMOTED)
    assert 0.0 not in shares[:-1], "nothing follows the baseline's return"


def test_an_event_is_written_where_another_cause_has_come() -> None:
    state = planned(POLICY)
    first = held(RolloutStatus.RUNNING, state, ["3 of 20"], ["few"], told=True)
    assert first.verb is not None
    again = held(RolloutStatus.RUNNING, first.state, ["4 of 20"], ["few"], told=True)
    assert (again.verb, again.state.reasons) == (None, ("4 of 20",))
    assert held(RolloutStatus.RUNNING, first.state, ["5 s"], ["baking"], told=False).verb is None


def test_a_policy_is_read_as_it_was_written_and_its_hash_names_it() -> None:
    policy = RolloutPolicy(
        canary=CanaryPolicy(
            steps=steps_of((0.01, 0.5), bake_s=60, min_units=7),
            guardrails=(*DEFAULT_GUARDRAILS, guardrail_named("tokens"), guardrail_named("mine", Better.LOWER)),
            alpha=0.01,
        ),
        unit=UnitKind.USER,
        requires=Requires(gate=True, checks=("licence",)),
        bypass="an obvious bug",
    )
    said = policy_json(policy)
    assert policy_of(said) == policy
    assert hash_of(said) == hash_of(policy_json(policy_of(said))) != hash_of(policy_json(POLICY))
    assert [one.weight for one in policy.canary.steps] == [0.01, 0.5, 1.0]


@pytest.mark.parametrize("weights", [(), (0.5, 0.5), (0.5, 0.2), (1.0,), (0.5, 1.2), (-0.1, 0.5), (float("nan"),)])
def test_weights_that_are_no_way_up_are_refused(weights: tuple[float, ...]) -> None:
    with pytest.raises(InvalidInput):
        steps_of(weights)


@pytest.mark.parametrize(
    ("registered", "seen", "same"),
    [
        ("gpt-4o", "gpt-4o", True),
        ("gpt-4o", "gpt-4o-2024-08-06", True),
        ("gpt-4o", "gpt-4o-mini", False),
        ("gpt-4o", "openai/gpt-4o", True),
        ("sim-1", "sim-1-mini", False),
        ("sim-1", "sim-10", False),
        ("claude-sonnet-4", "claude-sonnet-4@20250514", True),
    ],
)
def test_a_dated_edition_is_the_same_model_and_a_smaller_one_is_not(registered: str, seen: str, same: bool) -> None:
    assert same_model(registered, seen) is same


@pytest.mark.parametrize(("name", "limit"), [("p50_latency", 500.0), ("p95_latency", 950.0), ("p99_latency", 990.0)])
def test_each_quantile_of_latency_has_its_threshold(name: str, limit: float) -> None:
    sessions = pl.DataFrame({"latencies_ms": [[float(10 * n + k) for k in range(1, 11)] for n in range(100)]})
    guardrail = guardrail_named(name)
    assert guardrail.kind is GuardrailKind.EXCEEDS
    assert threshold(sessions, guardrail) == limit


def test_a_cohort_ends_where_maturity_evidence_or_the_step_does() -> None:
    second = 10**9
    assert cohort_of(100 * second, 50 * second, None, 500 * second, 30) is None  # nothing was seen
    found = cohort_of(100 * second, 50 * second, 490 * second, 500 * second, 30)
    assert found is not None
    assert (found.from_ns, found.until_ns) == (100 * second, 470 * second)  # the youngest are not mature
    found = cohort_of(100 * second, 50 * second, 200 * second, 500 * second, 30)
    assert found is not None
    assert found.until_ns == 200 * second + 1  # what began later may be on its way
    found = cohort_of(100 * second, 150 * second, 490 * second, 500 * second, 30)
    assert found is not None
    assert found.until_ns == 150 * second  # those of the step before enter on their own


def test_a_step_of_days_has_some_thousand_blocks() -> None:
    second, day = 10**9, 86_400
    seen, blocks = 0, 0
    for now in range(0, 2 * day, 3):  # a look each three seconds
        found = cohort_of(seen, 0, now * second, now * second, 0)
        if found is not None:
            assert found.until_ns - found.from_ns <= max(6, now / 500) * second
            seen, blocks = found.until_ns, blocks + 1
    assert 1000 < blocks < 7000
    assert seen > 0.998 * 2 * day * second
