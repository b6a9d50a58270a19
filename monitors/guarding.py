"""What firing guardrail monitors ask of a rollout. Pure; experiments read the asking in the control database.

What is asked holds as long as the alert fires, and is asked anew at every look: nothing is to be taken back. A silence
keeps people from being told, not a rollout from being held.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from core.clock import to_datetime
from monitors.alert_records import AlertState, AlertStatus, Cause


class Guard(StrEnum):
    """What a guardrail monitor asks for while its alert fires."""

    HOLD = "hold"
    ROLL_BACK = "roll_back"


@dataclass(frozen=True, kw_only=True)
class Guarded:
    """A series of a monitor that guards, and where its alert stands. `release`: whose series it is; None: the app's."""

    monitor: str
    series: str
    app: str
    guard: Guard
    state: AlertState
    release: str | None = None


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A rollout that is not over. `since_ns` is when its candidate got its first sessions; None: it has none yet."""

    rollout_id: str
    app: str
    candidate: str
    baseline: str
    since_ns: int | None


@dataclass(frozen=True, kw_only=True)
class Asking:
    """What is asked of a rollout, and why: the reasons of all that ask, those that ask for more first."""

    rollout_id: str
    guard: Guard
    reasons: tuple[str, ...]


def asked(rollout: Candidate, guards: Iterable[Guarded]) -> Asking | None:
    """What is asked of a rollout now: to be rolled back where one alert asks for it, else to be held; None: nothing.

    A roll-back is asked only of what the candidate can have done: the alert is of its own series, or of the app's and
    began after the candidate came. The series of another release asks nothing. Trouble of the whole app that was there
    before holds a rollout: with it nobody can tell how the candidate does. So does an alert for want of data.
    """
    found = []
    for one in guards:
        if one.app != rollout.app or one.state.status is not AlertStatus.FIRING:
            continue
        if one.release is None or one.release == rollout.candidate:
            found.append(_asks(rollout, one))
    if not found:
        return None
    found.sort(key=lambda each: (each[0] is not Guard.ROLL_BACK, each[1]))
    return Asking(rollout_id=rollout.rollout_id, guard=found[0][0], reasons=tuple(text for _, text in found))


def _asks(rollout: Candidate, one: Guarded) -> tuple[Guard, str]:
    state = one.state
    began_ns = state.since_ns if state.since_ns is not None else state.fired_ns
    name = f"{one.monitor} of {one.release or one.app}"
    since = "" if state.fired_ns is None else f" since {to_datetime(state.fired_ns):%Y-%m-%d %H:%M} UTC"
    said = f"{name} fires{since}: {state.seen.words() if state.seen else 'no data'}"
    if one.guard is Guard.HOLD:
        return Guard.HOLD, said
    if state.cause is Cause.NO_DATA:
        return Guard.HOLD, f"{said}; no data is no harm that is known, so that it holds and rolls nothing back"
    if rollout.since_ns is None or began_ns is None or began_ns < rollout.since_ns:
        return Guard.HOLD, f"{said}; it began before {rollout.candidate} had sessions, so that it holds"
    return Guard.ROLL_BACK, said
