"""Messages arrive: each once by the receiver's idempotency key, in order per incident, whatever the receiver does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from core.clock import NS_PER_S
from server.delivery.outbox import MOST_TRIES, MOST_WAIT_S, wait_s
from server.delivery.records import NotDelivered
from server.delivery.teller import Teller
from store.control.control import Control
from store.control.monitor_records import Delivery, DeliveryState
from tests.server.delivery.world import (
    ACME,
    ANN,
    BEGIN,
    OWNER,
    SHOP,
    Hands,
    Mood,
    Receiver,
    channels_of,
    control_in,
    free_port,
    hooks,
    incidents,
    payload,
    receiving,
    teller_of,
    waiting,
)
from tests.stack import REPOSITORY
from tests.waiting import wait_until

TEN_MINUTES = 600


@pytest.fixture
def hands() -> Hands:
    return Hands()


@pytest.fixture
def control(tmp_path: Path, hands: Hands) -> Iterator[Control]:
    found = control_in(tmp_path, hands)
    yield found
    found.close()


def arrived_once_and_in_order(control: Control, receiver: Receiver) -> None:
    sent = sorted(control.deliveries(ACME), key=lambda one: (one.incident, one.seq))
    assert {one.state for one in sent} == {DeliveryState.SUCCEEDED}
    assert sorted(receiver.ids()) == sorted(one.id for one in sent)
    for incident in {one.incident for one in sent}:
        of_it = [one.id for one in sent if one.incident == incident]
        assert [one for one in receiver.ids() if one in of_it] == of_it


@pytest.mark.parametrize("mood", [Mood.FAILS, Mood.HANGS, Mood.REDIRECTS, Mood.LOSES, Mood.BUSY])
def test_a_receiver_that_is_unwell_for_ten_minutes_has_every_message_once_and_in_order(
    control: Control, hands: Hands, mood: Mood
) -> None:
    receiver = Receiver(mood=mood)
    with receiving(receiver):
        url = f"{receiver.url}/hook"
        teller = teller_of(control, hooks(0.5 if mood is Mood.HANGS else 25.0, oncall=url), hands)
        incidents(control, ("oncall",))
        for _ in range(TEN_MINUTES // 30):
            assert teller.round() == 0
            hands.pass_s(30)
        teller.close()
        assert len(waiting(control)) == 6
        assert receiver.elsewhere == 0
        assert receiver.tries <= 16  # it is left alone between
        receiver.mood = Mood.WELL
        receiver.released.set()
        hands.pass_s(1.5 * MOST_WAIT_S)
        patient = teller_of(control, hooks(oncall=url), hands)
        assert patient.round() == 6
        patient.close()
    arrived_once_and_in_order(control, receiver)


def test_a_receiver_that_is_down_for_ten_minutes_hears_all_of_it(control: Control, hands: Hands) -> None:
    receiver, port = Receiver(), free_port()
    teller = teller_of(control, hooks(oncall=f"http://127.0.0.1:{port}/hook"), hands)
    incidents(control, ("oncall",))
    for _ in range(TEN_MINUTES // 30):
        assert teller.round() == 0
        hands.pass_s(30)
    with receiving(receiver, port):
        hands.pass_s(1.5 * MOST_WAIT_S)
        assert teller.round() == 6
    teller.close()
    arrived_once_and_in_order(control, receiver)


def test_a_lost_answer_is_sent_again_under_the_same_id(control: Control, hands: Hands) -> None:
    receiver = Receiver(mood=Mood.LOSES)
    with receiving(receiver):
        teller = teller_of(control, hooks(oncall=f"{receiver.url}/hook"), hands)
        incidents(control, ("oncall",), n=1, kinds=("incident.call",))
        teller.round()
        receiver.mood = Mood.WELL
        hands.pass_s(10)
        assert teller.round() == 1
        teller.close()
    assert len(receiver.taken) == 2
    assert len(set(receiver.ids())) == 1
    assert {one["id"] for one in receiver.bodies()} == set(receiver.ids())


def test_a_receiver_that_hangs_holds_up_nobody_else(control: Control, hands: Hands) -> None:
    """The one that hangs answers once the other has all its messages: were it waited for, it never would."""
    slow, quick = Receiver(mood=Mood.HANGS), Receiver()
    with receiving(slow), receiving(quick):
        incidents(control, ("a-slow", "b-quick"), n=1)
        long = hooks(25.0, **{"a-slow": slow.url, "b-quick": quick.url})
        teller = teller_of(control, long, hands)
        teller.start()
        wait_until(lambda: len(quick.ids()) == 3, 25, "the other receiver to hear all")
        assert slow.tries == 1
        slow.released.set()
        teller.close()
    assert [one.state for one in control.deliveries(ACME) if one.channel == "b-quick"] == [DeliveryState.SUCCEEDED] * 3


def test_two_servers_send_each_message_once(control: Control, hands: Hands) -> None:
    receiver = Receiver()
    with receiving(receiver):
        tellers = [teller_of(control, hooks(oncall=receiver.url), hands, owner) for owner in ("one", "two")]
        incidents(control, ("oncall",), n=5)
        for one in tellers:
            one.start()
        wait_until(lambda: not waiting(control), 30, "all messages to be sent")
        for one in tellers:
            one.close()
    assert len(receiver.taken) == 15
    arrived_once_and_in_order(control, receiver)


def test_a_message_that_is_refused_is_dead_at_once_and_the_next_goes_on(control: Control, hands: Hands) -> None:
    receiver = Receiver(mood=Mood.FAILS, status=422)
    with receiving(receiver):
        teller = teller_of(control, hooks(oncall=receiver.url), hands)
        incidents(control, ("oncall",), n=1, kinds=("incident.call",))
        assert teller.round() == 1
        dead = control.deliveries(ACME, state=DeliveryState.DEAD)
        assert [(one.tries, one.last_error) for one in dead] == [(1, "answered with 422")]
        receiver.mood = Mood.WELL
        control.replay_delivery(ACME, dead[0].id, by=ANN)
        assert teller.round() == 1
        teller.close()
    assert receiver.ids() == [dead[0].id]


class Shelf:
    """An outbox of one delivery, in memory."""

    def __init__(self, one: Delivery) -> None:
        self.one = one

    def due_deliveries(self, limit: int = 100, *, whole: bool = False) -> list[Delivery]:
        return [] if self.one.state.ended else [self.one][:limit]

    def claim_delivery(self, of: Delivery, owner: str, gone: object) -> Delivery:
        self.one = replace(of, owner=owner, tries=of.tries + 1, state=DeliveryState.RUNNING)
        return self.one

    def note_delivery(
        self, of: Delivery, state: DeliveryState, *, error: str | None = None, next_at_ns: int | None = None
    ) -> Delivery:
        self.one = replace(of, state=state, last_error=error, next_at_ns=next_at_ns or 0)
        return self.one


@pytest.mark.parametrize(("tries", "state"), [(0, DeliveryState.RETRYING), (MOST_TRIES - 1, DeliveryState.DEAD)])
def test_after_a_day_of_tries_a_message_is_dead(tries: int, state: DeliveryState, hands: Hands) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    shelf = Shelf(Delivery(tenant=ACME, id="d_1", channel="c", incident=1, seq=1, payload={}, tries=tries))
    teller = Teller(shelf, hooks(c=url), OWNER, clock=hands, monotonic=hands.seconds)
    teller.round()
    teller.close()
    assert shelf.one.state is state
    assert "ConnectError" in (shelf.one.last_error or "")


@pytest.mark.parametrize("tenant", [ACME, SHOP])
def test_a_channel_is_its_tenants_own(hands: Hands, tenant: str) -> None:
    receiver = Receiver()
    with receiving(receiver):
        told = {"kind": "webhook", "url": receiver.url, "key": "0123456789abcdef", "tenants": ["acme"]}
        channels = channels_of({"c": told})
        shelf = Shelf(Delivery(tenant=tenant, id="d_1", channel="c", incident=1, seq=1, payload={}))  # type: ignore[arg-type]
        teller = Teller(shelf, channels, OWNER, clock=hands, monotonic=hands.seconds)
        teller.round()
        teller.close()
    assert len(receiver.taken) == (1 if tenant == ACME else 0)
    assert (shelf.one.last_error is None) == (tenant == ACME)
    assert channels.names(tenant) == (("c",) if tenant == ACME else ())


def test_who_names_a_channel_of_another_tenant_holds_up_none_of_its_pages(control: Control, hands: Hands) -> None:
    receiver = Receiver()
    with receiving(receiver):
        told = {"kind": "webhook", "url": receiver.url, "key": "0123456789abcdef", "tenants": ["acme"]}
        teller = teller_of(control, channels_of({"oncall": told}), hands)
        control.put_test_delivery(SHOP, "oncall", payload("test", "mine"), by=replace(ANN, tenant=SHOP))
        teller.round()
        incidents(control, ("oncall",), n=1)
        teller.round()
        teller.close()
    assert [one["kind"] for one in receiver.bodies()] == ["incident.call", "incident.update", "incident.resolved"]


def test_a_page_to_a_channel_that_is_not_there_is_dead_at_once_and_stops_no_heartbeat(
    control: Control, hands: Hands
) -> None:
    receiver = Receiver()
    with receiving(receiver):
        teller = teller_of(control, hooks(other=receiver.url), hands)
        incidents(control, ("oncall",), n=1, kinds=("incident.call",))
        assert teller.round() == 1
        hands.pass_s(TEN_MINUTES + 1)
        assert teller.standing.pages_fail(TEN_MINUTES) is None
        teller.close()
        (dead,) = control.deliveries(ACME, state=DeliveryState.DEAD)
        assert dead.last_error == "there is no channel 'oncall' for acme"
        control.replay_delivery(ACME, dead.id, by=ANN)
        set_now = teller_of(control, hooks(oncall=receiver.url), hands)
        assert set_now.round() == 1
        set_now.close()
    assert receiver.ids() == [dead.id]


def test_a_test_message_waits_for_nobody(control: Control, hands: Hands) -> None:
    receiver = Receiver()
    with receiving(receiver):
        teller = teller_of(control, hooks(oncall=receiver.url), hands)
        sent = control.put_test_delivery(ACME, "oncall", payload("test", "hello"), by=ANN)
        assert teller.round() == 1
        teller.close()
    assert [(one["id"], one["kind"], one["incident"]) for one in receiver.bodies()] == [(sent.id, "test", None)]


def test_waits_double_differ_and_are_the_same_each_time() -> None:
    waits = [wait_s("d", tries) for tries in range(1, 12)]
    assert waits == [wait_s("d", tries) for tries in range(1, 12)]
    for tries, one in enumerate(waits):
        middle = min(MOST_WAIT_S, 2.0**tries)
        assert middle / 2 <= one <= 1.5 * middle
    assert len({wait_s(f"d{i}", 5) for i in range(50)}) == 50
    assert wait_s("d", 10**9) <= 1.5 * MOST_WAIT_S


_CHILD = """
import sys
from pathlib import Path
from server.delivery.teller import Teller
from server.process_name import this_process
from tests.server.delivery.world import Hands, control_in, hooks
hands = Hands()
control = control_in(Path(sys.argv[1]), hands)
Teller(control, hooks(oncall=sys.argv[2]), this_process(), clock=hands).round()
"""


def test_a_server_killed_while_it_sends_loses_nothing(tmp_path: Path, control: Control, hands: Hands) -> None:
    """A real process is killed with SIGKILL while the receiver has its message and has not answered."""
    from server.process_name import is_gone, this_process

    receiver = Receiver(mood=Mood.HANGS)
    with receiving(receiver):
        incidents(control, ("oncall",))
        child = subprocess.Popen([sys.executable, "-c", _CHILD, str(tmp_path), receiver.url], cwd=REPOSITORY)
        wait_until(lambda: receiver.tries > 0, 60, "the other process to send")
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        assert [one.tries for one in waiting(control) if one.state is DeliveryState.RUNNING] == [1]
        receiver.mood = Mood.WELL
        receiver.released.set()
        teller = Teller(
            control, hooks(oncall=receiver.url), this_process(), clock=hands, gone=is_gone, monotonic=hands.seconds
        )
        assert teller.round() == 6
        teller.close()
    arrived_once_and_in_order(control, receiver)


def test_an_error_repeats_neither_the_address_nor_what_was_answered(control: Control, hands: Hands) -> None:
    receiver = Receiver(mood=Mood.FAILS)
    with receiving(receiver):
        teller = teller_of(control, hooks(oncall=f"{receiver.url}/services/SECRET"), hands)
        incidents(control, ("oncall",), n=1)
        teller.round()
        teller.close()
    assert [one.last_error for one in waiting(control) if one.last_error] == ["answered with 500"]


def test_a_page_that_does_not_get_through_is_known_of(control: Control, hands: Hands) -> None:
    receiver = Receiver(mood=Mood.FAILS)
    with receiving(receiver):
        teller = teller_of(control, hooks(oncall=receiver.url), hands)
        incidents(control, ("oncall",), n=1)
        teller.round()
        assert teller.standing.pages_fail(TEN_MINUTES) is None
        hands.pass_s(TEN_MINUTES + 1)
        assert teller.standing.pages_fail(TEN_MINUTES) == "pages have not got through to oncall for 601 s"
        receiver.mood = Mood.WELL
        teller.round()
        teller.close()
    assert teller.standing.pages_fail(TEN_MINUTES) is None
    assert hands.ns > BEGIN + TEN_MINUTES * NS_PER_S


def test_not_delivered_says_for_whom_it_is() -> None:
    error = NotDelivered("no", for_good=True, after_s=3.0)
    assert (str(error), error.for_good, error.after_s) == ("no", True, 3.0)
