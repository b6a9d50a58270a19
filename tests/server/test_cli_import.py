"""`assay import` before any server: what it counts, what it refuses, how it ends."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from server.cli.import_report import print_report
from server.cli.main import main
from server.cli.outcome import ExitCode
from tests.importers.recorded import TAU2, TAU_BENCH, needs_recordings, table, tau2_files
from tests.importers.test_tau2 import simulation
from tests.stack import REPOSITORY


def lines(path: Path, *records: object) -> Path:
    path.write_bytes(b"\n".join(one if isinstance(one, bytes) else orjson.dumps(one) for one in records))
    return path


def assay(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "server.cli.main", *arguments], cwd=REPOSITORY, capture_output=True, check=False
    )


@needs_recordings
def test_a_dry_run_counts_like_the_manifest_and_needs_no_server(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import", "tau2", *map(str, tau2_files()), "--dry-run", "--json", "--url", "http://127.0.0.1:9"]) == 0
    report = json.loads(capsys.readouterr().out)
    manifest = table(TAU2 / "manifest.csv")
    assert [(one["pass"], one["fail"]) for one in report["files"]] == [
        (int(r["pass"]), int(r["fail"])) for r in manifest
    ]
    assert (report["conversations"], report["sent"], report["dry_run"]) == (404, None, True)
    assert report["apps"] == ["airline", "retail", "telecom"]


@needs_recordings
def test_the_example_of_the_readme_can_be_imported(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import", "tau2", f"{REPOSITORY}/examples/tau2_results.json", "--dry-run", "--json"]) == ExitCode.OK
    found = json.loads(capsys.readouterr().out)
    assert (found["conversations"], found["turns"], found["spans"], found["apps"]) == (2, 3, 12, ["retail"])
    (counted,) = found["files"]
    assert (counted["pass"], counted["fail"], counted["bad_lines"]) == (1, 1, 0)


def test_a_dry_run_of_tau_bench_says_that_its_times_are_synthetic(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import", "tau-bench", str(TAU_BENCH), "--dry-run"]) == 0
    assert "(synthetic times)" in capsys.readouterr().out


@pytest.mark.parametrize("extra", [[], ["--dry-run"]])
def test_one_bad_line_of_five_stops_everything_and_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], extra: list[str]
) -> None:
    path = lines(
        tmp_path / "five.jsonl", simulation(), simulation(id="b"), b"{oops", simulation(id="d"), simulation(id="e")
    )
    assert main(["import", "tau2", str(path), "--url", "http://127.0.0.1:9", *extra]) == ExitCode.FAILED
    said = capsys.readouterr().err
    assert f"{path}:3: not JSON" in said
    assert "nothing was imported; --skip-bad imports the rest" in said
    assert len(said.splitlines()) <= 3


def test_skip_bad_counts_the_rest_and_names_what_it_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = lines(tmp_path / "three.jsonl", simulation(), b"{oops", simulation(id="c"))
    assert main(["import", "tau2", str(path), "--dry-run", "--skip-bad", "--json"]) == 0
    captured = capsys.readouterr()
    report = json.loads(captured.out)
    assert report["conversations"] == 2
    assert [(one["line"], one["reason"].split(":")[0]) for one in report["skipped"]] == [(2, "not JSON")]
    assert f"skipped {path}:2" in captured.err


@pytest.mark.parametrize(
    "content",
    [b"", b"\x00\x01\x02" * 100, b"\xff\xfe{\x00}\x00", gzip.compress(b"{}" * 9999)[:-9], b"[" * 99_999, b"\x1b[2J\n"],
    ids=["empty", "binary", "utf16", "cut gzip", "deep", "escape"],
)
@pytest.mark.parametrize("kind", ["tau2", "tau-bench", "otlp"])
def test_hostile_files_end_with_1_and_at_most_three_harmless_lines(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], content: bytes, kind: str
) -> None:
    path = tmp_path / "h\x1b[31mostile"
    path.write_bytes(content)
    assert main(["import", kind, str(path), "--skip-bad"]) == ExitCode.FAILED
    said = capfd.readouterr()
    assert said.out == ""
    assert 0 < len(said.err.splitlines()) <= 3
    assert "Traceback" not in said.err
    assert "\x1b" not in said.err


def test_names_that_are_not_files_are_wrong_arguments(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = lines(tmp_path / "good.jsonl", simulation())
    assert main(["import", "otlp", str(tmp_path)]) == ExitCode.USAGE
    assert "is a folder" in capsys.readouterr().err
    assert main(["import", "tau2", f"{tmp_path}/a.json", str(good), f"{tmp_path}/b.json"]) == ExitCode.USAGE
    said = capsys.readouterr().err
    assert f"{tmp_path}/a.json, {tmp_path}/b.json: there is no such file" in said
    assert "bad line" not in said


def test_more_than_one_problem_is_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = lines(tmp_path / "x.jsonl", {"a": 1}, {"b": 2}, {"c": 3})
    assert main(["import", "tau2", str(path)]) == ExitCode.FAILED
    assert "(and 2 more problems)" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [[], ["tau3", "x"], ["tau2"], ["tau2", "x", "--unknown"], ["otlp", "x", "--signal", "y"]]
)
def test_wrong_usage_ends_with_2(arguments: list[str]) -> None:
    assert main(["import", *arguments]) == ExitCode.USAGE


def test_no_server_ends_with_4(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = lines(tmp_path / "one.jsonl", simulation())
    assert (
        main(["import", "tau2", str(path), "--url", "http://127.0.0.1:9", "--data", str(tmp_path)])
        == ExitCode.UNREACHABLE
    )
    assert "assay up" in capsys.readouterr().err


def test_a_reader_that_goes_away_leaves_no_traceback(tmp_path: Path) -> None:
    path = lines(tmp_path / "one.jsonl", simulation())
    command = f'"{sys.executable}" -m server.cli.main import tau2 "{path}" --dry-run --json | head -c 1'
    done = subprocess.run(["bash", "-c", command], cwd=REPOSITORY, capture_output=True, check=False)
    assert b"Traceback" not in done.stderr
    assert b"Exception" not in done.stderr


def test_help_explains_itself() -> None:
    done = assay("import", "tau2", "--help")
    assert done.returncode == 0
    for option in (b"--app", b"--tenant", b"--dry-run", b"--skip-bad", b"--port-base", b"--json"):
        assert option in done.stdout


def report(**given: object) -> dict[str, object]:
    told: dict[str, object] = {"files": [], "conversations": 0, "spans": 2, "log_records": 0, "metrics": 0, "apps": []}
    told |= {"first_at": "2026-09-21T00:00:00Z", "last_at": "2026-09-21T00:00:01Z", "times_are_synthetic": False}
    told |= {"requests": 1, "accepted": 2, "rejected": 0, "messages": [], "stored": 2, "duplicate": 0, "unsettled": 0}
    return told | {"scores_written": None, "scores_known": None} | given


@pytest.mark.parametrize(
    ("given", "app", "wanted"),
    [
        ({}, None, "assay traces list --start 2026-09-21T00:00:00Z --end 2026-09-21T00:00:02Z"),
        ({}, "my shop", "assay traces list --app 'my shop' --start"),
        ({"apps": ["airline"]}, None, "assay traces list --app airline --start"),
        ({"stored": 0, "duplicate": 2}, "other", "assay traces list --start"),
    ],
)
def test_an_import_ends_with_the_command_that_shows_it(
    capsys: pytest.CaptureFixture[str], given: dict[str, object], app: str | None, wanted: str
) -> None:
    print_report(report(**given), as_json=False, dry_run=False, app=app)
    assert f"see them:  {wanted}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({}, "2 accepted, from"),
        ({"stored": 0, "duplicate": 2}, "2 accepted, of these 0 new and 2 there before, from"),
        ({"stored": 5, "duplicate": 2}, "2 accepted, from"),  # somebody else sent too
        ({"stored": 0, "duplicate": 1, "unsettled": 1}, "2 accepted, from"),
        ({"stored": None, "duplicate": None, "unsettled": None}, "2 accepted, from"),
    ],
)
def test_a_repeated_import_says_at_once_that_nothing_is_new(
    capsys: pytest.CaptureFixture[str], given: dict[str, object], wanted: str
) -> None:
    print_report(report(**given), as_json=False, dry_run=False)
    assert wanted in capsys.readouterr().out.splitlines()[1]


def test_an_app_that_changed_nothing_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    print_report(report(stored=0, duplicate=2), as_json=False, dry_run=False, app="other")
    assert "2 were there before, under their earlier app" in capsys.readouterr().out
    print_report(report(stored=0, duplicate=2), as_json=False, dry_run=False)
    assert "earlier app" not in capsys.readouterr().out
