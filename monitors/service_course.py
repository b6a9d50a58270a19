"""How monitors went: the course of late of many, and of one a time with its band, alerts and silences."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from core.clock import NS_PER_S
from core.errors import NotFound
from core.windows import Window
from monitors.definition import Definition
from monitors.grids import Row
from monitors.health import concerns
from monitors.service_backtest import Backtest, chart_of
from monitors.service_series import Judges, Wanted, rows_of
from monitors.silences import Silence
from monitors.watched import until_of
from store.control.monitor_records import RaisedAlert
from store.tenant import TenantStore

MOST_STRETCHES: Final = 48  # of a course of late
MOST_SILENT: Final = 500


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A monitor whose course of late is asked for. `series`: which one, where it has several."""

    name: str
    definition: Definition
    series: str | None = None


def recent(
    store: TenantStore, asked: Sequence[Asked], since_s: int, now_ns: int, judges: Judges | None = None
) -> dict[str, list[float | None]]:
    """By name, the means of one series over equal stretches of the last `since_s` seconds, in order of time; None where
    nothing happened. Of each source one query for all, whatever their number."""
    wanted = [
        Wanted(
            name=one.name, app=one.definition.app, spec=one.definition.spec, step_s=one.definition.step_s,
            by=one.definition.by, window=_window(one.definition, since_s, now_ns), band=one.definition.band,
        )
        for one in asked
    ]  # fmt: skip
    found = rows_of(store, wanted, judges)
    return {
        one.name: _means([row for row in found[one.name] if one.series in (None, row.key)], each.window)
        for one, each in zip(asked, wanted, strict=True)
    }


def _window(definition: Definition, since_s: int, now_ns: int) -> Window:
    step_ns = definition.step_s * NS_PER_S
    end = until_of(definition, now_ns)
    return Window(start_ns=end - max(1, since_s // definition.step_s) * step_ns, end_ns=end)


def _means(rows: Iterable[Row], window: Window) -> list[float | None]:
    """Of stretches, each value by the observations behind it."""
    length = -(-(window.end_ns - window.start_ns) // MOST_STRETCHES)
    sums = [[0.0, 0.0] for _ in range(MOST_STRETCHES)]
    for row in rows:
        place, weight = (row.at_ns - window.start_ns) // length, row.n if row.n > 0 else 1.0
        if 0 <= place < MOST_STRETCHES:
            sums[place][0] += weight * row.x
            sums[place][1] += weight
    return [total / weight if weight else None for total, weight in sums]


def chart_in(found: Backtest, series: str | None) -> dict[str, Any] | None:
    """The chart of one series of what was looked at; of none that is named that with alerts, else the first. None where
    there is no series yet. Raises NotFound for one that has no value in that time."""
    told = found.as_json()["charts"]
    if series is None:
        return told[0] if told else None
    judgements = found.watched.judgements
    if series not in judgements.grid.keys:
        raise NotFound(f"the monitor has no series {series[:120]!r} in this time")
    charted: dict[str, Any] | None = next((one for one in told if one["series"] == series), None)
    return charted if charted is not None else chart_of(judgements, series, found.first)


def silent(silences: Sequence[Silence], name: str, definition: Definition, window: Window) -> list[dict[str, Any]]:
    """When alerts of a monitor were told to nobody within a window, and why; the first 500 such times."""
    told = [
        {"silence": one, "start_ns": each.start_ns, "end_ns": each.end_ns}
        for one in silences
        if concerns(one.matcher, name, definition)
        for each in one.windows(window)
    ]
    return sorted(told, key=_start)[:MOST_SILENT]


def _start(told: Mapping[str, Any]) -> int:
    return int(told["start_ns"])


def raised_in(alerts: Sequence[RaisedAlert], window: Window) -> list[RaisedAlert]:
    """The alerts that lived at some time within a window, oldest first."""
    return [
        one
        for one in reversed(alerts)
        if one.since_ns < window.end_ns and (one.resolved_ns is None or one.resolved_ns >= window.start_ns)
    ]
