"""A gate believes a judge only while it is certified: whatever else shows, an uncertified judge decides nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import polars as pl
import pytest

from core.errors import Corrupt
from evaluators.evidence import RunScores
from experiments.gates.bundle import Evidence, bundle_of, digest_of, verify
from experiments.gates.records import Cause, Decision, Finding, GateDecision
from server.gate_policy import read_policy
from store.control.certificates import JudgeFacts
from store.control.judge_records import CalibrationState
from tests.experiments.gates.evidence import (
    ASKED,
    BASELINE,
    CANDIDATE,
    FACTS,
    NOW,
    POLICY,
    changed,
    decided,
    rewritten,
    run,
)

METRIC = "correctness"
CERTIFIED = JudgeFacts(
    judge=METRIC,
    version="1",
    state=CalibrationState.CERTIFIED,
    reason="the lower bound reaches the bar",
    kappa_low=0.742,
    kappa_high=0.861,
    bar=0.7,
    n=220,
    at_ns=NOW,
)
OPEN = replace(CERTIFIED, state=CalibrationState.UNDETERMINED, kappa_low=0.55, reason="the bar lies between")
FAILED = replace(CERTIFIED, state=CalibrationState.FAILED, kappa_low=0.1, kappa_high=0.3, reason="below the bar")


def judged(one: RunScores) -> RunScores:
    return changed(one, judges=frozenset({METRIC}))


def asked(
    facts: JudgeFacts | None, baseline: RunScores = BASELINE, candidate: RunScores = CANDIDATE, **other: Any
) -> Decision:
    return decided(judged(baseline), judged(candidate), judges={} if facts is None else {METRIC: facts}, **other)


def causes(found: Decision) -> set[Cause]:
    return {one.cause for one in found.reasons if one.blocks}


def test_a_certified_judge_is_believed_and_named() -> None:
    found = asked(CERTIFIED)
    assert found.decision is GateDecision.PASS
    (note,) = [one for one in found.reasons if one.cause is Cause.CERTIFIED_JUDGE]
    assert not note.blocks
    assert "0.742 to 0.861 over 220 labels, 0.7 needed" in note.text


@pytest.mark.parametrize("facts", [OPEN, FAILED, None])
def test_without_a_certificate_nothing_is_decided(facts: JudgeFacts | None) -> None:
    found = asked(facts)
    assert found.decision is GateDecision.INCONCLUSIVE
    assert causes(found) == {Cause.UNCERTIFIED_JUDGE}
    (evidence,) = [one for one in found.metrics if one.metric == METRIC]
    assert evidence.finding is Finding.MISSING
    assert any("assay judges calibrate NAME: more labels, or where it failed" in one for one in found.settle)


def test_the_reason_has_both_numbers() -> None:
    (reason,) = [one for one in asked(OPEN).reasons if one.cause is Cause.UNCERTIFIED_JUDGE]
    assert "kappa 0.550 to 0.861 over 220 labels, 0.7 needed" in reason.text
    assert reason.metric == METRIC


@pytest.mark.parametrize(("bar", "decision"), [(None, "inconclusive"), (0.6, "pass"), (0.65, "inconclusive")])
def test_the_policy_says_what_bar_a_judge_has_to_reach(bar: float | None, decision: str) -> None:
    lenient = replace(CERTIFIED, kappa_low=0.62, bar=0.6)
    policy = POLICY if bar is None else POLICY.replace("evidence: {", f"evidence: {{judge_bar: {bar}, ")
    found = asked(lenient, policy=policy)
    assert found.decision.value == decision
    if decision != "pass":
        (reason,) = [one for one in found.reasons if one.cause is Cause.UNCERTIFIED_JUDGE]
        assert f"{bar or 0.7:g}: " in reason.text
        assert "kappa 0.620 to 0.861 over 220 labels, 0.6 needed" in reason.text


@pytest.mark.parametrize(("facts", "decision"), [(OPEN, "inconclusive"), (FAILED, "inconclusive"), (CERTIFIED, "fail")])
def test_harm_that_only_an_uncertified_judge_sees_fails_nothing(facts: JudgeFacts, decision: str) -> None:
    worse = rewritten(CANDIDATE, pl.col("metric") == METRIC, 0.0)
    assert asked(facts, candidate=worse).decision.value == decision


def test_harm_that_a_rule_sees_fails_whatever_the_judge_is() -> None:
    worse = rewritten(CANDIDATE, pl.col("metric") == "grounding", 0.0)
    assert asked(OPEN, candidate=worse).decision is GateDecision.FAIL


def test_a_certificate_of_another_version_is_none() -> None:
    found = asked(replace(CERTIFIED, version="2"))
    assert found.decision is GateDecision.INCONCLUSIVE
    assert causes(found) == {Cause.UNCERTIFIED_JUDGE}


def test_two_versions_of_a_judge_are_two_judges() -> None:
    other = changed(CANDIDATE, evaluators={**CANDIDATE.evaluators, METRIC: "2"})
    found = asked(CERTIFIED, candidate=other)
    assert found.decision is GateDecision.INCONCLUSIVE
    assert causes(found) == {Cause.OTHER_EVALUATOR, Cause.UNCERTIFIED_JUDGE}


def test_a_run_that_ended_itself_proves_no_harm_by_an_uncertified_judge() -> None:
    ended = changed(run("v2", better=-0.6), status="cancelled")
    believed = asked(CERTIFIED, candidate=ended)
    assert believed.decision is GateDecision.FAIL
    worse = rewritten(ended, pl.col("metric") == "grounding", 0.9)
    assert asked(OPEN, candidate=worse).decision is GateDecision.INCONCLUSIVE


def bundled(facts: JudgeFacts) -> dict[str, Any]:
    evidence = Evidence(
        policy_text=POLICY, asked=ASKED, baseline=judged(BASELINE), candidate=judged(CANDIDATE), facts=FACTS,
        absent=(), now_ns=NOW, seed=0, judges={METRIC: facts},
    )  # fmt: skip
    made = bundle_of(evidence, evidence.decided(read_policy(POLICY)), assay_version="0.1.0")
    read: dict[str, Any] = json.loads(json.dumps(made))
    return read


@pytest.mark.parametrize(("facts", "decision"), [(CERTIFIED, "pass"), (OPEN, "inconclusive")])
def test_the_bundle_holds_the_certificate_and_gives_the_same_again(facts: JudgeFacts, decision: str) -> None:
    bundle = bundled(facts)
    assert bundle["judges"][METRIC]["kappa_low"] == facts.kappa_low
    assert verify(bundle, read_policy).decision.value == decision


def test_a_certificate_that_was_put_in_afterwards_is_found() -> None:
    bundle = bundled(OPEN)
    bundle["judges"][METRIC]["state"] = "certified"
    with pytest.raises(Corrupt, match="was altered"):
        verify(bundle, read_policy)
    bundle["digest"] = digest_of(bundle)
    with pytest.raises(Corrupt, match="does not give what it says"):
        verify(bundle, read_policy)


def test_a_bundle_of_before_there_were_judges_still_verifies() -> None:
    evidence = Evidence(
        policy_text=POLICY, asked=ASKED, baseline=BASELINE, candidate=CANDIDATE, facts=FACTS, absent=(), now_ns=NOW,
        seed=0,
    )  # fmt: skip
    bundle = json.loads(json.dumps(bundle_of(evidence, evidence.decided(read_policy(POLICY)), assay_version="0.1.0")))
    del bundle["judges"]
    for side in bundle["runs"].values():
        del side["judges"]
    bundle["digest"] = digest_of(bundle)
    assert verify(bundle, read_policy).decision is GateDecision.PASS
