"""What a caller sees when files of the lake are damaged: the rest, and that it is the rest."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.cli.connection import _warn_of
from server.cli.main import main
from server.cli.outcome import ExitCode
from server.incomplete import HEADER
from store.control.control import Control
from tests.server.shell import AIRLINE, SHOP, Shell, running_shell
from tests.store.build import T0, agent_trace, fill, trace
from tests.store.test_damage import flip

WINDOW = {"start": str(T0 - 10**9), "end": str(T0 + 10**12)}
ALL_READS = ("/spans", "/spans/count", "/facets?field=model", "/search?q=agent")


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    with running_shell(tmp_path) as running:
        for number in (1, 2, 3):
            fill(running.services.lake, agent_trace(number, at_s=number * 10, tenant=AIRLINE, session_id="s"))
            fill(running.services.lake, agent_trace(number, at_s=number * 10, tenant=SHOP))
        yield running


def harm(shell: Shell, table: str = "spans") -> Path:
    """Flips a bit in the file of trace 2."""
    path = Path(shell.services.lake.snapshot(table).select(AIRLINE)[1].path)
    flip(path, 70)
    return path


def ask(shell: Shell, path: str, tenant: str = AIRLINE, **headers: str):  # type: ignore[no-untyped-def]
    said = {**shell.headers(tenant=tenant), **headers}  # type: ignore[arg-type]
    return shell.client.get(f"/api/v1{path}", params=WINDOW if "?" not in path else None, headers=said)


def test_reads_serve_the_rest_and_say_so_in_head_and_body(shell: Shell) -> None:
    assert HEADER not in ask(shell, "/spans").headers
    harm(shell)
    answer = ask(shell, "/spans")
    assert answer.status_code == 200
    assert {item["trace_id"] for item in answer.json()["items"]} == {trace(1), trace(3)}
    assert answer.headers[HEADER] == "damaged-files=1; rows=4"
    (warning,) = answer.json()["warnings"]
    assert warning == "incomplete: 1 damaged file of spans of 2026-09-21 with 4 rows left out; run assay doctor"
    assert ask(shell, "/spans/count").json() == {"count": 8, "warnings": [warning]}
    arrow = ask(shell, "/spans", Accept="application/vnd.apache.arrow.stream")
    assert arrow.headers[HEADER] == answer.headers[HEADER]


def test_answers_that_do_not_need_the_file_and_other_tenants_are_whole(shell: Shell) -> None:
    harm(shell)
    for path, tenant in (("/traces", AIRLINE), ("/sessions", AIRLINE), ("/spans", SHOP), ("/me", AIRLINE)):
        answer = ask(shell, path, tenant) if path != "/me" else shell.client.get("/api/v1/me", headers=shell.headers())
        assert answer.status_code == 200
        assert HEADER not in answer.headers
        assert "warnings" not in answer.json()


def test_a_trace_that_cannot_be_found_may_be_in_the_damaged_file(shell: Shell) -> None:
    harm(shell, "turns")
    answer = shell.client.get(f"/api/v1/traces/{trace(2)}", headers=shell.headers())
    assert (answer.status_code, answer.json()["n_spans"]) == (200, 4)
    assert "turns" in answer.json()["warnings"][0]
    harm(shell)
    answer = shell.client.get(f"/api/v1/traces/{trace(2)}", headers=shell.headers())
    assert answer.status_code == 404
    assert answer.headers[HEADER] == "damaged-files=2; rows=5"
    assert answer.json()["code"] == "not_found"
    assert len(answer.json()["warnings"]) == 2


def test_the_command_line_warns_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    _warn_of("damaged-files=7; rows=70")
    _warn_of("damaged-files=7; rows=70")
    _warn_of(None)
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.count("incomplete answer") == 1


def test_health_is_degraded_and_tells_open_callers_no_name(shell: Shell) -> None:
    assert shell.client.get("/api/v1/health").json()["status"] == "ok"
    harm(shell)
    ask(shell, "/spans")
    answer = shell.client.get("/api/v1/health")
    assert answer.status_code == 200
    assert answer.json()["status"] == "degraded"
    assert answer.json()["checks"] == {"control": "ok", "lake": "degraded", "jobs": "ok"}
    assert "airline" not in answer.text


def test_repair_lists_first_and_does_it_with_yes(
    shell: Shell, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = harm(shell)
    data = str(tmp_path / "data")
    assert main(["doctor", "--repair", "--data", data, "--json"]) == ExitCode.FAILED
    told = json.loads(capsys.readouterr().out)
    assert [(row["act"], row["table"], row["rows"]) for row in told["planned"]] == [("take_out", "spans", 4)]
    assert told["done"] == []
    assert path.exists()
    assert main(["doctor", "--repair", "--data", data]) == ExitCode.FAILED
    assert "nothing was changed; 4 rows would leave the lake" in capsys.readouterr().out
    assert main(["doctor", "--repair", "--yes", "--data", data]) == ExitCode.OK
    assert "4 rows left the lake" in capsys.readouterr().out
    assert not path.exists()
    answer = ask(shell, "/spans")
    assert HEADER not in answer.headers
    assert len(ask(shell, "/traces").json()["items"]) == 3
    assert main(["doctor", "--repair", "--data", data]) == ExitCode.OK
    assert "no file of the lake is damaged" in capsys.readouterr().out


@pytest.mark.parametrize(
    "more", [["--yes"], ["--repair", "--url", "http://127.0.0.1:1"], ["--repair", "--port-base", "9"]]
)
def test_repair_is_for_a_folder(more: list[str], tmp_path: Path) -> None:
    assert main(["doctor", "--data", str(tmp_path), *more]) == ExitCode.USAGE


def test_a_retried_score_is_not_doubled_while_a_damaged_file_may_hold_it(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(*_: object) -> None:
        raise OSError("the process ends before the claim is finished")

    score = {"evaluator": "e", "evaluator_kind": "human", "target": "turn", "trace_id": trace(1), "value": 1}
    headers = {**shell.headers(), "Idempotency-Key": "once"}
    with monkeypatch.context() as patch:
        patch.setattr(Control, "finish_claim", dies)
        assert shell.client.post("/api/v1/scores", json={"items": [score]}, headers=headers).status_code >= 500
    (file,) = shell.services.lake.snapshot("scores").files
    flip(Path(file.path), 70)
    answer = shell.client.post("/api/v1/scores", json={"items": [score]}, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    assert "damaged file" in answer.json()["detail"]
    flip(Path(file.path), 70)
    assert shell.client.post("/api/v1/scores", json={"items": [score]}, headers=headers).status_code == 201
    assert sum(file.n_rows for file in shell.services.lake.snapshot("scores").files) == 1
