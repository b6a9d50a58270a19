"""The life of one alert, point by point. Pure: time is that of the points.

                breach                 for_points in a row
    (none) ───────────────▶ pending ───────────────────────▶ firing
       ▲                       │                               │ clear_points calm in a row, well inside the band;
       └───── any other ───────┘                               ▼ or the shift is adopted; or a day without data
                                       breach            ┌─ resolved
                            pending ◀────────────────────┘

A point that is not after the newest one changes nothing: what comes late is replayed from before it (looking.py). A
bucket that nobody told of is one without data, so that a gap is the same whether its buckets are told or not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Final, assert_never

import numpy as np

from core.clock import NS_PER_S
from monitors.alert_records import AlertState, AlertStatus, Cause, NoData, Rules, Seen, Severity, Verdict
from monitors.records import Codes, Direction, Judged, Status, sides

VERDICTS: Final = tuple(Verdict)
_MOST_DAMPING: Final = 8


def verdicts(judged: Judged, direction: Direction, clear_share: float) -> Codes:
    """The verdict on every series at one time, as positions in VERDICTS. A breach on the other side is calm."""
    wanted = sides(direction)
    calm = np.ones(len(judged.status), dtype=np.bool_)
    with np.errstate(invalid="ignore"):  # a band without a side or a middle has no inner edge: then the edge is all
        if 1 in wanted:
            inner = judged.expected + clear_share * (judged.high - judged.expected)
            calm &= ~(judged.seen > inner)
        if -1 in wanted:
            inner = judged.expected - clear_share * (judged.expected - judged.low)
            calm &= ~(judged.seen < inner)
    found = np.where(calm, VERDICTS.index(Verdict.CALM), VERDICTS.index(Verdict.BETWEEN))
    found = np.where(np.isin(judged.breach, wanted), VERDICTS.index(Verdict.BREACH), found)
    for status, verdict in (
        (Status.WARMING_UP, Verdict.WARMING_UP),
        (Status.MISSING, Verdict.MISSING),
        (Status.SHIFT_ADOPTED, Verdict.ADOPTED),
    ):
        found = np.where(judged.status == status, VERDICTS.index(verdict), found)
    return found.astype(np.int8)


def seen_in(at_ns: int, judged: Judged, row: int, verdict: Verdict, n: float | None = None) -> Seen:
    """One series of what was judged at one time."""
    one = judged.one(row)
    if verdict is Verdict.MISSING:
        return Seen(at_ns=at_ns, verdict=verdict)
    side = one.breach if verdict in (Verdict.BREACH, Verdict.ADOPTED) else 0
    return Seen(
        at_ns=at_ns, verdict=verdict, side=side, value=one.seen, n=None if n is None or n != n else n,
        expected=one.expected, low=one.low, high=one.high, z=one.z,
    )  # fmt: skip


def lived(alert: AlertState | None, seens: Iterable[Seen], rules: Rules, until_ns: int) -> Iterator[AlertState]:
    """Every state that points in order of time lead through, and then the buckets without one that begin before
    `until_ns`. Between two points without a change only the last state is given."""
    for seen in seens:
        if alert is not None and seen.at_ns <= alert.at_ns:
            continue
        if alert is not None:
            for without in gone_by(alert, seen.at_ns, rules):
                alert = without
                yield without
        alert = advance(alert, seen, rules)
        yield alert
    if alert is not None:
        yield from gone_by(alert, until_ns, rules)


def advance(alert: AlertState | None, seen: Seen, rules: Rules) -> AlertState:
    """The alert after one more bucket. One that is not after the newest changes nothing."""
    if alert is not None and seen.at_ns <= alert.at_ns:
        return alert
    before = alert if alert is not None else AlertState(at_ns=seen.at_ns)
    now = replace(before, at_ns=seen.at_ns, known_ns=seen.at_ns if seen.known else before.known_ns)
    match seen.verdict:
        case Verdict.BREACH:
            return _worse(now, seen, rules, Cause.BREACH)
        case Verdict.CALM:
            return _calmer(now, seen, rules)
        case Verdict.BETWEEN:
            return replace(_settled(now, seen), calm=0)
        case Verdict.ADOPTED:
            return _resolved(now, seen, Cause.ADOPTED) if _fires(now) else _settled(now, seen)
        case Verdict.WARMING_UP:
            return _waited(now, seen, rules)
        case Verdict.MISSING:
            return _without(now, seen, rules)
        case _:
            assert_never(seen.verdict)


def gone_by(alert: AlertState, before_ns: int, rules: Rules) -> Iterator[AlertState]:
    """The states through the buckets without data that begin before `before_ns`. A gap of a week is a few steps: where
    one more bucket changes nothing, none does until the next deadline."""
    step = rules.step_ns
    last = alert.at_ns + (before_ns - 1 - alert.at_ns) // step * step
    while alert.at_ns + step <= last:
        after = advance(alert, Seen(at_ns=alert.at_ns + step, verdict=Verdict.MISSING), rules)
        if replace(after, at_ns=alert.at_ns) == alert:
            at = _next_change(alert, rules, last)
            after = advance(replace(alert, at_ns=at - step), Seen(at_ns=at, verdict=Verdict.MISSING), rules)
        alert = after
        yield alert


def calm_needed(alert: AlertState, rules: Rules) -> int:
    """Calm points in a row until it resolves: twice as many with every firing too many, eight times at most."""
    above = max(0, len(alert.spells) - rules.flap_limit + 1)
    return rules.clear_points * min(_MOST_DAMPING, 1 << min(above, 8))


def _worse(now: AlertState, seen: Seen, rules: Rules, cause: Cause) -> AlertState:
    severity = seen.severity or rules.severity
    breaches = min(now.breaches + 1, rules.for_points)  # as many as count: then a long silence is a state at rest
    since = now.since_ns if now.since_ns is not None else seen.at_ns
    now = replace(now, breaches=breaches, calm=0, since_ns=since)
    if _fires(now):
        louder = now.severity is None or severity.rank > now.severity.rank
        return replace(now, severity=severity, seen=seen) if louder else now
    if breaches < rules.for_points:
        return replace(now, status=AlertStatus.PENDING, severity=severity, cause=cause, seen=seen)
    recent = tuple(at for at in now.spells if at > seen.at_ns - rules.flap_window_s * NS_PER_S)
    return replace(
        now, status=AlertStatus.FIRING, fired_ns=seen.at_ns, resolved_ns=None, severity=severity, cause=cause,
        spells=(*recent, seen.at_ns), seen=seen,
    )  # fmt: skip


def _calmer(now: AlertState, seen: Seen, rules: Rules) -> AlertState:
    if not _fires(now):
        return _settled(now, seen)
    calm = now.calm + 1
    if calm >= calm_needed(now, rules):
        return _resolved(now, seen, Cause.CALM if seen.known else Cause.NO_DATA)
    return replace(now, calm=calm, breaches=0)


def _without(now: AlertState, seen: Seen, rules: Rules) -> AlertState:
    match rules.no_data:
        case NoData.OK:
            return _calmer(now, seen, rules)
        case NoData.ALERT:
            return _worse(now, seen, rules, Cause.NO_DATA)
        case NoData.KEEP:
            return _waited(now, seen, rules)
        case _:
            assert_never(rules.no_data)


def _waited(now: AlertState, seen: Seen, rules: Rules) -> AlertState:
    """A bucket that says nothing: it neither counts nor breaks a row, but no alert waits for ever."""
    deadline = _deadline(now, rules)
    if deadline is None or seen.at_ns < deadline:
        return now
    return _resolved(now, seen, Cause.VANISHED) if _fires(now) else _settled(now, seen)


def _deadline(alert: AlertState, rules: Rules) -> int | None:
    """When an alert of which nothing more is heard ends by itself."""
    heard: int = max(alert.known_ns or 0, alert.since_ns or 0, alert.fired_ns or 0)
    match alert.status:
        case AlertStatus.FIRING:
            return heard + rules.vanish_s * NS_PER_S
        case AlertStatus.PENDING:
            return heard + rules.slack_ns
        case _:
            return None


def _next_change(alert: AlertState, rules: Rules, last_ns: int) -> int:
    """The bucket without data at which something happens next: that of the deadline, `last_ns` at the latest."""
    deadline = _deadline(alert, rules) if rules.no_data is NoData.KEEP else None
    if deadline is None:
        return last_ns
    step = rules.step_ns
    n_steps = max(1, -((alert.at_ns - deadline) // step))
    return min(last_ns, alert.at_ns + n_steps * step)


def _settled(now: AlertState, seen: Seen) -> AlertState:
    """After a point that is no breach: what was pending is gone, what fires goes on."""
    if now.status is not AlertStatus.PENDING:
        return replace(now, breaches=0, since_ns=now.since_ns if _fires(now) else None)
    return replace(now, status=None, breaches=0, since_ns=None, severity=None, cause=None, seen=seen)


def _resolved(now: AlertState, seen: Seen, cause: Cause) -> AlertState:
    return replace(
        now, status=AlertStatus.RESOLVED, breaches=0, calm=0, since_ns=None, resolved_ns=seen.at_ns, cause=cause,
        seen=seen,
    )  # fmt: skip


def _fires(alert: AlertState) -> bool:
    return alert.status is AlertStatus.FIRING


def loudest(*some: Severity | None) -> Severity:
    """The loudest of these; a ticket where none is said."""
    return max((one for one in some if one is not None), key=lambda one: one.rank, default=Severity.TICKET)
