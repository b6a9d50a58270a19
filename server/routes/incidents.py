"""Alerts, and incidents with what people do with them."""

from __future__ import annotations

import hashlib
import re
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from core.records import Principal, Role
from monitors.incident_records import Incident
from monitors.service_diagnosis import example_sessions
from monitors.service_incident_series import incident_series
from monitors.service_incidents import acknowledge, assign, close, note
from server.policy import known_parameters_only, names_once, needs
from server.routes import monitor_shapes as shapes
from server.routes.alert_told import Standing, series_told
from server.routes.answers import answer
from server.routes.asking import Reading, ReadingOf
from server.routes.monitor_told import incident_shown, incident_told
from server.routes.scores import Name
from store.control.monitor_records import IncidentRecord, RaisedAlert

router = APIRouter(
    prefix="/api/v1", tags=["incidents"], dependencies=[Depends(known_parameters_only), Depends(names_once)]
)

User = Annotated[Principal, Depends(needs(Role.USER))]
IncidentId = Annotated[str, Path(pattern="^I-[1-9][0-9]{0,15}$")]


class AskedAlerts(BaseModel):
    """Which alerts: in one status, of one monitor, app or severity."""

    model_config = ConfigDict(extra="forbid")

    status: Literal["pending", "firing", "resolved"] | None = None
    monitor: Name | None = None
    app: Name | None = None
    severity: Literal["page", "ticket"] | None = None
    limit: Annotated[int, Field(ge=1, le=1000)] = 200
    cursor: Annotated[str | None, Field(max_length=2000)] = None


class AskedIncidents(BaseModel):
    """Which incidents: in one status, of one app, with an alert of one monitor."""

    model_config = ConfigDict(extra="forbid")

    status: Literal["open", "acknowledged", "closed"] | None = None
    app: Name | None = None
    monitor: Name | None = None
    limit: Annotated[int, Field(ge=1, le=1000)] = 200
    cursor: Annotated[str | None, Field(max_length=2000)] = None


class WantedNote(BaseModel):
    """A note: what it was, and what was done."""

    model_config = ConfigDict(extra="forbid")

    text: Annotated[str, Field(min_length=1, max_length=20_000)]


class WantedClose(BaseModel):
    """Why it is closed."""

    model_config = ConfigDict(extra="forbid")

    why: Annotated[str, Field(max_length=20_000)] = ""


class WantedOwner(BaseModel):
    """Who looks after it from now on."""

    model_config = ConfigDict(extra="forbid")

    owner: Name


@router.get("/alerts", response_model=shapes.Alerts)
def list_alerts(reading: ReadingOf, asked: Annotated[AskedAlerts, Query()]) -> Response:
    """Alerts, newest first, each with its newest value against the band and with the silence that it is under."""
    control, tenant = reading.services.control, reading.caller.tenant
    found = control.alerts(tenant, status=asked.status, monitor=asked.monitor)
    mine = [one for one in found if asked.app in (None, one.app) and asked.severity in (None, one.severity)]
    standing = Standing.of(control, tenant, reading.services.clock())
    shown, more = reading.page(mine, _place_of_alert, limit=asked.limit, cursor=asked.cursor)
    return answer({"items": [standing.told(one) for one in shown], "next_cursor": more})


@router.get("/incidents", response_model=shapes.Incidents)
def list_incidents(reading: ReadingOf, asked: Annotated[AskedIncidents, Query()]) -> Response:
    """Incidents, newest first."""
    found = reading.services.control.incidents(reading.caller.tenant, status=asked.status, app=asked.app)
    mine = [one for one in found if asked.monitor is None or _has_alert_of(one, asked.monitor)]
    shown, more = reading.page(mine, lambda one: (one.number, ""), limit=asked.limit, cursor=asked.cursor)
    return answer({"items": [incident_told(one) for one in shown], "next_cursor": more})


@router.get("/incidents/{incident}", response_model=shapes.IncidentShown)
def read_incident(incident: IncidentId, reading: ReadingOf) -> Response:
    """One incident with its timeline, what moved with it and where, and sessions to open. Raises NotFound."""
    one = reading.services.control.incident(reading.caller.tenant, _number(incident))
    return answer(_shown(reading, one))


@router.get("/incidents/{incident}/series", response_model=shapes.IncidentSeries)
def read_incident_series(incident: IncidentId, reading: ReadingOf) -> Response:
    """What moved together in an incident: each series with its band around the onset. Raises NotFound."""
    control, now = reading.services.control, reading.services.clock()
    one = control.incident(reading.caller.tenant, _number(incident))
    return answer(series_told(incident_series(control, reading.store, one, now)))


@router.post("/incidents/{incident}/ack", response_model=shapes.Incident)
def acknowledge_incident(incident: IncidentId, caller: User, reading: ReadingOf) -> Response:
    """Somebody looks after it: nobody is called again for it. Raises NotFound, Conflict where it is closed."""
    made = acknowledge(reading.services.control, caller.tenant, _number(incident), by=caller)
    return answer(incident_told(made))


@router.post("/incidents/{incident}/assign", response_model=shapes.Incident)
def assign_incident(incident: IncidentId, wanted: WantedOwner, caller: User, reading: ReadingOf) -> Response:
    """Gives it to somebody. Raises NotFound, Conflict where it is closed."""
    made = assign(reading.services.control, caller.tenant, _number(incident), wanted.owner, by=caller)
    return answer(incident_told(made))


@router.post("/incidents/{incident}/note", response_model=shapes.Incident)
def note_incident(incident: IncidentId, wanted: WantedNote, caller: User, reading: ReadingOf) -> Response:
    """Writes a note into its timeline, also after it was closed. Raises NotFound, InvalidInput."""
    made = note(reading.services.control, caller.tenant, _number(incident), wanted.text, by=caller)
    return answer(incident_told(made))


@router.post("/incidents/{incident}/close", response_model=shapes.Incident)
def close_incident(incident: IncidentId, wanted: WantedClose, caller: User, reading: ReadingOf) -> Response:
    """Closes it. Raises NotFound; Conflict while alerts of it fire."""
    made = close(reading.services.control, caller.tenant, _number(incident), wanted.why, by=caller)
    return answer(incident_told(made))


def _shown(reading: Reading, one: IncidentRecord) -> dict[str, object]:
    control, tenant = reading.services.control, reading.caller.tenant
    entries = control.incident_entries(tenant, one.number)
    deliveries = control.deliveries(tenant, incident=one.number)
    until = one.closed_ns or reading.services.clock()
    examples = () if one.diagnosis is None else example_sessions(reading.store, one.app, one.diagnosis, until)
    return incident_shown(one, entries, deliveries, examples, control.monitors(tenant))


def _place_of_alert(one: RaisedAlert) -> tuple[int, str]:
    named = f"{one.monitor}\0{one.series}\0{one.episode}"
    return one.since_ns, hashlib.sha256(named.encode()).hexdigest()[:32]


def _has_alert_of(one: IncidentRecord, monitor: str) -> bool:
    return any(each.monitor == monitor for each in Incident.from_json(one.body).members)


def _number(incident: str) -> int:
    found = re.fullmatch(r"I-([1-9][0-9]*)", incident)
    assert found is not None
    return int(found[1])
