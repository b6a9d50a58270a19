"""How a monitor is doing, in one word: from its switch, its alerts and its newest values. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

from core.clock import NS_PER_S
from monitors.definition import Definition
from monitors.records import Status
from monitors.silences import Matcher


class Health(StrEnum):
    """One word, those first that are looked at first."""

    FIRING = "firing"
    PENDING = "pending"
    """A breach that is not yet as many in a row as it takes."""
    NO_DATA = "no_data"
    """No value for longer than one may come late: nobody knows how it is."""
    WAITING = "waiting"
    """Not looked at yet, or not since it was changed."""
    WARMING_UP = "warming_up"
    """There are values; its band knows too little yet to say anything of them."""
    OK = "ok"
    OFF = "off"


def health_of(
    *, on: bool, late_s: int, until_ns: int | None, n_firing: int, n_pending: int, newest: Sequence[Mapping[str, Any]]
) -> Health:
    """`until_ns`: up to when it was looked at, None where it was not. `newest`: the newest value of each series, as a
    look leaves them; without one there is no data."""
    if not on:
        return Health.OFF
    if n_firing:
        return Health.FIRING
    if n_pending:
        return Health.PENDING
    if until_ns is None:
        return Health.WAITING
    fresh = [one for one in newest if one["at_ns"] >= until_ns - late_s * NS_PER_S]
    if not fresh:
        return Health.NO_DATA
    if all(one["status"] == Status.WARMING_UP.name.lower() for one in fresh):
        return Health.WARMING_UP
    return Health.OK


def concerns(matcher: Matcher, name: str, definition: Definition) -> bool:
    """Whether a silence means alerts of a monitor: all of them, or those of one of its series."""
    return (
        matcher.app in (None, definition.app)
        and matcher.monitor in (None, name)
        and matcher.severity in (None, definition.severity)
        and (matcher.series is None or matcher.series.partition("{")[0] == definition.series)
    )


def hides_all(matcher: Matcher, definition: Definition) -> bool:
    """Whether a silence that concerns a monitor means each of its series."""
    return matcher.series is None or (definition.by is None and matcher.series == definition.series)
