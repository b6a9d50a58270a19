"""Clusters asked for oddly: words that are no ids, windows that lie ahead, runs that failed or were cancelled late."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from clustering.usual import Usual
from core.clock import NS_PER_S
from core.records import Principal, Role
from server.cli.clusters_shown import print_clusters
from server.cli.main import main
from server.cli.outcome import ExitCode
from server.clustering import MOST_TRIES, ClusterRunner
from store.control.cluster_records import ClusterRunRecord, Scope
from store.control.run_records import RunStatus
from tests.server.clustered import arrive
from tests.server.shell import AIRLINE, SHOP, Shell, running_shell, served
from tests.server.test_cluster_rounds import APP, clustered, members
from tests.waiting import wait_until

API = "/api/v1/clusters"
HOUR_NS = 3_600 * NS_PER_S
ANN = Principal(tenant=AIRLINE, role=Role.ADMIN, name="ann")


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """One cluster of three sessions, two sessions in none, and one in a cluster that never was. In its last run most
    sessions asked before a refund."""
    with running_shell(tmp_path_factory.mktemp("odd")) as running:
        clustered(running)
        arrive(running, "refund")
        members(running, ["refund-0", "refund-1", "refund-2"], "C-0001", ago_ns=HOUR_NS)
        members(running, ["n-1", "n-2"], None, ago_ns=HOUR_NS)
        members(running, ["x-1"], "C-0099", ago_ns=HOUR_NS)
        line = running.services.control.take_cluster_app(AIRLINE, APP, "me")
        assert line is not None
        usual = Usual(n=30, asked={"refund_order": (28, 30)}).as_json()
        running.services.control.advance_cluster_app(line, {}, {"usual": usual}, done=True)
        yield running


def get(shell: Shell, path: str, **asked: Any) -> Any:
    return shell.client.get(f"{API}{path}", params=asked, headers=shell.headers(Role.VIEWER)).json()


@pytest.mark.parametrize("action", ["show", "sessions", "watch", "unwatch"])
@pytest.mark.parametrize("word", ["map", "runs", "C-0001/sessions", "..", ""])
def test_a_word_that_is_no_id_is_told_before_anybody_is_asked(
    action: str, word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["clusters", action, word, "--url", "http://127.0.0.1:9"]) == ExitCode.USAGE
    assert "C-0042" in capsys.readouterr().err


def test_a_session_of_a_run_that_was_cancelled_while_it_wrote_is_in_no_cluster(shell: Shell) -> None:
    told = get(shell, "")
    assert [(one["id"], one["n_sessions"]) for one in told["items"]] == [("C-0001", 3)]
    assert (told["noise"]["n"], told["n_sessions"]) == (3, 6)


def test_exemplars_tell_what_is_unusual_in_the_app_and_not_among_themselves(shell: Shell) -> None:
    told = [one["outcome_text"] for one in get(shell, "/C-0001")["exemplars"]]
    assert ["refund_order without asking first" in one for one in told] == [True] * 3


def test_a_window_ends_now_where_it_was_to_end_later(shell: Shell) -> None:
    def asked(**window: str) -> Any:
        body = {"app": APP, "dry_run": True, "params": {"embedder": "tfidf"}, **window}
        return shell.client.post(f"{API}/runs", json=body, headers=shell.headers(Role.POWER_USER))

    later = asked(start="2026-01-01T00:00:00Z", end="2199-01-01T00:00:00Z").json()["window"]
    assert later["start"].startswith("2026-01-01T00:00:00")
    assert later["end"] < "2190"
    ahead = asked(start="2198-01-01T00:00:00Z", end="2199-01-01T00:00:00Z")
    assert (ahead.status_code, ahead.json()["field"]) == (422, "start")


@pytest.mark.parametrize("dry_run", [True, False])
def test_a_run_over_an_app_without_any_session_is_refused_and_leaves_nothing(shell: Shell, dry_run: bool) -> None:
    body = {"app": "dask", "params": {"embedder": "tfidf"}, "dry_run": dry_run}
    refused = shell.client.post(f"{API}/runs", json=body, headers=shell.headers(Role.POWER_USER))
    assert (refused.status_code, refused.json()["code"]) == (404, "not_found")
    assert "'dask'" in refused.json()["detail"]
    assert f"there are {APP}" in refused.json()["detail"]
    assert shell.services.control.cluster_runs(AIRLINE, "dask") == []
    assert shell.services.control.cluster_app(AIRLINE, "dask") is None
    of_shop = shell.client.post(f"{API}/runs", json=body, headers=shell.headers(Role.POWER_USER, SHOP))
    assert (of_shop.status_code, APP in of_shop.json()["detail"]) == (404, False)  # another tenant's apps are not named


def test_a_mistyped_app_is_told_in_the_terminal(shell: Shell, capsys: pytest.CaptureFixture[str]) -> None:
    with served(shell.services) as url:
        server = ["--url", url, "--key", shell.keys[AIRLINE, Role.ADMIN]]
        assert main(["clusters", "run", "--app", "dask", *server]) == ExitCode.NOT_FOUND
    assert f"there are {APP}" in " ".join(capsys.readouterr().err.split())


def test_before_the_first_look_the_feed_says_that_nobody_looked(shell: Shell) -> None:
    assert get(shell, "/emerging")["says"][0].startswith("nobody has looked yet")
    (look,) = get(shell, "/emerging")["looks"]
    assert (look["app"], look["looked_at"], look["n_tested"]) == (APP, None, None)


def test_the_list_says_that_the_newest_run_failed_and_a_run_why_it_has_no_map(shell: Shell) -> None:
    control, now = shell.services.control, shell.services.clock()
    for run_id, scope in (("over_waiting", Scope.WAITING), ("over_window", Scope.WINDOW)):
        run = ClusterRunRecord(
            tenant=AIRLINE, run_id=run_id, app=APP, start_ns=now - HOUR_NS, end_ns=now, scope=scope, params={},
            params_hash="ab" * 8,
        )  # fmt: skip
        control.start_cluster_run(run, by=ANN)
        control.end_cluster_run(AIRLINE, run_id, RunStatus.FAILED, error="no memory")
    says = get(shell, "")["says"]
    assert says == ["the newest run, over_window, failed: no memory; what is shown is of the run before"]
    assert "draws no map" in get(shell, "/map", run="over_waiting")["says"][1]
    assert "is failed" in get(shell, "/map", run="over_window")["says"][1]
    assert len(get(shell, "/map", run="run_1")["says"]) == 1


def test_a_run_of_another_app_has_no_map_of_this_one(shell: Shell) -> None:
    assert get(shell, "/map", run="run_1", app=APP)["run"]["id"] == "run_1"
    refused = get(shell, "/map", run="run_1", app="kiosk")
    assert (refused["status"], refused["field"]) == (422, "app")
    assert f"run run_1 is of the app {APP}, not of kiosk" in refused["detail"]


def test_the_noise_of_each_run_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    history = [{"share": share} for share in (0.1, 0.125, 0.5)]
    told: dict[str, Any] = {
        "items": [],
        "window": None,
        "noise": {"n": 0, "share": None, "history": history},
        "lag_ms": None,
        "says": [],
    }
    print_clusters(told)
    assert "noise from run to run: 10.0%, 12.5%, 50.0%" in capsys.readouterr().out
    print_clusters({**told, "noise": {"n": 0, "share": None, "history": history[:1]}})
    assert "noise" not in capsys.readouterr().out


def test_how_long_new_sessions_waited_is_told_by_the_list(shell: Shell, capsys: pytest.CaptureFixture[str]) -> None:
    before = get(shell, "")
    assert (before["lag_ms"], before["lag_at"]) == (None, None)
    print_clusters(before)
    assert "placed within" not in capsys.readouterr().out
    line = shell.services.control.take_cluster_app(AIRLINE, APP, "me")
    assert line is not None
    told = {"lag_ms": 12_340.0, "lag_at_ns": 1_789_992_000 * NS_PER_S}
    shell.services.control.advance_cluster_app(line, {}, told, done=True)
    after = get(shell, "")
    assert (after["lag_ms"], after["lag_at"]) == (12_340.0, "2026-09-21T12:00:00.000000Z")
    print_clusters(after)
    said = " ".join(capsys.readouterr().out.split())
    assert "new sessions placed within 12.34 s of their end, last at 2026-09-21 12:00 UTC" in said


def test_a_run_whose_process_ended_too_often_fails_and_names_both_causes(shell: Shell) -> None:
    control, now = shell.services.control, shell.services.clock()
    run = ClusterRunRecord(
        tenant=AIRLINE, run_id="often", app=APP, start_ns=now - HOUR_NS, end_ns=now, params={}, params_hash="ab" * 8
    )
    control.start_cluster_run(run, by=ANN)
    for _ in range(MOST_TRIES):
        assert control.take_cluster_run("a server that ended", (), lambda _: True) is not None
    control.note_cluster_run(AIRLINE, "often", (), MOST_TRIES, lease_until_ns=0)
    runner = ClusterRunner(shell.services)
    runner.start()
    try:
        wait_until(lambda: control.cluster_run(AIRLINE, "often").status.ended, 60, "the run to be given up")
    finally:
        runner.close()
    ended = control.cluster_run(AIRLINE, "often")
    assert (ended.status, ended.n_tries) == (RunStatus.FAILED, MOST_TRIES + 1)
    assert "memory ran out, or Assay was restarted" in str(ended.error)
