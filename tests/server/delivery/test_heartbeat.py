"""The heartbeat stops when monitors are not evaluated, or pages do not get through, and not before."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from core.clock import NS_PER_S
from server.delivery.channels import HeartbeatSetting
from server.delivery.heartbeat import Heartbeat, not_evaluated
from store.control.control import Control
from store.control.monitor_records import MonitorRecord, MonitorStatus
from tests.server.delivery.world import ACME, ANN, OWNER, Hands, Mood, Receiver, control_in, receiving

LATE = 600


@pytest.fixture
def hands() -> Hands:
    return Hands()


@pytest.fixture
def control(tmp_path: Path, hands: Hands) -> Iterator[Control]:
    found = control_in(tmp_path, hands)
    yield found
    found.close()


def watch(control: Control) -> None:
    control.add_monitor(MonitorRecord(tenant=ACME, name="resolution", app="shop", definition={"app": "shop"}), by=ANN)


def evaluate(control: Control, hands: Hands, error: str | None = None) -> None:
    assert control.take_job(ACME, "monitors", OWNER) is not None
    control.end_job(ACME, "monitors", OWNER, next_ns=hands.ns, error=error)


def heartbeat(url: str, control: Control, hands: Hands, trouble: str | None = None) -> Heartbeat:
    setting = HeartbeatSetting.model_validate({"url": url, "private": True, "late_s": LATE, "authorization": "Key k"})
    return Heartbeat(setting, control, lambda late_s: trouble, hands)


def test_it_beats_while_monitors_are_evaluated_and_no_longer(control: Control, hands: Hands) -> None:
    receiver = Receiver()
    with receiving(receiver):
        one = heartbeat(receiver.url, control, hands)
        assert one.beat() is None  # nothing is to be evaluated
        watch(control)
        evaluate(control, hands)
        hands.pass_s(LATE)
        assert one.beat() is None
        hands.pass_s(1)
        assert one.beat() == "the monitors of acme were not evaluated for 601 s"
        evaluate(control, hands)
        assert one.beat() is None
    assert receiver.tries == 3
    assert receiver.taken[0][0]["authorization"] == "Key k"


def test_monitors_that_fail_or_never_begin_are_not_evaluated(control: Control, hands: Hands) -> None:
    watch(control)
    for _ in range(3):
        hands.pass_s(LATE / 2)
        evaluate(control, hands, error="no")
    assert "were not evaluated" in (not_evaluated(control, hands.ns, LATE) or "")


def test_monitors_that_are_off_are_not_missed(control: Control, hands: Hands) -> None:
    watch(control)
    seen = control.monitor(ACME, "resolution")
    control.edit_monitor(seen, seen.definition, MonitorStatus.OFF, by=ANN)
    assert not_evaluated(control, hands.ns + 10**6 * NS_PER_S, LATE) is None


def test_it_does_not_beat_while_a_page_does_not_get_through(control: Control, hands: Hands) -> None:
    receiver = Receiver()
    with receiving(receiver):
        assert heartbeat(receiver.url, control, hands, "pages fail").beat() == "pages fail"
    assert receiver.tries == 0


@pytest.mark.parametrize("mood", [Mood.FAILS, Mood.REDIRECTS])
def test_a_beat_that_does_not_arrive_is_said(control: Control, hands: Hands, mood: Mood) -> None:
    receiver = Receiver(mood=mood)
    with receiving(receiver):
        one = heartbeat(receiver.url, control, hands)
        assert "answered with" in (one.beat() or "")
    assert one.last_ns is None


def test_without_a_setting_nothing_beats(control: Control, hands: Hands) -> None:
    one = Heartbeat(None, control, lambda late_s: None, hands)
    one.start()
    assert one.beat() == "no heartbeat is set"
    one.close()
