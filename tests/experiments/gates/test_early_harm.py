"""A candidate's run that ended before its end: its proof of harm fails the gate, anything less decides nothing."""

from __future__ import annotations

from dataclasses import replace

import polars as pl
import pytest

from evaluators.early import order_of
from evaluators.evidence import RunScores
from experiments.gates.bundle import Evidence, bundle_of, verify
from experiments.gates.records import Cause, GateDecision
from server.gate_policy import read_policy
from tests.experiments.gates.evidence import ASKED, BASELINE, CANDIDATE, FACTS, NOW, POLICY, decided


def ended_after(n: int, *, correct: float | None) -> RunScores:
    """The candidate, of which the first `n` examples were asked once; `correct`: the value of each, None as it was."""
    first = order_of(CANDIDATE.run_id, BASELINE.examples)[:n]
    rows = CANDIDATE.rows.filter(pl.col("example_id").is_in(first), pl.col("trial") == 0)
    if correct is not None:
        value = pl.when(pl.col("metric") == "correctness").then(pl.lit(correct)).otherwise("value").alias("value")
        rows = rows.with_columns(value)
    return replace(CANDIDATE, rows=rows, status="cancelled")


def test_proved_harm_fails_though_the_run_ended() -> None:
    found = decided(candidate=ended_after(40, correct=0.0))
    assert found.decision is GateDecision.FAIL
    assert (found.reasons[0].cause, found.reasons[0].metric) == (Cause.HARM, "correctness")
    assert "harm in correctness is proved after" in found.reasons[0].text
    assert not [one for one in found.reasons if one.cause is Cause.NOT_FINISHED]


@pytest.mark.parametrize("n", [0, 3, 40, 80])
def test_a_run_that_ended_without_a_proof_decides_nothing(n: int) -> None:
    assert decided(candidate=ended_after(n, correct=1.0)).decision is GateDecision.INCONCLUSIVE
    few = decided(candidate=ended_after(3, correct=0.0))
    assert few.decision is GateDecision.INCONCLUSIVE
    assert Cause.NOT_FINISHED in {one.cause for one in few.reasons}


def test_what_is_wrong_with_the_runs_otherwise_still_decides_nothing() -> None:
    other = replace(ended_after(40, correct=0.0), content_hash="d1" * 32, dataset_version=4)
    assert decided(candidate=other).decision is GateDecision.INCONCLUSIVE
    skipped = ended_after(40, correct=0.0)
    first = order_of(CANDIDATE.run_id, BASELINE.examples)[0]
    without = replace(skipped, rows=skipped.rows.filter(pl.col("example_id") != first))
    assert decided(candidate=without).decision is GateDecision.INCONCLUSIVE, "it was chosen what to look at"
    baseline = replace(BASELINE, status="cancelled")
    assert decided(baseline=baseline, candidate=skipped).decision is GateDecision.INCONCLUSIVE


def test_the_proof_is_computed_again_from_the_bundle() -> None:
    evidence = Evidence(
        policy_text=POLICY,
        asked=ASKED,
        baseline=BASELINE,
        candidate=ended_after(40, correct=0.0),
        facts=FACTS,
        absent=(),
        now_ns=NOW,
        seed=0,
    )
    decision = evidence.decided(read_policy(POLICY))
    assert decision.decision is GateDecision.FAIL
    again = verify(bundle_of(evidence, decision, assay_version="1"), read_policy)
    assert again.reasons == decision.reasons
