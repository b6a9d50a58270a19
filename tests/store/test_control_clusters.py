"""Clusters in the control database: one process at a time works on a run, what it found is written whole or not at all,
and no id is given twice. On SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from core.errors import Conflict, NotFound
from core.ids import TenantId
from core.records import Principal, Role
from store.control.cluster_records import (
    AlertRecord,
    AlertState,
    ClusterEvent,
    ClusterRecord,
    ClusterRunRecord,
    Concluded,
    FindingRecord,
    StageRecord,
    WatchRecord,
)
from store.control.clustering import LEASE_NS
from store.control.control import Control
from store.control.run_records import RunStatus
from tests.store.databases import ControlDatabase

ACME, SHOP = TenantId("acme"), TenantId("shop")
ANN = Principal(tenant=ACME, role=Role.POWER_USER, name="ann", key_id="0123456789ab")


@pytest.fixture
def control(database: ControlDatabase) -> Iterator[Control]:
    found = database.open()
    for tenant in (ACME, SHOP):
        found.ensure_tenant(tenant)
    yield found
    found.close()


def run_of(run_id: str = "run_1", app: str = "desk", tenant: TenantId = ACME) -> ClusterRunRecord:
    return ClusterRunRecord(
        tenant=tenant, run_id=run_id, app=app, start_ns=10, end_ns=20, params={"seed": 0}, params_hash="ab" * 8
    )


def cluster_of(cluster_id: str = "C-0001", state: str = "born", tenant: TenantId = ACME) -> ClusterRecord:
    return ClusterRecord(
        tenant=tenant,
        cluster_id=cluster_id,
        app="desk",
        state=state,
        embedder="tfidf-svd/1 1:1:1",
        centroid=np.array([0.6, 0.8], dtype="<f4").tobytes(),
        n_sessions=7,
        n_failed=3,
        n_known=5,
        said={"title": "refund \u00e9"},
        standing={"radius": 0.25, "alive": True},
        run_id="run_1",
        first_seen_ns=11,
        last_seen_ns=19,
        born_at_ns=20,
    )


def event_of(cluster_id: str = "C-0001", kind: str = "born") -> ClusterEvent:
    return ClusterEvent(
        cluster_id=cluster_id, kind=kind, n_sessions=7, n_failed=3, n_known=5, text="7 sessions", others=("C-0009",)
    )


def concluded(run: ClusterRunRecord, *clusters: ClusterRecord) -> Concluded:
    found = clusters or (cluster_of(),)
    events = tuple(event_of(one.cluster_id, one.state) for one in found)
    return Concluded(run=run, clusters=found, events=events, marks={0: 5, 1: 2**48}, told={"space": "x"})


def done(control: Control, run_id: str = "run_1") -> ClusterRunRecord:
    control.start_cluster_run(run_of(run_id), by=ANN)
    taken = control.take_cluster_run("me", ())
    assert taken is not None
    return control.conclude_cluster_run(concluded(replace(taken, n_clusters=1)), n_tries=taken.n_tries)


def clustered(control: Control) -> None:
    """One row or more in every table of clusters."""
    done(control)
    control.claim_cluster_numbers(ACME, 1, 2)
    finding = FindingRecord(
        tenant=ACME, cluster_id="C-0001", day="2026-09-21", app="desk", kind="new", at_ns=100, body={"q_value": 0.04}
    )
    control.put_findings(ACME, "desk", [finding], {"looked_at_ns": 100})
    watch = WatchRecord(tenant=ACME, cluster_id="C-0001", min_ratio=1.5, url="https://secret.example/x", body={"n": 3})
    control.watch_cluster(watch, by=ANN)
    control.raise_alerts(
        [
            AlertRecord(
                tenant=ACME, cluster_id="C-0001", day="2026-09-21", app="desk", at_ns=5, body={"text": "gr\u00e9w"}
            )
        ]
    )


def test_an_app_has_one_run_under_way(control: Control) -> None:
    control.start_cluster_run(run_of(), by=ANN)
    with pytest.raises(Conflict, match="run_1"):
        control.start_cluster_run(run_of("run_2"), by=ANN)
    control.start_cluster_run(run_of("run_3", app="phone"), by=None)
    control.start_cluster_run(run_of("run_1", tenant=SHOP), by=None)
    assert [one.run_id for one in control.cluster_runs(ACME)] == ["run_3", "run_1"]
    control.cancel_cluster_run(ACME, "run_1", by=ANN)
    assert control.start_cluster_run(run_of("run_2"), by=ANN).status is RunStatus.WAITING


def test_a_run_is_taken_once_and_again_when_its_owner_is_gone_or_silent(
    control: Control, database: ControlDatabase
) -> None:
    control.start_cluster_run(run_of(), by=ANN)
    first = control.take_cluster_run("one", ())
    assert first is not None
    assert (first.status, first.n_tries) == (RunStatus.RUNNING, 1)
    assert control.take_cluster_run("two", ()) is None
    assert control.take_cluster_run("one", ("run_1",)) is None  # it is at work on it
    second = control.take_cluster_run("two", (), lambda owner: owner == "one")
    assert second is not None
    assert second.n_tries == 2
    assert second.started_at_ns == first.started_at_ns
    with pytest.raises(Conflict):
        control.renew_cluster_run(ACME, "run_1", "one")
    control.renew_cluster_run(ACME, "run_1", "two")
    late = database.open(clock=lambda: (second.lease_until_ns or 0) + 2 * LEASE_NS)
    third = late.take_cluster_run("three", ())
    late.close()
    assert third is not None
    assert third.n_tries == 3


def test_who_worked_on_it_before_writes_nothing_any_more(control: Control) -> None:
    control.start_cluster_run(run_of(), by=ANN)
    old = control.take_cluster_run("one", ())
    assert old is not None
    new = control.take_cluster_run("two", (), lambda _: True)
    assert new is not None
    stage = (StageRecord(name="embed", done=3, total=9, seconds=0.5),)
    with pytest.raises(Conflict):
        control.note_cluster_run(ACME, "run_1", stage, old.n_tries)
    with pytest.raises(Conflict):
        control.conclude_cluster_run(concluded(old), n_tries=old.n_tries)
    assert control.clusters(ACME) == []
    noted = control.note_cluster_run(ACME, "run_1", stage, new.n_tries, n_sessions=9)
    assert (noted.stages, noted.n_sessions) == (stage, 9)
    assert control.cluster_run(ACME, "run_1") == noted


def test_a_cancelled_run_leaves_nothing(control: Control) -> None:
    control.start_cluster_run(run_of(), by=ANN)
    taken = control.take_cluster_run("me", ())
    assert taken is not None
    control.cancel_cluster_run(ACME, "run_1", by=ANN)
    assert control.note_cluster_run(ACME, "run_1", (), 1).status is RunStatus.CANCELLED
    with pytest.raises(Conflict, match="cancelled"):
        control.conclude_cluster_run(concluded(taken), n_tries=1)
    assert control.end_cluster_run(ACME, "run_1", RunStatus.FAILED, error="late").status is RunStatus.CANCELLED
    assert (control.clusters(ACME), control.cluster_app(ACME, "desk")) == ([], None)
    with pytest.raises(NotFound):
        control.cluster_run(SHOP, "run_1")


def test_what_a_run_found_is_there_with_its_end(control: Control) -> None:
    ended = done(control)
    assert (ended.status, ended.owner, ended.n_clusters) == (RunStatus.DONE, None, 1)
    (found,) = control.clusters(ACME, "desk")
    assert found == replace(cluster_of(), changed_at_ns=found.changed_at_ns)
    assert np.frombuffer(found.centroid, "<f4").tolist() == pytest.approx([0.6, 0.8])
    line = control.cluster_app(ACME, "desk")
    assert line is not None
    assert (line.run_id, line.marks, line.told) == ("run_1", {0: 5, 1: 2**48}, {"space": "x"})
    (event,) = control.cluster_events(ACME, "C-0001")
    assert (event.number, event.run_id, event.others) == (1, "run_1", ("C-0009",))
    assert control.clusters(SHOP) == []
    assert control.cluster_events(SHOP, "C-0001") == []
    assert control.list_audit(ACME)[0].action == "clusters.found"
    assert control.verify(ACME).ok


def test_events_of_a_cluster_are_numbered_on_from_run_to_run(control: Control) -> None:
    done(control)
    control.start_cluster_run(run_of("run_2"), by=ANN)
    taken = control.take_cluster_run("me", ())
    assert taken is not None
    later = concluded(taken, cluster_of(state="grown"), cluster_of("C-0002"))
    control.conclude_cluster_run(later, n_tries=taken.n_tries)
    assert [(one.number, one.kind) for one in control.cluster_events(ACME, "C-0001")] == [(1, "born"), (2, "grown")]
    assert [one.number for one in control.cluster_events(ACME, "C-0002")] == [1]
    assert [one.state for one in control.clusters(ACME)] == ["grown", "born"]


def test_a_number_is_given_once_for_ever(control: Control) -> None:
    assert control.next_cluster_number(ACME) == 1
    control.claim_cluster_numbers(ACME, 1, 4)
    assert (control.next_cluster_number(ACME), control.next_cluster_number(SHOP)) == (4, 1)
    with pytest.raises(Conflict):
        control.claim_cluster_numbers(ACME, 1, 3)
    control.claim_cluster_numbers(ACME, 4, 5)
    assert control.next_cluster_number(ACME) == 5


def test_marks_move_on_for_who_holds_the_app_and_never_back(control: Control) -> None:
    done(control)
    line = control.take_cluster_app(ACME, "desk", "one")
    assert line is not None
    assert control.take_cluster_app(ACME, "desk", "two") is None
    control.advance_cluster_app(line, {0: 9, 1: 3}, {"n": 1}, [cluster_of(state="grown")], done=True)
    after = control.cluster_app(ACME, "desk")
    assert after is not None
    assert (after.marks, after.told, after.owner) == ({0: 9, 1: 2**48}, {"space": "x", "n": 1}, None)
    assert control.cluster(ACME, "C-0001").state == "grown"
    with pytest.raises(Conflict):
        control.advance_cluster_app(line, {0: 99}, {}, done=True)
    held = control.take_cluster_app(ACME, "desk", "two")
    assert held is not None
    done(control, "run_2")  # draws the line anew
    with pytest.raises(Conflict):
        control.advance_cluster_app(held, {0: 99}, {}, done=True)
    assert control.take_cluster_app(ACME, "phone", "one") is None


def test_a_cluster_is_found_once_a_day(control: Control) -> None:
    done(control)
    first = FindingRecord(
        tenant=ACME, cluster_id="C-0001", day="2026-09-21", app="desk", kind="new", at_ns=100, body={"q_value": 0.04}
    )
    assert control.put_findings(ACME, "desk", [first], {"looked_at_ns": 100}) == [first]
    later = replace(first, at_ns=200, kind="growing", body={"q_value": 0.01})
    assert control.put_findings(ACME, "desk", [later], {"looked_at_ns": 200}) == []
    tomorrow = replace(later, day="2026-09-22", at_ns=300)
    assert control.put_findings(ACME, "desk", [tomorrow], {}) == [tomorrow]
    assert control.cluster_findings(ACME) == [tomorrow, replace(later, at_ns=100)]
    assert control.cluster_findings(ACME, "desk", 300) == [tomorrow]
    assert control.cluster_findings(ACME, "phone") == control.cluster_findings(SHOP) == []
    line = control.cluster_app(ACME, "desk")
    assert line is not None
    assert line.told["looked_at_ns"] == 200


def test_a_watch_holds_until_it_is_taken_back(control: Control) -> None:
    done(control)
    watch = WatchRecord(tenant=ACME, cluster_id="C-0001", min_ratio=1.5, url="https://secret.example/x", body={"n": 3})
    control.watch_cluster(watch, by=ANN)
    made = control.watch_cluster(replace(watch, min_ratio=2.0, url=None), by=ANN)
    assert control.cluster_watches(ACME) == [made]
    assert "secret" not in str(control.list_audit(ACME))
    with pytest.raises(NotFound):
        control.watch_cluster(replace(watch, cluster_id="C-0404"), by=ANN)
    assert control.unwatch_cluster(ACME, "C-0001", by=ANN) == made
    with pytest.raises(NotFound):
        control.unwatch_cluster(ACME, "C-0001", by=ANN)
    assert control.cluster_watches(ACME) == control.cluster_watches(SHOP) == []


def test_an_alert_is_raised_once_a_day_and_told_by_one_process_at_a_time(control: Control) -> None:
    done(control)
    alert = AlertRecord(tenant=ACME, cluster_id="C-0001", day="2026-09-21", app="desk", at_ns=5, body={"text": "grew"})
    assert control.raise_alerts([alert]) == [alert]
    assert control.raise_alerts([replace(alert, body={"text": "again"})]) == []
    taken = control.take_alert(alert, "one")
    assert taken == (alert, None)
    assert control.take_alert(alert, "two") is None
    assert control.take_alert(alert, "two", lambda _: True) == (alert, None)
    control.note_alert(alert, {"webhook:a": None}, AlertState.PENDING)
    control.note_alert(alert, {"webhook:b": "after a day: no route"}, AlertState.TOLD)
    (after,) = control.cluster_alerts(ACME)
    assert (after.state, dict(after.told)) == (
        AlertState.TOLD,
        {"webhook:a": None, "webhook:b": "after a day: no route"},
    )
    assert control.take_alert(alert, "one") is None
    assert control.cluster_alerts(None, AlertState.PENDING) == control.cluster_alerts(SHOP) == []
    not_told = [one for one in control.list_audit(ACME) if one.action == "clusters.not_told"]
    assert [one.after and one.after["target"] for one in not_told] == ["webhook:b"]
