"""Gates at the API and on the command line, over runs in the real databases."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.records import Role
from server.cli.main import main
from server.cli.outcome import ExitCode
from store.control.run_records import RunStatus
from tests.experiments.gates.evidence import run
from tests.server.gate_runs import keep
from tests.server.shell import AIRLINE, SHOP, Shell, running_shell, served

POLICY = """version: 1
dataset: golden
evidence: {min_examples: 30, min_trials: 2}
metrics:
  - {metric: answer_match, role: primary, margin: 0.1}
  - {metric: tool_f1, role: guardrail, margin: 0.1}
  - {metric: latency_ms, role: guardrail, margin: "20%"}
"""
LEFT = "version: 1\ndataset: left\nmetrics: [{metric: complaints, margin: 0.1}]\n"
N = 40


def named(release: str, **other: Any) -> Any:
    """A run with evaluators of the catalogue."""
    made = run(release, n=N, k=2, **other)
    renamed = {"correctness": "answer_match", "grounding": "tool_f1"}
    rows = made.rows.with_columns(metric=made.rows["metric"].replace(renamed))
    evaluators = {renamed.get(name, name): version for name, version in made.evaluators.items()}
    return replace(made, rows=rows, evaluators=evaluators)


def only_scores(made: Any, run_id: str) -> Any:
    """A run scored by an own evaluator that is not in the folder any more, on another dataset."""
    rows = made.rows.with_columns(metric=made.rows["metric"].replace({"answer_match": "complaints"}))
    versions = {"complaints" if name == "answer_match" else name: one for name, one in made.evaluators.items()}
    return replace(made, run_id=run_id, rows=rows, evaluators=versions, dataset="left")


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    folder = tmp_path_factory.mktemp("gates")
    with running_shell(folder) as running:
        services = running.services
        for made in (named("v1"), named("v2", better=0.08), named("v3", better=-0.45)):
            keep(services, AIRLINE, made)
        keep(services, AIRLINE, replace(named("v1"), run_id="run_short_try"), limit=5)
        keep(services, AIRLINE, named("v4"), ends=RunStatus.FAILED)
        keep(services, AIRLINE, named("v5", better=0.08))
        keep(services, AIRLINE, replace(named("v5"), run_id="run_later"), ends=None)
        keep(services, AIRLINE, named("v6", better=0.08))
        keep(services, AIRLINE, replace(named("v6"), run_id="run_stopped"), ends=RunStatus.CANCELLED)
        keep(services, AIRLINE, only_scores(named("v1"), "run_left_v1"))
        keep(services, AIRLINE, only_scores(named("v2", better=0.08), "run_left_v2"))
        policies = services.settings.data / "gates"
        policies.mkdir()
        (policies / "release.yaml").write_text(POLICY)
        yield running


def ask(shell: Shell, role: Role = Role.USER, tenant: Any = AIRLINE, **body: Any) -> Any:
    given = {"candidate": "v2", "baseline": "v1", "policy": POLICY, **body}
    given = {name: value for name, value in given.items() if value is not None}
    return shell.client.post("/api/v1/gates/desk/decide", json=given, headers=shell.headers(role, tenant))


def get(shell: Shell, path: str = "", tenant: Any = AIRLINE) -> Any:
    return shell.client.get(f"/api/v1/gates{path}", headers=shell.headers(Role.VIEWER, tenant))


def test_a_better_release_passes_and_is_kept_with_its_evidence(shell: Shell) -> None:
    answer = ask(shell)
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert told["decision"] == "pass", told["reasons"]
    assert (told["dataset"], told["made_by"]) == ("golden", "user of airline")
    assert [one["metric"] for one in told["metrics"]] == ["answer_match", "tool_f1", "latency_ms"]
    assert all(one["finding"] == "held" and one["measured"]["n"] == N for one in told["metrics"])
    assert {one["stratum"] for one in told["strata"]} == {"refund", "booking"}
    assert (told["candidate_run"]["run_id"], told["baseline_run"]["run_id"]) == ("run_v2", "run_v1")  # no short try
    assert told["worst"][0]["candidate_session"].startswith("run_v2.ex_")
    again = get(shell, f"/{told['gate_id']}").json()
    assert again == told
    assert get(shell).json()["items"][0]["gate_id"] == told["gate_id"]
    assert get(shell, "?app=other").json()["items"] == []
    bundle = get(shell, f"/{told['gate_id']}/bundle").json()
    assert bundle["digest"] == told["digest"]
    record = next(one for one in shell.services.control.list_audit(AIRLINE) if one.action == "gate.decide")
    assert record.after is not None
    assert (record.resource, record.after["digest"]) == (f"gate/{told['gate_id']}", told["digest"])


def test_a_worse_release_fails_and_names_the_sessions(shell: Shell) -> None:
    told = ask(shell, candidate="v3", links="http://127.0.0.1:8501").json()
    assert told["decision"] == "fail"
    assert told["reasons"][0]["cause"] == "harm"
    assert len(told["worst"]) == 10
    first = told["worst"][0]
    link = f"http://127.0.0.1:8501/trace_diff?a={first['baseline_session']}&b={first['candidate_session']}"
    assert link in told["markdown"]


@pytest.mark.parametrize(
    ("body", "cause"),
    [
        ({"candidate": "v9"}, "no_run"),
        ({"baseline": "v9"}, "no_run"),
        ({"candidate": "v4"}, "no_run"),  # its only run failed
        ({"candidate": "v5"}, "not_finished"),  # a later run of it waits
        ({"candidate": "v6"}, "not_finished"),  # a later run of it ended early: harm was proved, or it was cancelled
        ({"policy": POLICY.replace("0.1}", "10}", 1)}, "contradictory"),  # ten points were meant: 0.1
        ({"policy": POLICY.replace("0.1}\n  - {metric: l", "1}\n  - {metric: l")}, "contradictory"),
        ({"candidate": "v1"}, "same_run"),
        ({"candidate_run": "run_v3"}, "wrong_release"),
        ({"candidate_run": "run_v4", "candidate": "v4"}, "not_finished"),
        ({"policy": POLICY.replace("min_trials: 2", "min_trials: 3")}, "too_few_trials"),
        ({"policy": POLICY.replace("dataset: golden", "dataset: silver")}, "no_run"),
        ({"policy": POLICY.replace("answer_match", "post_conditions")}, "no_metric"),
        ({"policy": POLICY.replace("min_trials: 2", "max_age_h: 0.000001")}, "stale"),
    ],
)
def test_what_is_missing_is_inconclusive(shell: Shell, body: dict[str, Any], cause: str) -> None:
    answer = ask(shell, **body)
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert told["decision"] == "inconclusive", told["reasons"]
    assert cause in {one["cause"] for one in told["reasons"] if one["blocks"]}
    assert get(shell, f"/{told['gate_id']}").json()["decision"] == "inconclusive"


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({"policy": POLICY.replace("match", "mach")}, 422, "policy:5: metrics[0].metric: 'answer_mach' is no metric"),
        ({"policy": POLICY.replace("margin: 0.1}", "margn: 0.1}", 1)}, 422, "did you mean 'margin'?"),
        ({"policy": LEFT}, 422, "the evaluator complaints is not here any more: say its direction"),
        ({"policy": ""}, 422, "is empty"),
        ({"policy": f"{POLICY}app: shop"}, 422, "of the app 'shop', not 'desk'"),
        ({"policy": None}, 422, "one of policy"),
        ({"policy_name": "release"}, 422, "one of policy"),
        ({"policy": None, "policy_name": "missing"}, 404, "no policy missing.yaml"),
        ({"policy": None, "policy_name": "../release"}, 422, "letters"),
        ({"candidate_run": "run_none"}, 404, "no run 'run_none'"),
        ({"baseline_run": "run_none"}, 404, "no run 'run_none'"),
        ({"candidate": None}, 422, "candidate"),
        ({"candidate": "a\x00b"}, 422, "candidate"),
        ({"verdict": "pass"}, 422, "verdict"),
        ({"links": "javascript:alert(1)"}, 422, "http"),
        ({"links": "http://a@127.0.0.1/?x=1)"}, 422, "http"),
    ],
)  # fmt: skip
def test_a_wrong_question_is_refused_and_nothing_is_kept(
    shell: Shell, body: dict[str, Any], status: int, said: str
) -> None:
    n_kept = len(get(shell, "?limit=1000").json()["items"])
    answer = ask(shell, **body)
    assert answer.status_code == status, answer.text
    assert said in answer.json()["detail"]
    assert len(get(shell, "?limit=1000").json()["items"]) == n_kept


def test_decisions_belong_to_their_tenant_and_viewers_do_not_decide(shell: Shell) -> None:
    told = ask(shell, policy=None, policy_name="release").json()
    assert told["policy_name"] == "release"
    assert get(shell, tenant=SHOP).json()["items"] == []
    for path in (f"/{told['gate_id']}", f"/{told['gate_id']}/bundle", "/gate_nothing"):
        assert get(shell, path, SHOP).status_code == 404
    assert ask(shell, role=Role.VIEWER).status_code == 403
    other = ask(shell, tenant=SHOP).json()  # the other tenant's runs are not seen
    assert (other["decision"], other["reasons"][0]["cause"]) == ("inconclusive", "no_run")
    named_run = ask(shell, tenant=SHOP, candidate_run="run_v2")
    assert named_run.status_code == 404


def test_the_command_ends_as_the_gate_did(
    shell: Shell, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = tmp_path / "gate.yaml"
    policy.write_text(POLICY)
    files = {name: tmp_path / name for name in ("gate.xml", "gate.md", "gate.json")}
    with served(shell.services) as url:
        key = ("--url", url, "--key", shell.keys[AIRLINE, Role.USER])

        def gate(*words: str) -> tuple[int, str, str]:
            code = main(["gate", "desk", "--baseline", "v1", "--policy", str(policy), *key, *words])
            told = capsys.readouterr()
            return code, told.out, told.err

        written = (
            "--junit",
            str(files["gate.xml"]),
            "--markdown",
            str(files["gate.md"]),
            "--bundle",
            str(files["gate.json"]),
        )
        code, out, err = gate("--candidate", "v2", *written)
        assert (code, out.split()[0]) == (ExitCode.OK, "pass"), err
        suite = ElementTree.parse(files["gate.xml"]).getroot()
        assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("4", "0", "0")
        assert "Assay gate: pass" in files["gate.md"].read_text()
        assert main(["gate", "verify", str(files["gate.json"])]) == ExitCode.OK
        assert "verified: pass" in capsys.readouterr().out

        code, out, _ = gate("--candidate", "v3", "--junit", str(files["gate.xml"]), "--bundle", str(files["gate.json"]))
        assert (code, out.split()[0]) == (ExitCode.FAILED, "fail")
        assert ElementTree.parse(files["gate.xml"]).getroot().get("failures") in ("1", "2")
        assert main(["gate", "verify", str(files["gate.json"]), "--json"]) == ExitCode.FAILED
        assert json.loads(capsys.readouterr().out)["verified"] is True

        code, out, _ = gate("--candidate", "v9", "--junit", str(files["gate.xml"]))
        assert (code, out.split()[0]) == (ExitCode.INCONCLUSIVE, "inconclusive")
        assert int(ElementTree.parse(files["gate.xml"]).getroot().get("errors") or 0) >= 1
        code, out, _ = gate("--candidate", "v2", "--json")
        assert (code, json.loads(out)["decision"]) == (ExitCode.OK, "pass")

        policy.write_text(POLICY.replace("answer_match", "answer_mach"))
        code, _, err = gate("--candidate", "v2")
        assert code == ExitCode.USAGE
        assert "did you mean 'answer_match'" in err
        policy.write_text(POLICY)
        assert gate("--candidate", "v2", "--candidate-run", "run_none")[0] == ExitCode.USAGE
        assert gate("--candidate", "v2", "--key", "ask_0123456789ab_wrong")[0] == ExitCode.INCONCLUSIVE
        assert gate("--candidate", "v2", "--key", shell.keys[AIRLINE, Role.VIEWER])[0] == ExitCode.INCONCLUSIVE
        assert gate("--candidate", "v2", "--bundle", str(tmp_path / "no" / "where"))[0] == ExitCode.INCONCLUSIVE
    assert gate("--candidate", "v2")[0] == ExitCode.INCONCLUSIVE  # the server is away


@pytest.mark.parametrize(
    "words",
    [
        ("desk", "--candidate", "v2", "--baseline", "v1"),
        ("desk", "--candidate", "v2", "--policy", "x.yaml"),
        ("desk", "--candidate", "v2", "--baseline", "v1", "--policy", "missing.yaml"),
        ("desk", "--candidate", "v2", "--baseline", "v1", "--policy", "x", "--policy-name", "y"),
        ("desk", "file", "--candidate", "v2", "--baseline", "v1", "--policy-name", "y"),
        ("verify",),
        ("verify", "missing.json"),
        ("check",),
        (),
    ],
)
def test_wrong_arguments_are_usage(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gate", *words]) == ExitCode.USAGE
    assert capsys.readouterr().err


def test_check_says_what_is_wrong_without_a_server(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    policy = tmp_path / "gate.yaml"
    policy.write_text(POLICY)
    assert main(["gate", "check", str(policy)]) == ExitCode.OK
    policy.write_text(POLICY.replace("answer_match", "my_own").replace("alpha", "alhpa"))
    assert main(["gate", "check", str(policy)]) == ExitCode.USAGE
    assert f"{policy}:5: metrics[0].metric: 'my_own' is no metric" in capsys.readouterr().err
    assert main(["gate", "check", str(policy), "--metric", "my_own", "--json"]) == ExitCode.OK
    capsys.readouterr()
    assert main(["gate", "check", "--schema"]) == ExitCode.OK
    assert json.loads(capsys.readouterr().out)["properties"]["metrics"]
    (tmp_path / "bad.json").write_text("{")
    assert main(["gate", "verify", str(tmp_path / "bad.json")]) == ExitCode.USAGE


def test_an_altered_bundle_is_no_pass(shell: Shell, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = ask(shell, candidate="v3").json()
    bundle = get(shell, f"/{told['gate_id']}/bundle").json()
    bundle["decision"]["decision"] = "pass"
    (tmp_path / "gate.json").write_text(json.dumps(bundle))
    assert main(["gate", "verify", str(tmp_path / "gate.json")]) == ExitCode.INCONCLUSIVE
    assert "was altered" in capsys.readouterr().err
