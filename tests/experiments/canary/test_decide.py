"""The gate of a step: what rolls back, what waits, what holds and what goes on, and that each says both numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from core.errors import InvalidInput
from experiments.canary.decide import Act, AtStep, Cause, Finding, StepDecision, step_gate
from experiments.canary.records import DEFAULT_GUARDRAILS, Block, CanaryPolicy, Guardrail, GuardrailKind, Step
from tests.experiments.canary.evidence import POLICY, at_step, blocks, healthy, states


def decided(
    at: AtStep, other: Mapping[str, Sequence[Block]] | None = None, *, policy: CanaryPolicy = POLICY
) -> StepDecision:
    """What the gate says of a healthy candidate; `other` blocks by guardrail."""
    return step_gate(policy, states(healthy(**other or {}), at, policy), at)


def test_a_healthy_candidate_goes_on() -> None:
    found = decided(at_step(0))
    assert found.act is Act.PROMOTE
    assert {one.cause for one in found.reasons} == {Cause.NO_HARM, Cause.NO_VIOLATION}


def test_a_candidate_that_fails_more_often_is_rolled_back_with_both_numbers() -> None:
    found = decided(at_step(0), {"error_rate": blocks(0.3, 0.03)})
    assert found.act is Act.ROLL_BACK
    (reason,) = found.reasons
    assert (reason.cause, reason.guardrail) == (Cause.HARM, "error_rate")
    assert reason.bound == pytest.approx(4 / 0.05)  # a quarter of alpha
    assert reason.value >= reason.bound
    assert "boundary 80" in reason.text
    assert "of 800 units" in reason.text


def test_harm_comes_before_time_units_and_missing_evidence() -> None:
    found = decided(at_step(0, now_s=90), {"error_rate": blocks(0.9, 0.03, many=2, n=20), "resolution": []})
    assert found.act is Act.ROLL_BACK


def test_harm_that_was_proved_stays_proved() -> None:
    at = at_step(0)
    ill, well = blocks(0.5, 0.03, many=10), blocks(0.0, 0.5, many=10, from_s=400)
    seen = states(healthy(error_rate=[*ill, *well]), at)
    assert seen["error_rate"].harm is not None
    assert seen["error_rate"].harm.e_value < 1
    assert step_gate(POLICY, seen, at).act is Act.ROLL_BACK


def test_one_violation_of_zero_tolerance_rolls_back() -> None:
    one = Block(at_ns=0, n_candidate=40, failures_candidate=1, n_baseline=40, failures_baseline=3)
    found = decided(at_step(0, now_s=61), {"safety": [one]})
    assert (found.act, found.reasons[0].cause) == (Act.ROLL_BACK, Cause.VIOLATION)
    assert found.reasons[0].text == "safety: 1 of 40 units of the candidate with a violation, 0 tolerated"


def test_so_many_violations_as_are_tolerated_do_not() -> None:
    tolerant = tuple(replace(one, tolerated=1) for one in POLICY.guardrails)
    one = Block(at_ns=70_000_000_000, n_candidate=140, failures_candidate=1, n_baseline=40, failures_baseline=3)
    assert decided(at_step(0), {"safety": [one]}, policy=replace(POLICY, guardrails=tolerant)).act is Act.PROMOTE


def test_a_step_waits_until_its_traffic_is_mature_and_baked() -> None:
    found = decided(at_step(0, now_s=659))
    assert (found.act, found.reasons[0].cause) == (Act.WAIT, Cause.BAKING)
    assert (found.reasons[0].value, found.reasons[0].bound) == (599, 600)
    assert decided(at_step(0, now_s=660)).act is Act.PROMOTE


def test_a_step_waits_for_its_own_units() -> None:
    """What entered before units of this step were mature was counted for the step before."""
    at = at_step(1, entered_s=605, now_s=1400)
    found = decided(at)
    assert found.act is Act.WAIT or found.act is Act.HOLD
    few = [one for one in found.reasons if one.cause is Cause.FEW_UNITS]
    assert {one.value for one in few} == {0}
    later = {
        name: blocks(rate, rate, many=50) for name, rate in (("resolution", 0.15), ("error_rate", 0.03), ("safety", 0))
    }
    assert decided(at, later).act is Act.PROMOTE


def test_few_units_alone_wait() -> None:
    found = decided(at_step(0), {name: blocks(0, 0, n=1, many=3) for name in ("resolution", "error_rate", "safety")})
    assert found.act is Act.WAIT
    assert "error_rate: 3 mature units of the candidate in this step, 50 asked for" in {
        one.text for one in found.reasons
    }


@pytest.mark.parametrize("gone", ["resolution", "error_rate", "safety"])
def test_a_guardrail_without_scores_holds(gone: str) -> None:
    found = decided(at_step(0), {gone: []})
    assert found.act is Act.HOLD
    assert (found.reasons[0].cause, found.reasons[0].guardrail) == (Cause.NO_SCORES, gone)
    assert {one.guardrail.name for one in found.figures if one.finding is Finding.MISSING} == {gone}
    at = at_step(0)
    seen = states(healthy(), at)
    del seen[gone]
    assert step_gate(POLICY, seen, at).act is Act.HOLD


@pytest.mark.parametrize(("missing", "arm"), [((5, 0), "candidate"), ((0, 5), "baseline")])
def test_too_many_units_without_a_score_hold(missing: tuple[int, int], arm: str) -> None:
    found = decided(at_step(0), {"resolution": blocks(0.15, 0.15, missing=missing)})
    assert (found.act, found.reasons[0].cause) == (Act.HOLD, Cause.MISSING_SCORES)
    assert f"resolution: 11.1% of the {arm}'s 900 units have no score, at most 10.0% may" == found.reasons[0].text


def test_a_baseline_without_scores_holds_while_it_has_traffic() -> None:
    alone = [replace(one, n_baseline=0, failures_baseline=0) for one in blocks(0.15, 0.15)]
    assert decided(at_step(0), {"resolution": alone}).act is Act.HOLD
    every = {name: [replace(one, n_baseline=0, failures_baseline=0) for one in of] for name, of in healthy().items()}
    assert decided(at_step(2), every).act is Act.PROMOTE


def test_the_last_step_with_a_baseline_is_left_by_proof_only() -> None:
    few = {name: blocks(0.15, 0.15, n=10, many=11) for name in ("resolution", "error_rate")}
    found = decided(at_step(1), {**few, "safety": blocks(0, 0)})
    assert found.act is Act.HOLD
    assert {one.cause for one in found.reasons} == {Cause.NOT_PROVED}
    assert {one.bound for one in found.reasons} == {20}  # 1 / alpha: a promotion needs all of them, so none is split
    assert decided(at_step(0), {**few, "safety": blocks(0, 0)}).act is Act.PROMOTE
    proved = decided(at_step(1))
    assert proved.act is Act.PROMOTE
    assert {one.guardrail for one in proved.reasons if one.cause is Cause.PROVED} == {"resolution", "error_rate"}


def test_a_policy_may_ask_for_proof_at_any_step_and_at_none() -> None:
    first, second, third = POLICY.steps
    asked = replace(POLICY, steps=(replace(first, proves=True), replace(second, proves=False), third))
    assert [asked.proving(i) for i in range(3)] == [True, False, False]
    assert [POLICY.proving(i) for i in range(3)] == [False, True, False]


def test_alpha_is_split_by_shares_and_sums_to_itself() -> None:
    assert POLICY.alphas() == pytest.approx({"resolution": 0.0375, "error_rate": 0.0125})
    default = CanaryPolicy(steps=(Step(weight=1, min_units=1, bake_s=0),), guardrails=DEFAULT_GUARDRAILS)
    assert sum(default.alphas().values()) == pytest.approx(0.05)
    assert "safety" not in default.alphas()


ONE = Step(weight=0.5, min_units=1, bake_s=1)
ERRORS = Guardrail(name="error_rate")


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: CanaryPolicy(steps=(), guardrails=(ERRORS,)), "weights are"),
        (lambda: CanaryPolicy(steps=(ONE, ONE), guardrails=(ERRORS,)), "each above the one before"),
        (lambda: CanaryPolicy(steps=(ONE,), guardrails=()), "at least one, each once"),
        (lambda: CanaryPolicy(steps=(ONE,), guardrails=(ERRORS, ERRORS)), "each once"),
        (lambda: CanaryPolicy(steps=(ONE,), guardrails=(ERRORS,), alpha=0), "alpha is 0"),
        (lambda: CanaryPolicy(steps=(ONE,), guardrails=(ERRORS,), mature_s=float("nan")), "mature_s nan"),
        (lambda: replace(ONE, weight=1.5), "weight is 1.5"),
        (lambda: replace(ONE, bake_s=-1), "-1 s"),
        (lambda: replace(ERRORS, margin=0), "margin is 0"),
        (lambda: replace(ERRORS, alpha_share=float("nan")), "alpha_share is nan"),
        (lambda: replace(ERRORS, kind=GuardrailKind.ZERO_TOLERANCE, tolerated=-1), "tolerated is -1"),
        (lambda: decided(at_step(3)), "step 3 of 3"),
    ],
)
def test_a_policy_that_cannot_be_is_refused(make: object, says: str) -> None:
    assert callable(make)
    with pytest.raises(InvalidInput, match=says):
        make()
