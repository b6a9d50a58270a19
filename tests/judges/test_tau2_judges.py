"""The stored verdicts of real judges, imported and calibrated end to end: the figures of the data's README."""

from __future__ import annotations

import asyncio
import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.clock import NS_PER_S
from judges.imported import ImportedItem
from judges.records import Rubric, ScaleKind
from judges.service_calibration import Asked, conclude, gather, run_canaries
from judges.service_labels import LabelService
from judges.service_verdicts import Origin, import_verdicts
from judges.stored import rubric_record
from server.cli.judges_calibrate import lines_of
from store.control.judge_records import CalibrationState, JudgeCalibration
from tests.judges.stored import ACME, ANN, Kept

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "tau2_judges" / "judge_verdicts_flat.csv"
NOW = 1_800_000_000 * NS_PER_S
KAPPAS = {
    "customer_outcome_v1": -0.163,
    "policy_chain_of_thought_v1": -0.079,
    "policy_conversation_v1": 0.368,
    "quick_triage_v1": 0.063,
}
RUBRIC = Rubric(
    name="resolved",
    version=1,
    kind=ScaleKind.PASS_FAIL,
    labels=("fail", "pass"),
    passing=frozenset({"pass"}),
    text="Was the user's matter resolved as the policy wants it?",
    aliases={
        **dict.fromkeys(("satisfied", "satisfactory", "compliant", "correct"), "pass"),
        **dict.fromkeys(("failure", "unsatisfied", "unsatisfactory"), "fail"),
    },
)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    if not DATA.is_file():
        pytest.skip("tau2_judges is not in ../shared/data")
    found = Kept(tmp_path_factory.mktemp("tau2"), clock=lambda: NOW)
    found.control.add_rubric(rubric_record(ACME, RUBRIC), by=ANN)
    for name in KAPPAS:
        imported(found, RUBRIC, name, name)
    return found


def imported(kept: Kept, rubric: Rubric, prompt: str, judge: str) -> None:
    """The airline verdicts of a prompt, with the programmatic truth."""
    with DATA.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if (row["domain"], row["judge_prompt"]) == ("airline", prompt)]
    items = [
        ImportedItem(
            session_id=row["simulation_id"],
            verdict=row["judge_verdict"],
            outcome="pass" if row["tau2_success"] == "True" else "fail",
            at_ns=NOW,
        )
        for row in rows
    ]
    service = LabelService(control=kept.control, store=kept.store, clock=kept.clock)
    origin = Origin(rubric=rubric, judge=judge, model=rows[0]["judge_model"], app="airline")
    told = import_verdicts(service, origin, items, dry_run=False, by=ANN)
    assert (told.n_verdicts, told.n_outcomes, list(told.refused)) == (len(items), len(items), [])


def calibrated(kept: Kept, judge: str) -> JudgeCalibration:
    async def never(*_: Any) -> Any:
        raise AssertionError("a judge from elsewhere is not asked")

    asked = Asked(judge=judge)
    found = asyncio.run(run_canaries(gather(kept.control, kept.tenant, ACME, asked), never))
    return conclude(kept.control, ACME, found, asked, now_ns=NOW, by=ANN)


@pytest.mark.parametrize(("judge", "kappa"), KAPPAS.items())
def test_the_four_kappas_and_none_of_these_judges_may_decide(kept: Kept, judge: str, kappa: float) -> None:
    made = calibrated(kept, judge)
    found = made.report["agreement"]["kappa"]["estimate"]
    assert round(found["value"], 3) == kappa
    assert found["interval"]["low"] < kappa < found["interval"]["high"]
    assert made.report["label_kinds"] == {"outcome": found["n"]}
    assert made.state is CalibrationState.FAILED
    assert "came from elsewhere" in made.report["canaries"]["why"]


def test_it_is_said_that_quick_triage_passes_nearly_everything(kept: Kept) -> None:
    report = calibrated(kept, "quick_triage_v1").report
    text = "\n".join(lines_of(report))
    assert "It passes nearly everything: " in text
    (fail, passed) = report["agreement"]["counts"]
    n = sum(fail) + sum(passed)
    assert (fail[1] + passed[1]) / n == pytest.approx(report["pass_rates"]["judge"])
    assert report["pass_rates"]["judge"] > 0.9 > report["pass_rates"]["people"] + 0.1


def test_without_the_rubrics_map_drifted_words_are_missing_and_no_class(kept: Kept) -> None:
    bare = replace(RUBRIC, name="resolved_bare", aliases={})
    imported(kept, bare, "policy_chain_of_thought_v1", "bare")
    agreed = calibrated(kept, "bare").report["agreement"]
    mapped = calibrated(kept, "policy_chain_of_thought_v1").report["agreement"]
    assert mapped["missing"] == {}
    assert agreed["missing"] == {"label_not_offered": mapped["n"] - agreed["n"]}
    assert agreed["n"] < mapped["n"]
    assert agreed["labels"] == ["fail", "pass"]
