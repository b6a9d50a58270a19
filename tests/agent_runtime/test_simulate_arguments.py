"""What `python -m agent_runtime simulate` refuses, before anything is started or told to Assay, and in which words."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from agent_runtime.__main__ import main
from tests.stack import REPOSITORY

REFUSED = {
    "--fault gremlins:0.1": "there is no fault 'gremlins'; there are context_overflow, ",
    "--fault drop_confirmation": "is written as NAME:RATE, e.g. drop_confirmation:0.2",
    "--fault drop_confirmation:often": "has to be a number, not 'often'",
    "--fault drop_confirmation:1.5": "the rate of drop_confirmation is 1.5; it lies between 0 and 1",
    "--fault drop_confirmation:-0.1": "the rate of drop_confirmation is -0.1; it lies between 0 and 1",
    "--fault drop_confirmation:nan": "the rate of drop_confirmation is nan; it lies between 0 and 1",
    "--fault tool_loop:0.1 --fault tool_loop:0.2": "give each --fault once",
    "--sessions -1": "has to be a whole number from 0 on, not '-1'",
    "--sessions many": "has to be a whole number from 0 on, not 'many'",
    "--sessions 0 --fidelity trace": "traces are made for 1 to 1,000,000 sessions",
    "--sessions 1000001 --fidelity trace": "traces are made for 1 to 1,000,000 sessions",
    "--at-once 0": "at once and per minute have to be above 0",
    "--per-minute 0": "has to be above 0",
    "--per-minute nan": "has to be above 0",
    "--speed 0": "has to be above 0",
    "--speed fast": "has to be a number, not 'fast'",
    "--fidelity half": "--fidelity is full or trace, not 'half'",
    "--weeks 2": "--weeks, --hours and --fill go with --fidelity trace",
    "--weeks nan --fidelity trace": "has to be above 0",
    "--weeks 600 --fidelity trace": "up to 520 weeks",
    "--weeks 1 --hours 1 --fidelity trace": "give --weeks or --hours, not both",
    "--outcome-delay -1": "lies between 0 and 366 days",
    "--outcome-delay nan": "lies between 0 and 366 days",
    "--seed seven": "has to be a whole number from 0 on, not 'seven'",
    "--seed 99999999999999999999": "has to be a whole number from 0 on",
    "--personas 0": "personas are 1 to ",
    "--release v1 --baseline v1": "name at least one release, and each once",
    "--release v/1": "has 1 to 100 letters, digits, and . _ : - only",
    "--mark ../x": "has 1 to 100 letters, digits, and . _ : - only",
}


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No Assay is known, and the world lies in a folder of this test."""
    for name in ("ASSAY_URL", "AGENT_ASSAY_URL", "AGENT_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AGENT_DATA", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("words", REFUSED)
def test_what_makes_no_sense_is_refused_in_plain_words(
    words: str, alone: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["simulate", *words.split()]) == 2
    told = capsys.readouterr().err
    assert REFUSED[words] in told
    assert told.count("\n") == 1, "one line"


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        ("--sessions many", 2, "assay simulate: --sessions has to be a whole number from 0 on, not 'many'"),
        ("--weeks 600 --fidelity trace", 2, "assay simulate: traces are made for"),
        ("--fault gremlins:0.1", 2, "assay simulate: there is no fault 'gremlins'"),
        ("--gremlins 3", 2, "unrecognized arguments: --gremlins 3\n'assay simulate --help' lists the arguments"),
        ("--sessions 3", 4, "no Assay server answers"),
    ],
)
def test_assay_tells_of_values_first_where_no_server_is(words: str, code: int, says: str, alone: Path) -> None:
    command = [sys.executable, "-m", "server.cli.main", "simulate", "--url=http://127.0.0.1:9", *words.split()]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=REPOSITORY, check=False)
    assert (ended.returncode, ended.stdout) == (code, "")
    assert says in ended.stderr
    assert ended.stderr.count("\n") <= 2


def test_a_run_without_an_assay_is_counted_and_not_played_again(
    alone: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A negative seed is a seed; what is printed says what was planted, and what was played before."""
    words = ["simulate", "--sessions", "6", "--seed", "-3", "--fault", "verbose_padding:0.5", "--release", "v9"]
    assert main([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["sessions"], found["played_before"], found["seed"], found["spans_lost"]) == (6, 0, -3, 0)
    (planted,) = found["planted"]
    assert (planted["fault"], planted["rate"], planted["could_show"]) == ("verbose_padding", 0.5, 6)
    assert main(words) == 0
    again = capsys.readouterr()
    assert "6 sessions were played before and are not played again; --mark makes others of them" in again.err
    assert (again.out, "other faults" in again.err) == ("no session was played\n", False)
    assert main([*words, "--fault", "stale_policy:0", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["played_otherwise"] == 0, "the same sessions, whatever the plan says"
    assert main([*words[:5], "--fault", "verbose_padding:1", "--release", "v9"]) == 0
    n_other = 6 - planted["planted"]
    assert f"{n_other} of them were played with other faults or users than these values give now" in (
        capsys.readouterr().err
    )
    assert main([*words, "--mark", "b-"]) == 0
    printed = capsys.readouterr().out
    assert "100.0%" in printed
    assert "verbose_padding:0.5 was planted in" in printed
