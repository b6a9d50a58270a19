"""Plans at the API and on the command line: versions, who may set them, dry runs, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from core.records import Role
from server.cli.main import main
from server.cli.outcome import ExitCode
from tests.server.shell import AIRLINE, SHOP, Shell, running_shell, served


@pytest.fixture
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    with running_shell(tmp_path_factory.mktemp("plans")) as running:
        for app in ("desk", "org/desk"):
            for name in ("v1", "v2", "v=3"):
                body = {"app": app, "name": name, "endpoint": f"http://127.0.0.1:1/{name[1]}"}
                answer = running.client.post("/api/v1/releases", json=body, headers=running.headers())
                assert answer.status_code == 201, answer.text
        yield running


def put(shell: Shell, body: dict[str, Any], app: str = "desk", role: Role = Role.POWER_USER) -> Any:
    path = f"/api/v1/plans/{app.replace('/', '%2F')}"
    return shell.client.put(path, json=body, headers=shell.headers(role))


def get(shell: Shell, path: str = "", tenant: Any = AIRLINE) -> Any:
    return shell.client.get(f"/api/v1/plans{path}", headers=shell.headers(Role.VIEWER, tenant))


def test_a_baseline_gets_what_the_others_leave(shell: Shell) -> None:
    told = put(shell, {"baseline": "v1", "weights": {"v2": 0.1, "v=3": 0.2}, "reason": "canary"})
    assert told.status_code == 200, told.text
    plan = told.json()
    assert plan["weights"] == {"v1": 0.7, "v2": 0.1, "v=3": 0.2}
    assert sum(plan["shares"].values()) == pytest.approx(1)
    assert (plan["version"], plan["changed"], plan["dry_run"]) == (1, True, False)
    assert (plan["endpoints"]["v2"], plan["warnings"]) == ("http://127.0.0.1:1/2", [])
    assert plan["made_by"] == "power_user of airline"
    again = put(shell, {"baseline": "v1", "weights": {"v1": 7, "v2": 1, "v=3": 2}}).json()
    assert (again["version"], again["salt"]) == (2, plan["salt"])
    assert again["shares"] == pytest.approx(plan["shares"])


def test_lists_and_histories_belong_to_the_tenant(shell: Shell) -> None:
    put(shell, {"baseline": "v1", "weights": {"v2": 0.1}})
    put(shell, {"baseline": "v1", "weights": {"v2": 0.2}})
    put(shell, {"baseline": "v1"}, app="org/desk")
    assert [(one["app"], one["version"]) for one in get(shell).json()["items"]] == [("desk", 2), ("org/desk", 1)]
    told = get(shell, "/desk").json()
    assert [one["weights"]["v2"] for one in told["versions"]] == [0.2, 0.1]
    assert told["weights"] == told["versions"][0]["weights"]
    assert get(shell, "/org%2Fdesk").json()["shares"] == {"v1": 1.0}
    assert get(shell, tenant=SHOP).json()["items"] == []
    assert (get(shell, "/desk", SHOP).status_code, get(shell, "/nothing").status_code) == (404, 404)
    assert get(shell, "/a%00b").status_code == 422


def test_a_dry_run_and_the_same_again_change_nothing(shell: Shell) -> None:
    tried = put(shell, {"baseline": "v1", "weights": {"v2": 0.1}, "dry_run": True}).json()
    assert (tried["version"], tried["changed"], tried["dry_run"]) == (1, True, True)
    assert get(shell).json()["items"] == []
    made = put(shell, {"baseline": "v1", "weights": {"v2": 0.1}}).json()
    again = put(shell, {"baseline": "v1", "weights": {"v2": 0.1}}).json()
    assert (again["version"], again["changed"], again["salt"]) == (1, False, made["salt"])


def test_a_release_that_nobody_answers_for_is_warned_of(shell: Shell, capsys: pytest.CaptureFixture[str]) -> None:
    body = {"app": "desk", "name": "v4"}
    assert shell.client.post("/api/v1/releases", json=body, headers=shell.headers()).status_code == 201
    tried = put(shell, {"baseline": "v1", "weights": {"v4": 0.1}, "dry_run": True}).json()
    (warning,) = tried["warnings"]
    assert warning == "nobody answers for v4 unless the gateway's file names an address: its sessions get 503"
    assert put(shell, {"baseline": "v1", "weights": {"v4": 0}}).json()["warnings"] == []
    with served(shell.services) as url:
        words = ("plan", "set", "desk", "--baseline", "v1", "-w", "v4=0.2", "--url", url)
        assert main([*words, "--key", shell.keys[AIRLINE, Role.ADMIN]]) == ExitCode.OK
    told = capsys.readouterr()
    assert f"warning: {warning}\n" in told.err
    assert "in the gateway's file or nowhere" in told.out


def test_users_read_and_do_not_set(shell: Shell) -> None:
    body = {"baseline": "v1", "weights": {"v2": 0.1}}
    assert [put(shell, body, role=role).status_code for role in (Role.USER, Role.VIEWER)] == [403, 403]


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({"weights": {"v2": 0.1}}, 422, "baseline"),
        ({"baseline": "v9"}, 422, "baseline"),
        ({"baseline": "v1", "weights": {"v9": 0.1}}, 422, "weights"),
        ({"baseline": "v1", "weights": {"v2": 1.1}}, 422, "weights"),
        ({"baseline": "v1", "weights": {"v1": 0}}, 422, "weights"),
        ({"baseline": "v1", "weights": {"v2": -1}}, 422, "v2"),
        ({"baseline": "v1", "weights": [1]}, 422, "weights"),
        ({"baseline": "v1", "wieghts": {"v2": 0.1}}, 422, "wieghts"),
        ({"baseline": "v1", "if_version": 7}, 409, None),
    ],
)
def test_a_wrong_plan_is_named_and_not_kept(shell: Shell, body: dict[str, Any], status: int, field: str | None) -> None:
    answer = put(shell, body)
    assert answer.status_code == status, answer.text
    assert field is None or answer.json()["field"].split(".")[-1] == field
    assert get(shell).json()["items"] == []


def test_the_command_sets_shows_and_lists(shell: Shell, capsys: pytest.CaptureFixture[str]) -> None:
    with served(shell.services) as url:

        def said(*words: str, ends: ExitCode = ExitCode.OK) -> tuple[str, str]:
            assert main(["plan", *words, "--url", url, "--key", shell.keys[AIRLINE, Role.ADMIN]]) == ends
            told = capsys.readouterr()
            return told.out, told.err

        assert "no plans" in said("list")[1]
        split = ("--baseline", "v1", "--weight", "v2=0.1", "--weight", "v=3=0.2")
        assert "nothing changed" in said("set", "org/desk", *split, "--dry-run")[1]
        assert "no plans" in said("list")[1]
        out, err = said("set", "org/desk", *split, "--reason", "canary", "--if-version", "0")
        assert ("70 %" in out, "version 1 holds" in err) == (True, True)
        assert "that is the plan already" in said("set", "org/desk", *split)[1]
        shown = said("show", "org/desk")[0]
        assert "v1 70 %, v2 10 %, v=3 20 %" in shown
        assert "canary" in shown
        assert json.loads(said("list", "--json")[0])["items"][0]["app"] == "org/desk"
        assert "v1 70 %" in said("list")[0]
        refused = said("set", "org/desk", "--baseline", "v9", ends=ExitCode.USAGE)[1]
        assert "not registered for this app: v9" in refused
        assert "two weights" in said("set", "desk", *split, "--weight", "v2=0.3", ends=ExitCode.USAGE)[1]
        assert "is not RELEASE=W" in said("set", "desk", "--baseline", "v1", "-w", "v2", ends=ExitCode.USAGE)[1]
        said("show", "desk", ends=ExitCode.NOT_FOUND)
        said("set", "org/desk", "--baseline", "v1", "--if-version", "7", ends=ExitCode.FAILED)
