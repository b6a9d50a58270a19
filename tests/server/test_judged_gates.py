"""Verdicts over the trials of runs: metrics of the run, which a gate takes only while their judge is certified."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.records import EvaluatorKind, Principal, Role, TargetKind
from evaluators.evidence import RunScores, read_run
from judges.records import JudgeSpec
from judges.stored import rubric_record, spec_json
from server.cli.main import main
from server.cli.outcome import ExitCode
from store.control.certificates import DAY_NS
from store.control.judge_records import CalibrationState, JudgeCalibration
from store.scores import NewScore, append_scores
from tests.experiments.gates.evidence import run
from tests.judges.stored import RUBRIC, judge_of
from tests.server.gate_runs import keep
from tests.server.shell import AIRLINE, Shell, running_shell

N, K = 40, 2
BY = Principal(tenant=AIRLINE, role=Role.POWER_USER, name="ann")
JUDGE = judge_of()
POLICY = """version: 1
dataset: golden
evidence: {min_examples: 30, min_trials: 2}
metrics:
  - {metric: helpfulness, role: primary, margin: 0.2}
  - {metric: tool_f1, role: guardrail, margin: 0.1}
"""


def named(release: str, **other: Any) -> RunScores:
    made = run(release, n=N, k=K, **other)
    rows = made.rows.with_columns(
        metric=made.rows["metric"].replace({"correctness": "answer_match", "grounding": "tool_f1"})
    )
    return replace(made, rows=rows, evaluators={"answer_match": "1", "tool_f1": "2", "latency_ms": "1"})


def judge_run(shell: Shell, run_id: str, chance: float, spec: JudgeSpec = JUDGE, *, missing: int = 0) -> None:
    """The judge's verdicts over every trial of a run; the first `missing` have none."""
    rng = np.random.default_rng(int(chance * 100))
    scores: list[NewScore] = []
    ids: list[str] = []
    for number in range(N):
        for trial in range(K):
            passed = rng.random() < chance
            label = None if len(scores) < missing else ("pass" if passed else "fail")
            example = f"ex_{number:04d}"
            scores.append(
                NewScore(
                    evaluator=spec.name,
                    evaluator_version=spec.version,
                    evaluator_kind=EvaluatorKind.JUDGE,
                    target=TargetKind.EXAMPLE,
                    session_id=f"{run_id}.{example}.{trial}",
                    value=None if label is None else RUBRIC.value_of(label),
                    label=label,
                    unscored="refused" if label is None else None,
                    metadata={"run_id": run_id, "example_id": example, "trial": trial, "app": "desk"},
                )
            )
            ids.append(f"judge_{spec.version}.{run_id}.{example}.{trial}")
    services = shell.services
    append_scores(services.store.tenant(AIRLINE), scores, ids=ids, author="judge", now_ns=services.clock())


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    with running_shell(tmp_path_factory.mktemp("judged")) as running:
        services = running.services
        services.control.add_rubric(rubric_record(AIRLINE, RUBRIC), by=BY)
        services.control.put_judge(AIRLINE, JUDGE.name, JUDGE.version, spec_json(JUDGE), by=BY)
        for release, better, chance in (("v1", 0.0, 0.6), ("v2", 0.08, 0.8), ("v3", 0.0, 0.05)):
            keep(services, AIRLINE, named(release, better=better))
            judge_run(running, f"run_{release}", chance)
        yield running


def calibration(shell: Shell, state: CalibrationState, *, app: str | None = None, age_days: float = 0.0) -> None:
    now = shell.services.clock()
    shell.services.control.put_calibration(
        JudgeCalibration(
            tenant=AIRLINE,
            judge=JUDGE.name,
            version=JUDGE.version,
            at_ns=now - round(age_days * DAY_NS),
            state=state,
            report={"reason": f"it was {state.value}", "app": app},
            kappa_low=0.742 if state is CalibrationState.CERTIFIED else 0.4,
            kappa_high=0.86,
            bar=0.7,
            n=220,
        )
    )


def ask(shell: Shell, candidate: str = "v2", **other: Any) -> dict[str, Any]:
    body = {"candidate": candidate, "baseline": "v1", "policy": POLICY, **other}
    found = shell.client.post("/api/v1/gates/desk/decide", json=body, headers=shell.headers(Role.USER))
    assert found.status_code == 200, found.text
    told: dict[str, Any] = found.json()
    return told


def reason(told: dict[str, Any], cause: str) -> str:
    (one,) = [one for one in told["reasons"] if one["cause"] == cause]
    return str(one["text"])


def test_verdicts_are_a_metric_of_the_run_in_the_judges_version(shell: Shell) -> None:
    services = shell.services
    store = services.store.tenant(AIRLINE)
    found = read_run(services.control, store, AIRLINE, "run_v1")
    assert found.judges == frozenset({"helpfulness"})
    assert found.evaluators["helpfulness"] == JUDGE.version
    rows = found.rows.filter(found.rows["metric"] == "helpfulness")
    assert rows.height == N * K
    assert rows["value"].is_not_null().all()
    assert rows["stratum"].n_unique() == 2


def test_what_a_judge_did_not_say_is_missing_with_its_reason(shell: Shell) -> None:
    other = judge_of(name="another")
    services = shell.services
    services.control.put_judge(AIRLINE, other.name, other.version, spec_json(other), by=BY)
    keep(services, AIRLINE, replace(named("v9"), run_id="run_v9"))
    judge_run(shell, "run_v9", 0.5, other, missing=3)
    found = read_run(services.control, services.store.tenant(AIRLINE), AIRLINE, "run_v9").rows
    assert found.filter(found["metric"] == "another")["unscored"].drop_nulls().to_list() == ["refused"] * 3
    assert found.filter(found["metric"] == "helpfulness").is_empty()


def test_the_state_of_the_judge_decides_whether_the_gate_may(shell: Shell, tmp_path: Path) -> None:
    never = ask(shell)
    assert never["decision"] == "inconclusive"
    assert "never calibrated" in reason(never, "uncertified_judge")

    calibration(shell, CalibrationState.CERTIFIED, app="shop")
    assert "calibrated on shop, not on desk" in reason(ask(shell), "uncertified_judge")

    calibration(shell, CalibrationState.CERTIFIED, app="desk")
    passed = ask(shell)
    assert passed["decision"] == "pass"
    assert "kappa 0.742 to 0.860 over 220 labels, 0.7 needed" in reason(passed, "certified_judge")
    worse = ask(shell, "v3")
    assert worse["decision"] == "fail"

    calibration(shell, CalibrationState.UNDETERMINED)
    fallen = ask(shell, "v3")
    assert fallen["decision"] == "inconclusive"
    assert "it was undetermined" in reason(fallen, "uncertified_judge")

    for told, code in ((passed, ExitCode.OK), (worse, ExitCode.FAILED), (fallen, ExitCode.INCONCLUSIVE)):
        address = f"/api/v1/gates/{told['gate_id']}/bundle"
        body = shell.client.get(address, headers=shell.headers(Role.VIEWER)).content
        bundle = tmp_path / f"{told['gate_id']}.json"
        bundle.write_bytes(body)
        assert main(["gate", "verify", str(bundle)]) == code  # offline, whatever holds of the judge by now
        assert json.loads(body)["judges"]["helpfulness"]["version"] == JUDGE.version


def test_a_certificate_that_is_too_old_decides_nothing(shell: Shell) -> None:
    services = replace(shell.services, clock=lambda: shell.services.clock() + 100 * DAY_NS)
    calibration(shell, CalibrationState.CERTIFIED)
    from server.calibrating import certificate

    assert not certificate(services, AIRLINE, JUDGE.name, app="desk").certified
    calibration(shell, CalibrationState.UNDETERMINED)


def test_a_comparison_marks_what_an_uncertified_judge_gave(shell: Shell) -> None:
    body = {"run_a": "run_v1", "run_b": "run_v3"}

    def compared() -> dict[str, Any]:
        found = shell.client.post("/api/v1/comparisons", json=body, headers=shell.headers(Role.VIEWER))
        assert found.status_code == 200, found.text
        told: dict[str, Any] = found.json()
        return told

    calibration(shell, CalibrationState.UNDETERMINED)
    told = compared()
    by_name = {one["metric"]: one for one in told["metrics"]}
    assert by_name["helpfulness"]["judge"]["state"] == "undetermined"
    assert by_name["tool_f1"]["judge"] is None
    assert by_name["helpfulness"]["finding"] == "worse"
    assert any("helpfulness is given by a judge that may not decide" in note for note in told["notes"])
    calibration(shell, CalibrationState.CERTIFIED)
    assert not [note for note in compared()["notes"] if "may not decide" in note]


def test_a_second_version_of_the_judge_holds_once_it_judged_last(shell: Shell) -> None:
    services = shell.services
    warm = judge_of(temperature=0.5)
    keep(services, AIRLINE, replace(named("v7"), run_id="run_v7"))
    judge_run(shell, "run_v7", 0.6)
    judge_run(shell, "run_v7", 0.61, warm)
    found = read_run(services.control, services.store.tenant(AIRLINE), AIRLINE, "run_v7")
    assert found.evaluators["helpfulness"] == warm.version
    assert found.rows.filter(found.rows["metric"] == "helpfulness").height == N * K
