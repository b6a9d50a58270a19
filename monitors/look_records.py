"""What a look found, as the control database keeps it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from core.ids import TenantId
from monitors.alert_records import AlertStatus, Event, EventKind, Severity, plain
from monitors.definition import Definition
from monitors.guarding import Guarded
from monitors.incident_records import Entry, Incident, Joined, News, TellingKind
from monitors.looking import Book, closed
from monitors.watched import Watched
from store.control.monitor_records import (
    IncidentEntry,
    IncidentRecord,
    MonitorRecord,
    MonitorStateRecord,
    MonitorStatus,
    RaisedAlert,
    Wanted,
)


@dataclass(frozen=True, kw_only=True)
class Whose:
    """A monitor as its alerts need it, also of one that is deleted by now."""

    name: str
    app: str
    owner: str | None
    channels: tuple[str, ...]
    runbook: str | None

    def as_json(self) -> dict[str, Any]:
        """Its fields."""
        return {name: plain(getattr(self, name)) for name in ("app", "owner", "channels", "runbook")}


@dataclass(frozen=True, kw_only=True)
class Closed:
    """A monitor that was changed, switched off or deleted: what fired of it has ended, and looks begin anew."""

    whose: Whose
    state: MonitorStateRecord
    books: Mapping[str, Book]
    events: tuple[tuple[str, Event], ...]


def whose_of(name: str, definition: Definition) -> Whose:
    """Of a monitor that is there."""
    return Whose(
        name=name, app=definition.app, owner=definition.owner, channels=definition.channels, runbook=definition.runbook
    )


def closed_of(state: MonitorStateRecord, why: str, now_ns: int) -> Closed | None:
    """What ends with a state that holds no more; None where nothing of it is left to end."""
    if not state.books or "whose" not in state.told:
        return None
    told = state.told["whose"]
    whose = Whose(
        name=state.name, app=told["app"], owner=told["owner"], channels=tuple(told["channels"]),
        runbook=told["runbook"],
    )  # fmt: skip
    books, events = {}, []
    for key, book in state.books.items():
        books[key], happened = closed(Book.from_json(book), why, now_ns)
        events += [(key, one) for one in happened]
    return Closed(whose=whose, state=state, books=books, events=tuple(events))


def ended(states: Sequence[MonitorStateRecord], monitors: Sequence[MonitorRecord], now_ns: int) -> list[Closed]:
    """The states of monitors that are off, deleted, or of another version by now."""
    there = {one.name: one for one in monitors}
    found = []
    for state in states:
        monitor = there.get(state.name)
        if state.told.get("ended") or (
            monitor is not None and monitor.status is MonitorStatus.ON and monitor.version == state.version
        ):
            continue
        what = "deleted" if monitor is None else "changed" if monitor.status is MonitorStatus.ON else "switched off"
        one = closed_of(state, f"the monitor was {what}", now_ns)
        if one is not None:
            found.append(one)
    return found


def news_of(whose: Whose, key: str, event: Event) -> News:
    """An event as incidents take it."""
    return News(app=whose.app, monitor=whose.name, series=key, event=event, owner=whose.owner)


def state_of(tenant: TenantId, one: Watched, monitor: MonitorRecord) -> MonitorStateRecord:
    """How far a monitor was looked at."""
    whose = whose_of(monitor.name, one.watch.definition)
    before = one.watch.before
    is_same = before.state is not None and before.settled_ns == one.after.settled_ns
    return MonitorStateRecord(
        tenant=tenant, name=monitor.name, version=monitor.version, settled_ns=one.after.settled_ns,
        until_ns=one.watch.until_ns, band=None if is_same else one.after.as_json(),
        books={key: book.as_json() for key, book in one.books.items()},
        told={**one.told, "alerts_ns": one.watch.alerts_ns, "whose": whose.as_json()},
    )  # fmt: skip


def ended_state(one: Closed) -> MonitorStateRecord:
    """What is kept of a state that holds no more: which number the next alert of each series has."""
    books = {key: book.as_json() for key, book in one.books.items()}
    return replace(one.state, band={}, books=books, told={**one.state.told, "series": [], "ended": True})


def numbers_of(joined: Joined, before: Mapping[int, IncidentRecord]) -> dict[tuple[str, str, int], int]:
    """By monitor, series and episode, the incident in which an alert stands."""
    known = {number: Incident.from_json(one.body) for number, one in before.items()}
    known |= {one.number: one for one in joined.incidents}
    return {
        (each.monitor, each.series, each.episode): number for number in sorted(known) for each in known[number].members
    }


def alerts_of(
    tenant: TenantId, whose: Whose, events: Sequence[tuple[str, Event]], books: Mapping[str, Book],
    numbers: Mapping[tuple[str, str, int], int],
) -> list[RaisedAlert]:  # fmt: skip
    """Every alert to which something happened, as it stands."""
    newest = {(key, event.episode): event for key, event in events if event.episode and _is_of_alert(event)}
    made = []
    for (key, episode), event in newest.items():
        spell = next((each for each in books[key].spells if each.episode == episode), None)
        fires = spell is not None and spell.until_ns is None
        until = event.at_ns if spell is None else spell.until_ns
        body = {
            "text": event.text, "cause": event.cause.value, "told": event.tells, "late": event.late,
            "withdrawn": spell is not None and spell.withdrawn,
        }  # fmt: skip
        made.append(
            RaisedAlert(
                tenant=tenant, monitor=whose.name, series=key, episode=episode, app=whose.app,
                status=(AlertStatus.FIRING if fires else AlertStatus.RESOLVED).value, severity=event.severity.value,
                since_ns=event.fired_ns, resolved_ns=None if fires else until,
                incident=numbers.get((whose.name, key, episode)), body=body,
            )
        )  # fmt: skip
    return made


def pending_of(tenant: TenantId, one: Watched) -> list[RaisedAlert]:
    """The alerts of a monitor that are pending."""
    made = []
    for key, book in one.pending:
        state = book.now
        if state is None:
            continue
        severity = state.severity or Severity.TICKET
        made.append(
            RaisedAlert(
                tenant=tenant, monitor=one.watch.name, series=key, episode=book.episodes + 1,
                app=one.watch.definition.app, status=AlertStatus.PENDING.value, severity=severity.value,
                since_ns=state.since_ns or state.at_ns,
                body={"text": state.seen.words() if state.seen else "", "cause": plain(state.cause)},
            )
        )  # fmt: skip
    return made


RESOLVED: Final = f"incident.{TellingKind.RESOLVED.value}"
ACKNOWLEDGED: Final = "incident.acknowledged"  # said to who was told before, also where it was over by then
UPDATE: Final = f"incident.{TellingKind.UPDATE.value}"


def called(said: Mapping[str, Any], event: Event) -> Mapping[str, Any]:
    """A message for a channel that does not know of its incident as going on: what is an update to who was called is a
    call to it, as loud as the alert. A receiver that calls people does nothing for an update."""
    if said["kind"] != UPDATE:
        return said
    return {**said, "kind": f"incident.{TellingKind.CALL.value}", "severity": event.severity.value}


def gathered(wanted: Sequence[Wanted]) -> list[Wanted]:
    """What one look tells, with one update of an incident to a channel at most, and none beside another message: each
    says of all alerts of its incident how they stand."""
    last = {(one.channel, one.incident): at for at, one in enumerate(wanted)}
    others = {(one.channel, one.incident) for one in wanted if one.payload["kind"] != UPDATE}
    return [
        one
        for at, one in enumerate(wanted)
        if one.payload["kind"] != UPDATE
        or ((one.channel, one.incident) not in others and last[one.channel, one.incident] == at)
    ]


def incident_of(
    tenant: TenantId, one: Incident, before: Mapping[int, IncidentRecord], diagnoses: Mapping[int, Mapping[str, Any]]
) -> IncidentRecord:
    """An incident, with the diagnosis that was made of it now or before."""
    known = before.get(one.number)
    base = known or IncidentRecord(
        tenant=tenant, number=one.number, app=one.app, status="", severity="", opened_ns=one.opened_ns
    )
    return record_of(replace(base, diagnosis=diagnoses.get(one.number, base.diagnosis)), one)


def record_of(base: IncidentRecord, one: Incident) -> IncidentRecord:
    """An incident as it is kept; `base` is how it was."""
    return replace(
        base, status=one.status.value, severity=one.severity.value, closed_ns=one.closed_ns, body=one.as_json()
    )


def entry_of(one: Entry) -> IncidentEntry:
    """A line of a timeline as it is kept."""
    return IncidentEntry(
        incident=one.number, told_ns=one.told_ns, at_ns=one.at_ns, kind=one.kind.value, text=one.text,
        monitor=one.monitor, series=one.series, made_by=one.by,
    )  # fmt: skip


def guards_of(name: str, definition: Definition, books: Mapping[str, Book]) -> list[Guarded]:
    """The series of a monitor that guards rollouts."""
    if definition.guard is None:
        return []
    return [
        Guarded(
            monitor=name, series=key, app=definition.app, guard=definition.guard, state=book.now,
            release=_release(definition, key),
        )
        for key, book in books.items()
        if book.now is not None
    ]  # fmt: skip


def _release(definition: Definition, key: str) -> str | None:
    prefix = f"{definition.series}{{release="
    return key[len(prefix) : -1] if definition.by == "release" and key.startswith(prefix) else None


def _is_of_alert(event: Event) -> bool:
    """Whether an event changes an alert: a shift that was adopted while nothing fired is none's."""
    return event.kind is not EventKind.NOTED or event.late
