"""Online evaluation at the API and on the command line, by the clock of a server, and in a child that is killed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import polars as pl
import pytest

from core.clock import NS_PER_S, system_clock
from core.records import Role
from core.windows import day_of
from server.children import environment_of
from server.cli.main import main
from server.cli.outcome import ExitCode
from server.scheduler import Scheduler
from tests.server.shell import AIRLINE, SHOP, Shell, running_shell, served
from tests.stack import REPOSITORY
from tests.store.build import agent_trace, fill
from tests.waiting import wait_until

RULES = ["loop_free", "tokens"]


@pytest.fixture
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    with running_shell(tmp_path_factory.mktemp("online"), online_interval_s=1.0) as running:
        yield running


def put(shell: Shell, app: str = "desk", role: Role = Role.POWER_USER, **body: Any) -> Any:
    given = {"evaluators": RULES, "idle_s": 1} | body
    return shell.client.put(f"/api/v1/evaluators/online/{app}", json=given, headers=shell.headers(role))


def get(shell: Shell, tenant: Any = AIRLINE) -> Any:
    return shell.client.get("/api/v1/evaluators/online", headers=shell.headers(Role.VIEWER, tenant)).json()


def arrive(shell: Shell, first: int, n: int, *, ago_s: float = 5.0) -> None:
    """Sessions s<first>, s<first + 1>, ... of one turn each arrive in one commit."""
    rows = []
    for number in range(first, first + n):
        start_ns = system_clock() - int(ago_s * NS_PER_S)
        trace = agent_trace(number, app="desk", session_id=f"s{number:04}", tenant=str(AIRLINE))
        offset = start_ns - trace[0]["start_ns"]
        for place, span in enumerate(trace):
            span |= {"start_ns": span["start_ns"] + offset, "end_ns": span["end_ns"] + offset}
            span |= {"date": day_of(span["start_ns"]), "seq": (1 << 48) + number * 10 + place}
        rows += trace
    fill(shell.services.lake, rows)


def stored(shell: Shell) -> pl.DataFrame:
    """Every row of scores as it was written."""
    store = shell.services.store.tenant(AIRLINE)
    return store.frame(store.table("scores"))


def scores_of(shell: Shell, session: str) -> list[dict[str, Any]]:
    """A session's scores as its page and `assay sessions show` ask for them."""
    asked = {"session_id": session, "since": "3650d"}
    found = shell.client.get("/api/v1/scores", params=asked, headers=shell.headers(Role.VIEWER)).json()
    return list(found["items"])


def test_a_choice_is_made_seen_and_audited(shell: Shell) -> None:
    arrive(shell, 1, 2)
    tried = put(shell, dry_run=True, share=1).json()
    assert (tried["dry_run"], tried["n_day"], tried["n_day_all"]) == (True, 2, 2)
    assert get(shell)["items"] == []
    made = put(shell, share=0.25)
    assert made.status_code == 200, made.text
    (item,) = get(shell)["items"]
    assert (item["app"], item["evaluators"], item["share"], item["idle_s"]) == ("desk", RULES, 0.25, 1.0)
    assert item["changed_by"] == "power_user of airline"
    assert get(shell, SHOP)["items"] == []
    audit = shell.client.get("/api/v1/audit", headers=shell.headers()).json()["items"]
    assert ("online.set", "online/desk") in {(one["action"], one["resource"]) for one in audit}
    assert get(shell)["status"]["n_waiting"] == 0  # what came before is not looked at


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"evaluators": ["nobody"]}, "there is no evaluator"),
        ({"evaluators": ["answer_match"]}, "live sessions come without"),
        ({"share": 1.5}, "share"),
        ({"idle_s": 0}, "idle_s"),
        ({"evaluators": ["tokens"], "more": 1}, "more"),
    ],
)
def test_what_cannot_look_at_sessions_is_refused(shell: Shell, body: dict[str, Any], said: str) -> None:
    answer = put(shell, **body)
    assert answer.status_code in (400, 422)
    assert said in answer.text
    assert put(shell, role=Role.USER).status_code == 403
    assert get(shell)["items"] == []


def test_the_server_looks_by_the_clock_and_shows_how_far_it_is(shell: Shell) -> None:
    put(shell)
    arrive(shell, 1, 3)
    assert get(shell)["status"]["n_waiting"] == 3
    scheduler = Scheduler(shell.services)
    scheduler.start()
    try:
        wait_until(lambda: get(shell)["status"]["n_sessions"] == 3, 60, "three sessions to be evaluated")
    finally:
        scheduler.close()
    status = get(shell)["status"]
    assert (status["n_scores"], status["n_waiting"], status["at_work"]) == (6, 0, False)
    assert status["lag_ms"] > 0
    assert {one["evaluator"]: one["value"] for one in scores_of(shell, "s0001")} == {"loop_free": 1.0, "tokens": 220.0}


def test_an_outcome_of_days_later_is_shown_with_its_session(shell: Shell) -> None:
    arrive(shell, 1, 1, ago_s=9 * 86_400)
    body = {"evaluator": "refund_kept", "evaluator_kind": "outcome", "target": "session", "session_id": "s0001"}
    answer = shell.client.post(
        "/api/v1/scores", json={"items": [{**body, "value": 1.0, "label": "kept"}]}, headers=shell.headers(Role.USER)
    )
    assert answer.status_code == 201, answer.text
    assert [(one["evaluator"], one["label"]) for one in scores_of(shell, "s0001")] == [("refund_kept", "kept")]


def child(shell: Shell) -> subprocess.Popen[bytes]:
    environment = environment_of(shell.services.settings)
    return subprocess.Popen([sys.executable, "-m", "server.online_child"], cwd=REPOSITORY, env=environment)


def test_a_burst_is_left_to_a_child_and_its_kill_loses_and_doubles_nothing(shell: Shell) -> None:
    put(shell)
    arrive(shell, 1, 450)
    killed = child(shell)
    wait_until(lambda: stored(shell).height > 0, 60, "the first slice of scores")
    killed.send_signal(signal.SIGKILL)
    killed.wait(60)
    assert stored(shell).height < 900
    scheduler = Scheduler(shell.services)
    # More than it does itself: a child again, which takes over from a process that is gone.
    assert scheduler.round("online") == 1
    scheduler.close()
    scores = stored(shell)
    assert scores.height == 900
    assert scores["score_id"].is_unique().all()
    assert scores["session_id"].n_unique() == 450
    assert get(shell)["status"]["n_waiting"] == 0


def test_commands(shell: Shell, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with served(shell.services) as url:
        monkeypatch.setenv("ASSAY_URL", url)
        monkeypatch.setenv("ASSAY_API_KEY", shell.keys[AIRLINE, Role.POWER_USER])
        assert main(["eval", "online", "list"]) == ExitCode.OK
        assert "assay eval online set" in capsys.readouterr().err
        words = ["eval", "online", "set", "desk", "--evaluators", "loop_free, tokens", "--share", "0.5"]
        assert main([*words, "--dry-run"]) == ExitCode.OK
        assert "a dry run: nothing changed; of the 0 sessions" in capsys.readouterr().out
        assert main([*words, "--json"]) == ExitCode.OK
        assert json.loads(capsys.readouterr().out)["share"] == 0.5
        assert main(["eval", "online", "list"]) == ExitCode.OK
        told = capsys.readouterr()
        assert "loop_free, tokens" in told.out
        assert "50 %" in told.out
        assert "0 sessions open or waiting" in told.err
        assert main(["eval", "online", "set", "desk", "--off"]) == ExitCode.OK
        assert main(["eval", "online", "set", "desk", "--evaluators", ","]) == ExitCode.USAGE
        assert main(["eval", "online", "set", "desk", "--evaluators", "nobody"]) == ExitCode.USAGE
        capsys.readouterr()
        assert main(["eval", "online", "list", "--json"]) == ExitCode.OK
        assert json.loads(capsys.readouterr().out)["items"][0]["evaluators"] == []
