"""From events of alerts to incidents, and what people do with these. Pure.

    open ──▶ acknowledged ──▶ closed       an alert that is louder, or fires after all had resolved, opens it again;
      └──────────────────────────▲         it closes by hand, or by itself when no alert of it fired for `quiet_s`

A firing joins the incident in which its alert stands already, else the one of its app with the nearest beginning within
`gap_s`, else it opens one. So a long incident does not swallow what begins hours later. One incident calls once: what
joins it is an update, unless it is louder.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from core.clock import NS_PER_S
from core.errors import Conflict, InvalidInput
from monitors.alert_records import Event, EventKind
from monitors.alerting import loudest
from monitors.incident_records import (
    Entry,
    EntryKind,
    Incident,
    IncidentRules,
    IncidentStatus,
    Joined,
    Member,
    News,
    Telling,
    TellingKind,
)

ASSAY = "assay"
MOST_NOTE = 20_000
MOST_NAME = 200


def join(
    incidents: Iterable[Incident], news: Sequence[News], rules: IncidentRules, *, next_number: int, now_ns: int
) -> Joined:
    """What becomes of the incidents of a tenant. `incidents` are those that are not closed, and, so that a new one can
    name the one it follows, those that were closed lately. News are in any order, but those of one alert in theirs."""
    before = {one.number: one for one in incidents}
    room = _Room(known=dict(before), rules=rules, next_number=next_number, now_ns=now_ns)
    for one in sorted(news, key=lambda each: (each.event.at_ns, each.app, each.alert)):
        room.take(one)
    room.close_quiet()
    changed = tuple(room.known[number] for number in sorted(room.known) if room.known[number] != before.get(number))
    return Joined(
        incidents=changed, entries=tuple(room.entries), tellings=tuple(room.tellings), next_number=room.next_number
    )


def acknowledged(incident: Incident, by: str, now_ns: int) -> tuple[Incident, Entry] | None:
    """Somebody looks after it: alerts of it are not told again while they fire. None: somebody does already. Raises
    Conflict where it is closed."""
    if incident.status is IncidentStatus.CLOSED:
        raise Conflict(f"{incident.name} is closed; a note can still be written")
    if incident.status is IncidentStatus.ACKNOWLEDGED:
        return None
    after = replace(incident, status=IncidentStatus.ACKNOWLEDGED, acknowledged_ns=now_ns, acknowledged_by=by)
    return after, _line(incident, EntryKind.ACKNOWLEDGED, f"acknowledged by {by}", by, now_ns)


def closed(incident: Incident, by: str, why: str, now_ns: int) -> tuple[Incident, Entry] | None:
    """Somebody closes it. None: it is closed. Raises Conflict while alerts of it fire: closed, nobody would hear of
    them any more."""
    if incident.status is IncidentStatus.CLOSED:
        return None
    if incident.firing:
        names = ", ".join(sorted({one.monitor for one in incident.firing}))
        raise Conflict(f"{incident.name} still fires ({names}); acknowledge it, silence the monitor, or change it")
    after = replace(incident, status=IncidentStatus.CLOSED, closed_ns=now_ns, closed_by=by)
    return after, _line(incident, EntryKind.CLOSED, why or f"closed by {by}", by, now_ns)


def assigned(incident: Incident, to: str, by: str, now_ns: int) -> tuple[Incident, Entry] | None:
    """Somebody gives it to somebody; None: whose it is already. Raises Conflict where it is closed."""
    if incident.status is IncidentStatus.CLOSED:
        raise Conflict(f"{incident.name} is closed; a note can still be written")
    if not to.strip() or len(to) > MOST_NAME:
        raise InvalidInput(f"an owner has a name, of {MOST_NAME} characters at most", field="owner")
    if incident.owner == to:
        return None
    was = "" if incident.owner is None else f", from {incident.owner}"
    return replace(incident, owner=to), _line(incident, EntryKind.ASSIGNED, f"given to {to}{was}", by, now_ns)


def noted(incident: Incident, by: str, text: str, now_ns: int) -> Entry:
    """A note of a person's, also after it was closed: what it was, and what was done. Raises InvalidInput for none."""
    said = text.strip()
    if not said:
        raise InvalidInput("a note has some text", field="text")
    if len(said) > MOST_NOTE:
        raise InvalidInput(f"a note of {len(said)} characters is too long; {MOST_NOTE} at most", field="text")
    return _line(incident, EntryKind.NOTE, said, by, now_ns)


@dataclass(kw_only=True)
class _Room:
    """Incidents while news come in."""

    known: dict[int, Incident]
    rules: IncidentRules
    next_number: int
    now_ns: int
    entries: list[Entry] = field(default_factory=list)
    tellings: list[Telling] = field(default_factory=list)

    def take(self, news: News) -> None:
        """One event."""
        event, home = news.event, self._home(news)
        if event.kind is EventKind.FIRED:
            incident = home or self._near(news) or self._opened(news)
            self._fired(incident, news)
        elif home is None:
            return  # a note on what was no alert, or an end that its closed incident has seen
        elif event.kind is EventKind.RESOLVED:
            self._resolved(home, news)
        else:
            self._more(home, news)

    def close_quiet(self) -> None:
        """Closes what has been quiet for long enough."""
        for one in [*self.known.values()]:
            if one.status is IncidentStatus.CLOSED or one.quiet_ns is None:
                continue
            if one.quiet_ns > self.now_ns:  # the clock was set back: the wait begins anew
                self._put(replace(one, quiet_ns=self.now_ns))
            elif self.now_ns - one.quiet_ns >= self.rules.quiet_s * NS_PER_S:
                self._put(replace(one, status=IncidentStatus.CLOSED, closed_ns=self.now_ns, closed_by=ASSAY))
                text = f"no alert of it fired for {self.rules.quiet_s // 60} min"
                self.entries.append(_line(one, EntryKind.CLOSED, text, ASSAY, self.now_ns))

    def _fired(self, incident: Incident, news: News) -> None:
        event = news.event
        member = Member(
            monitor=news.monitor, series=news.series, episode=event.episode, severity=event.severity,
            fired_ns=event.fired_ns,
        )  # fmt: skip
        others = tuple(one for one in incident.members if (one.alert, one.episode) != (member.alert, member.episode))
        was_quiet = not incident.firing
        after = replace(incident, members=(*others, member), quiet_ns=None)
        self._line(after, EntryKind.FIRED, news)
        self._call(after, news, due=incident.called_ns is None or was_quiet, again=was_quiet)

    def _more(self, incident: Incident, news: News) -> None:
        """It became worse, still fires, or something is noted of it."""
        event = news.event
        if event.kind is EventKind.NOTED:
            self._line(incident, EntryKind.NOTED, news)
            return
        members = tuple(
            replace(one, severity=loudest(one.severity, event.severity)) if _is(one, news) else one
            for one in incident.members
        )
        since = None if incident.called_ns is None else self.now_ns - incident.called_ns
        due = since is None or since < 0 or since >= self.rules.recall_s * NS_PER_S
        self._line(incident, EntryKind(event.kind.value), news)
        self._call(replace(incident, members=members), news, due=due and event.kind is EventKind.RENOTIFIED)

    def _resolved(self, incident: Incident, news: News) -> None:
        members = tuple(
            replace(one, resolved_ns=news.event.at_ns) if _is(one, news) else one for one in incident.members
        )
        after = replace(incident, members=members)
        is_over = not after.firing
        self._put(replace(after, quiet_ns=self.now_ns) if is_over else after)
        self._line(incident, EntryKind.RESOLVED, news)
        # Who was called hears that it is over, also where the alert that ends last is one that nobody heard of.
        if news.event.tells or (is_over and incident.called_ns is not None):
            self._tell(after, TellingKind.RESOLVED if is_over else TellingKind.UPDATE, news)

    def _call(self, incident: Incident, news: News, *, due: bool, again: bool = False) -> None:
        """Tells of it, as a call where one is due and nobody is at work on it, or where it is louder than before. Who
        acknowledged what was over by then (`again`) was told so, and is at work on it no more."""
        event = news.event
        louder = event.severity.rank > incident.severity.rank
        incident = replace(incident, severity=loudest(incident.severity, event.severity))
        if (louder or again) and incident.status is IncidentStatus.ACKNOWLEDGED:
            incident = replace(incident, status=IncidentStatus.OPEN)
            text = "acknowledged as a ticket, and now a page" if louder else "acknowledged, over, and it fires again"
            self.entries.append(_line(incident, EntryKind.REOPENED, text, ASSAY, self.now_ns))
        calls = event.tells and (louder or (due and incident.status is IncidentStatus.OPEN))
        self._put(replace(incident, called_ns=self.now_ns) if calls else incident)
        if event.tells:
            self._tell(incident, TellingKind.CALL if calls else TellingKind.UPDATE, news)

    def _home(self, news: News) -> Incident | None:
        """The incident that is not closed in which this alert stands; the newest, should it be several."""
        some = [one for one in self._open(news.app) if any(each.alert == news.alert for each in one.members)]
        mine = [one for one in some if any(_is(each, news) for each in one.members)]
        return max(
            mine or (some if news.event.kind is EventKind.FIRED else []), key=lambda one: one.number, default=None
        )

    def _near(self, news: News) -> Incident | None:
        at = news.event.fired_ns
        some = [(min(abs(at - each.fired_ns) for each in one.members), one.number) for one in self._open(news.app)]
        near = min((one for one in some if one[0] <= self.rules.gap_s * NS_PER_S), default=None)
        return self.known[near[1]] if near else None

    def _opened(self, news: News) -> Incident:
        before = [
            one.number
            for one in self.known.values()
            if one.app == news.app
            and one.status is IncidentStatus.CLOSED
            and any(each.alert == news.alert for each in one.members)
        ]
        incident = Incident(
            number=self.next_number, app=news.app, status=IncidentStatus.OPEN, severity=news.event.severity,
            opened_ns=self.now_ns, members=(), owner=news.owner, follows=max(before, default=None),
        )  # fmt: skip
        self.next_number += 1
        after = "" if incident.follows is None else f", after I-{incident.follows} in which the same alert fired"
        self.entries.append(_line(incident, EntryKind.OPENED, f"opened by {news.monitor}{after}", ASSAY, self.now_ns))
        return incident

    def _open(self, app: str) -> list[Incident]:
        return [one for one in self.known.values() if one.app == app and one.status is not IncidentStatus.CLOSED]

    def _put(self, incident: Incident) -> None:
        self.known[incident.number] = incident

    def _line(self, incident: Incident, kind: EntryKind, news: News) -> None:
        event: Event = news.event
        self.entries.append(
            Entry(
                number=incident.number, told_ns=self.now_ns, at_ns=event.at_ns, kind=kind, text=event.text,
                monitor=news.monitor, series=news.series,
            )
        )  # fmt: skip

    def _tell(self, incident: Incident, kind: TellingKind, news: News) -> None:
        self.tellings.append(Telling(number=incident.number, kind=kind, severity=incident.severity, news=news))


def _is(member: Member, news: News) -> bool:
    return member.alert == news.alert and member.episode == news.event.episode


def _line(incident: Incident, kind: EntryKind, text: str, by: str, now_ns: int) -> Entry:
    return Entry(number=incident.number, told_ns=now_ns, at_ns=now_ns, kind=kind, text=text, by=by)
