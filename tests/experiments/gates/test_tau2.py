"""gpt-4.1 against the same model fine-tuned, on the 140 tasks of tau2: the figures of the data's README."""

from __future__ import annotations

import csv
from pathlib import Path

import polars as pl
import pytest

from evaluators.evidence import RunScores
from experiments.gates.decide import decide
from experiments.gates.records import Asked, Cause, Decision, GateDecision, MetricFacts
from server.gate_policy import read_policy
from tests.experiments.gates.evidence import NOW

OUTCOMES = Path(__file__).resolve().parents[4] / "shared" / "data" / "tau2_trajectories" / "outcomes.csv"
PUBLISHED = 5.7e-05  # two-sided exact McNemar, in the README
POLICY = "version: 1\nevidence: {min_examples: 100}\nmetrics: [{metric: success, margin: 0.05}]\n"
pytestmark = pytest.mark.skipif(not OUTCOMES.exists(), reason="the recorded outcomes of tau2 are not there")


def run(arm: str) -> RunScores:
    rows = []
    with OUTCOMES.open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["arm"] in (arm, f"{arm}_nouser"):
                domain = row["domain"] + ("_nouser" if row["arm"].endswith("_nouser") else "")
                example = {"example_id": f"{domain}-{row['task_id']}", "trial": int(row["trial"]), "stratum": domain}
                rows.append({**example, "metric": "success", "value": float(row["success"])})
    return RunScores(
        run_id=f"run_{arm}",
        app="tau2",
        release=arm,
        dataset="tau2",
        dataset_version=1,
        content_hash="00" * 32,
        k=1,
        finished_at_ns=NOW,
        status="done",
        evaluators={"success": "1"},
        rows=pl.DataFrame(rows),
    )


def asked(candidate: str, baseline: str) -> Decision:
    about = Asked(app="tau2", candidate=candidate, baseline=baseline)
    facts = {"success": MetricFacts(low=0.0, high=1.0)}
    return decide(run(baseline), run(candidate), read_policy(POLICY), about, facts=facts, now_ns=NOW)


def test_the_fine_tuned_model_passes_and_where_it_gained_nothing_is_said() -> None:
    told = asked("gpt-4.1_sft", "gpt-4.1_base")
    assert told.decision is GateDecision.PASS
    found = told.metrics[0].measured
    assert found is not None
    assert (found.n, round(found.baseline_mean * 140), round(found.candidate_mean * 140)) == (140, 82, 111)
    counts = {
        one.stratum: (
            one.measured.n,
            round(one.measured.baseline_mean * one.measured.n),
            round(one.measured.candidate_mean * one.measured.n),
        )
        for one in told.strata
    }
    assert counts == {
        "airline": (20, 10, 13),
        "retail": (40, 34, 34),
        "telecom": (40, 18, 30),
        "telecom_nouser": (40, 20, 34),
    }
    notes = {one.stratum: one for one in told.reasons if one.cause is Cause.NO_GAIN}
    assert set(notes) == {"airline", "retail"}
    assert "nothing gained, 0.85 against 0.85, difference 0 " in notes["retail"].text


def test_the_other_way_round_it_fails_with_the_published_p() -> None:
    told = asked("gpt-4.1_base", "gpt-4.1_sft")
    assert told.decision is GateDecision.FAIL
    one_sided = told.metrics[0].p_adjusted
    assert one_sided is not None
    assert 2 * one_sided == pytest.approx(PUBLISHED, rel=0.01)
