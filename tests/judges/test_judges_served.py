"""Judges on the command line and by the clock of a server, and what they cost beside the product's spend."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from core.clock import NS_PER_S, system_clock
from core.records import Role
from core.windows import day_of
from server.cli.main import main
from server.cli.outcome import ExitCode
from server.erasing import Erasing
from server.judge_rounds import JudgeRounds
from store.control.tables import JUDGE_VERDICTS
from tests.judges.answering import Said, verdict
from tests.judges.judged import RUBRIC, WINDOW, Court, court
from tests.server.shell import AIRLINE, served
from tests.store.build import agent_trace, fill, row
from tests.waiting import wait_until


def said(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


def test_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with court(tmp_path, n=20) as it, served(it.shell.services) as url:
        monkeypatch.setenv("ASSAY_URL", url)
        monkeypatch.setenv("ASSAY_API_KEY", it.shell.keys[AIRLINE, Role.ADMIN])
        file = tmp_path / "v1.md"
        file.write_text(RUBRIC)
        assert main(["judges", "list"]) == ExitCode.OK
        assert "assay judges create" in capsys.readouterr().err
        create = ["judges", "create", "resolution", "--rubric", str(file), "--model", "openai:gpt-5-mini"]
        assert main([*create, "--model-url", it.model.url, "--app", "airline"]) == ExitCode.OK
        assert "openai:gpt-5-mini by resolution v1" in capsys.readouterr().out
        assert (
            main(["judges", "create", "b", "--rubric", "resolution@1", "--model", "simulated:sim-judge"]) == ExitCode.OK
        )
        assert (
            main(["judges", "create", "c", "--rubric", "nothing", "--model", "simulated:sim-judge"])
            == ExitCode.NOT_FOUND
        )
        assert main(["judges", "create", "c", "--rubric", "no.md", "--model", "simulated:sim-judge"]) == ExitCode.USAGE
        run = ["judges", "run", "resolution", "--start", WINDOW["start"], "--end", WINDOW["end"]]
        capsys.readouterr()
        assert main(run) == ExitCode.USAGE
        assert "--budget 5usd" in capsys.readouterr().err
        assert main([*run, "--budget", "nothing"]) == ExitCode.USAGE
        capsys.readouterr()
        assert main([*run, "--sample", "0.5", "--dry-run"]) == ExitCode.OK
        told = capsys.readouterr().out
        assert "of 20: " in told
        assert "each was chosen with probability 0.5" in told
        assert it.model.asked == []
        assert main([*run, "--budget", "0.005usd"]) == ExitCode.INCONCLUSIVE
        printed = capsys.readouterr()
        assert "out of budget" in printed.out
        assert "were not judged" in printed.out
        assert "20 targets of 20: 20 calls, about $" in printed.err
        assert main([*run, "--budget", "5usd", "--json"]) == ExitCode.OK
        job = said(capsys)
        assert (job["status"], job["n_done"]) == ("done", 20)
        assert main(["judges", "show", "resolution", "--job", job["job_id"], "--wait"]) == ExitCode.OK
        assert "20 verdicts of 20" in capsys.readouterr().out
        assert main(["judges", "show", "resolution"]) == ExitCode.OK
        assert "out_of_budget" in capsys.readouterr().out
        assert main([*run, "--budget", "none", "--detach"]) == ExitCode.OK
        name = capsys.readouterr().out.strip()
        assert main(["judges", "show", "resolution", "--job", name, "--wait"]) == ExitCode.OK
        assert main(["judges", "cancel", "resolution", name]) == ExitCode.OK
        watch = ["judges", "watch", "resolution"]
        capsys.readouterr()
        assert main(watch) == ExitCode.OK
        assert "assay judges watch NAME" in capsys.readouterr().err
        assert main([*watch, "--app", "airline"]) == ExitCode.USAGE
        assert main([*watch, "--app", "airline", "--budget-per-day", "1usd", "--dry-run"]) == ExitCode.OK
        assert "nothing changed; of the" in capsys.readouterr().out
        assert main([*watch, "--app", "airline", "--budget-per-day", "1usd", "--share", "0.5", "--json"]) == ExitCode.OK
        assert said(capsys)["on"] is True
        assert main(watch) == ExitCode.OK
        assert "50 %" in capsys.readouterr().out
        assert main([*watch, "--app", "airline", "--off"]) == ExitCode.OK
        assert main(["judges", "rubrics", "--add", str(file)]) == ExitCode.OK
        assert "Was the user's matter resolved?" in capsys.readouterr().out
        assert main(["judges", "delete", "resolution"]) == ExitCode.OK
        assert "nothing was changed" in capsys.readouterr().err
        assert main(["judges", "delete", "resolution", "--yes"]) == ExitCode.OK
        assert main(["judges", "show", "resolution"]) == ExitCode.NOT_FOUND


def arrive(it: Court, number: int, session: str, text: str, journal: int = 1) -> None:
    """A session of one turn that ended some seconds ago."""
    start_ns = system_clock() - 10 * NS_PER_S
    rows = agent_trace(number, app="desk", session_id=session, tenant=str(AIRLINE), user_id=f"user-of-{session}")
    offset = start_ns - rows[0]["start_ns"]
    for place, span in enumerate(rows):
        span |= {"start_ns": span["start_ns"] + offset, "end_ns": span["end_ns"] + offset}
        span |= {"date": day_of(span["start_ns"]), "seq": (journal << 48) + number * 10 + place}
    rows[0] |= {"input": text}
    fill(it.shell.services.lake, rows)


def test_live_sessions_are_judged_by_the_clock(tmp_path: Path) -> None:
    with court(tmp_path, n=1) as it:
        it.judge()
        told = it.ask("PUT", "judges/resolution/schedule", json={"app": "desk", "share": 1, "idle_s": 1})
        assert (told["on"], told["n_day"], told["dry_run"]) == (True, 0, False)
        rounds = JudgeRounds(it.shell.services)

        def look() -> None:
            rounds.run(AIRLINE, threading.Event())

        for number in (1001, 1002):
            arrive(it, number, f"d{number}", "hello")
        look()
        wait_until(lambda: len(it.scores()) == 2, 120, "both sessions to be judged")
        arrive(it, 1003, "d1001", "and more")
        look()
        wait_until(lambda: len(it.scores()) == 3, 120, "the session that went on")
        look()
        (schedule,) = it.ask("GET", "judges/resolution/schedule")["items"]
        assert (schedule["n_sessions"], schedule["n_left_out"]) == (3, 0)
        (job,) = it.ask("GET", "judges/resolution/runs")["items"]
        wait_until(lambda: it.job(job)["n_done"] == 3, 60, "the job to count them")
        assert it.job(job)["params"]["source"] == "watch"
        assert it.job(job)["status"] in ("waiting", "running")
        assert {one["session_id"] for one in it.scores()} == {"d1001", "d1002"}


def test_what_judges_cost_is_told_apart(tmp_path: Path) -> None:
    with court(tmp_path, n=3) as it:
        rows = []
        for number in (501, 502):
            common = {
                "trace_id": number,
                "app": "assay.judges",
                "tenant": str(AIRLINE),
                "session_id": f"judge.s{number}",
            }
            usage = {"kind": "LLM", "usage_counted": True, "input_tokens": 50, "output_tokens": 5, "model_request": "m"}
            rows.append(row(**common, **usage, span_id=number, cost_usd=Decimal("0.5"), ms=5, name="chat"))
        fill(it.shell.services.lake, rows)
        told = it.ask("GET", "spend", params={**WINDOW, "by": "app"})
        assert [one["app"] for one in told["items"]] == ["airline"]
        assert (told["totals"]["n_calls"], told["totals"]["cost_usd"]) == (6, 0.006)
        assert (told["judges"]["n_calls"], told["judges"]["cost_usd"]) == (2, 1.0)
        only = it.ask("GET", "spend", params={**WINDOW, "by": "model", "app": "assay.judges"})
        assert (only["totals"]["cost_usd"], only["judges"]) == (1.0, None)
        again = it.ask("POST", "spend/recompute", json={**WINDOW, "by": "app", "prices": {}})
        assert [one["app"] for one in again["items"]] == ["airline"]
        assert again["judges"]["n_calls"] == 2


def test_an_erasure_takes_replies_and_traces_of_the_judges_calls(tmp_path: Path) -> None:
    def script(index: int, body: dict[str, Any]) -> Said:
        return verdict("pass", explanation="marker-8c1f of the user")

    with court(tmp_path, script, n=3) as it:
        it.judge()
        it.judged()
        services = it.shell.services
        keys = {one["session_id"]: json.loads(one["metadata"])["verdict"] for one in it.scores()}
        spans = []
        for number, name in ((900, "judge.s1"), (901, "judge.s2")):
            common = {"trace_id": number, "app": "assay.judges", "tenant": str(AIRLINE), "session_id": name}
            spans.append(row(**common, span_id=number, ms=5, name="judge resolution"))
        fill(services.lake, spans)
        erasing = Erasing(services.settings)
        receipt = erasing.carry_out(erasing.begin(AIRLINE, "u1"))
        erasing.close()
        assert receipt.sessions == 1
        assert receipt.control_rows >= 1
        it.ask("GET", f"judges/resolution/verdicts/{keys['s1']}", 404)
        it.ask("GET", f"judges/resolution/verdicts/{keys['s2']}")
        assert {one["session_id"] for one in it.scores()} == {"s2", "s3"}
        left = it.ask("GET", "sessions", params={**WINDOW, "limit": 100})["items"]
        assert {one["session_id"] for one in left} == {"s2", "s3", "judge.s2"}


def test_an_erasure_while_a_job_is_at_work_leaves_nothing_behind(tmp_path: Path) -> None:
    erased = threading.Event()

    def script(index: int, body: dict[str, Any]) -> Said:
        said = verdict("pass", explanation="marker-8c1f of the user")
        return replace(said, wait=erased) if '"answer 1"' in json.dumps(body).replace("\\", "") else said

    with court(tmp_path, script, n=3) as it:
        it.judge()
        job = it.run()
        wait_until(lambda: len(it.model.asked) == 3, 60, "all to be asked")
        erasing = Erasing(it.shell.services.settings)
        erasing.carry_out(erasing.begin(AIRLINE, "u1"))
        erasing.close()
        erased.set()
        done = it.ended(job)
        assert (done["status"], done["n_done"], done["missing"]) == ("done", 2, {"no_content": 1})
        assert {one["session_id"] for one in it.scores()} == {"s2", "s3"}
        with it.shell.services.control._database.read() as connection:
            kept = connection.execute(select(JUDGE_VERDICTS.c.session_id)).scalars().all()
        assert sorted(kept) == ["s2", "s3"]
        assert done["n_paid"] == 3  # what it cost stays counted
