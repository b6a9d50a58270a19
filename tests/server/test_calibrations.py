"""Calibrations at the API: a judge asked over HTTP, labels in the lake, and what gates are told of it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from core.records import EvaluatorKind, Principal, Role, TargetKind
from judges.canaries import SOURCES
from judges.records import JudgeSpec, ModelRef
from judges.stored import rubric_record, spec_json
from server.cli import judges_calibrate
from store.scores import NewScore, append_scores
from tests.judges.answering import ModelServer, Said, model_server, verdict
from tests.judges.stored import RUBRIC, judge_of
from tests.server.shell import AIRLINE, SHOP, Shell, running_shell, served
from tests.store.build import agent_trace, fill

BY = Principal(tenant=AIRLINE, role=Role.POWER_USER, name="ann")
N = 150


def reads(_: int, body: dict[str, Any]) -> Said:
    """A model that passes what answers the question that was asked, and nothing else."""
    text = str(body["messages"])
    numbers = [set(re.findall(rf"{word} ([0-9]+)", text)) for word in ("question", "answer")]
    return verdict("pass" if numbers[0] & numbers[1] else "fail")


@pytest.fixture(scope="module")
def model() -> Iterator[ModelServer]:
    with model_server(reads) as running:
        yield running


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory, model: ModelServer) -> Iterator[Shell]:
    patch = pytest.MonkeyPatch()
    patch.setattr("server.judge_traces.PAUSES_S", ())  # no collector runs here
    patch.setenv("ASSAY_JUDGE_KEY_TEST", "k")
    with running_shell(tmp_path_factory.mktemp("calibrations"), collector_url="http://127.0.0.1:9") as running:
        keep(running, judge(model), right=0.97)
        yield running
    patch.undo()


def judge(model: ModelServer, name: str = "helpfulness") -> JudgeSpec:
    ref = ModelRef(provider="openai", model="reads", url=f"{model.url}/v1", key_env="ASSAY_JUDGE_KEY_TEST")
    return judge_of(name=name, models=(ref,))


def keep(shell: Shell, spec: JudgeSpec, *, right: float) -> None:
    """A judge with verdicts over stored sessions and labels of them, of which it has `right` right."""
    services = shell.services
    services.control.add_rubric(rubric_record(AIRLINE, RUBRIC), by=BY)
    services.control.put_judge(AIRLINE, spec.name, spec.version, spec_json(spec), by=BY)
    rows = [one for k in range(30) for one in agent_trace(k + 1, session_id=f"s{k}", app="desk", tenant="airline")]
    fill(services.lake, rows)
    rng = np.random.default_rng(5)
    truth = rng.random(N) < 0.6
    said = np.where(rng.random(N) < right, truth, ~truth)
    scores, ids = [], []
    for k in range(N):
        same: dict[str, Any] = {"target": TargetKind.SESSION, "session_id": f"s{k}"}
        label, told = (("fail", "pass")[int(one)] for one in (truth[k], said[k]))
        scores += [
            NewScore(
                evaluator=spec.name, evaluator_version=spec.version, evaluator_kind=EvaluatorKind.JUDGE, label=told,
                value=RUBRIC.value_of(told), explanation=f"because {k}", metadata={"app": "desk", "release": "v1"},
                **same,
            ),
            NewScore(
                evaluator=RUBRIC.name, evaluator_version="3", evaluator_kind=EvaluatorKind.HUMAN, label=label,
                value=RUBRIC.value_of(label), explanation=f"we saw {k}", metadata={"probability": 0.2}, **same,
            ),
        ]  # fmt: skip
        ids += [f"judge_{spec.name}{k}", f"label_{spec.name}{k}"]
    append_scores(services.store.tenant(AIRLINE), scores, ids=ids, author="test", now_ns=services.clock())


def ask(shell: Shell, method: str, path: str, role: Role = Role.POWER_USER, tenant: Any = AIRLINE, **body: Any) -> Any:
    address, headers = f"/api/v1/judges/{path}", shell.headers(role, tenant)
    if method == "POST":
        return shell.client.post(address, headers=headers, json=body)
    return shell.client.get(address, headers=headers, params=body)


@pytest.fixture(scope="module")
def made(shell: Shell) -> dict[str, Any]:
    found = ask(shell, "POST", "helpfulness/calibrations")
    assert found.status_code == 201, found.text
    told: dict[str, Any] = found.json()
    return told


def test_the_model_is_asked_every_canary_and_the_judge_certified(made: dict[str, Any], model: ModelServer) -> None:
    assert made["state"] == "certified"
    assert made["kappa_low"] >= made["bar"] == 0.7
    assert made["canaries_passed"] is True
    assert made["report"]["canaries"]["n_sources"] == SOURCES
    n_calls = made["report"]["canaries"]["usage"]["n_calls"]
    assert n_calls == 3 * SOURCES + 2 * made["report"]["canaries"]["injection"]["n"]
    assert len(model.asked) >= n_calls


def test_it_is_listed_and_read_whole(shell: Shell, made: dict[str, Any]) -> None:
    listed = ask(shell, "GET", "helpfulness/calibrations", Role.VIEWER).json()
    assert listed["items"][-1] == {name: made[name] for name in listed["items"][-1]}
    assert listed["certificate"]["state"] == "certified"
    assert listed["under_way"] is None
    for name in (made["calibration_id"], "newest"):
        assert ask(shell, "GET", f"helpfulness/calibrations/{name}", Role.VIEWER).json() == made


def test_the_certificate_is_what_holds_now(shell: Shell, made: dict[str, Any]) -> None:
    found = ask(shell, "GET", "helpfulness/certificate", Role.VIEWER, app="desk").json()
    assert (found["state"], found["version"]) == ("certified", made["version"])
    assert found["calibrated_at"] == made["at"]


def test_disagreements_are_read_side_by_side(shell: Shell, made: dict[str, Any]) -> None:
    found = ask(shell, "GET", "helpfulness/disagreements", Role.VIEWER, limit=2).json()
    counts = made["report"]["agreement"]["counts"]
    assert found["n"] == counts[0][1] + counts[1][0] > 0
    assert found["n_labels"] == N
    first = found["items"][0]
    number = first["session_id"].removeprefix("s")
    assert {first["verdict"], first["label"]} == {"pass", "fail"}
    assert (first["explanation"], first["label_explanation"]) == (f"because {number}", f"we saw {number}")
    none = ask(shell, "GET", "helpfulness/disagreements", Role.VIEWER, app="shop").json()
    assert (none["items"], none["n"]) == ([], 0)


def test_a_forecast_asks_nothing(shell: Shell, made: dict[str, Any], model: ModelServer) -> None:
    before = len(model.asked)
    found = ask(shell, "POST", "helpfulness/calibrations/forecast", Role.USER).json()
    assert (found["n_labels"], found["n_calls"]) == (N, made["report"]["canaries"]["usage"]["n_calls"])
    assert len(model.asked) == before


def test_a_certificate_that_is_too_old_holds_no_more(shell: Shell, made: dict[str, Any], tmp_path: Path) -> None:
    from dataclasses import replace

    from server.calibrating import certificate

    later = replace(shell.services, clock=lambda: shell.services.clock() + 91 * 86_400 * 10**9)
    assert certificate(shell.services, AIRLINE, "helpfulness").certified
    assert "91 days ago" in certificate(later, AIRLINE, "helpfulness").reason
    for services, state in ((shell.services, "certified"), (later, "undetermined")):
        with served(services) as url:
            items = httpx.get(f"{url}/api/v1/judges", headers=shell.headers(Role.VIEWER, AIRLINE)).json()["items"]
        assert [one["state"] for one in items if one["name"] == "helpfulness"] == [state]


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "nobody/calibrations", {}, 404),
        ("POST", "nobody/calibrations/forecast", {}, 404),
        ("GET", "nobody/calibrations", {}, 404),
        ("GET", "nobody/certificate", {}, 404),
        ("GET", "nobody/disagreements", {}, 404),
        ("GET", "helpfulness/calibrations/other", {}, 404),
        ("GET", "helpfulness/certificate", {"version": "other"}, 404),
        ("POST", "helpfulness/calibrations", {"bar": 1.5}, 422),
        ("POST", "helpfulness/calibrations", {"since": "soon"}, 422),
        ("POST", "helpfulness/calibrations", {"bars": 0.5}, 422),
        ("GET", "helpfulness/calibrations", {"limit": 0}, 422),
    ],
)
def test_what_cannot_be_asked_is_refused(
    shell: Shell, method: str, path: str, body: dict[str, Any], status: int
) -> None:
    assert ask(shell, method, path, **body).status_code == status


def test_another_tenant_sees_nothing_of_it(shell: Shell, made: dict[str, Any]) -> None:
    for path in ("helpfulness/calibrations", "helpfulness/certificate", "helpfulness/disagreements"):
        assert ask(shell, "GET", path, tenant=SHOP).status_code == 404


def test_who_only_reads_calibrates_nothing(shell: Shell) -> None:
    assert ask(shell, "POST", "helpfulness/calibrations", Role.USER).status_code == 403


def test_a_second_calibration_at_the_same_time_is_refused(shell: Shell) -> None:
    shell.services.calibrating.begin(AIRLINE, "helpfulness")
    try:
        assert ask(shell, "POST", "helpfulness/calibrations").status_code == 409
        assert ask(shell, "GET", "helpfulness/calibrations").json()["under_way"]["stage"] == "reading"
    finally:
        shell.services.calibrating.end(AIRLINE, "helpfulness")


def test_a_model_without_its_key_is_wrong_configuration(shell: Shell, model: ModelServer) -> None:
    ref = ModelRef(provider="openai", model="reads", url=f"{model.url}/v1", key_env="ASSAY_JUDGE_KEY_NOT_SET")
    keep(shell, judge_of(name="keyless", models=(ref,)), right=1.0)
    found = ask(shell, "POST", "keyless/calibrations")
    assert found.status_code == 422
    assert "ASSAY_JUDGE_KEY_NOT_SET" in found.text
    assert ask(shell, "GET", "keyless/calibrations").json()["under_way"] is None


def test_the_report_in_lines_has_each_part(made: dict[str, Any]) -> None:
    text = "\n".join(judges_calibrate.lines_of(made["report"]))
    for words in (
        "150 pairs of verdict and label", "kappa            0.9", "one-sided bounds", "people v  judge >",
        "sensitivity", "human ceiling    none", "length           log odds", "asked again      another verdict for",
        "stood", "attack success", "calls, no price is known",
    ):  # fmt: skip
        assert words in text, f"{words} in\n{text}"


def test_the_keys_of_canaries_are_revoked(shell: Shell, made: dict[str, Any]) -> None:
    keys = [one for one in shell.services.control.list_keys(AIRLINE) if one.name.startswith("judges of")]
    assert keys
    assert all(one.revoked_at_ns is not None for one in keys)


def test_a_report_is_plain_json_without_nan(made: dict[str, Any]) -> None:
    assert json.loads(json.dumps(made, allow_nan=False)) == made
