"""What a server does for clusters by the clock, and whom it tells that a watched cluster grew."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from pydantic import SecretStr

from clustering.params import params_of
from clustering.service_assign import Assigner
from clustering.service_watching import baseline, look_at_watches
from core.clock import NS_PER_S
from core.errors import AssayError
from core.ids import TenantId
from core.records import Principal, Role
from server.cluster_telling import ClusterTeller
from server.clustering_child import place_all
from server.clustering_rounds import DAY_NS, HOUR_NS, ClusterRounds
from server.signing import is_signed
from store.control.cluster_records import (
    AlertRecord,
    AlertState,
    ClusterRecord,
    ClusterRunRecord,
    Concluded,
    Scope,
    WatchRecord,
)
from store.control.run_records import RunStatus
from store.memberships import write_memberships
from tests.server.receivers import DROP, Receiver, listening
from tests.server.shell import AIRLINE, SHOP, Shell, running_shell
from tests.store.build import fill, row

APP = "desk"
KEY = "a key of sixteen characters or more"
ANN = Principal(tenant=AIRLINE, role=Role.ADMIN, name="ann")
NOON = 1_789_992_000 * NS_PER_S  # 2026-09-21T12:00:00Z


class Time:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now_ns = NOON

    def __call__(self) -> int:
        self.now_ns += 1_000
        return self.now_ns


@pytest.fixture
def clock() -> Time:
    return Time()


@pytest.fixture
def shell(tmp_path: Path, clock: Time) -> Iterator[Shell]:
    settings = {"rollout_webhook_key": SecretStr(KEY), "rollout_webhooks_private": True}
    with running_shell(tmp_path, clock, **settings) as running:
        yield running


def clustered(shell: Shell, run_id: str = "run_1", tenant: TenantId = AIRLINE) -> None:
    """A run over a window that found one cluster is over now."""
    control, now = shell.services.control, shell.services.clock()
    params = params_of({"embedder": "tfidf"}).as_json()
    run = ClusterRunRecord(
        tenant=tenant, run_id=run_id, app=APP, start_ns=now - DAY_NS, end_ns=now, params=params, params_hash="ab" * 8
    )
    control.start_cluster_run(run, by=ANN)
    taken = control.take_cluster_run("me", ())
    assert taken is not None
    cluster = ClusterRecord(
        tenant=tenant, cluster_id="C-0001", app=APP, state="born", embedder="t 1:1:1", centroid=b"\0\0\0\0",
        n_sessions=1, n_failed=0, n_known=0, said={"title": "refund"}, standing={"alive": True, "radius": 0.1},
        run_id=run_id, first_seen_ns=now - DAY_NS, last_seen_ns=now, born_at_ns=now,
    )  # fmt: skip
    told = {"run_at_ns": now, "run_until_ns": now, "space": "t 1:1:1", "params": params}
    done = Concluded(run=taken, clusters=(cluster,), events=(), marks={}, told=told)
    control.conclude_cluster_run(done, n_tries=1)


def members(
    shell: Shell,
    names: list[str],
    cluster: str | None,
    *,
    ago_ns: int,
    waiting: bool = False,
    tenant: TenantId = AIRLINE,
) -> None:
    """Memberships of these sessions, written now."""
    now = shell.services.clock()
    rows = pl.DataFrame(
        [
            {
                "session_id": name, "at_ns": now - ago_ns, "app": APP, "run_id": "run_1", "embedder": "t",
                "cluster_id": cluster, "confidence": 1.0, "waiting": waiting,
            }
            for name in names
        ],
        schema_overrides={"cluster_id": pl.String},
    )  # fmt: skip
    write_memberships(shell.services.store.tenant(tenant), rows, now_ns=now)


def look(rounds: ClusterRounds) -> dict[str, str | None]:
    """One look at every tenant, as the jobs of a server take it; what went wrong, by job and tenant."""
    found: dict[str, str | None] = {}
    for name, tenants, run in (("night", rounds.every_tenant, rounds.night), ("new", rounds.tenants, rounds.run)):
        for tenant in sorted(tenants()):
            try:
                found[f"{name} {tenant}"] = run(tenant, threading.Event()).trouble
            except AssayError as error:
                found[f"{name} {tenant}"] = str(error)
    return found


def runs(shell: Shell, tenant: TenantId = AIRLINE) -> list[tuple[Scope, RunStatus]]:
    return [(one.scope, one.status) for one in shell.services.control.cluster_runs(tenant, APP)]


def test_every_night_an_app_gets_one_run(shell: Shell, clock: Time) -> None:
    rounds = ClusterRounds(shell.services)
    clustered(shell)
    look(rounds)
    assert runs(shell) == [(Scope.WINDOW, RunStatus.DONE)]  # it ran since the last night
    clock.now_ns += 16 * HOUR_NS  # 04:00
    for _ in range(3):
        look(rounds)
    assert runs(shell) == [(Scope.WINDOW, RunStatus.WAITING), (Scope.WINDOW, RunStatus.DONE)]
    (waits, _) = shell.services.control.cluster_runs(AIRLINE, APP)
    assert (waits.asked_by, waits.end_ns - waits.start_ns) == ("assay", 7 * DAY_NS)
    assert waits.params["embedder"] == "tfidf"  # as the run before
    shell.services.control.end_cluster_run(AIRLINE, waits.run_id, RunStatus.FAILED, error="no memory")
    look(ClusterRounds(shell.services))  # another server, or this one after a restart
    assert len(runs(shell)) == 2  # a night's run that fails is not begun again


def test_a_name_of_which_there_is_neither_a_session_nor_a_cluster_gets_no_run_at_night(
    shell: Shell, clock: Time
) -> None:
    control, now = shell.services.control, clock()
    params = params_of({"embedder": "tfidf"}).as_json()
    run = ClusterRunRecord(
        tenant=AIRLINE,
        run_id="run_1",
        app="dask",
        start_ns=now - DAY_NS,
        end_ns=now,
        params=params,
        params_hash="a" * 8,
    )
    control.start_cluster_run(run, by=ANN)
    taken = control.take_cluster_run("me", ())
    assert taken is not None
    told = {"run_at_ns": now, "run_until_ns": now, "space": "t 1:1:1", "params": params}
    control.conclude_cluster_run(Concluded(run=taken, clusters=(), events=(), marks={}, told=told), n_tries=1)

    def a_night_is_over() -> int:
        rounds = ClusterRounds(shell.services)
        look(rounds)
        rounds.close()
        return len(control.cluster_runs(AIRLINE, "dask"))

    clock.now_ns += 16 * HOUR_NS  # 04:00
    assert a_night_is_over() == 1
    new = {"trace_id": 20, "span_id": 20, "seq": (1 << 48) + 20, "start_ns": clock()}
    fill(shell.services.lake, [row(**new, tenant=AIRLINE, app="dask", session_id="s1", kind="AGENT")])
    assert a_night_is_over() == 2  # somebody named an app so after all


def test_what_waits_is_clustered_again_once_an_hour_when_there_is_enough(shell: Shell, clock: Time) -> None:
    control = shell.services.control
    clustered(shell)
    rounds = ClusterRounds(shell.services)

    def placed(n: int) -> None:
        members(shell, [f"w{number}" for number in range(n)], None, ago_ns=HOUR_NS, waiting=True)
        line = control.take_cluster_app(AIRLINE, APP, "me")
        assert line is not None
        control.advance_cluster_app(line, {}, {"assigned_at_ns": clock(), "looked_at_ns": clock()}, done=True)

    placed(9)  # one too few: 5 alike are the smallest cluster
    clock.now_ns += 2 * HOUR_NS
    look(rounds)
    assert len(runs(shell)) == 1
    placed(10)
    clock.now_ns += HOUR_NS
    look(rounds)
    look(rounds)
    assert runs(shell) == [(Scope.WAITING, RunStatus.WAITING), (Scope.WINDOW, RunStatus.DONE)]
    rounds.close()


def test_what_is_wrong_with_one_app_keeps_no_other_one_waiting(shell: Shell, clock: Time) -> None:
    control = shell.services.control
    for tenant, more in ((AIRLINE, {"params": {"embedder": "of a later version"}}), (SHOP, {})):
        clustered(shell, f"run of {tenant}", tenant)
        members(shell, [f"w{number}" for number in range(10)], None, ago_ns=HOUR_NS, waiting=True, tenant=tenant)
        line = control.take_cluster_app(tenant, APP, "me")
        assert line is not None
        told: dict[str, Any] = {"assigned_at_ns": clock(), "looked_at_ns": clock(), **more}
        control.advance_cluster_app(line, {}, told, done=True)
    rounds = ClusterRounds(shell.services)
    clock.now_ns += 2 * HOUR_NS
    look(rounds)
    assert (len(runs(shell)), runs(shell, SHOP)[0]) == (1, (Scope.WAITING, RunStatus.WAITING))
    clock.now_ns += DAY_NS
    control.end_cluster_run(SHOP, control.cluster_runs(SHOP, APP)[0].run_id, RunStatus.FAILED, error="no memory")
    look(rounds)
    assert (len(runs(shell)), runs(shell, SHOP)[0]) == (1, (Scope.WINDOW, RunStatus.WAITING))
    rounds.close()


def test_sessions_of_one_app_that_cannot_be_placed_keep_no_others_waiting(shell: Shell, clock: Time) -> None:
    control, left = shell.services.control, set[tuple[TenantId, str]]()
    for number, (tenant, more) in enumerate(((AIRLINE, {"params": {"embedder": "of a later version"}}), (SHOP, {}))):
        clustered(shell, f"run of {tenant}", tenant)
        line = control.take_cluster_app(tenant, APP, "me")
        assert line is not None
        control.advance_cluster_app(line, {}, more, done=True)
        new = {"trace_id": 10 + number, "span_id": 10 + number, "seq": (1 << 48) + number}
        fill(shell.services.lake, [row(**new, tenant=tenant, app=APP, session_id="s1", kind="AGENT", start_ns=clock())])
    assigner = Assigner(control, clock, "me")
    assert place_all(shell.services, assigner, left) == (0, 2)
    clock.now_ns += 60 * NS_PER_S
    place_all(shell.services, assigner, left)
    assert left == {(AIRLINE, APP)}
    shop = control.cluster_app(SHOP, APP)
    assert shop is not None
    assert shop.told["stale_at_ns"] > 0  # it was looked at: nothing was fitted to its sessions yet


def test_a_watched_cluster_that_comes_more_often_is_told_until_it_arrived(shell: Shell, clock: Time) -> None:
    control, store = shell.services.control, shell.services.store.tenant(AIRLINE)
    clustered(shell)
    members(shell, [f"a{number}" for number in range(6)], "C-0001", ago_ns=2 * DAY_NS)
    members(shell, [f"b{number}" for number in range(94)], None, ago_ns=2 * DAY_NS)
    record = control.cluster(AIRLINE, "C-0001")
    receiver = Receiver(answers=[500, DROP])
    with listening(receiver):
        body = baseline(store, record, clock())
        assert (body["n"], body["of"], body["rate"]) == (6, 100, 0.06)
        watch = WatchRecord(tenant=AIRLINE, cluster_id="C-0001", min_ratio=1.5, url=f"{receiver.url}/x", body=body)
        control.watch_cluster(watch, by=ANN)
        clock.now_ns += DAY_NS
        members(shell, [f"c{number}" for number in range(7)], "C-0001", ago_ns=HOUR_NS)
        members(shell, [f"d{number}" for number in range(93)], None, ago_ns=HOUR_NS)
        assert look_at_watches(control, store, APP, clock(), []) == []  # as often as before
        members(shell, [f"e{number}" for number in range(33)], "C-0001", ago_ns=HOUR_NS)
        assert len(look_at_watches(control, store, APP, clock(), [])) == 1
        assert look_at_watches(control, store, APP, clock(), []) == []  # once a day
        teller = Tellers(shell)
        assert [teller.after(s) for s in (0, 0.5, 0.5, 2, 100)] == [0, 0, 0, 1, 0]
    assert len(receiver.came) == 3
    (came, said) = (receiver.came[-1], json.loads(receiver.came[-1].body))
    timestamp, signature = came.headers["x-assay-timestamp"], came.headers["x-assay-signature"]
    assert is_signed(KEY, timestamp, signature, came.body, now_s=time.time())
    assert (said["kind"], said["cluster"], said["app"], said["tenant"]) == ("cluster.grew", "C-0001", APP, "airline")
    assert "40 of 133 sessions" in said["text"]
    (alert,) = control.cluster_alerts(AIRLINE)
    assert alert.state is AlertState.TOLD
    feed = shell.client.get("/api/v1/clusters/emerging", headers=shell.headers(Role.VIEWER)).json()
    assert [(one["cluster"]["id"], one["state"]) for one in feed["alerts"]] == [("C-0001", "told")]


def test_an_alert_that_nobody_is_to_be_told_of_is_shown(shell: Shell, clock: Time) -> None:
    control = shell.services.control
    clustered(shell)
    alert = _alert(shell)
    assert control.raise_alerts([alert]) == [alert]
    assert Tellers(shell).after(0) == 1
    (after,) = control.cluster_alerts(AIRLINE)
    assert (after.state, dict(after.told)) == (AlertState.SHOWN, {})


def test_after_a_day_an_address_is_given_up_and_the_audit_log_says_so(shell: Shell, clock: Time) -> None:
    control = shell.services.control
    clustered(shell)
    body: dict[str, Any] = {"n": 0, "of": 0, "until_ns": clock()}
    watch = WatchRecord(tenant=AIRLINE, cluster_id="C-0001", min_ratio=2.0, url="http://127.0.0.1:9/", body=body)
    control.watch_cluster(watch, by=ANN)
    control.raise_alerts([_alert(shell)])
    assert Tellers(shell).after(0) == 0
    clock.now_ns += DAY_NS + HOUR_NS
    assert Tellers(shell).after(0) == 1
    (after,) = control.cluster_alerts(AIRLINE)
    assert after.state is AlertState.SHOWN
    assert [one.action for one in control.list_audit(AIRLINE)].count("clusters.not_told") == 1


class Tellers:
    """A teller whose waits pass when the test says so."""

    def __init__(self, shell: Shell) -> None:
        self.now = 0.0
        self.teller = ClusterTeller(shell.services, lambda: self.now)

    def after(self, seconds: float) -> int:
        self.now += seconds
        return self.teller.round()


def _alert(shell: Shell) -> AlertRecord:
    now = shell.services.clock()
    return AlertRecord(
        tenant=AIRLINE, cluster_id="C-0001", day="2026-09-21", app=APP, at_ns=now, body={"text": "it grew"}
    )
