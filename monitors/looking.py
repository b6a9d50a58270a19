"""One look at one series: its newest points are lived through again, and what nobody was told of yet is told. Pure.

Every look begins at the settled state, behind which no point is expected any more, so that a late point changes the
judgement of its own bucket and of those after it. What comes out are the firings as the points say now; they are held
against those that were told. Who was told of a firing that is none any more is told so, and nothing is told twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self

from core.clock import NS_PER_S
from monitors.alert_records import (
    AlertState,
    AlertStatus,
    Cause,
    Event,
    EventKind,
    NoData,
    Rules,
    Seen,
    Severity,
    Verdict,
    plain,
)  # fmt: skip
from monitors.alert_words import closed_words, fired_words, noted_words, still_words
from monitors.alerting import lived, loudest


@dataclass(frozen=True, kw_only=True)
class Spell:
    """One firing that was recorded, in the time of the points. `heard_ns`: when somebody last heard of it; None: nobody
    did, because of a silence. `withdrawn`: late data says that it was none."""

    episode: int
    from_ns: int
    until_ns: int | None = None
    severity: Severity
    told_ns: int
    heard_ns: int | None = None
    withdrawn: bool = False


@dataclass(frozen=True, kw_only=True)
class Book:
    """What is kept of the alert of one series: `settled`, from where every look begins; `now`, where it stands;
    `spells`, the recorded firings that late data can still touch; how many there were; how far looks have come."""

    settled: AlertState | None = None
    now: AlertState | None = None
    spells: tuple[Spell, ...] = ()
    episodes: int = 0
    known_ns: int | None = None
    until_ns: int | None = None
    adopted_ns: int | None = None

    @property
    def open(self) -> Spell | None:
        """The firing that goes on, as it was told."""
        return next((one for one in self.spells if one.until_ns is None), None)

    def as_json(self) -> dict[str, Any]:
        """Its JSON object."""
        return {name: plain(value) for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Self:
        """The book again."""
        states = {n: None if told[n] is None else AlertState.from_json(told[n]) for n in ("settled", "now")}
        spells = tuple(Spell(**{**one, "severity": Severity(one["severity"])}) for one in told["spells"])
        return cls(**{**told, **states, "spells": spells})


@dataclass(frozen=True, kw_only=True)
class Moment:
    """When and how a look is taken. The points are those of buckets from `from_ns` to `until_ns`, the end of the newest
    whole one; before `settle_ns` no late point is expected, and from there on (or earlier) the next look has points.
    `silence` says why nobody is to hear; `acknowledged`, whether somebody is at work on it."""

    from_ns: int
    settle_ns: int
    until_ns: int
    now_ns: int
    silence: str | None = None
    acknowledged: bool = False


def needs_look(book: Book | None, breaches: bool, missing: bool, rules: Rules) -> bool:
    """Whether a look can change more than how far looks have come: most series are at rest, and need none."""
    if breaches or (missing and rules.no_data is NoData.ALERT):
        return True
    return book is not None and (bool(book.spells) or any(_stirs(one) for one in (book.settled, book.now)))


def _stirs(state: AlertState | None) -> bool:
    return state is not None and state.status in (AlertStatus.PENDING, AlertStatus.FIRING)


def look(book: Book | None, seens: Iterable[Seen], rules: Rules, at: Moment) -> tuple[Book, tuple[Event, ...]]:
    """The book after a look, and what happened, in the order in which it is told. `seens` are all points after the
    settled one in any order; of two of one bucket the later in the list holds. A look that knows less than an earlier
    one (its clock was set back) changes nothing."""
    book = book or Book()
    points = sorted({one.at_ns: one for one in seens}.values(), key=lambda one: one.at_ns)
    known = [one.at_ns for one in points if one.known]
    earlier = book.settled.known_ns if book.settled else None
    newest = max((one for one in (*known[-1:], earlier) if one is not None), default=None)
    if book.known_ns is not None and (newest is None or newest < book.known_ns):
        return book, ()
    book = _at_rest_until(book, at.from_ns - rules.step_ns, at.now_ns)
    path = list(lived(book.settled, points, rules, at.until_ns))
    if not path:
        return book, ()
    desk = _Desk(book=book, rules=rules, at=at, spells=list(book.spells))
    firings = _joined(_firings(book.settled, path), book, rules)
    desk.compare(firings, path[-1])
    desk.adopted(points, path)
    desk.remind(path[-1])
    settled = _settled(book, path, newest, at, rules)
    floor = settled.at_ns - rules.slack_ns if settled else None
    after = Book(
        settled=settled, now=path[-1], episodes=desk.episodes, known_ns=newest, adopted_ns=desk.adopted_ns,
        spells=tuple(s for s in desk.in_order() if s.until_ns is None or floor is None or s.until_ns >= floor),
        until_ns=at.until_ns,
    )  # fmt: skip
    return after, tuple(desk.events)


def closed(book: Book, why: str, now_ns: int) -> tuple[Book, tuple[Event, ...]]:
    """The book of a monitor that was changed, switched off or deleted: what fires is resolved, and looks begin anew."""
    begun = Book(episodes=book.episodes)
    if book.open is None:
        return begun, ()
    one = book.open
    event = Event(
        kind=EventKind.RESOLVED, cause=Cause.CLOSED, episode=one.episode, at_ns=max(now_ns, one.from_ns),
        told_ns=now_ns, fired_ns=one.from_ns, severity=one.severity, text=why, tells=one.heard_ns is not None,
    )  # fmt: skip
    return begun, (event,)


@dataclass(frozen=True, kw_only=True)
class _Firing:
    """One firing as the points say now; `opens` is the state in which it began, `ends` the one that resolved it."""

    from_ns: int
    until_ns: int | None
    opens: AlertState
    ends: AlertState | None
    severity: Severity


def _firings(settled: AlertState | None, path: Sequence[AlertState]) -> list[_Firing]:
    found: list[_Firing] = []
    before = settled
    if settled is not None and settled.status is AlertStatus.FIRING:
        found.append(_begun(settled))
    for state in path:
        fires = state.status is AlertStatus.FIRING
        fired = before is not None and before.status is AlertStatus.FIRING
        if fires and not fired:
            found.append(_begun(state))
        elif fires:
            found[-1] = replace(found[-1], severity=loudest(found[-1].severity, state.severity))
        elif fired:
            found[-1] = replace(found[-1], until_ns=state.at_ns, ends=state)
        before = state
    return found


def _begun(state: AlertState) -> _Firing:
    at = state.fired_ns if state.fired_ns is not None else state.at_ns
    return _Firing(from_ns=at, until_ns=None, opens=state, ends=None, severity=loudest(state.severity))


def _joined(firings: Sequence[_Firing], book: Book, rules: Rules) -> list[_Firing]:
    """Two firings are one alert when hardly anything lies between them, and when late data parts one that was told as
    one and still goes on: what was a single page stays one."""
    found: list[_Firing] = []
    for one in firings:
        last = found[-1] if found else None
        if last is None or last.until_ns is None or not _same(last.until_ns, one, book, rules):
            found.append(one)
            continue
        severity = loudest(last.severity, one.severity)
        found[-1] = replace(last, until_ns=one.until_ns, ends=one.ends, severity=severity)
    return found


def _same(ended_ns: int, after: _Firing, book: Book, rules: Rules) -> bool:
    if after.from_ns - ended_ns < rules.slack_ns:
        return True
    going = book.open
    return (
        going is not None and book.until_ns is not None and going.from_ns < ended_ns and after.from_ns < book.until_ns
    )


def _at_rest_until(book: Book, rest_ns: int, now_ns: int) -> Book:
    """The book at the begin of a look. Buckets between the settled state and the look's first were passed over because
    nothing happened in them: they are not without data. Times of telling that lie ahead are those of a clock that was
    set back since, and are taken as now, so that nothing waits for them to come."""
    settled = book.settled
    if settled is not None and not _stirs(settled) and settled.at_ns < rest_ns:
        settled = replace(settled, at_ns=rest_ns)
    spells = tuple(
        replace(
            one,
            told_ns=min(one.told_ns, now_ns),
            heard_ns=None if one.heard_ns is None else min(one.heard_ns, now_ns),
        )
        for one in book.spells
    )
    return replace(book, settled=settled, spells=spells)


def _settled(
    book: Book, path: Sequence[AlertState], known_ns: int | None, at: Moment, rules: Rules
) -> AlertState | None:
    """The state behind which nothing comes any more. Never past the newest value: a clock that ran ahead and was set
    right would else leave the points until then unheard."""
    if known_ns is None:
        return book.settled
    over = [one for one in path if one.at_ns + rules.step_ns <= at.settle_ns and one.at_ns <= known_ns]
    return over[-1] if over else book.settled


@dataclass(kw_only=True)
class _Desk:
    """One look at work: the recorded firings as they change, and the events in order."""

    book: Book
    rules: Rules
    at: Moment
    spells: list[Spell]
    events: list[Event] = field(default_factory=list)
    met: set[int] = field(default_factory=set)  # the firings that this look found again

    def __post_init__(self) -> None:
        self.episodes = self.book.episodes
        self.adopted_ns = self.book.adopted_ns
        self.audible = self.at.silence is None
        self.now_ns = self.at.now_ns

    def in_order(self) -> list[Spell]:
        """The recorded firings in order of time."""
        return sorted(self.spells, key=lambda one: (one.from_ns, one.episode))

    def compare(self, firings: Sequence[_Firing], now: AlertState) -> None:
        """Tells of every firing what was not told of it, and takes back what is none."""
        before = self.in_order()
        for one in firings:
            spell = self._told(one)
            if spell is None:
                self._new(one)
            else:
                self._go_on(spell, one)
        for spell in before:
            if not any(self._overlap(spell, one) for one in firings):
                self._withdraw(spell, now)

    def remind(self, now: AlertState) -> None:
        """Tells again of what goes on: once a silence is over, once one lasted too long, and by the interval."""
        spell = next((one for one in self.spells if one.until_ns is None), None)
        if spell is None or spell.heard_ns == self.now_ns:
            return
        if spell.heard_ns is None:
            too_long = self.now_ns - spell.told_ns >= self.rules.silent_most_s * NS_PER_S
            cause = Cause.SILENCE_OVER if self.audible else Cause.STILL
            due = self.audible or too_long
        else:
            every = self.rules.renotify_s
            passed = every is not None and self.now_ns - spell.heard_ns >= every * NS_PER_S
            due, cause = passed and self.audible and not self.at.acknowledged, Cause.STILL
        if due:
            self._put(replace(spell, heard_ns=self.now_ns))
            text = still_words(cause, spell.from_ns, now, self.at.silence)
            self._tell(EventKind.RENOTIFIED, cause, spell, self.now_ns, text, tells=True)

    def adopted(self, points: Sequence[Seen], path: Sequence[AlertState]) -> None:
        """Notes a shift that was adopted while nothing fired; one that ended a firing was told as its end."""
        ended = {one.at_ns for one in path if one.cause is Cause.ADOPTED and one.resolved_ns == one.at_ns}
        for one in points:
            if one.verdict is not Verdict.ADOPTED or (
                self.adopted_ns is not None and one.at_ns <= self.adopted_ns + self.rules.slack_ns
            ):
                continue
            self.adopted_ns = one.at_ns
            if one.at_ns not in ended:
                self.events.append(self._note(Cause.ADOPTED, one))

    def _note(self, cause: Cause, seen: Seen) -> Event:
        return Event(
            kind=EventKind.NOTED, cause=cause, episode=self.episodes, at_ns=seen.at_ns, told_ns=self.now_ns,
            fired_ns=seen.at_ns, severity=Severity.TICKET, text=noted_words(cause, seen), tells=False,
        )  # fmt: skip

    def _new(self, one: _Firing) -> None:
        self.episodes += 1
        is_over = one.until_ns is not None
        tells = self.audible and not is_over
        spell = Spell(
            episode=self.episodes, from_ns=one.from_ns, until_ns=one.until_ns, severity=one.severity,
            told_ns=self.now_ns, heard_ns=self.now_ns if tells else None,
        )  # fmt: skip
        self.spells.append(spell)
        late = self.book.until_ns is not None and one.from_ns < self.book.until_ns
        cause = one.opens.cause or Cause.BREACH
        text = fired_words(one.opens, self.rules, late=late, over_ns=one.until_ns)
        self._tell(EventKind.FIRED, cause, spell, one.from_ns, text, tells=tells, late=late)
        if one.ends is not None:
            self._tell_end(spell, one.ends, late=late)

    def _go_on(self, spell: Spell, one: _Firing) -> None:
        keeps = self._stands(spell) or spell.episode in self.met
        start = min(spell.from_ns, one.from_ns) if keeps else one.from_ns
        self.met.add(spell.episode)
        louder = one.severity.rank > spell.severity.rank
        wider = replace(spell, from_ns=start, withdrawn=False, severity=loudest(spell.severity, one.severity))
        if spell.until_ns is None and one.ends is not None:
            self._put(replace(wider, until_ns=one.until_ns))
            self._tell_end(spell, one.ends, late=False)
        elif spell.until_ns is not None and one.until_ns is None:
            again = replace(wider, until_ns=None, heard_ns=self.now_ns if self.audible else None)
            self._put(again)
            text = fired_words(one.opens, self.rules, late=False, over_ns=None, again=True)
            self._tell(EventKind.FIRED, Cause.REOPENED, again, one.from_ns, text, tells=self.audible)
        elif spell.until_ns is not None and one.until_ns is not None:
            self._put(replace(wider, until_ns=max(spell.until_ns, one.until_ns)))
        else:
            heard = spell.heard_ns if not louder else self.now_ns if self.audible else None
            self._put(replace(wider, heard_ns=heard))
            if louder:
                text = fired_words(one.opens, self.rules, late=False, over_ns=None)
                self._tell(EventKind.RAISED, Cause.WORSE, wider, self.now_ns, text, tells=self.audible)

    def _withdraw(self, spell: Spell, now: AlertState) -> None:
        stands = self._stands(spell)
        if spell.until_ns is None:
            until = max(spell.from_ns, now.at_ns)
            self._put(replace(spell, until_ns=until, withdrawn=not stands))
            text = closed_words(Cause.LATE_DATA, now, was_one=stands)
            heard = spell.heard_ns is not None
            self._tell(EventKind.RESOLVED, Cause.LATE_DATA, spell, until, text, tells=heard, late=True)
        elif not spell.withdrawn and not stands:
            self._put(replace(spell, withdrawn=True))
            text = closed_words(Cause.LATE_DATA, now)
            self._tell(EventKind.NOTED, Cause.LATE_DATA, spell, spell.from_ns, text, tells=False, late=True)

    def _stands(self, spell: Spell) -> bool:
        """Whether it began where nothing changes any more."""
        return self.book.settled is not None and spell.from_ns <= self.book.settled.at_ns

    def _tell_end(self, spell: Spell, ends: AlertState, *, late: bool) -> None:
        cause = ends.cause or Cause.CALM
        heard = spell.heard_ns is not None
        text = closed_words(cause, ends)
        self._tell(EventKind.RESOLVED, cause, spell, ends.at_ns, text, tells=heard, late=late)

    def _tell(
        self, kind: EventKind, cause: Cause, spell: Spell, at_ns: int, text: str, *, tells: bool, late: bool = False
    ) -> None:
        said = text if tells or self.at.silence is None else f"{text} (silenced: {self.at.silence})"
        self.events.append(
            Event(
                kind=kind, cause=cause, episode=spell.episode, at_ns=at_ns, told_ns=self.now_ns,
                fired_ns=spell.from_ns, severity=spell.severity, text=said, tells=tells, late=late,
            )
        )  # fmt: skip

    def _put(self, spell: Spell) -> None:
        self.spells = [spell if one.episode == spell.episode else one for one in self.spells]

    def _told(self, one: _Firing) -> Spell | None:
        """The recorded firing that this is: the one that goes on if it can be, else the newest that overlaps."""
        some = [spell for spell in self.in_order() if self._overlap(spell, one)]
        return next((spell for spell in some if spell.until_ns is None), some[-1] if some else None)

    def _overlap(self, spell: Spell, one: _Firing) -> bool:
        slack = self.rules.slack_ns
        begins_before = one.until_ns is None or spell.from_ns - one.until_ns < slack
        ends_after = spell.until_ns is None or one.from_ns - spell.until_ns < slack
        return begins_before and ends_after
