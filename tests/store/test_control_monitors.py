"""Monitors in the control database: a look is written whole or not at all, messages go out in order and from one sender
at a time, jobs are done once. On SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from core.clock import NS_PER_S
from core.errors import Conflict, Corrupt, NotFound
from core.ids import TenantId
from core.records import Principal, Role
from store.control.control import Control
from store.control.delivering import KEPT_NS, SENDING_NS
from store.control.jobs import LEASE_NS
from store.control.monitor_records import (
    Delivery,
    DeliveryState,
    IncidentEntry,
    IncidentRecord,
    JobState,
    LookWritten,
    MonitorRecord,
    MonitorStateRecord,
    MonitorStatus,
    RaisedAlert,
    RolloutAsking,
    SilenceRecord,
    Wanted,
)
from tests.store.databases import ControlDatabase

ACME, SHOP = TenantId("acme"), TenantId("shop")
ANN = Principal(tenant=ACME, role=Role.POWER_USER, name="ann", key_id="0123456789ab")
BEGIN = 1_800_000_000 * NS_PER_S


class Hands:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.ns = BEGIN

    def __call__(self) -> int:
        return self.ns


@pytest.fixture
def hands() -> Hands:
    return Hands()


@pytest.fixture
def control(database: ControlDatabase, hands: Hands) -> Iterator[Control]:
    found = database.open(clock=hands)
    for tenant in (ACME, SHOP):
        found.ensure_tenant(tenant)
    yield found
    found.close()


def monitor_of(name: str = "resolution", tenant: TenantId = ACME) -> MonitorRecord:
    return MonitorRecord(tenant=tenant, name=name, app="desk", definition={"app": "desk", "series": "resolution"})


def alert_of(episode: int = 1, status: str = "firing") -> RaisedAlert:
    return RaisedAlert(
        tenant=ACME, monitor="resolution", series="resolution", episode=episode, app="desk", status=status,
        severity="page", since_ns=BEGIN, body={"text": "0.71, below 0.8 \u00e9"},
    )  # fmt: skip


def incident_of(number: int = 1, revision: int = 0, **given: object) -> IncidentRecord:
    made = IncidentRecord(
        tenant=ACME, number=number, app="desk", status="open", severity="page", opened_ns=BEGIN, revision=revision,
        body={"members": []},
    )  # fmt: skip
    return replace(made, **given)  # type: ignore[arg-type]


def look_of(control: Control, *, n_messages: int = 1, number: int = 1) -> LookWritten:
    """A look that opens an incident, by a process that has taken the job."""
    assert control.take_job(ACME, "monitors", "me") is not None
    (monitor,) = control.monitors(ACME)
    entry = IncidentEntry(incident=number, told_ns=BEGIN, at_ns=BEGIN, kind="opened", text="it fell")
    wanted = [
        Wanted(channel=channel, incident=number, payload={"n": n})
        for n in range(n_messages)
        for channel in ("oncall", "chat")
    ]
    state = MonitorStateRecord(
        tenant=ACME, name="resolution", version=1, settled_ns=BEGIN - 5, until_ns=BEGIN, band={"x": [0.1, 1e-300]},
        books={"resolution": {"episodes": 1}}, told={"value": 0.71},
    )  # fmt: skip
    asking = RolloutAsking(
        tenant=ACME, rollout_id="ro_1", guard="hold", reasons=("it fell",), at_ns=BEGIN, until_ns=BEGIN + 600 * NS_PER_S
    )
    return LookWritten(
        tenant=ACME, owner="me", monitors=(monitor,), states=(state,), alerts=(replace(alert_of(), incident=number),),
        incidents=(incident_of(number),), entries=(entry, replace(entry, kind="fired")), wanted=tuple(wanted),
        askings=(asking,), first_number=number,
    )  # fmt: skip


def monitored(control: Control) -> None:
    """A row in every table of monitors, of ACME."""
    control.add_monitor(monitor_of(), by=ANN)
    control.write_look(look_of(control))
    silence = SilenceRecord(
        tenant=ACME, silence_id="s_1", matcher={"app": "desk"}, start_ns=BEGIN, end_ns=BEGIN + 1, why="deploy \u00e9"
    )
    control.add_silence(silence, lambda _: None, by=ANN)
    control.set_monitor_budget(ACME, "", 0.1, lambda _: None, by=ANN)


def test_a_monitor_has_immutable_versions_and_one_that_holds(control: Control) -> None:
    made = control.add_monitor(monitor_of(), by=ANN)
    control.add_monitor(monitor_of(tenant=SHOP), by=ANN)
    with pytest.raises(Conflict, match="resolution"):
        control.add_monitor(monitor_of(), by=ANN)
    narrower = {**made.definition, "direction": "down"}
    after = control.edit_monitor(made, narrower, MonitorStatus.ON, by=ANN)
    assert (after.version, after.revision) == (2, 2)
    with pytest.raises(Conflict, match="meanwhile"):
        control.edit_monitor(made, narrower, MonitorStatus.OFF, by=ANN)
    off = control.edit_monitor(after, narrower, MonitorStatus.OFF, by=ANN)
    assert (off.version, off.status) == (2, MonitorStatus.OFF)
    control.edit_monitor(off, narrower, MonitorStatus.DELETED, by=ANN)
    with pytest.raises(NotFound):
        control.monitor(ACME, "resolution")
    assert control.monitors(ACME) == []
    assert len(control.monitors(SHOP)) == 1
    again = control.add_monitor(monitor_of(), by=ANN)
    assert [one.version for one in control.monitor_versions(ACME, "resolution")] == [3, 2, 1]
    assert again.version == 3
    assert control.monitor(ACME, "resolution") == again
    assert control.verify(ACME).ok


def test_a_look_is_one_transaction(control: Control) -> None:
    control.add_monitor(monitor_of(), by=ANN)
    look = look_of(control, n_messages=2)
    control.write_look(look)
    state = control.monitor_state(ACME, "resolution")
    assert state is not None
    assert (state.band, state.books) == (look.states[0].band, look.states[0].books)
    assert control.alerts(ACME, status="firing") == [replace(alert_of(), incident=1)]
    found = control.incident(ACME, 1)
    assert (found.revision, found.n_entries, found.n_told) == (1, 2, 4)
    assert [(one.number, one.kind) for one in control.incident_entries(ACME, 1)] == [(1, "opened"), (2, "fired")]
    assert [one.seq for one in reversed(control.deliveries(ACME, incident=1))] == [1, 2, 3, 4]
    asking = control.rollout_asking(ACME, "ro_1")
    assert asking is not None
    assert asking.reasons == ("it fell",)
    assert control.incidents(SHOP) == []
    assert control.alerts(SHOP) == []
    assert control.deliveries(SHOP) == []
    with pytest.raises(NotFound):
        control.incident(SHOP, 1)


@pytest.mark.parametrize("what", ["monitor", "incident", "number", "job"])
def test_a_look_at_what_changed_meanwhile_writes_nothing(control: Control, hands: Hands, what: str) -> None:
    control.add_monitor(monitor_of(), by=ANN)
    control.write_look(look_of(control))
    control.end_job(ACME, "monitors", "me", next_ns=BEGIN)
    look = look_of(control, number=2)
    seen = control.incident(ACME, 1)
    look = replace(look, incidents=(seen, *look.incidents))
    if what == "monitor":
        control.edit_monitor(control.monitor(ACME, "resolution"), {"app": "desk"}, MonitorStatus.ON, by=ANN)
    elif what == "incident":
        control.change_incident(ACME, 1, lambda one, now: (one, (), ()), by=ANN, action="incidents.ack")
    elif what == "number":
        look = replace(look, first_number=1)
    else:
        hands.ns += LEASE_NS
        assert control.take_job(ACME, "monitors", "another") is not None
    with pytest.raises(Conflict):
        control.write_look(look)
    assert [one.number for one in control.incidents(ACME)] == [1]
    assert len(control.deliveries(ACME)) == 2


def test_pending_alerts_are_those_of_the_last_look(control: Control) -> None:
    control.add_monitor(monitor_of(), by=ANN)
    look = look_of(control)
    control.write_look(replace(look, pending=(alert_of(2, "pending"),)))
    assert len(control.alerts(ACME, status="pending")) == 1
    again = replace(look, alerts=(), incidents=(), entries=(), wanted=(), first_number=2)
    control.write_look(again)
    assert control.alerts(ACME, status="pending") == []
    assert len(control.alerts(ACME)) == 1


def test_messages_of_an_incident_go_out_in_order_by_one_sender(control: Control, hands: Hands) -> None:
    control.add_monitor(monitor_of(), by=ANN)
    control.write_look(look_of(control, n_messages=2))
    due = control.due_deliveries()
    assert sorted((one.channel, one.seq) for one in due) == [("chat", 2), ("oncall", 1)]
    first = next(one for one in due if one.channel == "oncall")
    taken = control.claim_delivery(first, "me")
    assert taken is not None
    assert (taken.state, taken.tries) == (DeliveryState.RUNNING, 1)
    assert control.claim_delivery(first, "another") is None
    control.note_delivery(taken, DeliveryState.RETRYING, error="503", next_at_ns=BEGIN + NS_PER_S)
    assert [one.channel for one in control.due_deliveries()] == ["chat"]
    hands.ns += NS_PER_S
    again = control.claim_delivery(first, "another")
    assert again is not None
    assert (again.tries, again.last_error) == (2, "503")
    with pytest.raises(Conflict):
        control.note_delivery(taken, DeliveryState.SUCCEEDED)
    hands.ns += SENDING_NS  # its sender was killed: it is sent again, under the same id
    third = control.claim_delivery(first, "me")
    assert third is not None
    assert third.id == first.id
    control.note_delivery(third, DeliveryState.SUCCEEDED)
    assert sorted((one.channel, one.seq) for one in control.due_deliveries()) == [("chat", 2), ("oncall", 3)]
    assert control.claim_delivery(first, "me") is None


def test_what_is_due_is_found_by_its_index_and_by_going_through_all(control: Control, hands: Hands) -> None:
    control.add_monitor(monitor_of(), by=ANN)
    control.write_look(look_of(control, n_messages=3))
    trials = [control.put_test_delivery(ACME, "oncall", {"text": "a test"}, by=ANN) for _ in range(2)]
    control.note_delivery(_claimed(control, trials[0].id), DeliveryState.RETRYING, next_at_ns=BEGIN + 30 * NS_PER_S)
    first = next(one for one in control.due_deliveries() if (one.channel, one.incident) == ("chat", 1))
    control.note_delivery(_claimed(control, first.id), DeliveryState.RETRYING, next_at_ns=BEGIN + 60 * NS_PER_S)
    for after_s, n in ((0, 2), (30, 3), (60, 4)):
        hands.ns = BEGIN + after_s * NS_PER_S
        due = control.due_deliveries()
        assert due == control.due_deliveries(whole=True)
        assert len(due) == n
        assert control.due_deliveries(1) == due[:1]
    _claimed(control, first.id)
    assert first.id in {one.id for one in control.due_deliveries()}  # in case its sender was killed


def test_a_message_of_long_ago_that_was_altered_keeps_no_other_from_being_sent(
    control: Control, database: ControlDatabase
) -> None:
    old, new = (control.put_test_delivery(ACME, "oncall", {"text": "a test"}, by=ANN) for _ in range(2))
    control.note_delivery(_claimed(control, old.id), DeliveryState.SUCCEEDED)
    database.execute(f"UPDATE deliveries SET payload = 'torn to pieces' WHERE id = '{old.id}'")
    assert [one.id for one in control.due_deliveries()] == [new.id]
    with pytest.raises(Corrupt):
        control.due_deliveries(whole=True)


def _claimed(control: Control, delivery_id: str) -> Delivery:
    taken = control.claim_delivery(control.delivery(ACME, delivery_id), "me")
    assert taken is not None
    return taken


def test_a_message_that_was_given_up_is_replayed_under_its_id(control: Control) -> None:
    made = control.put_test_delivery(ACME, "oncall", {"text": "a test"}, by=ANN)
    taken = control.claim_delivery(made, "me")
    assert taken is not None
    with pytest.raises(Conflict):
        control.replay_delivery(ACME, made.id, by=ANN)
    control.note_delivery(taken, DeliveryState.DEAD, error="410")
    assert control.due_deliveries() == []
    control.replay_delivery(ACME, made.id, by=ANN)
    assert [one.id for one in control.due_deliveries()] == [made.id]
    with pytest.raises(NotFound):
        control.delivery(SHOP, made.id)


def test_what_arrived_is_forgotten_in_time(control: Control, hands: Hands) -> None:
    control.add_monitor(monitor_of(), by=ANN)
    look = look_of(control)
    control.write_look(look)
    for one in control.due_deliveries():
        taken = control.claim_delivery(one, "me")
        assert taken is not None
        control.note_delivery(taken, DeliveryState.SUCCEEDED)
    hands.ns += KEPT_NS + 1
    control.take_job(ACME, "monitors", "me")
    again = replace(look, incidents=(), entries=(), wanted=(), first_number=2)
    control.write_look(again)
    assert len(control.deliveries(ACME)) == 2  # its incident is open: who was told is to hear its end
    _close(control, 1)
    control.write_look(again)
    assert control.deliveries(ACME) == []
    assert control.rollout_asking(ACME, "ro_1") is None  # nobody asked again


def _close(control: Control, number: int) -> None:
    now = control.incident(ACME, number).opened_ns
    control.change_incident(
        ACME, number, lambda one, at: (replace(one, status="closed", closed_ns=now), (), ()), by=ANN,
        action="incidents.close",
    )  # fmt: skip


def test_of_what_is_over_only_the_last_incident_is_kept_for_ever(control: Control, hands: Hands) -> None:
    control.add_monitor(monitor_of(), by=ANN)
    for number in (1, 2, 3):
        hands.ns = BEGIN + number * NS_PER_S
        look = look_of(control, number=number)
        over = replace(alert_of(number, "resolved"), incident=number, since_ns=BEGIN, resolved_ns=BEGIN + number)
        opened = replace(look.incidents[0], opened_ns=hands.ns)
        control.write_look(replace(look, alerts=(over,), incidents=(opened,)))
        control.end_job(ACME, "monitors", "me", next_ns=hands.ns)
    silence = SilenceRecord(
        tenant=ACME, silence_id="s_1", matcher={"app": "desk"}, start_ns=BEGIN, end_ns=BEGIN + 1, why="deploy"
    )
    control.add_silence(silence, lambda _: None, by=ANN)
    control.add_silence(replace(silence, silence_id="s_2", end_ns=1 << 62), lambda _: None, by=ANN)
    _close(control, 1)
    _close(control, 3)  # the second stays open
    later = BEGIN + 400 * 86_400 * NS_PER_S
    assert control.forget_monitoring(ACME, BEGIN) == {}
    counts = control.forget_monitoring(ACME, later)
    assert counts == {"incidents": 1, "entries": 2, "alerts": 1, "deliveries": 2, "silences": 1}
    assert [one.number for one in control.incidents(ACME)] == [3, 2]
    assert [len(control.incident_entries(ACME, number)) for number in (2, 3)] == [2, 2]
    assert {one.incident for one in control.alerts(ACME)} == {2, 3}
    assert {one.incident for one in control.deliveries(ACME)} == {2, 3}
    assert [one.silence_id for one in control.silences(ACME)] == ["s_2"]
    assert control.forget_monitoring(ACME, later) == {}
    assert control.verify(ACME).ok


def test_a_budget_is_set_changed_and_taken_back(control: Control) -> None:
    seen: list[dict[str, float]] = []
    for app, pages in (("", 0.1), ("desk", 0.05), ("", 1 / 3), ("desk", None), ("gone", None)):
        control.set_monitor_budget(ACME, app, pages, lambda after: seen.append(dict(after)), by=ANN)
    assert seen[1] == {"": 0.1, "desk": 0.05}
    assert control.monitor_budgets(ACME) == {"": pytest.approx(1 / 3, abs=1e-6)}
    assert control.monitor_budgets(SHOP) == {}
    with pytest.raises(Conflict):
        control.set_monitor_budget(ACME, "", 0.2, _refuses, by=ANN)
    assert control.monitor_budgets(ACME) == {"": pytest.approx(1 / 3, abs=1e-6)}
    with pytest.raises(NotFound):
        control.set_monitor_budget(TenantId("nobody"), "", 0.2, lambda _: None, by=ANN)
    assert control.verify(ACME).ok


def _refuses(_: object) -> None:
    raise Conflict("no")


def test_an_incident_is_changed_as_it_stands(control: Control) -> None:
    control.add_monitor(monitor_of(), by=ANN)
    control.write_look(look_of(control))
    line = IncidentEntry(incident=1, told_ns=BEGIN, at_ns=BEGIN, kind="note", text="it was the prompt", made_by="ann")
    message = Wanted(channel="chat", incident=1, payload={"text": "acknowledged"})
    after = control.change_incident(
        ACME, 1, lambda one, now: (replace(one, status="acknowledged"), (line,), (message,)), by=ANN,
        action="incidents.ack",
    )  # fmt: skip
    assert (after.status, after.n_entries, after.n_told, after.revision) == ("acknowledged", 3, 3, 2)
    assert control.change_incident(ACME, 1, lambda one, now: None, by=ANN, action="incidents.ack") == after
    assert [one.text for one in control.incident_entries(ACME, 1)][-1] == "it was the prompt"
    assert control.verify(ACME).ok


def test_a_silence_is_checked_against_the_others_and_ended(control: Control, hands: Hands) -> None:
    wanted = SilenceRecord(
        tenant=ACME, silence_id="s_1", matcher={"monitor": "resolution"}, start_ns=BEGIN, end_ns=BEGIN + 7200,
        why="deploy", weekly={"days": ["mon"]},
    )  # fmt: skip
    seen: list[int] = []
    made = control.add_silence(wanted, lambda others: seen.append(len(others)), by=ANN)
    control.add_silence(replace(wanted, silence_id="s_2"), lambda others: seen.append(len(others)), by=ANN)
    assert seen == [0, 1]
    assert control.silences(ACME)[0] == made
    ended = control.end_silence(ACME, "s_1", by=ANN)
    assert (ended.ended_ns, ended.ended_by) == (BEGIN, "ann")
    assert control.end_silence(ACME, "s_1", by=ANN) == ended
    with pytest.raises(NotFound):
        control.end_silence(SHOP, "s_1", by=ANN)


def test_a_job_is_done_once_and_missed_runs_are_caught_up_once(control: Control, hands: Hands) -> None:
    minute = 60 * NS_PER_S
    first = control.take_job(ACME, "monitors", "me")
    assert first is not None
    assert first.state is JobState.RUNNING
    assert control.take_job(ACME, "monitors", "another") is None
    control.end_job(ACME, "monitors", "me", next_ns=BEGIN + minute, told={"n_series": 5})
    assert control.take_job(ACME, "monitors", "another") is None  # not due
    hands.ns += 500 * minute
    assert control.take_job(ACME, "monitors", "another") is not None
    control.end_job(ACME, "monitors", "another", next_ns=hands.ns + minute)
    assert control.take_job(ACME, "monitors", "me") is None
    (job,) = control.jobs(ACME)
    assert (job.n_runs, job.state, dict(job.told)) == (2, JobState.SUCCEEDED, {"n_series": 5})


def test_a_job_that_fails_waits_longer_and_is_dead_in_the_end(control: Control, hands: Hands) -> None:
    waits = []
    for _ in range(3):
        assert control.take_job(ACME, "digest", "me") is not None
        failed = control.end_job(ACME, "digest", "me", next_ns=0, error="the lake is away", most_tries=3)
        waits.append(failed.due_ns - hands.ns)
        hands.ns = failed.due_ns
    assert waits == [2 * NS_PER_S, 4 * NS_PER_S, 8 * NS_PER_S]
    assert failed.state is JobState.DEAD
    assert control.take_job(ACME, "digest", "me") is None
    control.replay_job(ACME, "digest", by=ANN)
    assert control.take_job(ACME, "digest", "me") is not None


def test_a_job_of_a_process_that_is_gone_is_taken_over(control: Control, hands: Hands) -> None:
    assert control.take_job(ACME, "monitors", "dead") is not None
    assert control.take_job(ACME, "monitors", "me", lambda name: name == "dead") is not None
    with pytest.raises(Conflict):
        control.end_job(ACME, "monitors", "dead", next_ns=0)
    hands.ns -= 3600 * NS_PER_S  # the clock is set back: a job is not put off by it
    control.end_job(ACME, "monitors", "me", next_ns=BEGIN)
    assert control.take_job(ACME, "monitors", "me") is not None
