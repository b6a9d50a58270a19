"""What moved in an incident as pictures: every series of its alerts and of its diagnosis, each with its band around the
onset, and what was deployed meanwhile. Nothing is written.

A monitor's series is judged as the monitor judged it; one that nobody watches by the band that a new monitor of it
would have, had it learned for a week.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from core.clock import NS_PER_S
from core.errors import InvalidInput
from core.windows import Window
from monitors.banding import arl0_of
from monitors.definition import Definition
from monitors.diagnosis.evidence import Deployed
from monitors.incident_records import Incident, Member
from monitors.records import Direction, Kind
from monitors.series import Source, series_of
from monitors.service_backtest import chart_of
from monitors.service_diagnosis import deployed
from monitors.service_judges import judges_of
from monitors.service_series import Wanted, rows_of
from monitors.stepping import Checkpoint
from monitors.watched import Watch, history_ns, until_of, watched
from store.control.control import Control
from store.control.monitor_records import IncidentRecord
from store.tenant import TenantStore

MOST_ALERTING: Final = 4
MOST_SERIES: Final = 9
BEFORE_NS: Final = 6 * 3600 * NS_PER_S  # of the onset, so that what was usual can be seen
AFTER_NS: Final = 18 * 3600 * NS_PER_S  # and after it at most
LEAST_AFTER_NS: Final = 1800 * NS_PER_S
LEARN_NS: Final = 7 * 86_400 * NS_PER_S  # what a band of a series that nobody watches learns from
STEP: Final = "15m"  # of such a series: fine enough for an onset, coarse enough for a small picture


@dataclass(frozen=True, kw_only=True)
class Shown:
    """One series that is to be drawn. `monitor` None: no alert of the incident is of it."""

    key: str
    definition: Definition
    monitor: str | None
    words: str
    move: str | None
    learn_ns: int


@dataclass(frozen=True, kw_only=True)
class IncidentSeries:
    """Charts in the order in which they are looked at, and why others are left out."""

    window: Window
    charts: tuple[dict[str, Any], ...]
    left_out: tuple[tuple[str, str], ...]
    markers: tuple[Deployed, ...]


def incident_series(control: Control, store: TenantStore, record: IncidentRecord, now_ns: int) -> IncidentSeries:
    """The series of an incident around its onset."""
    incident, diagnosis = Incident.from_json(record.body), record.diagnosis or {}
    window = _window(incident, diagnosis, now_ns)
    left_out: list[tuple[str, str]] = []
    shown = [*_alerting(control, store, incident, left_out)]
    shown += [*_moved(incident, diagnosis, shown, left_out)]
    shown = shown[:MOST_SERIES]
    wanted = [_wanted(one, window, str(place), now_ns) for place, one in enumerate(shown)]
    rows = rows_of(store, wanted, judges_of(control, store.tenant))
    charts = []
    for one, asked in zip(shown, wanted, strict=True):
        made = _chart(one, asked, rows[asked.name], window)
        if made is None:
            left_out.append((one.key, "there are no points of it around the onset"))
        else:
            charts.append(made)
    markers = sorted(deployed(control, store.tenant, incident.app), key=lambda one: (one.at_ns, one.name))
    inside = tuple(one for one in markers if window.contains(one.at_ns))
    return IncidentSeries(window=window, charts=tuple(charts), left_out=tuple(left_out), markers=inside)


def _window(incident: Incident, diagnosis: Any, now_ns: int) -> Window:
    """From before the onset to the end of the incident, as far as one picture shows it, in whole hours' quarters."""
    quarter = 900 * NS_PER_S
    onset = int((diagnosis.get("onset") or {}).get("at_ns") or incident.onset_ns)
    until = min(incident.closed_ns or now_ns, onset + AFTER_NS)
    start = (onset - BEFORE_NS) // quarter * quarter
    return Window(start_ns=start, end_ns=max(until, onset + LEAST_AFTER_NS) // quarter * quarter)


def _alerting(
    control: Control, store: TenantStore, incident: Incident, left_out: list[tuple[str, str]]
) -> Iterator[Shown]:
    """The series of its alerts, those that fire first and of them the loudest, as their monitors judged them."""
    ranked = sorted(
        incident.members,
        key=lambda one: (one.resolved_ns is not None, -one.severity.rank, one.fired_ns, one.alert),
    )
    seen: dict[tuple[str, str], Member] = {}
    for member in ranked:
        seen.setdefault(member.alert, member)
    for member in list(seen.values())[:MOST_ALERTING]:
        try:
            definition = _definition(control, store, member)
        except InvalidInput as wrong:  # of another release of Assay
            left_out.append((member.series, str(wrong)[:200]))
            continue
        yield Shown(
            key=member.series, definition=definition, monitor=member.monitor, words=definition.spec.text, move=None,
            learn_ns=history_ns(definition),
        )  # fmt: skip


def _definition(control: Control, store: TenantStore, member: Member) -> Definition:
    """The monitor's definition as it was when it fired. Raises InvalidInput."""
    versions = control.monitor_versions(store.tenant, member.monitor)
    then = [one for one in versions if one.made_at_ns <= member.fired_ns] or versions[-1:]
    if not then:
        raise InvalidInput(f"no version of the monitor {member.monitor} is kept")
    return Definition.from_json(then[0].definition)


def _moved(
    incident: Incident, diagnosis: Any, alerting: Sequence[Shown], left_out: list[tuple[str, str]]
) -> Iterator[Shown]:
    """The series by which the diagnosis saw signs move, the strongest first; not one of the same scores again."""
    seen = {one.definition.series for one in alerting if one.definition.by is None}
    scored = {one.definition.spec.evaluators for one in alerting if one.definition.by is None}
    for one in diagnosis.get("moved") or ():
        change = one.get("change") or {}
        name = str(change.get("series") or "")
        if one.get("move") not in ("up", "down") or not name or name in seen:
            continue
        seen.add(name)
        try:
            spec = series_of(name)
            band = {"kind": "distribution" if spec.source is Source.MIX else "ema"}
            definition = Definition(
                app=incident.app, series=name, step="1h" if spec.source is Source.MIX else STEP, band=band,
                direction=Direction.UP if spec.source is Source.MIX else Direction.BOTH,
            )  # fmt: skip
        except InvalidInput:
            left_out.append((name, "it is worked out in the diagnosis, and is no series over time"))
            continue
        if spec.evaluators and any(set(spec.evaluators) <= set(some) for some in scored):
            left_out.append((name, "it is of the same scores as a series that is drawn"))
            continue
        yield Shown(
            key=name, definition=definition, monitor=None, words=str(one.get("words") or ""),
            move=str(one["move"]), learn_ns=LEARN_NS,
        )  # fmt: skip


def _wanted(one: Shown, window: Window, name: str, now_ns: int) -> Wanted:
    """What is read of it: from where its band begins to learn to the newest bucket that looks have seen."""
    definition = one.definition
    step_ns = definition.step_s * NS_PER_S
    start = (window.start_ns - one.learn_ns) // step_ns * step_ns
    end = min(window.end_ns // step_ns * step_ns, until_of(definition, now_ns))
    return Wanted(
        name=name, app=definition.app, spec=definition.spec, step_s=definition.step_s, by=definition.by,
        window=Window(start_ns=start, end_ns=max(start, end)), band=definition.band,
        level=1 / arl0_of(definition, 1),
    )  # fmt: skip


def _chart(one: Shown, asked: Wanted, rows: Sequence[Any], window: Window) -> dict[str, Any] | None:
    """The chart, or None where no point is in the window."""
    if not any(row.key == one.key and row.at_ns >= window.start_ns for row in rows):
        return None
    watch = Watch(
        name=asked.name, definition=one.definition, before=Checkpoint(settled_ns=asked.window.start_ns),
        alerts_ns=asked.window.end_ns, until_ns=asked.window.end_ns,
    )  # fmt: skip
    found = watched(watch, rows, lambda _: (None, False), asked.window.end_ns).judgements
    first = max(0, (window.start_ns - found.grid.start_ns) // (asked.step_s * NS_PER_S))
    spec = one.definition.spec
    about = {
        "monitor": one.monitor, "words": one.words, "move": one.move, "step_s": asked.step_s,
        "unit": spec.unit or ("share" if spec.kind is Kind.RATE else ""),
    }  # fmt: skip
    return {**chart_of(found, one.key, int(first)), **about}
