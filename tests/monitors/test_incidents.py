"""Incidents: what begins together is one, every firing is in exactly one, and one calls once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import Conflict, InvalidInput
from monitors.alert_records import Cause, Event, EventKind, Severity
from monitors.incident_records import Entry, Incident, IncidentRules, IncidentStatus, Joined, News, Telling
from monitors.incidents import acknowledged, assigned, closed, join, noted

MINUTE = 60 * 10**9
RULES = IncidentRules(gap_s=1800, quiet_s=1800, recall_s=3600)


def news(
    kind: EventKind, minute: int, monitor: str = "resolution", *, episode: int = 1, fired: int | None = None,
    app: str = "shop", severity: Severity = Severity.PAGE, tells: bool = True,
) -> News:  # fmt: skip
    event = Event(
        kind=kind, cause=Cause.BREACH, episode=episode, at_ns=minute * MINUTE, told_ns=minute * MINUTE,
        fired_ns=(minute if fired is None else fired) * MINUTE, severity=severity, text=f"{monitor} {kind}",
        tells=tells,
    )  # fmt: skip
    return News(app=app, monitor=monitor, series=monitor, event=event)


class Desk:
    """Incidents as they are kept from look to look."""

    def __init__(self, rules: IncidentRules = RULES) -> None:
        self.rules, self.next_number = rules, 1
        self.kept: dict[int, Incident] = {}
        self.entries: list[Entry] = []
        self.tellings: list[Telling] = []

    def look(self, minute: int, *some: News) -> Joined:
        found = join(self.kept.values(), some, self.rules, next_number=self.next_number, now_ns=minute * MINUTE)
        for one in found.incidents:
            assert self.kept.get(one.number) != one
            self.kept[one.number] = Incident.from_json(json.loads(json.dumps(one.as_json())))
        self.next_number = found.next_number
        self.entries += found.entries
        self.tellings += found.tellings
        return found

    def told(self) -> list[tuple[int, str]]:
        return [(one.number, one.kind.value) for one in self.tellings]


def fire(minute: int, monitor: str = "resolution", **kw: object) -> News:
    return news(EventKind.FIRED, minute, monitor, **kw)  # type: ignore[arg-type]


def resolve(minute: int, monitor: str = "resolution", **kw: object) -> News:
    return news(EventKind.RESOLVED, minute, monitor, fired=0, **kw)  # type: ignore[arg-type]


def test_breaches_within_half_an_hour_are_one_incident_that_calls_once() -> None:
    desk = Desk()
    desk.look(1, fire(0), fire(1, "latency"))
    desk.look(30, fire(29, "cost"))
    desk.look(90, fire(90, "grounding"))
    assert desk.told() == [(1, "call"), (1, "update"), (1, "update"), (2, "call")]
    assert [one.title for one in desk.kept.values()] == ["shop: resolution, latency, cost", "shop: grounding"]
    assert desk.kept[1].onset_ns == 0
    assert [one.kind.value for one in desk.entries] == ["opened", "fired", "fired", "fired", "opened", "fired"]


def test_apps_share_no_incident_and_the_nearest_beginning_counts() -> None:
    desk = Desk()
    desk.look(100, fire(0), fire(1, app="other"), fire(50, "cost"))
    assert {one.app: one.number for one in desk.kept.values() if one.number < 3} == {"shop": 1, "other": 2}
    desk.look(101, fire(30, "latency"))  # late: 30 from the first, 20 from the third
    assert [len(one.members) for one in desk.kept.values()] == [1, 1, 2]


def test_when_all_have_resolved_receivers_are_told_and_it_closes_by_itself_after_a_while() -> None:
    desk = Desk()
    desk.look(1, fire(0), fire(1, "latency"))
    desk.look(10, resolve(9))
    desk.look(12, resolve(11, "latency"))
    assert desk.told()[2:] == [(1, "update"), (1, "resolved")]
    assert desk.look(41).incidents == ()
    assert desk.look(42).incidents[0].status is IncidentStatus.CLOSED
    assert desk.entries[-1].text == "no alert of it fired for 30 min"
    assert desk.look(43).incidents == ()


def test_who_was_called_hears_that_it_is_over_also_from_an_alert_that_nobody_heard_of() -> None:
    desk = Desk()
    desk.look(1, fire(0), fire(1, "latency", tells=False))
    desk.look(10, resolve(9))
    desk.look(12, resolve(11, "latency", tells=False))
    assert desk.told() == [(1, "call"), (1, "update"), (1, "resolved")]
    desk.look(100, fire(100, "cost", tells=False))
    desk.look(101, resolve(101, "cost", tells=False))
    assert desk.told()[3:] == []


def test_an_alert_that_fires_again_is_in_its_incident_while_that_is_open_and_calls_again() -> None:
    desk = Desk()
    desk.look(1, fire(0), fire(1, "latency"))
    desk.look(200, resolve(199))
    desk.look(210, fire(210, episode=2))
    desk.look(300, resolve(299, episode=2), resolve(299, "latency"))
    desk.look(310, fire(310, episode=3))
    assert [kind for _, kind in desk.told()] == ["call", *["update"] * 4, "resolved", "call"]
    assert len(desk.kept) == 1


def test_after_it_was_closed_the_next_one_names_it() -> None:
    desk = Desk()
    desk.look(1, fire(0))
    desk.look(10, resolve(9))
    desk.look(60)
    desk.look(61, fire(61, episode=2))
    assert desk.kept[2].follows == 1
    assert desk.entries[-2].text == "opened by resolution, after I-1 in which the same alert fired"


def test_reminders_of_many_alerts_are_one_call_an_hour() -> None:
    desk = Desk()
    desk.look(1, fire(0), fire(1, "latency"))
    for minute in (30, 61, 62, 122):
        desk.look(minute, *(news(EventKind.RENOTIFIED, minute, name, fired=0) for name in ("resolution", "latency")))
    calls = [one.news.event.told_ns // MINUTE for one in desk.tellings if one.kind == "call"]
    assert calls == [0, 61, 122]


def test_who_acknowledged_is_not_called_again_but_for_something_louder() -> None:
    desk = Desk()
    desk.look(1, fire(0, severity=Severity.TICKET))
    found = acknowledged(desk.kept[1], "ann", 2 * MINUTE)
    assert found is not None
    assert acknowledged(found[0], "bob", 3 * MINUTE) is None
    desk.kept[1] = found[0]
    desk.look(5, fire(5, "cost", severity=Severity.TICKET))
    assert desk.kept[1].acknowledged_by == "ann"
    assert desk.entries[-1].kind == "fired"
    desk.look(6, fire(6, "latency"))
    assert desk.told() == [(1, "call"), (1, "update"), (1, "call")]
    assert desk.kept[1].status is IncidentStatus.OPEN
    assert desk.kept[1].severity is Severity.PAGE
    assert "reopened" in {one.kind.value for one in desk.entries}


def test_what_was_acknowledged_and_told_as_over_calls_when_it_fires_again() -> None:
    desk = Desk()
    desk.look(1, fire(0))
    found = acknowledged(desk.kept[1], "ann", 2 * MINUTE)
    assert found is not None
    desk.kept[1] = found[0]
    desk.look(3, fire(3, "cost"))
    desk.look(10, resolve(9))
    assert desk.kept[1].status is IncidentStatus.ACKNOWLEDGED  # one of two resolved: whoever is at work on it goes on
    desk.look(12, resolve(11, "cost"))
    desk.look(20, fire(20, episode=2))
    assert desk.told() == [(1, "call"), (1, "update"), (1, "update"), (1, "resolved"), (1, "call")]
    again = desk.kept[1]
    assert again.status is IncidentStatus.OPEN


def test_what_nobody_is_to_hear_is_an_incident_that_calls_nobody_until_it_may() -> None:
    desk = Desk()
    desk.look(1, fire(0, tells=False))
    assert desk.told() == []
    assert desk.kept[1].called_ns is None
    desk.look(20, news(EventKind.RENOTIFIED, 20, fired=0))
    assert desk.told() == [(1, "call")]


def test_a_clock_set_back_keeps_no_incident_open_for_ever() -> None:
    desk = Desk()
    desk.look(1, fire(0))
    desk.look(100_000, resolve(9))
    desk.look(10)
    assert desk.look(41).incidents[0].status is IncidentStatus.CLOSED


def test_people_close_what_does_not_fire_and_write_notes_at_any_time() -> None:
    desk = Desk()
    desk.look(1, fire(0))
    with pytest.raises(Conflict, match=r"I-1 still fires \(resolution\)"):
        closed(desk.kept[1], "ann", "", MINUTE)
    desk.look(10, resolve(9))
    found = closed(desk.kept[1], "ann", "rolled back by hand", 11 * MINUTE)
    assert found is not None
    incident, entry = found
    assert (incident.status, incident.closed_by, entry.text) == ("closed", "ann", "rolled back by hand")
    assert closed(incident, "bob", "", 12 * MINUTE) is None
    with pytest.raises(Conflict):
        acknowledged(incident, "bob", 12 * MINUTE)
    assert noted(incident, "ann", " the prompt had lost a line ", 13 * MINUTE).text == "the prompt had lost a line"
    for wrong in ("  ", "x" * 20_001):
        with pytest.raises(InvalidInput):
            noted(incident, "ann", wrong, 0)


def test_an_incident_is_its_monitors_owners_until_it_is_given_to_somebody() -> None:
    desk = Desk()
    desk.look(1, replace(fire(0), owner="team-shop"))
    assert desk.kept[1].owner == "team-shop"
    found = assigned(desk.kept[1], "ann", "bob", MINUTE)
    assert found is not None
    assert (found[0].owner, found[1].text, found[1].by) == ("ann", "given to ann, from team-shop", "bob")
    assert assigned(found[0], "ann", "bob", MINUTE) is None
    with pytest.raises(InvalidInput):
        assigned(found[0], " ", "bob", MINUTE)
    with pytest.raises(Conflict):
        assigned(replace(found[0], status=IncidentStatus.CLOSED), "bob", "bob", MINUTE)


def test_what_belongs_to_no_incident_changes_nothing() -> None:
    desk = Desk()
    found = desk.look(5, resolve(4), news(EventKind.NOTED, 4, fired=0, tells=False))
    assert (found.incidents, found.entries, found.tellings) == ((), (), ())


def test_rules_that_make_no_sense_are_refused() -> None:
    with pytest.raises(InvalidInput):
        IncidentRules(gap_s=-1)


# --- any sequence ---------------------------------------------------------------------------------------------------

ALERTS = [(app, monitor) for app in ("a", "b") for monitor in ("m1", "m2", "m3")]
looks = st.lists(
    st.tuples(st.integers(1, 40), st.lists(st.sampled_from(range(len(ALERTS))), max_size=4, unique=True)), max_size=25
)


def lives(some: Sequence[tuple[int, list[int]]]) -> list[tuple[int, list[News]]]:
    """Looks in which alerts that fire resolve and others fire, as alerts do."""
    minute, fires, episodes, found = 0, dict[int, int](), dict[int, int](), []
    for wait, which in some:
        minute += wait
        told = []
        for i in which:
            app, monitor = ALERTS[i]
            if i in fires:
                told.append(resolve(minute, monitor, app=app, episode=episodes[i]))
                del fires[i]
            else:
                episodes[i] = episodes.get(i, 0) + 1
                fires[i] = minute
                told.append(fire(minute, monitor, app=app, episode=episodes[i]))
        found.append((minute, told))
    return found


@settings(max_examples=100)
@given(looks, st.randoms(use_true_random=False))
def test_every_firing_is_in_exactly_one_incident_whatever_the_order_of_the_news(
    some: list[tuple[int, list[int]]], chance: object
) -> None:
    desk, other = Desk(), Desk()
    n_fired, fires = 0, set[tuple[str, str]]()
    for minute, told in lives(some):
        desk.look(minute, *told)
        other.look(minute, *chance.sample(told, len(told)))  # type: ignore[attr-defined]
        n_fired += sum(one.event.kind is EventKind.FIRED for one in told)
        for one in told:
            (fires.add if one.event.kind is EventKind.FIRED else fires.discard)((one.app, one.monitor))
        members = [(one.app, each.alert, each.episode) for one in desk.kept.values() for each in one.members]
        assert len(members) == len(set(members)) == n_fired
        open_now = {(one.app, each.monitor) for one in desk.kept.values() for each in one.firing}
        assert open_now == fires
        for incident in desk.kept.values():
            assert not (incident.status is IncidentStatus.CLOSED and incident.firing)
            assert (incident.quiet_ns is None) == bool(incident.firing)
    assert desk.kept == other.kept
    assert desk.entries == other.entries
    assert desk.tellings == other.tellings


@settings(max_examples=60)
@given(looks)
def test_receivers_are_told_of_each_incident_a_call_and_an_end_in_order(some: list[tuple[int, list[int]]]) -> None:
    desk = Desk()
    for minute, told in lives(some):
        desk.look(minute, *told)
    for number, incident in desk.kept.items():
        kinds = [one.kind.value for one in desk.tellings if one.number == number]
        assert kinds[0] == "call"
        assert (kinds[-1] == "resolved") == (not incident.firing)
        for before, after in pairwise(kinds):
            assert (before == "resolved") <= (after == "call")
            assert (after == "resolved") <= (before != "resolved")


def test_an_alert_that_becomes_louder_makes_its_incident_louder_and_calls() -> None:
    desk = Desk()
    desk.look(1, fire(0, severity=Severity.TICKET))
    desk.look(2, news(EventKind.RAISED, 2, fired=0))
    assert desk.kept[1].severity is Severity.PAGE
    assert desk.kept[1].members[0].severity is Severity.PAGE
    assert desk.told() == [(1, "call"), (1, "call")]
    assert desk.look(3, news(EventKind.RAISED, 3, fired=0)).incidents == ()
