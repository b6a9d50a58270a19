"""One look at a tenant's monitors: points are read, bands stepped, alerts lived, incidents joined and diagnosed. All of
it is written in one transaction with the checkpoint that the next look begins at.

A process that is killed anywhere leaves the state of the look before; the next one begins there and decides the same.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from core.clock import NS_PER_S, Clock
from core.errors import AssayError, InvalidInput
from core.ids import TenantId
from monitors import look_records as kept
from monitors.banding import arl0_of
from monitors.definition import Definition
from monitors.grids import Row
from monitors.guarding import Candidate, Guarded, asked
from monitors.incident_records import Incident, IncidentRules, IncidentStatus, Joined, Telling, TellingKind
from monitors.incidents import join
from monitors.look_records import Closed, Whose, whose_of
from monitors.looking import Book
from monitors.messages import message_of
from monitors.service_budget import within
from monitors.service_diagnosis import Diagnosing, due_diagnosis
from monitors.service_judges import judges_of
from monitors.service_series import Wanted as Read
from monitors.service_series import rows_of
from monitors.silences import Silence, Subject, silenced
from monitors.silencing import silence_of
from monitors.watched import GRACE_S, Quiet, Watch, Watched, until_of, watch_of, watched
from store.control.control import Control
from store.control.monitor_records import (
    IncidentRecord,
    LookWritten,
    MonitorRecord,
    MonitorStateRecord,
    MonitorStatus,
    RolloutAsking,
    Wanted,
)
from store.tenant import TenantStore

_LOG: Final = logging.getLogger("assay.monitors")
RECENT_NS: Final = 7 * 86_400 * NS_PER_S  # closed incidents that a new one can follow
SKEW_NS: Final = 600 * NS_PER_S  # by which clocks of servers may differ
ASKING_NS: Final = 600 * NS_PER_S  # how long what is asked of a rollout holds without being asked again


@dataclass(frozen=True, kw_only=True)
class LookSettings:
    """How looks are taken."""

    incidents: IncidentRules = field(default_factory=IncidentRules)
    grace_s: int = GRACE_S


@dataclass(frozen=True, kw_only=True)
class Looked:
    """What a look did, for the job's line: why monitors could not be looked at, and incidents not be diagnosed."""

    n_monitors: int
    n_series: int
    n_events: int
    failed: Mapping[str, str]
    undiagnosed: Mapping[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Its fields."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Standing:
    """What a look begins with. `incidents`: those that are not closed, were closed lately, or are the last."""

    now_ns: int
    monitors: Mapping[str, MonitorRecord]
    states: Mapping[str, MonitorStateRecord]
    incidents: Mapping[int, IncidentRecord]
    silences: Sequence[Silence]

    def quiet(self, watch: Watch) -> Quiet:
        """Why nobody is to hear of a series of a monitor, and whether somebody is at work on it."""
        held = {
            (one["monitor"], one["series"])
            for record in self.incidents.values()
            if record.status == IncidentStatus.ACKNOWLEDGED.value
            for one in record.body["members"]
        }

        def of(series: str) -> tuple[str | None, bool]:
            severity, app = watch.definition.severity, watch.definition.app
            subject = Subject(app=app, monitor=watch.name, series=series, severity=severity)
            found = silenced(self.silences, subject, self.now_ns)
            return (None if found is None else found.why), (watch.name, series) in held

        return of


@dataclass(kw_only=True)
class Evaluator:
    """Looks at the monitors of one tenant; `owner` has taken the job."""

    control: Control
    store: TenantStore
    clock: Clock
    owner: str
    settings: LookSettings = field(default_factory=LookSettings)

    @property
    def tenant(self) -> TenantId:
        """Whose monitors."""
        return self.store.tenant

    def look(self) -> Looked:
        """One look. Raises Conflict where something was changed meanwhile: nothing is written then."""
        at = self._standing()
        ended = kept.ended(list(at.states.values()), list(at.monitors.values()), at.now_ns)
        watches, failed = self._watches(at, {one.whose.name: one for one in ended})
        found, unseen = self._found(at, watches)
        failed |= unseen
        news = [kept.news_of(one.whose, key, event) for one in ended for key, event in one.events]
        for one in found:
            whose = whose_of(one.watch.name, one.watch.definition)
            news += [kept.news_of(whose, key, event) for key, event in one.events]
        known = [Incident.from_json(one.body) for one in at.incidents.values()]
        first = 1 + max(at.incidents, default=0)
        joined = join(known, news, self.settings.incidents, next_number=first, now_ns=at.now_ns)
        diagnoses, undone = self._diagnoses(at, joined)
        self.control.write_look(self._written(at, found, ended, joined, first, diagnoses))
        n_series = sum(len(one.judgements.grid.keys) for one in found)
        return Looked(
            n_monitors=len(found), n_series=n_series, n_events=len(news), failed=failed, undiagnosed=undone
        )  # fmt: skip

    def _standing(self) -> Standing:
        now = self.clock()
        incidents = self.control.incidents(self.tenant)
        last = max((one.number for one in incidents), default=0)
        recent = [
            one
            for one in incidents
            if one.closed_ns is None or one.closed_ns > now - RECENT_NS or one.number == last
        ]  # fmt: skip
        return Standing(
            now_ns=now, monitors={one.name: one for one in self.control.monitors(self.tenant)},
            states={one.name: one for one in self.control.monitor_states(self.tenant)},
            incidents={one.number: one for one in recent},
            silences=[silence_of(one) for one in self.control.silences(self.tenant)],
        )  # fmt: skip

    def _watches(self, at: Standing, ended: Mapping[str, Closed]) -> tuple[list[Watch], dict[str, str]]:
        """The monitors with buckets that no look has seen, and why others cannot be looked at."""
        watches, failed = [], {}
        shared = within(self.control.monitor_budgets(self.tenant), list(at.monitors.values()), at.states)
        for one in at.monitors.values():
            if one.status is not MonitorStatus.ON:
                continue
            try:
                definition = shared.get(one.name) or Definition.from_json(one.definition)
                watch = self._watch(one, definition, at, ended.get(one.name))
            except InvalidInput as wrong:  # a definition of a newer release
                failed[one.name] = str(wrong)
                continue
            if watch is not None and watch.until_ns > watch.before.settled_ns:
                watches.append(watch)
        return watches, failed

    def _watch(self, one: MonitorRecord, definition: Definition, at: Standing, ended: Closed | None) -> Watch | None:
        """The monitor from its checkpoint on; None where there is no bucket that no look has seen."""
        state = at.states.get(one.name)
        if state is None or not _goes_on(state, one):
            books = {} if ended is None else {key: book.as_json() for key, book in ended.books.items()}
            if state is not None and ended is None:
                books = dict(state.books)  # of one that was off: its alerts are counted on
            return watch_of(
                one.name, definition, since_ns=one.changed_at_ns, now_ns=at.now_ns, books=books,
                grace_s=self.settings.grace_s,
            )  # fmt: skip
        # A clock that ran ahead by more than those of servers differ was set right: what there is by now counts.
        if 0 <= state.until_ns - until_of(definition, at.now_ns, self.settings.grace_s) <= SKEW_NS:
            return None
        state = self.control.monitor_state(self.tenant, one.name) or state
        since = int(state.told.get("alerts_ns", one.changed_at_ns))
        return watch_of(
            one.name, definition, since_ns=since, now_ns=at.now_ns, grace_s=self.settings.grace_s,
            band=state.band, books=state.books, settled_ns=state.settled_ns,
        )  # fmt: skip

    def _found(self, at: Standing, watches: Sequence[Watch]) -> tuple[list[Watched], dict[str, str]]:
        """What each says now, and why others could not be looked at: one of them keeps no other from paging."""
        rows, failed = self._read(watches), dict[str, str]()
        found = []
        for one in watches:
            try:
                if isinstance(read := rows[one.name], Exception):
                    raise read
                found.append(watched(one, read, at.quiet(one), at.now_ns))
            except Exception as error:
                failed[one.name] = _said(f"monitor {one.name}", error)
        return found, failed

    def _read(self, watches: Sequence[Watch]) -> dict[str, list[Row] | Exception]:
        """The rows of each by its name; where they cannot be read at once, halves of them are, down to those that
        cannot. Raises AssayError where it is the store that fails."""
        wanted = [
            Read(
                name=one.name, app=one.definition.app, spec=one.definition.spec, step_s=one.definition.step_s,
                by=one.definition.by, window=one.window, band=one.definition.band,
                level=1 / arl0_of(one.definition, max(1, len(one.before.keys))),
            )
            for one in watches
        ]  # fmt: skip
        try:
            return {**rows_of(self.store, wanted, judges_of(self.control, self.tenant))}
        except Exception as error:
            if isinstance(error, AssayError) and not isinstance(error, InvalidInput):
                raise
            if len(watches) == 1:
                return {watches[0].name: error}
        middle = len(watches) // 2
        return self._read(watches[:middle]) | self._read(watches[middle:])

    def _written(
        self, at: Standing, found: Sequence[Watched], ended: Sequence[Closed], joined: Joined, first: int,
        diagnoses: Mapping[int, Mapping[str, Any]],
    ) -> LookWritten:  # fmt: skip
        tenant, monitors = self.tenant, at.monitors
        numbers = kept.numbers_of(joined, at.incidents)
        seen = {one.watch.name for one in found}
        alerts = [each for one in ended for each in kept.alerts_of(tenant, one.whose, one.events, one.books, numbers)]
        for one in found:
            whose = whose_of(one.watch.name, one.watch.definition)
            alerts += kept.alerts_of(tenant, whose, one.events, one.books, numbers)
        changed = {one.number: one for one in joined.incidents}
        for number in diagnoses.keys() - changed.keys():
            changed[number] = Incident.from_json(at.incidents[number].body)
        return LookWritten(
            tenant=tenant, owner=self.owner, monitors=tuple(monitors[name] for name in sorted(seen)),
            states=(
                *(kept.ended_state(one) for one in ended if one.whose.name not in seen),
                *(kept.state_of(tenant, one, monitors[one.watch.name]) for one in found),
            ),
            alerts=tuple(alerts), pending=tuple(each for one in found for each in kept.pending_of(tenant, one)),
            incidents=tuple(kept.incident_of(tenant, changed[n], at.incidents, diagnoses) for n in sorted(changed)),
            entries=tuple(kept.entry_of(one) for one in joined.entries),
            wanted=tuple(self._wanted(at, found, ended, joined, diagnoses)),
            askings=tuple(self._askings(at, found)), first_number=first,
        )  # fmt: skip

    def _diagnoses(self, at: Standing, joined: Joined) -> tuple[dict[int, Mapping[str, Any]], dict[str, str]]:
        """By number, of the incidents that are new, or whose last diagnosis knew little of what came since; and why
        others could not be made: who is to be paged is paged without, and the next look tries again."""
        now_open = {one.number: Incident.from_json(one.body) for one in at.incidents.values()}
        now_open |= {one.number: one for one in joined.incidents}
        made, failed = dict[int, Mapping[str, Any]](), dict[str, str]()
        for number, incident in now_open.items():
            before = at.incidents.get(number)
            known = None if before is None else before.diagnosis
            if due_diagnosis(incident, known, at.now_ns):
                diagnosing = Diagnosing(control=self.control, store=self.store, now_ns=at.now_ns)
                try:
                    made[number] = diagnosing.diagnosed(incident, known)
                except Exception as error:
                    failed[incident.name] = _said(f"diagnosis of {incident.name}", error)
        return made, failed

    def _wanted(
        self, at: Standing, found: Sequence[Watched], ended: Sequence[Closed], joined: Joined,
        diagnoses: Mapping[int, Mapping[str, Any]],
    ) -> list[Wanted]:  # fmt: skip
        """A message for every channel of the monitor whose news it is; that it is over for all who were told."""
        owners: dict[str, Whose] = {one.whose.name: one.whose for one in ended}
        owners |= {one.watch.name: whose_of(one.watch.name, one.watch.definition) for one in found}
        incidents = {one.number: one for one in joined.incidents}
        heard = {number: self._heard(number) for number in {one.number for one in joined.tellings}}
        made: list[Wanted] = []
        for telling in joined.tellings:
            whose, before = owners[telling.news.monitor], at.incidents.get(telling.number)
            known = diagnoses.get(telling.number) or (None if before is None else before.diagnosis)
            said = message_of(
                telling, incidents[telling.number], tenant=str(self.tenant), diagnosis=known, runbook=whose.runbook
            )
            there = heard[telling.number]
            for channel in self._channels(telling, whose, there):
                payload = said if there.get(channel) else kept.called(said, telling.news.event)
                made.append(Wanted(channel=channel, incident=telling.number, payload=payload))
                there[channel] = telling.kind is not TellingKind.RESOLVED
        return kept.gathered(made)

    def _heard(self, number: int) -> dict[str, bool]:
        """The channels that were told of an incident, and whether they know of it as going on."""
        told = sorted(self.control.deliveries(self.tenant, incident=number), key=lambda one: one.seq)
        kinds = ((one.channel, one.payload.get("kind")) for one in told)
        return {channel: kind != kept.RESOLVED for channel, kind in kinds if kind != kept.ACKNOWLEDGED}

    def _channels(self, telling: Telling, whose: Whose, heard: Mapping[str, bool]) -> list[str]:
        """Who is told: those of the monitor, where its alert is heard of; and that it is over all who heard of the
        incident, or what they opened stays open."""
        own = whose.channels if telling.news.event.tells else ()
        if telling.kind is not TellingKind.RESOLVED:
            return list(own)
        return [*own, *sorted(set(heard) - set(own))]

    def _guards(self, at: Standing, found: Sequence[Watched]) -> list[Guarded]:
        """The series that guard rollouts, as they stand now: also those without a new bucket in this look."""
        now = {one.watch.name: one.books for one in found}
        guards = []
        for one in at.monitors.values():
            state = at.states.get(one.name)
            if one.status is not MonitorStatus.ON or not one.definition.get("guard"):
                continue
            try:
                definition = Definition.from_json(one.definition)
            except InvalidInput:  # of a newer release: it is told as one that failed
                continue
            books = now.get(one.name)
            if books is None:
                told = state.books if state is not None and state.version == one.version else {}
                books = {key: Book.from_json(book) for key, book in told.items()}
            guards += kept.guards_of(one.name, definition, books)
        return guards

    def _askings(self, at: Standing, found: Sequence[Watched]) -> list[RolloutAsking]:
        """What firing guardrails ask of the rollouts that are not over."""
        guards, now = self._guards(at, found), at.now_ns
        made = []
        for rollout in self.control.rollouts(self.tenant) if guards else ():
            if rollout.status.ended:
                continue
            candidate = Candidate(
                rollout_id=rollout.rollout_id, app=rollout.app, candidate=rollout.candidate,
                baseline=rollout.baseline, since_ns=rollout.started_at_ns or None,
            )  # fmt: skip
            asking = asked(candidate, guards)
            if asking is not None:
                made.append(
                    RolloutAsking(
                        tenant=self.tenant, rollout_id=asking.rollout_id, guard=asking.guard.value,
                        reasons=asking.reasons, at_ns=now, until_ns=now + ASKING_NS,
                    )
                )  # fmt: skip
        return made


def _said(what: str, error: Exception) -> str:
    if isinstance(error, AssayError):
        return str(error)
    _LOG.error("%s: it ended in a defect", what, exc_info=error)
    return f"a defect: {type(error).__name__}; the server's log has more"


def _goes_on(state: MonitorStateRecord, one: MonitorRecord) -> bool:
    """Whether a monitor goes on from where it was looked at: not after a change, and not after it was off."""
    return state.version == one.version and not state.told.get("ended") and state.looked_at_ns >= one.changed_at_ns
