"""How monitors went: of late in the list, and one over a time, with its band, its alerts and when it was silent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from core.clock import NS_PER_S
from core.errors import InvalidInput
from core.windows import Window, parse_duration_s, window_of
from monitors.definition import BandKind, Definition
from monitors.service_backtest import Backtest, backtest
from monitors.service_budget import tried
from monitors.service_course import Asked, chart_in, raised_in, recent, silent
from monitors.service_diagnosis import deployed
from monitors.service_judges import judges_of
from monitors.silencing import silence_of
from server.policy import known_parameters_only
from server.routes import monitor_shapes as shapes
from server.routes.answers import answer
from server.routes.asking import Reading, ReadingOf, Text
from server.routes.keys import rfc3339
from server.routes.monitor_told import Around, alert_told, chart_told, markers_told
from store.control.monitor_records import MonitorRecord

router = APIRouter(prefix="/api/v1/monitors", tags=["monitors"], dependencies=[Depends(known_parameters_only)])

MOST_RECENT_S: Final = 30 * 86_400


class AskedCourse(BaseModel):
    """Which time (`since` 24h), and of several series which one: else one that had an alert."""

    model_config = ConfigDict(extra="forbid")

    since: Annotated[str | None, Field(max_length=20)] = None
    start: Annotated[str | None, Field(max_length=40)] = None
    end: Annotated[str | None, Field(max_length=40)] = None
    series: Text = None


@router.get("/{name}/course", response_model=shapes.Course)
def read_course(
    name: Annotated[str, Path(pattern="^[A-Za-z0-9][A-Za-z0-9._:-]{0,99}$")], reading: ReadingOf,
    asked: Annotated[AskedCourse, Query()],
) -> Response:  # fmt: skip
    """One monitor over a time: a series with band, alerts, silences, deployments. Raises NotFound, InvalidInput."""
    control, tenant = reading.services.control, reading.caller.tenant
    one = control.monitor(tenant, name)
    since = asked.since or (None if asked.start else "24h")
    window = past(reading, window_of(now_ns=reading.services.clock(), start=asked.start, end=asked.end, since=since))
    shared = tried(control, tenant, name, Definition.from_json(one.definition))
    found = backtest(reading.store, shared, window, judges=judges_of(control, tenant))
    return answer(_course_told(reading, one, found, asked.series))


def _course_told(reading: Reading, one: MonitorRecord, found: Backtest, series: str | None) -> dict[str, Any]:
    control, tenant, window = reading.services.control, reading.caller.tenant, found.window
    definition, told, chart = Definition.from_json(one.definition), found.as_json(), chart_in(found, series)
    kept = [silence_of(each) for each in control.silences(tenant)]
    return {
        "version": one.version,
        "definition": dict(one.definition),
        "start": rfc3339(window.start_ns),
        "end": rfc3339(window.end_ns),
        "n_points": told["n_points"],
        "n_missing": told["n_missing"],
        "names": list(found.watched.judgements.grid.keys),
        "chart": None if chart is None else chart_told(chart),
        "markers": markers_told(deployed(control, tenant, one.app), window),
        "alerts": [alert_told(each) for each in raised_in(control.alerts(tenant, monitor=one.name), window)],
        "silences": [_silent_told(each) for each in silent(kept, one.name, definition, window)],
    }


def _silent_told(told: Mapping[str, Any]) -> dict[str, Any]:
    one = told["silence"]
    return {
        "id": one.silence_id, "series": one.matcher.series, "start": rfc3339(told["start_ns"]),
        "end": rfc3339(told["end_ns"]), "why": one.why, "made_by": one.by,
    }  # fmt: skip


def past(reading: Reading, window: Window) -> Window:
    """What of a window lies behind: nothing is known of the rest."""
    now = reading.services.clock()
    return Window(start_ns=min(window.start_ns, now - 1), end_ns=min(window.end_ns, now))


def around_of(reading: Reading) -> Around:
    """Alerts and silences of the caller's tenant."""
    control, tenant = reading.services.control, reading.caller.tenant
    alerts = [each for status in ("firing", "pending") for each in control.alerts(tenant, status=status)]
    return Around(now_ns=reading.services.clock(), alerts=alerts, silences=control.silences(tenant))


def recent_courses(reading: Reading, items: Sequence[Mapping[str, Any]], since: str) -> dict[str, Any]:
    """By name, the course of late of monitors that are on: of the series that is farthest out. Not of distributions,
    which are held against a week for each point. Raises InvalidInput."""
    since_s, now = parse_duration_s(since), reading.services.clock()
    if not 0 < since_s <= MOST_RECENT_S:
        raise InvalidInput("recent is a time such as 24h, of 30 days at most", field="recent")
    asked = [
        Asked(
            name=one["name"], definition=Definition.from_json(one["definition"]),
            series=one["series"][0]["series"] if one["series"] else None,
        )
        for one in items
        if one["status"] == "on" and one["definition"]["band"].get("kind") != BandKind.DISTRIBUTION.value
    ]  # fmt: skip
    found = recent(reading.store, asked, since_s, now, judges_of(reading.services.control, reading.caller.tenant))
    ends = {"start": rfc3339(now - since_s * NS_PER_S), "end": rfc3339(now)}
    return {one.name: {"series": one.series, **ends, "value": found[one.name]} for one in asked}
