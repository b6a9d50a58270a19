"""What the commands say: headers with their time zone, one word for one thing, one turn and two turns."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.records import Role
from server.cli import rendering
from server.cli.main import main
from server.cli.outcome import ExitCode
from tests.server.shell import AIRLINE, Shell, running_shell, served
from tests.store.build import T0, agent_trace, fill, row, trace

WINDOW = ("--start", "2026-09-01T00:00:00Z", "--end", "2026-10-01T00:00:00Z")
BAD_SINCE = ("", "0d", "90", "7D", "-1d", "yesterday")


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    with running_shell(tmp_path_factory.mktemp("words")) as running:
        rows = agent_trace(1, tenant=AIRLINE, session_id="s1")
        rows += agent_trace(2, at_s=10, tenant=AIRLINE, session_id="s2")
        rows += agent_trace(3, at_s=20, tenant=AIRLINE, session_id="s2")
        rows.append(row(tenant=AIRLINE, trace_id=4, span_id=400, start_ns=T0, session_id="s4", status_code=2))
        fill(running.services.lake, rows)
        yield running


@pytest.fixture(scope="module")
def url(shell: Shell) -> Iterator[str]:
    with served(shell.services) as url:
        yield url


def said(capsys: pytest.CaptureFixture[str], shell: Shell, url: str, *words: str) -> str:
    assert main([*words, "--url", url, "--key", shell.keys[AIRLINE, Role.ADMIN]]) == ExitCode.OK
    return capsys.readouterr().out


def test_keys_are_listed_under_a_header_with_the_time_zone(
    capsys: pytest.CaptureFixture[str], shell: Shell, url: str
) -> None:
    made = json.loads(said(capsys, shell, url, "keys", "create", "--name", "short", "--expires-in", "90d", "--json"))
    said(capsys, shell, url, "keys", "create", "--name", "gone", "--json")
    listed = json.loads(said(capsys, shell, url, "keys", "list", "--json"))["items"]
    said(capsys, shell, url, "keys", "revoke", listed[-1]["key_id"])
    header, *lines = said(capsys, shell, url, "keys", "list").splitlines()
    assert header.split("  ")[0] == "key id"
    assert "created (UTC)" in header
    assert "state (UTC)" in header
    assert len(lines) == len(listed)
    starts = [header.index(word) for word in ("key id", "role", "created", "state", "name")]
    assert all(line[start] != " " and (start == 0 or line[start - 1] == " ") for line in lines for start in starts)
    by_name = {line[starts[-1] :]: line for line in lines}
    assert f"until {made['expires_at'][:19]}" in by_name["short"]
    assert "  revoked 20" in by_name["gone"]
    assert "  valid  " in by_name[f"admin of {AIRLINE}"]


@pytest.mark.parametrize("since", BAD_SINCE)
@pytest.mark.parametrize("words", [("traces", "list", "--since"), ("sessions", "list", "--since")])
def test_a_since_that_is_none_is_usage(
    capsys: pytest.CaptureFixture[str], url: str, words: tuple[str, ...], since: str
) -> None:
    assert main([*words[:-1], f"--since={since}", "--url", url, "--key", "k"]) == ExitCode.USAGE
    said = capsys.readouterr().err
    assert said.startswith("assay: --since: ")
    assert "usage" not in said


@pytest.mark.parametrize("since", ["1y", "2y", "all", "1500w"])
def test_years_and_all_of_time_are_understood(
    capsys: pytest.CaptureFixture[str], shell: Shell, url: str, since: str
) -> None:
    found = json.loads(said(capsys, shell, url, "traces", "list", "--since", since, "--json"))["items"]
    assert {row["trace_id"] for row in found} >= {trace(1), trace(4)}
    key = shell.keys[AIRLINE, Role.ADMIN]
    assert main(["traces", "list", "--since", since, "--app", "no-such", "--url", url, "--key", key]) == ExitCode.OK
    assert ("of all time" in capsys.readouterr().err) == (since in ("all", "1500w"))


def test_only_a_window_may_be_all_of_time(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys", "create", "--name", "x", "--expires-in", "all"]) == ExitCode.USAGE
    assert capsys.readouterr().err.startswith("assay: --expires-in: 'all' is not a duration")


@pytest.mark.parametrize("since", BAD_SINCE)
def test_other_durations_are_checked_as_well(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, url: str, since: str
) -> None:
    (tmp_path / "lake").mkdir()
    assert main(["remap", "--data", str(tmp_path), f"--since={since}"]) == ExitCode.USAGE
    made = ["keys", "create", "--name", "x", f"--expires-in={since}", "--url", url, "--key", "k"]
    assert main(made) == ExitCode.USAGE
    assert "Traceback" not in capsys.readouterr().err
    assert main([*made[:4], "--expires-in", "999999w", "--url", url, "--key", "k"]) == ExitCode.USAGE
    assert "beyond the calendar" in capsys.readouterr().err


def test_since_and_start_exclude_each_other(capsys: pytest.CaptureFixture[str], url: str) -> None:
    assert main(["traces", "list", "--since", "1d", *WINDOW, "--url", url, "--key", "k"]) == ExitCode.USAGE
    assert "not both" in capsys.readouterr().err


def test_one_turn_is_no_turns(capsys: pytest.CaptureFixture[str], shell: Shell, url: str) -> None:
    assert "1 turn, 1 error span " in said(capsys, shell, url, "sessions", "show", "s1")
    assert "2 turns, 2 error spans " in said(capsys, shell, url, "sessions", "show", "s2")
    assert "4 spans, 1 error " in said(capsys, shell, url, "traces", "show", trace(1))
    assert "1 span, 1 error " in said(capsys, shell, url, "traces", "show", trace(4))
    assert "... 3 more spans" in said(capsys, shell, url, "traces", "show", trace(1), "--limit", "1")
    assert "... 1 more span:" in said(capsys, shell, url, "traces", "show", trace(1), "--limit", "3")
    assert rendering.counted(0, "turn") == "0 turns"
    assert rendering.counted(12345, "turn") == "12,345 turns"


def test_a_status_is_one_word_in_list_head_and_tree(capsys: pytest.CaptureFixture[str], shell: Shell, url: str) -> None:
    listed = said(capsys, shell, url, "traces", "list", *WINDOW, "--status", "error")
    (line,) = [line for line in listed.splitlines() if trace(4) in line]
    head, *rest = said(capsys, shell, url, "traces", "show", trace(4)).splitlines()
    session = said(capsys, shell, url, "sessions", "show", "s4")
    assert "  error  " in line
    assert head.endswith("  error")
    assert rest[-1].rstrip().endswith("  error")
    assert "  error  " in session
    assert not any(word in text for text in (listed, head, *rest, session) for word in ("failed", "ERROR"))


def test_an_import_names_what_it_counts(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    def lines(name: str, document: dict[str, Any]) -> str:
        (tmp_path / name).write_text(json.dumps(document))
        return str(tmp_path / name)

    span = {"traceId": "0a" * 16, "spanId": "0b" * 8, "name": "x", "startTimeUnixNano": "1", "endTimeUnixNano": "2"}
    record = {"timeUnixNano": "1", "body": {"stringValue": "hello"}}
    spans = lines("spans.json", {"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]})
    logs = lines("logs.json", {"resourceLogs": [{"scopeLogs": [{"logRecords": [record, record]}]}]})
    assert main(["import", "otlp", spans, logs, "--dry-run"]) == ExitCode.OK
    header, first, second, last = capsys.readouterr().out.splitlines()
    assert header.split() == ["spans", "log", "records", "bad", "lines", "file"]
    assert first.split() == ["1", "0", "0", "spans.json"]
    assert second.split() == ["0", "2", "0", "logs.json"]
    assert last.startswith("would send 1 span, 2 log records")
    assert main(["import", "otlp", spans, logs, "--dry-run", "--json"]) == ExitCode.OK
    report = json.loads(capsys.readouterr().out)
    assert (report["spans"], report["log_records"], report["metrics"]) == (1, 2, 0)
