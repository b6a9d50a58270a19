"""The catalogue of evaluators at the API and on the command line."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from core.records import Role
from evaluators.catalogue import BY_NAME, CATALOGUE
from server.cli.main import main
from server.cli.outcome import ExitCode
from tests.server.shell import AIRLINE, Shell, running_shell, served


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    with running_shell(tmp_path_factory.mktemp("evaluators")) as running:
        yield running


def test_the_api_tells_the_catalogue(shell: Shell) -> None:
    told = shell.client.get("/api/v1/evaluators", headers=shell.headers(Role.VIEWER)).json()["items"]
    assert [one["name"] for one in told] == [one.spec.name for one in CATALOGUE]
    for one in told:
        spec = BY_NAME[one["name"]].spec
        assert (one["version"], one["summary"], one["validity"]) == (spec.version, spec.summary, spec.validity)
        assert one["failure_modes"] == list(spec.failure_modes)
    asked = "/api/v1/evaluators?dimension=retrieval"
    some = shell.client.get(asked, headers=shell.headers(Role.VIEWER)).json()["items"]
    assert {one["dimension"] for one in some} == {"retrieval"}


def test_one_evaluator_says_how_far_it_can_be_trusted(shell: Shell) -> None:
    one = shell.client.get("/api/v1/evaluators/write_set", headers=shell.headers(Role.VIEWER)).json()
    assert (one["name"], one["binary"], one["needs"]) == ("write_set", True, ["tool_calls"])
    assert ".695" in one["validity"]


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("/write_sett", 404, "did you mean write_set"),
        ("/qqqqqqqq", 404, "assay evaluators list"),
        ("?dimension=nonsense", 422, "dimension"),
        ("?page=2", 422, "page"),
    ],
)
def test_what_is_not_there_is_told(shell: Shell, path: str, status: int, said: str) -> None:
    answer = shell.client.get(f"/api/v1/evaluators{path}", headers=shell.headers(Role.VIEWER))
    assert answer.status_code in {status, 400}
    assert said in answer.text


def test_the_command_lists_and_shows(shell: Shell, capsys: pytest.CaptureFixture[str]) -> None:
    with served(shell.services) as url:
        asked = ["--url", url, "--key", shell.keys[AIRLINE, Role.VIEWER]]
        assert main(["evaluators", "list", *asked]) == ExitCode.OK
        listed = capsys.readouterr().out
        assert all(f"{name}@" in listed for name in BY_NAME)
        assert main(["evaluators", "list", "--dimension", "correctness", "--json", *asked]) == ExitCode.OK
        assert {one["dimension"] for one in json.loads(capsys.readouterr().out)["items"]} == {"correctness"}
        assert main(["evaluators", "show", "write_set", *asked]) == ExitCode.OK
        shown = capsys.readouterr().out
        assert "write_set@1  correctness, rule" in shown
        assert ".695" in shown
        assert "goes wrong\n  - " in shown
        assert main(["evaluators", "show", "mrr", "--json", *asked]) == ExitCode.OK
        assert json.loads(capsys.readouterr().out)["name"] == "mrr"
        assert main(["evaluators", "show", "write_sett", *asked]) == ExitCode.NOT_FOUND
        assert "did you mean write_set" in capsys.readouterr().err
