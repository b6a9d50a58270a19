"""Monitors: what is watched; make, change, try on what is past, remove."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from core.errors import InvalidInput
from core.records import Principal, Role
from core.windows import window_of
from monitors.defaults import DEFAULTS
from monitors.definition import BandKind, Definition
from monitors.series import BUILT_IN, FAMILIES
from monitors.service_backtest import backtest
from monitors.service_budget import tried
from monitors.service_diagnosis import deployed
from monitors.service_judges import judges_of
from monitors.service_monitors import create, create_defaults, definition_of, delete, edit
from server.policy import known_parameters_only, names_once, needs
from server.routes import monitor_shapes as shapes
from server.routes.answers import answer
from server.routes.asking import Reading, ReadingOf
from server.routes.monitor_courses import around_of, past, recent_courses
from server.routes.monitor_told import backtest_told, monitor_told, version_told
from server.routes.scores import Name

router = APIRouter(
    prefix="/api/v1/monitors",
    tags=["monitors"],
    dependencies=[Depends(known_parameters_only), Depends(names_once)],
)

PowerUser = Annotated[Principal, Depends(needs(Role.POWER_USER))]
MonitorName = Annotated[str, Path(pattern="^[A-Za-z0-9][A-Za-z0-9._:-]{0,99}$")]
MOST_BODY: Final = 20_000


class WantedMonitor(BaseModel):
    """A new monitor: `definition` as docs/monitors.md has it; what it leaves out is the default of its series."""

    model_config = ConfigDict(extra="forbid")

    name: Name
    definition: dict[str, Any]
    dry_run: bool = False


class WantedDefaults(BaseModel):
    """The default monitors of an app, those that are not there yet, which tell these channels."""

    model_config = ConfigDict(extra="forbid")

    app: Name
    channels: Annotated[list[str], Field(max_length=10)] = []
    dry_run: bool = False


class WantedChange(BaseModel):
    """What of a monitor's definition is to change; `enabled` switches it on or off."""

    model_config = ConfigDict(extra="forbid")

    definition: dict[str, Any] = {}
    enabled: bool | None = None
    dry_run: bool = False


class WantedBacktest(BaseModel):
    """Over which time (30 days). With `definition` another one than the monitor's: what it would be after a change."""

    model_config = ConfigDict(extra="forbid")

    since: Annotated[str | None, Field(max_length=20)] = None
    start: Annotated[str | None, Field(max_length=40)] = None
    end: Annotated[str | None, Field(max_length=40)] = None
    definition: dict[str, Any] | None = None


class AskedMonitors(BaseModel):
    """The monitors of one app, or of all. `recent` (24h; 30d at most): each with the course of its worst series."""

    model_config = ConfigDict(extra="forbid")

    app: Name | None = None
    recent: Annotated[str | None, Field(max_length=20)] = None


class AskedDelete(BaseModel):
    """`dry_run` says what would be removed, and removes nothing."""

    model_config = ConfigDict(extra="forbid")

    dry_run: bool = False


@router.get("", response_model=shapes.Monitors)
def list_monitors(reading: ReadingOf, asked: Annotated[AskedMonitors, Query()]) -> Response:
    """The monitors with their newest values. Raises InvalidInput."""
    control, tenant = reading.services.control, reading.caller.tenant
    states, around = {one.name: one for one in control.monitor_states(tenant)}, around_of(reading)
    items = [
        monitor_told(one, states.get(one.name), around)
        for one in control.monitors(tenant)
        if asked.app in (None, one.app)
    ]
    courses = {} if asked.recent is None else recent_courses(reading, items, asked.recent)
    return answer({"items": [{**one, "recent": courses.get(one["name"])} for one in items], "next_cursor": None})


@router.get("/kinds", response_model=shapes.Kinds)
def read_kinds(_: ReadingOf) -> Response:
    """What can be watched, and how."""
    series = [
        {"name": one.name, "text": one.text, "unit": one.unit, "kind": one.kind.value, "bad": one.bad.value,
         "by": list(one.dimensions)}
        for one in BUILT_IN.values()
    ]  # fmt: skip
    bands = [one.value for one in BandKind]
    return answer({"series": series, "families": dict(FAMILIES), "bands": bands, "defaults": list(DEFAULTS)})


@router.post("", status_code=201, response_model=shapes.Monitor)
def create_monitor(wanted: WantedMonitor, caller: PowerUser, reading: ReadingOf) -> Response:
    """Watches from now on. Raises InvalidInput naming the field, Conflict for a name that is taken."""
    made = create(
        reading.services.control, caller.tenant, wanted.name, wanted.definition, by=caller, dry_run=wanted.dry_run
    )  # fmt: skip
    return answer(monitor_told(made, dry_run=wanted.dry_run), status=200 if wanted.dry_run else 201)


@router.post("/defaults", status_code=201, response_model=shapes.Monitors)
def create_default_monitors(wanted: WantedDefaults, caller: PowerUser, reading: ReadingOf) -> Response:
    """Makes the default monitors of an app. Raises InvalidInput."""
    control = reading.services.control
    made = create_defaults(
        control, caller.tenant, wanted.app, tuple(wanted.channels), by=caller, dry_run=wanted.dry_run
    )  # fmt: skip
    items = [monitor_told(one, dry_run=wanted.dry_run) for one in made]
    return answer({"items": items, "next_cursor": None}, status=200 if wanted.dry_run else 201)


@router.post("/backtest", response_model=shapes.Backtest)
def preview_monitor(wanted: WantedBacktest, reading: ReadingOf) -> Response:
    """What a monitor that is not there yet would have done. Raises InvalidInput."""
    if wanted.definition is None:
        raise InvalidInput("give the definition that is to be tried", field="definition")
    return answer(_tried(reading, definition_of(wanted.definition), wanted, name=""))


@router.get("/{name}", response_model=shapes.MonitorShown)
def read_monitor(name: MonitorName, reading: ReadingOf) -> Response:
    """One monitor with its versions, and the silences that concern it. Raises NotFound."""
    control, tenant = reading.services.control, reading.caller.tenant
    one, around = control.monitor(tenant, name), around_of(reading)
    told = monitor_told(one, control.monitor_state(tenant, name), around)
    versions = [version_told(each) for each in control.monitor_versions(tenant, name)]
    silences = around.coming(name, Definition.from_json(one.definition))
    return answer({**told, "versions": versions, "silences": silences})


@router.patch("/{name}", response_model=shapes.Monitor)
def edit_monitor(name: MonitorName, wanted: WantedChange, caller: PowerUser, reading: ReadingOf) -> Response:
    """Changes a monitor: another version of it, which learns anew. Raises NotFound, InvalidInput, Conflict."""
    made = edit(
        reading.services.control, caller.tenant, name, wanted.definition, enabled=wanted.enabled, by=caller,
        dry_run=wanted.dry_run,
    )  # fmt: skip
    return answer(monitor_told(made, dry_run=wanted.dry_run))


@router.delete("/{name}", response_model=shapes.Monitor)
def delete_monitor(
    name: MonitorName, caller: PowerUser, reading: ReadingOf, asked: Annotated[AskedDelete, Query()]
) -> Response:
    """Removes a monitor; its incidents stay. Raises NotFound, Conflict."""
    control, around = reading.services.control, around_of(reading)
    state = control.monitor_state(caller.tenant, name)
    made = delete(control, caller.tenant, name, by=caller, dry_run=asked.dry_run)
    return answer(monitor_told(made, state, around, dry_run=asked.dry_run))


@router.post("/{name}/backtest", response_model=shapes.Backtest)
def backtest_monitor(name: MonitorName, wanted: WantedBacktest, reading: ReadingOf) -> Response:
    """The alerts that a monitor would have raised, its chart, and the false alarms a week that it was made for. Raises
    NotFound, InvalidInput."""
    one = reading.services.control.monitor(reading.caller.tenant, name)
    definition = Definition.from_json({**one.definition, **(wanted.definition or {})})
    return answer(_tried(reading, definition, wanted, name))


def _tried(reading: Reading, definition: Definition, wanted: WantedBacktest, name: str) -> dict[str, Any]:
    control, tenant, now = reading.services.control, reading.caller.tenant, reading.services.clock()
    since = wanted.since or (None if wanted.start else "30d")
    window = window_of(now_ns=now, start=wanted.start, end=wanted.end, since=since)
    shared = tried(control, tenant, name, definition)
    found = backtest(reading.store, shared, past(reading, window), judges=judges_of(control, tenant))
    markers = deployed(control, tenant, definition.app)
    return backtest_told(found.as_json(), definition.as_json(), markers)
