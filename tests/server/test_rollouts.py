"""Rollouts at the API and on the command line: who may do what, what is refused and shown, certificates in files."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from core.records import Role
from experiments.service_rollouts import Ticker
from server.cli.main import main
from server.cli.outcome import ExitCode
from tests.server.shell import AIRLINE, SHOP, Shell, running_shell, served

DEPLOY = {"app": "desk", "candidate": "v2", "weights": [0.1, 0.5], "bake_s": 60, "mature_s": 0}
Say = Callable[..., tuple[str, str]]


@pytest.fixture
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    with running_shell(tmp_path_factory.mktemp("rollouts")) as running:
        for name in ("v1", "v2", "v3"):
            body = {"app": "desk", "name": name, "endpoint": f"http://127.0.0.1:1/{name}"}
            answer = running.client.post("/api/v1/releases", json=body, headers=running.headers())
            assert answer.status_code == 201, answer.text
        plan = running.client.put("/api/v1/plans/desk", json={"baseline": "v1"}, headers=running.headers())
        assert plan.status_code == 200, plan.text
        yield running


def post(shell: Shell, path: str, body: dict[str, Any], role: Role = Role.POWER_USER) -> Any:
    return shell.client.post(f"/api/v1/rollouts{path}", json=body, headers=shell.headers(role))


def get(shell: Shell, path: str = "", tenant: Any = AIRLINE) -> Any:
    return shell.client.get(f"/api/v1/rollouts{path}", headers=shell.headers(Role.VIEWER, tenant))


def tick(shell: Shell) -> None:
    """A look at the open rollout, as the server's thread does it."""
    services = shell.services
    found = services.control.open_rollout(AIRLINE, "desk")
    assert found is not None
    Ticker(control=services.control, store_of=services.store.tenant, clock=services.clock).tick(found)


def weights(shell: Shell) -> dict[str, float]:
    return dict(shell.services.control.plans(AIRLINE, "desk")[0].spec.weights)


def test_an_experiment_that_the_app_assigns_is_named_before_it_is_disturbed(shell: Shell) -> None:
    arms = [{"variant": name, "weight": 50} for name in ("control", "treatment")]
    body = {"name": "wording", "app": "desk", "unit": "session", "assigned_by": "app", "arms": arms}
    body["metrics"] = [{"name": "resolution", "role": "primary"}]
    for path, given in (("", body), ("/wording/start", {})):
        done = shell.client.post(f"/api/v1/experiments{path}", json=given, headers=shell.headers(Role.POWER_USER))
        assert done.is_success, done.text
    told = post(shell, "", {**DEPLOY, "dry_run": True}).json()["warnings"]
    assert [text for text in told if "assay experiments stop wording" in text]
    stopped = shell.client.post("/api/v1/experiments/wording/stop", json={}, headers=shell.headers(Role.POWER_USER))
    assert stopped.is_success, stopped.text
    assert not [text for text in post(shell, "", {**DEPLOY, "dry_run": True}).json()["warnings"] if "wording" in text]


def test_a_rollout_is_begun_shown_and_aborted(shell: Shell) -> None:
    tried = post(shell, "", {**DEPLOY, "dry_run": True})
    assert (tried.status_code, tried.json()["dry_run"], get(shell).json()["items"]) == (200, True, [])
    made = post(shell, "", DEPLOY)
    assert made.status_code == 201, made.text
    told = made.json()
    assert (told["status"], told["step"], told["baseline"]) == ("waiting", None, "v1")
    assert [one["weight"] for one in told["steps"]] == [0.1, 0.5, 1.0]
    assert [one["name"] for one in told["guardrails"]] == ["resolution", "safety", "error_rate", "p95_latency", "cost"]
    assert told["warnings"] == ["the baseline v1 has had no session in the last seven days"]
    tick(shell)
    assert weights(shell) == {"v1": 0.9, "v2": 0.1}
    shown = get(shell, "/desk").json()
    assert (shown["status"], shown["step"], shown["policy_hash"]) == ("running", 0, told["policy_hash"])
    assert [one["kind"] for one in shown["timeline"]] == ["deploy", "step"]
    assert {one["finding"] for one in shown["guardrails"]} <= {"missing", "ok"}
    second = post(shell, "", {**DEPLOY, "candidate": "v3"})
    assert (second.status_code, "assay rollouts abort desk" in second.json()["detail"]) == (409, True)
    aborted = post(shell, "/desk/abort", {"reason": "the desk is full"}).json()
    assert (aborted["status"], weights(shell)) == ("aborted", {"v1": 1.0, "v2": 0.0})
    assert aborted["timeline"][-1]["text"] == "the desk is full"
    assert post(shell, "/desk/abort", {}).json()["timeline"] == aborted["timeline"]  # twice is once
    assert get(shell, f"/desk?id={told['id']}").json()["id"] == told["id"]
    assert [one["id"] for one in get(shell, "?app=desk").json()["items"]] == [told["id"]]
    assert get(shell, tenant=SHOP).json()["items"] == []
    assert (get(shell, "/desk", SHOP).status_code, get(shell, "/other").status_code) == (404, 404)


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({"weights": [0.5, 0.5]}, 422, "the weights do not rise: 50 %, 50 %"),
        ({"weights": [0.5, 0.1]}, 422, "the weights do not rise"),
        ({"weights": [0.5, 1.5]}, 422, "at most 1"),
        ({"weights": [0.0, 0.5]}, 422, "above 0"),
        ({"weights": [1.0]}, 422, "a step below 100 %"),
        ({"weights": []}, 422, ""),
        ({"candidate": "v1"}, 422, "the baseline itself"),
        ({"candidate": "v9"}, 422, "release v9 is not registered"),
        ({"baseline": "v9"}, 422, "release v9 is not registered"),
        ({"app": "other"}, 422, "this app has no plan"),
        ({"alpha": 0}, 422, ""),
        ({"alpha": 1e-320}, 422, "alpha: Input should be greater than or equal to 0.0001"),
        ({"weights": [0.9999999999]}, 422, "from 0.01 % to 99.99 %"),
        ({"weights": [1e-300, 0.5]}, 422, "from 0.01 % to 99.99 %"),
        (
            {"guardrails": [{"name": "cost", "margin": 0}]},
            422,
            "margin: Input should be greater than or equal to 0.000001",
        ),
        ({"guardrails": ["no_such_evaluator"]}, 422, "there is no metric"),
        ({"without": ["tokens"]}, 422, "no guardrail 'tokens' to leave out"),
        ({"without": ["resolution", "safety", "error_rate", "p95_latency", "cost"]}, 422, "1 to 20 guardrails"),
        ({"steps": [{"weight": 0.1}]}, 422, "one of steps and weights"),
        ({"bypass": {"reason": "because"}}, 403, "needs the role admin"),
        ({"canary": [1]}, 422, ""),
    ],
)
def test_a_wrong_rollout_is_named_and_not_kept(shell: Shell, body: dict[str, Any], status: int, said: str) -> None:
    answer = post(shell, "", {**DEPLOY, **body})
    assert answer.status_code == status, answer.text
    assert said in answer.json()["detail"]
    assert get(shell).json()["items"] == []
    assert weights(shell) == {"v1": 1.0}


def test_who_may_do_what(shell: Shell) -> None:
    assert post(shell, "", DEPLOY, Role.USER).status_code == 403
    post(shell, "", {**DEPLOY, "requires": {"approval": True, "checks": ["licence"]}}, Role.ADMIN)
    assert post(shell, "/desk/abort", {}, Role.USER).status_code == 403
    assert post(shell, "/desk/approve", {}, Role.POWER_USER).status_code == 403
    own = post(shell, "/desk/approve", {}, Role.ADMIN)
    assert (own.status_code, "somebody else approves it" in own.json()["detail"]) == (403, True)
    tick(shell)
    assert weights(shell)["v2"] == 0.0
    check = {"name": "licence", "passed": True, "link": "https://ci.example.com/17"}
    assert post(shell, "/desk/checks", check).json()["release"] == "v2"
    assert post(shell, "/desk/checks", {**check, "link": "file:///etc"}).status_code == 422
    assert post(shell, "/desk/checks", {**check, "release": "v9"}).status_code == 404
    (found,) = get(shell, "/desk/checks?release=v2").json()["items"]
    assert (found["name"], found["passed"], found["made_by"]) == ("licence", True, "power_user of airline")
    _, text = shell.services.control.create_key(AIRLINE, Role.ADMIN, "another")
    answer = shell.client.post(
        "/api/v1/rollouts/desk/approve", json={}, headers={"Authorization": f"Bearer {text}"}
    )  # fmt: skip
    assert answer.json()["approved_by"] == "another"
    tick(shell)
    assert weights(shell)["v2"] == 0.1


def test_the_commands(shell: Shell, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with served(shell.services) as url:

        def said(*words: str, ends: ExitCode = ExitCode.OK) -> tuple[str, str]:
            assert main([*words, "--url", url, "--key", shell.keys[AIRLINE, Role.ADMIN]]) == ends
            told = capsys.readouterr()
            return told.out, told.err

        assert "no rollouts" in said("rollouts", "list")[1]
        deploy = ("deploy", "desk", "v2", "--canary", "5,50,100", "--bake", "10m", "--guardrail", "tokens=0.1")
        out, err = said(*deploy, "--dry-run")
        assert ("5 %" in out, "nothing changed" in err, "warning: the baseline v1" in err) == (True, True, True)
        assert "no rollouts" in said("rollouts", "list")[1]
        assert "assay rollouts abort desk" in said(*deploy, "--require-gate", "--check", "licence", "--detach")[1]
        assert "is open for this app" in said(*deploy, "--detach", ends=ExitCode.FAILED)[1]
        tick(shell)
        out, _ = said("rollouts", "show", "desk")
        assert ("v2 over v1 of desk: waiting" in out, "check licence: nobody has reported it yet" in out) == (
            True,
            True,
        )
        reported = said("rollouts", "check", "desk", "licence", "--failed", "--note", "see 17")[0]
        assert "check licence of v2: failed" in reported
        assert "waiting" in said("rollouts", "list", "--app", "desk")[0]
        assert json.loads(said("rollouts", "list", "--json")[0])["items"][0]["candidate"] == "v2"
        assert "only one that runs is paused" in said("rollouts", "pause", "desk", ends=ExitCode.FAILED)[1]
        assert "the baseline has all sessions" in said("rollouts", "abort", "desk", "--reason", "enough")[1]
        assert "abort: enough" in said("rollouts", "show", "desk", "--watch", ends=ExitCode.FAILED)[0]
        assert "0 certificates: all comes out the same" in said("rollouts", "verify", "desk")[1]
        bypass = ("deploy", "desk", "v3", "--bypass", "v1 shows other people's orders", "--detach")
        out, err = said(*bypass)
        assert ("not tested: v1 shows other people's orders" in out, "untested" in err) == (True, True)
        assert weights(shell) == {"v3": 1.0}
        assert "is not a list of per cents" in said("deploy", "desk", "v2", "--canary", "x", ends=ExitCode.USAGE)[1]
        assert "per cents" in said("deploy", "desk", "v2", "--canary", "5,500", ends=ExitCode.USAGE)[1]
        assert "give one" in said("deploy", "desk", "v2", "--watch", "--detach", ends=ExitCode.USAGE)[1]
        said("rollouts", "show", "nothing", ends=ExitCode.NOT_FOUND)
        file = tmp_path / "no.json"
        file.write_text("{")
        assert "is not JSON" in said("rollouts", "verify", str(file), ends=ExitCode.USAGE)[1]
        file.write_text('[{"kind": "assay.canary_certificate", "format": 1}]')
        assert "not a certificate of a canary" in said("rollouts", "verify", str(file), ends=ExitCode.FAILED)[0]


def test_certificates_are_computed_again_wherever_they_are(shell: Shell) -> None:
    answer = post(shell, "/verify", {"certificates": [{"kind": "x", "format": 1}]}, Role.VIEWER)
    assert answer.json() == {
        "ok": False,
        "n_certificates": 1,
        "problems": answer.json()["problems"],
    }
    post(shell, "", DEPLOY)
    assert get(shell, "/desk/certificates").json()["items"] == []
    assert get(shell, "/desk/verdict").json() == {"ok": True, "n_certificates": 0, "problems": []}
    missing = get(shell, "/desk/certificates/1")
    assert (missing.status_code, "it has 0" in missing.json()["detail"]) == (404, True)
