"""Answers of two runs judged in pairs: both orders, no metric of a run, and what they show of a judge's leanings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from core.records import Principal, Role
from evaluators.evidence import read_run
from store.control.run_records import RunSource, RunSpec, RunStatus, TrialRecord, TrialStatus
from tests.judges.answering import Said, verdict
from tests.judges.judged import WINDOW, Court, court
from tests.server.shell import AIRLINE
from tests.store.build import agent_trace, fill

RUBRIC = "---\nname: better\nversion: 1\nkind: pairwise\nlabels: [A, B, tie]\n---\nWhich answer is better?\n"
BY = Principal(tenant=AIRLINE, role=Role.USER, name="a run")


def keep(it: Court, run_id: str, answers: list[str], dataset: str = "golden") -> None:
    """A run whose trials gave these answers; the last one failed."""
    spec = RunSpec(
        app="airline", release="v1", dataset=dataset, dataset_version=1, content_hash="0" * 64, evaluators=(), k=1,
        source=RunSource.FILE, params={},
    )  # fmt: skip
    trials = [
        TrialRecord(
            run_id=run_id, example_id=f"ex{n}", trial=0, position=n, session_id=f"{run_id}.{n}", stratum=None,
            status=TrialStatus.DONE if n < len(answers) - 1 else TrialStatus.FAILED, output=text,
        )
        for n, text in enumerate(answers)
    ]  # fmt: skip
    control = it.shell.services.control
    control.start_run(AIRLINE, run_id, spec, trials, by=BY)
    control.put_trials(AIRLINE, trials)
    control.end_run(AIRLINE, run_id, RunStatus.DONE, reason=None, summary={})


def polite(index: int, body: dict[str, Any]) -> Said:
    """Prefers what is polite wherever it stands, and of two that are alike the first that it reads."""
    text = str(body["messages"])
    return verdict("B" if "curt" in text and text.index("curt") < text.index("polite") else "A")


def test_two_runs_are_judged_in_pairs_in_both_orders(tmp_path: Path) -> None:
    with court(tmp_path, polite, n=1) as it:
        it.judge(name="better", rubric=RUBRIC)
        keep(it, "run_new", ["alike", *[f"a polite answer {'!' * n}" for n in range(10)], "none"])
        keep(it, "run_old", ["alike", *[f"curt {'.' * (3 * n)}" for n in range(10)], "none"])
        job = it.judged("better", run_id="run_new", against="run_old")
        assert (job["status"], job["n_targets"], job["n_calls"]) == ("done", 11, 22)
        assert (job["n_done"], job["missing"]) == (10, {"panel_disagreed": 1}), "of two alike it took the first"
        assert job["params"]["against"] == "run_old"
        scores = {one["session_id"]: one for one in it.scores("better")}
        assert {one["label"] for one in scores.values()} == {"A", None}
        assert '"against": "run_old"' in scores["run_new.1"]["metadata"].replace('":"', '": "')
        services = it.shell.services
        found = read_run(services.control, services.store.tenant(AIRLINE), AIRLINE, "run_new")
        assert "better" not in found.evaluators, "which of two is better is no metric of one run"
        told = it.ask("POST", "judges/better/calibrations", 201, json={"canaries": False})
        biases = told["report"]["biases"]
        assert (biases["order"]["n"], round(biases["order"]["consistency"]["value"], 3)) == (11, 0.909)
        assert biases["length_controlled"]["n"] == 10, "the answers' lengths are kept with the verdict"
        assert biases["length_controlled"]["raw"]["value"] == 1.0


def test_sessions_that_a_run_made_are_no_traffic(tmp_path: Path) -> None:
    with court(tmp_path, polite, n=3) as it:
        fill(it.shell.services.lake, agent_trace(999, at_s=5, tenant=AIRLINE, session_id="run_new.1.0"))
        it.judge()
        wanted = {"app": "airline", **WINDOW}
        assert it.ask("POST", "judges/resolution/forecast", json=wanted)["n_all"] == 4, "named so by chance"
        it.ask("POST", "label-queues", 201, json={"name": "people", "app": "airline", "rubric": "resolution"})
        sample = {"n": 4, "dry_run": True, **WINDOW}
        assert it.ask("POST", "label-queues/people/sample", json=sample)["n_population"] == 4
        keep(it, "run_new", ["one", "none"])
        assert it.ask("POST", "judges/resolution/forecast", json=wanted)["n_all"] == 3
        assert it.ask("POST", "label-queues/people/sample", json=sample)["n_population"] == 3


def test_one_order_is_drawn_by_a_seed_that_the_job_keeps(tmp_path: Path) -> None:
    with court(tmp_path, polite, n=1) as it:
        it.judge(name="better", rubric=RUBRIC, both_orders=False)
        keep(it, "run_new", [*[f"polite {n}" for n in range(12)], "none"])
        keep(it, "run_old", [*[f"curt {n}" for n in range(12)], "none"])
        job = it.judged("better", run_id="run_new", against="run_old")
        assert (job["n_calls"], job["n_done"]) == (12, 12)
        assert job["params"]["order_seed"] > 0
        assert {one["label"] for one in it.scores("better")} == {"A"}, "labels name the answers as they are stored"
        shown = {str(body["messages"]).index("curt") < str(body["messages"]).index("polite") for body in it.model.asked}
        assert shown == {True, False}


def test_what_is_no_pair_is_refused(tmp_path: Path) -> None:
    with court(tmp_path, polite, n=1, works=False) as it:
        it.judge()
        it.judge(name="better", rubric=RUBRIC)
        for name, dataset in (("run_new", "golden"), ("run_old", "golden"), ("run_other", "silver")):
            keep(it, name, ["polite", "curt", "none"], dataset)
        assert "name the run" in it.run("better", 422, run_id="run_new")["detail"]
        assert "takes no second run" in it.run("resolution", 422, run_id="run_new", against="run_old")["detail"]
        assert "same run" in it.run("better", 422, run_id="run_new", against="run_new")["detail"]
        assert "another dataset" in it.run("better", 422, run_id="run_new", against="run_other")["detail"]
        assert "name both" in it.run("better", 422, against="run_new")["detail"]
        assert "the run to compare it with" in it.run("better", 422)["detail"], "live traffic has no pairs"
        it.run("better", 404, run_id="run_new", against="run_nobody")


def test_people_see_the_pairs_that_the_judge_saw(tmp_path: Path) -> None:
    with court(tmp_path, polite, n=1) as it:
        it.judge(name="better", rubric=RUBRIC)
        keep(it, "run_new", [*[f"a polite answer {n}" for n in range(6)], "none"])
        keep(it, "run_old", [*[f"curt {n}" for n in range(6)], "none"])
        it.judged("better", run_id="run_new", against="run_old")
        it.ask("POST", "label-queues", 201, json={"name": "pairs", "app": "airline", "judge": "better"})
        drawn = it.ask("POST", "label-queues/pairs/sample", json={"since": "1d", "n": 6, "judge": "better"})
        assert drawn["n_new"] == 6
        for _ in range(6):
            told = it.ask("POST", "label-queues/pairs/next", role=Role.USER)
            assert told["content"]["pair"]
            texts = {part["name"]: part["entries"][0] for part in told["content"]["parts"]}
            assert "polite" in texts["answer_1"]["answer"], "the first answer is the first run's"
            assert "curt" in texts["answer_2"]["answer"]
            task = told["task"]["task_id"]
            answers = f"label-queues/pairs/tasks/{task}/annotations"
            it.ask("POST", answers, role=Role.USER, json={"labels": ["B"]})
        made = it.ask("POST", "judges/better/calibrations", 201, json={"canaries": False})
        assert (made["n"], made["report"]["agreement"]["agreement"]["value"]) == (6, 0.0)
