"""Looks at monitors over the real lake and control database."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from core.clock import NS_PER_S
from monitors.definition import Definition
from monitors.silences import Matcher, Silence
from monitors.silencing import record_of
from store.control.monitor_records import MonitorRecord, MonitorStatus
from tests.monitors.watching import ACME, ANN, BEGIN, STEP, Shop, open_shop

LEARNED = 100  # buckets of history


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with open_shop(tmp_path) as made:
        made.traffic(range(LEARNED), lambda _: 0.87)
        made.at(LEARNED)
        made.watch()
        yield made


def test_a_drop_of_resolution_is_paged_once_diagnosed_and_resolved(shop: Shop) -> None:
    shop.look()
    assert shop.control.incidents(ACME) == []
    for bucket in range(LEARNED, LEARNED + 12):
        shop.traffic([bucket], lambda at: 0.3 if at < LEARNED + 5 else 0.87)
        shop.at(bucket + 1)
        shop.look()
    (incident,) = shop.control.incidents(ACME)
    assert incident.status in ("open", "closed")
    assert [kind for kind, _ in shop.told()] == ["incident.call", "incident.resolved"]
    (alert,) = shop.control.alerts(ACME)
    assert (alert.status, alert.incident) == ("resolved", 1)
    delay = alert.since_ns - (BEGIN + LEARNED * STEP)
    assert 0 <= delay <= 2 * STEP
    kinds = [one.kind for one in shop.control.incident_entries(ACME, 1)]
    assert kinds[:2] == ["opened", "fired"]
    assert "resolved" in kinds
    assert incident.diagnosis is not None
    assert any(one["sign"] == "quality" and one["move"] == "down" for one in incident.diagnosis["moved"])
    onset = incident.diagnosis["onset"]["at_ns"]
    assert abs(onset - (BEGIN + LEARNED * STEP)) <= 12 * STEP


def test_late_data_is_judged_where_it_belongs_and_takes_back_what_was_told(shop: Shop) -> None:
    shop.look()
    bad = (LEARNED, LEARNED + 1)
    shop.traffic(bad, lambda _: 0.0, per=4)
    shop.at(LEARNED + 2)
    shop.look()
    assert [one.status for one in shop.control.alerts(ACME)] == ["firing"]
    shop.traffic(bad, lambda _: 1.0, per=36)  # most of these buckets' sessions came late, and were well
    shop.traffic([LEARNED + 2], lambda _: 0.87)
    shop.at(LEARNED + 3)
    shop.look()
    (alert,) = shop.control.alerts(ACME)
    assert alert.status == "resolved"
    assert alert.body["cause"] == "late_data"
    assert "late data" in shop.control.incident_entries(ACME, 1)[-1].text
    assert [kind for kind, _ in shop.told()] == ["incident.call", "incident.resolved"]


def test_looks_that_begin_at_the_checkpoint_decide_as_one_that_never_stopped(shop: Shop, tmp_path: Path) -> None:
    buckets = range(LEARNED, LEARNED + 24)
    rate = {at: 0.3 if LEARNED + 4 <= at < LEARNED + 8 or at >= LEARNED + 21 else 0.87 for at in buckets}
    for first in buckets[::3]:
        shop.traffic(range(first, first + 3), rate.__getitem__)
        shop.at(first + 3)
        shop.look()
    stepwise = shop.control.alerts(ACME)
    with open_shop(tmp_path / "again") as once:
        once.traffic(range(LEARNED), lambda _: 0.87)
        once.at(LEARNED)
        once.watch()
        for first in buckets[::3]:
            once.traffic(range(first, first + 3), rate.__getitem__)
        once.at(LEARNED + 24)
        once.look()  # a server that was away all the while
        found = once.control.alerts(ACME)
    assert [(one.since_ns, one.resolved_ns, one.status) for one in found] == [
        (one.since_ns, one.resolved_ns, one.status) for one in stepwise
    ]
    assert [one.status for one in found] == ["firing", "resolved"]


def test_a_bucket_without_traffic_is_missing(shop: Shop) -> None:
    shop.look()
    gap = 30
    shop.traffic([LEARNED + gap], lambda _: 0.87)
    shop.at(LEARNED + gap + 1)
    shop.look()
    assert shop.control.alerts(ACME) == []
    state = shop.control.monitor_state(ACME, "resolution")
    assert state is not None
    (newest,) = state.told["series"]
    assert newest["at_ns"] == BEGIN + (LEARNED + gap) * STEP
    assert newest["n"] == 12


def test_silence_is_the_trouble_where_a_monitor_says_so(shop: Shop) -> None:
    shop.watch(name="alive", no_data="alert", for_points=3)
    shop.look()
    shop.at(LEARNED + 6)
    shop.look()
    (alert,) = shop.control.alerts(ACME)
    assert (alert.monitor, alert.status, alert.body["cause"]) == ("alive", "firing", "no_data")


def test_of_two_servers_one_looks(shop: Shop) -> None:
    assert shop.control.take_job(ACME, "monitors", "another") is not None
    assert shop.look("me") is None
    shop.control.end_job(ACME, "monitors", "another", next_ns=shop.hands.ns + 60 * NS_PER_S)
    assert shop.look("me") is None
    shop.hands.ns += 60 * NS_PER_S
    assert shop.look("me") is not None
    assert len(shop.looks) == 1


def test_a_silenced_alert_lives_and_is_told_when_the_silence_is_over(shop: Shop) -> None:
    shop.look()
    start, end = shop.hands.ns, shop.hands.ns + 4 * STEP
    silence = Silence(
        silence_id="s1", matcher=Matcher(monitor="resolution"), start_ns=start, end_ns=end, why="deploy"
    )  # fmt: skip
    shop.control.add_silence(record_of(ACME, silence), lambda _: None, by=ANN)
    for bucket in range(LEARNED, LEARNED + 3):
        shop.traffic([bucket], lambda _: 0.2)
        shop.at(bucket + 1)
        shop.look()
    assert [one.status for one in shop.control.alerts(ACME)] == ["firing"]
    assert shop.told() == []
    shop.traffic(range(LEARNED + 3, LEARNED + 6), lambda _: 0.2)
    shop.at(LEARNED + 6)
    shop.look()
    assert shop.told() == [("incident.call", "renotified")]


def test_a_monitor_that_is_switched_off_ends_its_alert(shop: Shop) -> None:
    shop.look()
    shop.traffic(range(LEARNED, LEARNED + 3), lambda _: 0.2)
    shop.at(LEARNED + 3)
    shop.look()
    monitor = shop.control.monitor(ACME, "resolution")
    shop.control.edit_monitor(monitor, monitor.definition, MonitorStatus.OFF, by=ANN)
    shop.at(LEARNED + 4)
    shop.look()
    (alert,) = shop.control.alerts(ACME)
    assert (alert.status, alert.body["cause"]) == ("resolved", "closed")
    assert [kind for kind, _ in shop.told()] == ["incident.call", "incident.resolved"]
    shop.at(LEARNED + 5)
    shop.look()
    assert len(shop.control.alerts(ACME)) == 1


def test_a_new_release_is_a_series_of_its_own(shop: Shop) -> None:
    shop.watch(name="by-release", by="release")
    shop.look()
    shop.traffic([LEARNED], lambda _: 0.87, per=6)
    shop.traffic([LEARNED], lambda _: 0.87, per=6, release="v2")
    shop.at(LEARNED + 1)
    shop.look()
    state = shop.control.monitor_state(ACME, "by-release")
    assert state is not None
    told = {one["series"]: one["status"] for one in state.told["series"]}
    assert told == {"resolution{release=v1}": "ok", "resolution{release=v2}": "warming_up"}


def test_a_clock_that_was_set_back_takes_nothing_back(shop: Shop) -> None:
    shop.look()
    shop.traffic(range(LEARNED, LEARNED + 3), lambda _: 0.2)
    shop.at(LEARNED + 3)
    shop.look()
    before = shop.control.alerts(ACME)
    assert [one.status for one in before] == ["firing"]
    shop.at(LEARNED - 20)
    made = shop.look()
    assert made is not None
    assert made.n_events == 0
    assert shop.control.alerts(ACME) == before
    shop.at(LEARNED + 3)
    shop.look()
    assert shop.control.alerts(ACME) == before
    assert [kind for kind, _ in shop.told()] == ["incident.call"]


@pytest.mark.parametrize("ahead", [6, 12 * 24 * 3])
def test_a_clock_that_ran_ahead_for_one_look_hides_nothing_of_what_comes_after_it_is_right(
    shop: Shop, ahead: int
) -> None:
    shop.look()
    shop.at(LEARNED + ahead)
    shop.look()
    for bucket in range(LEARNED, LEARNED + 4):
        shop.traffic([bucket], lambda _: 0.2)
        shop.at(bucket + 1)
        shop.look()
    assert [kind for kind, _ in shop.told()] == ["incident.call"]
    (alert,) = shop.control.alerts(ACME)
    assert BEGIN + LEARNED * STEP <= alert.since_ns <= BEGIN + (LEARNED + 2) * STEP


def test_an_alert_of_a_metric_that_vanished_ends_after_a_day_without_anybody_knowing(shop: Shop) -> None:
    shop.look()
    shop.traffic(range(LEARNED, LEARNED + 3), lambda _: 0.2)
    shop.at(LEARNED + 3)
    shop.look()
    shop.at(LEARNED + 3 + 290)
    shop.look()
    (alert,) = shop.control.alerts(ACME)
    assert (alert.status, alert.body["cause"]) == ("resolved", "vanished")
    assert "without anybody knowing" in alert.body["text"]


def test_everybody_who_was_told_of_an_incident_hears_that_it_is_over(shop: Shop) -> None:
    shop.watch(name="slow", series="traffic", band={"kind": "static", "low": 6}, for_points=1, channels=["slow-desk"])
    shop.look()
    shop.traffic(range(LEARNED, LEARNED + 3), lambda _: 0.2, per=4)  # few sessions, and these end badly
    shop.at(LEARNED + 3)
    shop.look()
    shop.traffic(range(LEARNED + 3, LEARNED + 6), lambda _: 0.2)  # traffic is back
    shop.at(LEARNED + 6)
    shop.look()
    assert {one.monitor: one.status for one in shop.control.alerts(ACME)} == {
        "resolution": "firing",
        "slow": "resolved",
    }
    shop.traffic(range(LEARNED + 6, LEARNED + 12), lambda _: 0.87)
    shop.at(LEARNED + 12)
    shop.look()
    ends = {one.channel for one in shop.control.deliveries(ACME) if one.payload["kind"] == "incident.resolved"}
    assert ends == {"oncall", "slow-desk"}


@pytest.mark.parametrize(
    "band",
    [
        *({"kind": kind} for kind in ("ema", "ewma", "cusum", "novelty", "zero")),
        *({"kind": "static", "low": 0.5}, {"kind": "slo", "objective": 0.99}),
    ],
    ids=lambda band: band["kind"],
)
def test_a_band_of_every_kind_is_kept_from_look_to_look(shop: Shop, band: dict[str, object]) -> None:
    shop.watch(name="young", band=band)
    shop.watch(name="empty", band=band, app="an app of which nothing came")
    for bucket in (LEARNED, LEARNED + 1, LEARNED + 40):
        shop.at(bucket + 1)
        looked = shop.look()
        assert looked is not None
        assert (looked.n_monitors, looked.failed) == (3, {})


def test_a_monitor_that_cannot_be_looked_at_keeps_no_other_from_paging(shop: Shop) -> None:
    definition = Definition.from_json({"app": "shop", "series": "mix:release", "band": {"kind": "distribution"}})
    for name, band in (("mix", {"kind": "distribution", "window_s": None}), ("next", {"kind": "of a newer release"})):
        told = {**definition.as_json(), "band": band, "guard": "hold"}
        shop.control.add_monitor(MonitorRecord(tenant=ACME, name=name, app="shop", definition=told), by=ANN)
    for bucket in range(LEARNED, LEARNED + 4):
        shop.traffic([bucket], lambda _: 0.2)
        shop.at(bucket + 1)
        looked = shop.look()
        assert looked is not None
        assert set(looked.failed) == {"mix", "next"}
    assert [kind for kind, _ in shop.told()] == ["incident.call"]


def test_who_is_told_over_another_channel_is_called_too_and_hears_of_many_alerts_once(shop: Shop) -> None:
    shop.watch(name="slow", series="p95_latency", direction="up", channels=["night"], severity="ticket")
    for name in ("first", "second", "third"):
        shop.watch(name=name)
    for bucket in range(LEARNED, LEARNED + 3):
        shop.traffic([bucket], lambda _: 0.2)
        shop.at(bucket + 1)
        shop.look()
    assert [one.payload["kind"] for one in shop.control.deliveries(ACME)] == ["incident.call"]
    (call,) = shop.control.deliveries(ACME)
    assert {one["monitor"] for one in call.payload["alerts"]} == {"resolution", "first", "second", "third"}
    for bucket in range(LEARNED + 3, LEARNED + 6):
        shop.traffic([bucket], lambda _: 0.2, ms=lambda: 60_000)
        shop.at(bucket + 1)
        shop.look()
    (night,) = [one for one in shop.control.deliveries(ACME) if one.channel == "night"]
    assert (night.incident, night.payload["kind"], night.payload["severity"]) == (1, "incident.call", "ticket")


def test_a_tool_without_a_name_keeps_nobody_from_being_paged(shop: Shop) -> None:
    for bucket in range(LEARNED, LEARNED + 3):
        shop.traffic([bucket], lambda _: 0.2, kind="TOOL", tool_name=" ")
        shop.at(bucket + 1)
        looked = shop.look()
        assert looked is not None
        assert (looked.failed, looked.undiagnosed) == ({}, {})
    assert [kind for kind, _ in shop.told()] == ["incident.call"]
    assert shop.control.incidents(ACME)[0].diagnosis is not None
