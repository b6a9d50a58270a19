"""Failure rates of clusters at the API and in the terminal: of the outcomes that have come by now, of how many sessions
they are known, and as of when each figure is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.clock import NS_PER_S, system_clock
from core.records import EvaluatorKind, Role, TargetKind
from core.windows import day_of
from server.cli.main import main
from server.cli.outcome import ExitCode
from store.control.cluster_records import Concluded
from store.scores import NewScore, append_scores
from tests.server.shell import AIRLINE, SHOP, Shell, running_shell, served
from tests.server.test_cluster_rounds import APP, clustered, members
from tests.store.build import fill, row

API = "/api/v1/clusters"
HOUR_NS = 3_600 * NS_PER_S
INSIDE = [f"in-{number}" for number in range(8)]
OUTSIDE = [f"out-{number}" for number in range(92)]
FIGURE = {
    "unit": "usd", "value": 0.5, "low": 0.4, "high": 0.6, "rest": 0.1, "rest_low": 0.1, "rest_high": 0.1, "note": None,
}  # fmt: skip


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    """A cluster of eight sessions, 92 in none, placed before anything was known of how they ended. Its run kept a
    failure rate of 100%, and a cost."""
    with running_shell(tmp_path) as running:
        clustered(running)
        control = running.services.control
        (record,) = control.clusters(AIRLINE, APP)
        figures = [{**FIGURE, "name": "failure rate", "unit": "share", "value": 1.0}, {**FIGURE, "name": "cost"}]
        said = {
            **record.said, "title_by": "terms", "terms": [], "sentence": None, "figures": figures, "cost_usd": 0.5,
            "profile": [], "wrong_at": [], "releases": [{"release": "r1", "n": 8}],
        }  # fmt: skip
        line = control.take_cluster_app(AIRLINE, APP, "me")
        assert line is not None
        control.advance_cluster_app(line, {}, {}, [replace(record, said=said)], done=True)
        members(running, INSIDE, "C-0001", ago_ns=HOUR_NS)
        members(running, OUTSIDE, None, ago_ns=HOUR_NS)
        yield running


def get(shell: Shell, path: str = "", **asked: Any) -> Any:
    answer = shell.client.get(f"{API}{path}", params=asked, headers=shell.headers(Role.VIEWER))
    assert answer.is_success, answer.text
    return answer.json()


def ended(shell: Shell, failed: dict[str, bool], tenant: Any = AIRLINE) -> None:
    """Outcomes that come now."""
    scores = [
        NewScore(
            evaluator="resolved", evaluator_kind=EvaluatorKind.OUTCOME, target=TargetKind.SESSION, session_id=name,
            value=float(not each),
        )
        for name, each in failed.items()
    ]  # fmt: skip
    store = shell.services.store.tenant(tenant)
    ids = [f"outcome of {name}" for name in failed]
    append_scores(store, scores, ids=ids, author="test", now_ns=shell.services.clock())


def assay(shell: Shell, capsys: pytest.CaptureFixture[str], *words: str) -> str:
    with served(shell.services) as url:
        server = ["--url", url, "--key", shell.keys[AIRLINE, Role.ADMIN]]
        assert main(["clusters", *words, *server]) == ExitCode.OK
    return " ".join(capsys.readouterr().out.split())


def test_an_outcome_that_comes_after_its_session_was_placed_counts_without_a_run(shell: Shell) -> None:
    (before,) = get(shell)["items"]
    assert (before["failure_rate"], before["rest_rate"], before["n_known"]) == (None, None, 0)
    ended(shell, dict.fromkeys(INSIDE, True) | dict.fromkeys(OUTSIDE[:46], False))
    ended(shell, dict.fromkeys(OUTSIDE[46:], True), SHOP)  # another tenant's sessions of the same names
    listed = get(shell)
    (one,) = listed["items"]
    assert (one["failure_rate"], one["n_known"], one["n_sessions"]) == (1.0, 8, 8)
    assert (one["rest_rate"], one["rest_n_known"], one["rest_n_sessions"]) == (0.0, 46, 92)
    assert (one["fails_more"], one["failure_scarce"], one["rest_scarce"]) == (True, False, False)
    assert (listed["n_known"], listed["n_sessions"]) == (54, 100)
    assert [(sum(day[name] for day in one["trend"])) for name in ("n", "n_failed", "n_known")] == [8, 8, 8]
    whole = get(shell, "/C-0001")
    assert [each["failed"] for each in whole["exemplars"]] == [True] * 5
    assert [each["failed"] for each in get(shell, "/C-0001/sessions")["items"]] == [True] * 8


def test_few_known_outcomes_are_said_and_warned_of_wherever_a_rate_stands(
    shell: Shell, capsys: pytest.CaptureFixture[str]
) -> None:
    ended(shell, dict.fromkeys(OUTSIDE[:4], True))
    listed = get(shell)
    (one,) = listed["items"]
    assert (one["failure_rate"], one["rest_rate"]) == (None, 1.0)
    assert (one["rest_n_known"], one["rest_scarce"], one["fails_more"]) == (4, True, None)
    assert "known of 4 of 100 sessions" in listed["says"][0]
    says = get(shell, "/C-0001")["says"]
    assert says[0].startswith("of this cluster: of none of 8 sessions")
    assert says[1].startswith("of the rest of the app: failure is known of 4 of 92 sessions")
    shown = assay(shell, capsys, "show", "C-0001")
    assert "failing not known, known of 0 of 8 sessions; the rest 100.0%, known of 4 of 92 sessions" in shown
    table = assay(shell, capsys, "list")
    assert all(text in table for text in ("not known", "0 of 8", "100.0%", "4 of 92", "known of 4 of 100 sessions"))
    ended(shell, dict.fromkeys([*INSIDE, *OUTSIDE], False))
    assert get(shell)["says"] == get(shell, "/C-0001")["says"] == []


def test_each_figure_of_a_cluster_says_as_of_when_it_is(shell: Shell, capsys: pytest.CaptureFixture[str]) -> None:
    ended(shell, dict.fromkeys(INSIDE[:2], True) | dict.fromkeys(INSIDE[2:], False))
    one = get(shell, "/C-0001")
    run = get(shell, "/runs/run_1")
    assert one["run_at"] == run["ended_at"] < one["counted_at"]
    rate, cost = one["figures"]
    assert (rate["name"], rate["value"], rate["live"]) == ("failure rate", 0.25, True)  # not the 100% of the run
    assert (rate["as_of"], rate["low"]) == (one["counted_at"], one["failure_low"])
    assert "known of 8 of 8 sessions" in rate["note"]
    assert (cost["live"], cost["as_of"], cost["value"]) == (False, run["ended_at"], 0.5)
    shown = assay(shell, capsys, "show", "C-0001")
    at = run["ended_at"][:16].replace("T", " ")
    assert all(text in shown for text in (f"as of run run_1 ({at} UTC): cost of one $0.5", "now (", "failing 25.0%"))
    assert f"releases as of run run_1 ({at} UTC): r1 (8)" in shown


def test_a_run_says_of_how_many_sessions_it_knew_and_a_dry_run_of_how_many_it_would(
    shell: Shell, capsys: pytest.CaptureFixture[str]
) -> None:
    begin = system_clock() - HOUR_NS
    at: dict[str, Any] = {"tenant": str(AIRLINE), "app": "till", "start_ns": begin, "date": day_of(begin)}
    rows = [
        row(**at, session_id=f"t-{n}", trace_id=n + 1, span_id=n + 1, seq=(1 << 48) + n, name="agent", kind="AGENT")
        for n in range(30)
    ]
    fill(shell.services.lake, rows)
    ended(shell, {"t-0": True, "t-1": True} | dict.fromkeys(INSIDE, True))
    body = {"app": "till", "since": "1d", "params": {"embedder": "tfidf"}, "dry_run": True}
    headers = shell.headers(Role.POWER_USER)
    told = shell.client.post(f"{API}/runs", json=body, headers=headers).json()
    assert (told["n_known"], told["n_sessions"]) == (2, 30)
    assert any("known of 2 of 30 sessions" in text for text in told["says"])
    named = shell.client.post(f"{API}/runs", json={**body, "failure": "polite"}, headers=headers).json()
    assert named["n_known"] == 0
    assert any("scores of polite" in text for text in named["says"])
    printed = assay(shell, capsys, "run", "--app", "till", "--since", "1d", "--dry-run")
    assert "whether they failed: known of 2 of 30 sessions" in printed
    control = shell.services.control
    run = replace(control.cluster_run(AIRLINE, "run_1"), run_id="run_2", app="till")
    control.start_cluster_run(run, by=None)
    taken = control.take_cluster_run("me", ())
    assert taken is not None
    done = replace(taken, n_sessions=30, n_clusters=1, n_noise=0, used={"n_known": 2, "n_failed": 2})
    control.conclude_cluster_run(Concluded(run=done, clusters=(), events=(), marks={}, told={}), n_tries=taken.n_tries)
    ran = get(shell, "/runs/run_2")
    assert (ran["n_known"], ran["n_failed"]) == (2, 2)
    assert ran["says"][0].startswith("in this run, failure is known of 2 of 30 sessions")
    assert "failing 100.0%, known of 2 of 30 sessions, as of this run" in assay(shell, capsys, "runs", "run_2")


def test_a_session_that_goes_on_being_told_of_moves_with_its_newest_outcome(shell: Shell) -> None:
    ended(shell, dict.fromkeys(INSIDE, True))
    store = shell.services.store.tenant(AIRLINE)
    later = NewScore(
        evaluator="resolved", evaluator_kind=EvaluatorKind.OUTCOME, target=TargetKind.SESSION, session_id="in-0",
        value=1.0, at_ns=shell.services.clock() + 60 * NS_PER_S,
    )  # fmt: skip
    append_scores(store, [later], ids=["later"], author="test", now_ns=shell.services.clock() + 60 * NS_PER_S)
    assert get(shell)["items"][0]["n_failed"] == 7
