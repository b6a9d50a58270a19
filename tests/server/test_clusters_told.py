"""What is told of clusters: of several apps, of runs that wait, of levels that differ, and where no terminal is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.clock import NS_PER_S
from core.records import Principal, Role
from server.cli.clusters_runs import follow
from server.cli.clusters_shown import print_emerging, print_levels
from server.routes.cluster_told import run_told
from store.control.cluster_records import ClusterRunRecord, Concluded
from store.control.run_records import RunStatus
from tests.server.shell import AIRLINE, SHOP, Shell, running_shell

APP = "desk"
ANN = Principal(tenant=SHOP, role=Role.ADMIN, name="ann")


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    with running_shell(tmp_path) as running:
        yield running


def look_at(at_ns: int | None, n_tested: int = 0, says: str | None = None) -> dict[str, Any]:
    told = {"n_tested": n_tested, "fdr": 0.05, "dispersion": 0.1, "overall_ratio": 1.2, "look_says": says}
    return {"looked_at_ns": at_ns, **told} if at_ns else {}


def test_of_several_apps_each_look_is_told(shell: Shell, capsys: pytest.CaptureFixture[str]) -> None:
    control = shell.services.control
    for run_id, app, told in (
        ("of_bar", "bar", look_at(NS_PER_S, 7)),
        ("of_inn", "inn", look_at(2 * NS_PER_S, 0, "w")),
    ):
        run = ClusterRunRecord(tenant=SHOP, run_id=run_id, app=app, start_ns=0, end_ns=9, params={}, params_hash="a")
        control.start_cluster_run(run, by=ANN)
        taken = control.take_cluster_run("me", ())
        assert taken is not None
        control.conclude_cluster_run(Concluded(run=taken, clusters=(), events=(), marks={}, told=told), n_tries=1)
    headers = shell.headers(Role.VIEWER, SHOP)
    feed = shell.client.get("/api/v1/clusters/emerging", headers=headers).json()
    assert [(one["app"], one["n_tested"]) for one in feed["looks"]] == [("bar", 7), ("inn", 0)]
    assert (feed["n_tested"], feed["looked_at"], feed["overall_ratio"]) == (7, feed["looks"][1]["looked_at"], None)
    assert feed["says"] == ["inn: w"]
    print_emerging(feed)
    said = capsys.readouterr().out
    assert "bar: looked at 1970-01-01 00:00:01 UTC, 7 clusters tested" in said
    assert "nothing is new or growing" in said
    one = shell.client.get("/api/v1/clusters/emerging", params={"app": "inn"}, headers=headers).json()
    assert (one["n_tested"], one["says"], one["overall_ratio"]) == (0, ["w"], 1.2)


def test_a_run_that_nobody_works_on_any_more_waits_for_its_turn() -> None:
    run = ClusterRunRecord(
        tenant=AIRLINE, run_id="r", app=APP, start_ns=0, end_ns=9, params={}, params_hash="a",
        status=RunStatus.RUNNING, owner="a process that is gone", lease_until_ns=100,
    )  # fmt: skip
    assert run_told(run, 99)["status"] == "running"
    assert run_told(run, 101)["status"] == "waiting"


def test_where_errors_go_to_a_file_each_stage_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    def run(status: str, *stages: tuple[str, int, int, float]) -> dict[str, Any]:
        names = ("name", "done", "total", "seconds")
        return {"id": "r", "status": status, "stages": [dict(zip(names, one, strict=True)) for one in stages]}

    read, embed = ("read", 0, 0, 0.5), ("embed", 20, 20, 61.0)
    told = iter(
        [run("waiting"), run("running", ("read", 0, 0, 0.1)), run("running", read, ("embed", 4, 20, 2.0)),
         run("done", read, embed)]
    )  # fmt: skip
    assert follow(lambda: next(told), run("waiting"), 0.0)["status"] == "done"
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("r: Ctrl-C")
    assert lines[1:] == [
        "waits for its turn: one run goes at a time", "sessions read (500.0 ms)", "embedded 20 (1 min 01 s)",
    ]  # fmt: skip


def test_only_levels_that_differ_are_told_with_their_q(capsys: pytest.CaptureFixture[str]) -> None:
    level = {"attribute": "document", "level": "policy", "n": 2, "n_known": 2, "share": 1.0, "share_rest": 0.105,
             "ratio": 9.52, "low": 1.47, "high": 15.1, "q_value": 0.3, "differs": False}  # fmt: skip
    sure = {
        **level,
        "level": "refunds",
        "n": 20,
        "n_known": 25,
        "low": 5.1,
        "high": None,
        "q_value": 1e-6,
        "differs": True,
    }
    print_levels({"profile": [sure, level]})
    said = " ".join(capsys.readouterr().out.split())
    assert "document refunds 20 of 25 100.0% 10.5% 9.52 (at least 5.1) 1e-06" in said
    assert "policy" not in said
