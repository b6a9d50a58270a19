"""What an event of an alert says, with the numbers."""

from __future__ import annotations

from typing import Final, assert_never

from core.clock import to_datetime
from monitors.alert_records import AlertState, Cause, Rules, Seen
from monitors.alerting import calm_needed

_UNKNOWN: Final = "no data"


def fired_words(state: AlertState, rules: Rules, *, late: bool, over_ns: int | None, again: bool = False) -> str:
    """Why it fired; from late data, over already, or once more."""
    said = state.seen.words() if state.seen else _UNKNOWN
    if state.cause is Cause.NO_DATA:
        said = f"no data for {rules.for_points} points of {rules.step_s} s in a row"
    if late:
        said = f"late data: {said}"
    if over_ns is not None and state.fired_ns is not None:
        said = f"{said}; from {moment(state.fired_ns)} to {moment(over_ns)}, over by now"
    if again:
        said = f"not over: {said}"
    if len(state.spells) >= rules.flap_limit:
        n = calm_needed(state, rules)
        hours = rules.flap_window_s / 3600
        said = f"{said}; fired {len(state.spells)} times in {hours:g} h, so it takes {n} calm points to resolve"
    return said


def closed_words(cause: Cause, state: AlertState, *, was_one: bool = False) -> str:
    """Why it resolved, or is none any more; `was_one`: late data says only that it was over before."""
    said = state.seen.words() if state.seen else _UNKNOWN
    match cause:
        case Cause.CALM:
            return said if state.seen and state.seen.why else f"back inside the band: {said}"
        case Cause.NO_DATA:
            return "no data, which this monitor takes as calm"
        case Cause.ADOPTED:
            return f"the shift has lasted and is the expected level from now on, which is no recovery: {said}"
        case Cause.VANISHED:
            since = "ever" if state.known_ns is None else moment(state.known_ns)
            return f"no data since {since}: closed without anybody knowing whether it is over"
        case Cause.LATE_DATA:
            found = "it was over before" if was_one else "it would not have fired"
            return f"late data: with the points that came since, {found}; last seen: {said}"
        case Cause.CLOSED | Cause.BREACH | Cause.REOPENED | Cause.WORSE | Cause.STILL | Cause.SILENCE_OVER:
            return said
        case _:
            assert_never(cause)


def still_words(cause: Cause, from_ns: int, state: AlertState, silence: str | None) -> str:
    """Why it is told again."""
    said = state.seen.words() if state.seen else _UNKNOWN
    if cause is Cause.SILENCE_OVER:
        return f"the silence is over, and it fires since {moment(from_ns)}: {said}"
    if silence is not None:
        return f"fires since {moment(from_ns)}, and was silenced all the time ({silence}): {said}"
    return f"still fires, since {moment(from_ns)}: {said}"


def noted_words(cause: Cause, seen: Seen) -> str:
    """What is noted in the timeline without being told."""
    what = "a shift has lasted and is the expected level from now on" if cause is Cause.ADOPTED else cause.value
    return f"{what}: {seen.words()}"


def moment(ns: int) -> str:
    """A time to the minute, UTC."""
    return f"{to_datetime(ns):%Y-%m-%d %H:%M} UTC"
