"""Planning an experiment: on the command line without a server, and at the API."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from core.records import Role
from server.cli.experiments_plan import curve_lines
from server.cli.main import main
from server.cli.outcome import ExitCode
from tests.server.shell import Shell, running_shell

ISSUE = ["--baseline", "0.86", "--mde", "0.03", "--users", "800/day", "--sessions-per-user", "2.3"]


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    with running_shell(tmp_path_factory.mktemp("planning")) as running:
        yield running


def asked(shell: Shell, body: dict[str, Any], role: Role = Role.VIEWER) -> Any:
    return shell.client.post("/api/v1/experiments/plan", json=body, headers=shell.headers(role))


def test_the_command_of_the_issue_says_units_days_reasons_and_draws_the_curve(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["experiments", "plan", "--metric", "resolution", *ISSUE]) == ExitCode.OK
    said = capsys.readouterr()
    assert "units, 3 days of 800" in said.out
    assert "resolution of 0.86 moved by +0.03 with a chance of 80%" in said.out
    assert "sessions of one user" in said.out
    assert "x 1.260" in said.out
    assert "^ +0.03" in said.out
    assert "assumed to be 0.2" in said.err


def test_the_api_says_what_the_command_says(shell: Shell, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["experiments", "plan", *ISSUE, "--split", "90/10", "--json"]) == ExitCode.OK
    by_command = json.loads(capsys.readouterr().out)
    body = {"baseline": 0.86, "mde": 0.03, "users_per_day": 800, "sessions_per_user": 2.3, "split": [90, 10]}
    told = asked(shell, body)
    assert told.status_code == 200, told.text
    assert told.json() == by_command
    assert sum(told.json()["n_per_arm"]) == told.json()["units"]
    assert told.json()["n_per_arm"][0] > 8 * told.json()["n_per_arm"][1]


def test_one_look_takes_fewer_and_no_horizon_more(shell: Shell) -> None:
    body = {"kind": "mean", "baseline": 5, "mde": -0.2, "sd": 2}
    once, often, open_ended = (
        asked(shell, body | more).json()["units"]
        for more in ({"sequential": False}, {}, {"design": "confidence_sequence"})
    )
    assert once == 2 * 1570
    assert once < often < 1.06 * once < open_ended < 1.9 * once


def test_the_curve_is_as_high_as_its_power_and_marks_the_plan() -> None:
    curve = [(0.0, 0.05), (0.01, 0.5), (0.02, 0.8), (0.03, 1.0)]
    lines = curve_lines(curve, 0.02, 0.8, "utf-8")
    assert lines[1] == "100% |   █"
    assert lines[3] == " 80% |  ██"
    assert lines[6] == " 50% | ███"
    assert lines[-2].index("^") == lines[3].index("|") + 3
    assert all(line.isascii() for line in curve_lines(curve, 0.02, 0.8, "ascii"))


@pytest.mark.parametrize(
    ("more", "named"),
    [
        (["--mde", "0"], "--mde"),
        (["--mde", "0.2"], "--mde"),
        (["--split", "50/0"], "--split"),
        (["--split", "1/1/1"], "--split"),
        (["--icc", "2"], "--icc"),
        (["--sd", "-1"], "--sd"),
        (["--users", "none"], "800/day"),
        (["--power", "nan"], "--plan"),
    ],
)
def test_what_is_no_plan_is_refused_with_its_option(
    more: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code = main(["experiments", "plan", *ISSUE, *more])
    except SystemExit as refused:
        code = int(refused.code or 0)
    assert code == ExitCode.USAGE
    assert named in capsys.readouterr().err


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"baseline": 0.9, "mde": 0.2}, "mde"),
        ({"baseline": 0.9, "mde": 0.01, "split": [1, 0]}, "split"),
        ({"baseline": 0.9, "mde": 0.01, "kind": "mean"}, "sd"),
        ({"baseline": 0.9}, "mde"),
        ({"baseline": 0.9, "mde": 0.01, "typo": 1}, "typo"),
    ],
)
def test_the_api_names_the_field_of_a_plan_that_is_none(shell: Shell, body: dict[str, Any], field: str) -> None:
    told = asked(shell, body)
    assert told.status_code in (400, 422), told.text
    assert field in told.text


def test_planning_needs_a_key(shell: Shell) -> None:
    assert shell.client.post("/api/v1/experiments/plan", json={"baseline": 0.9, "mde": 0.01}).status_code == 401
