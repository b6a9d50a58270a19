"""Experiments: register, start, ramp and stop them, give testers a variant, and say which variant a unit gets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Path, Query, Response
from pydantic import BaseModel, ConfigDict

from core.clock import NS_PER_S
from core.errors import Conflict, InvalidInput
from core.records import Principal, Role
from core.windows import parse_duration_s
from experiments import service_definitions
from experiments.records import UnitKind
from experiments.registered import definition_of
from experiments.service_analysis import judged_metrics
from experiments.splits import Placement, Reason
from server.calibrating import certificate
from server.policy import ServicesOf, known_parameters_only, names_once, needs
from server.routes.answers import answer
from server.routes.experiment_shapes import (
    Assignments,
    ChangedExperiment,
    Experiment,
    Experiments,
    WantedCoverage,
    WantedExperiment,
    WantedOverrides,
    WantedStart,
    WantedStop,
    next_step,
    row_told,
    version_told,
)
from server.routes.scores import Name
from server.wiring import Services
from store.control.experiment_records import RUNNING, ExperimentRecord

router = APIRouter(
    prefix="/api/v1", tags=["experiments"], dependencies=[Depends(known_parameters_only), Depends(names_once)]
)

Experimenter = Annotated[Principal, Depends(needs(Role.POWER_USER))]
Viewer = Annotated[Principal, Depends(needs(Role.VIEWER))]
OfExperiment = Annotated[Name, Path()]
_MOST_BACK_S: Final = 366 * 86_400
_WHY: Final = {
    Reason.OVERRIDE: "a tester's override; it never counts",
    Reason.HOLDOUT: "held out of the app's experiments",
    Reason.OTHER_SLOT: "outside its slot of the layer: free for others",
    Reason.NOT_COVERED: "not covered yet: a ramp may let it in",
    Reason.HASH: "by hash",
}


class OfApp(BaseModel):
    """Whose experiments."""

    model_config = ConfigDict(extra="forbid")

    app: Name | None = None


class OfUnit(BaseModel):
    """A unit of an app: a user's id or a session's."""

    model_config = ConfigDict(extra="forbid")

    app: Name
    unit: Name
    unit_kind: Literal["user", "session"] = "user"


@router.get("/experiments", response_model=Experiments)
def list_experiments(asked: Annotated[OfApp, Query()], caller: Viewer, services: ServicesOf) -> Response:
    """The newest version of every experiment, or the one that runs."""
    shown: dict[str, ExperimentRecord] = {}
    for one in services.control.experiments(caller.tenant, asked.app):  # by name, newest first
        if one.name not in shown or one.status == RUNNING:
            shown[one.name] = one
    found = sorted(shown.values(), key=lambda one: (one.status != RUNNING, one.name))
    return answer({"items": [row_told(one) for one in found], "next_cursor": None})


@router.post("/experiments", response_model=ChangedExperiment)
def create_experiment(wanted: WantedExperiment, caller: Experimenter, services: ServicesOf) -> Response:
    """Registers an experiment, or the next version of one. Raises InvalidInput, Conflict."""
    unknown = sorted(set(wanted.overrides.values()) - {arm.variant for arm in wanted.arms})
    if unknown:  # before a version is made of it
        raise InvalidInput(f"no arm is called {unknown[0]!r}, which an override names", field="overrides")
    asked = wanted.model_dump(exclude_none=True)
    made = service_definitions.register(
        services.control, wanted.name, wanted.app, asked, by=caller, dry_run=wanted.dry_run
    )
    record = made.record
    warnings = (*made.warnings, *_uncertified(services, record))
    if wanted.overrides and not wanted.dry_run:
        record = services.control.set_overrides(
            caller.tenant, record.name, wanted.overrides, by=caller, version=record.version
        )
    if wanted.start and not wanted.dry_run:
        record = _started(services, record, caller)
        return answer(_changed(record, is_new=made.is_new, warnings=_uncertified(services, record)))
    return answer(_changed(record, is_new=made.is_new, dry_run=wanted.dry_run, warnings=warnings))


@router.get("/experiments/{name}", response_model=Experiment)
def read_experiment(name: OfExperiment, caller: Viewer, services: ServicesOf) -> Response:
    """The newest version of an experiment, and all of them. Raises NotFound."""
    versions = [version_told(one) for one in services.control.experiment_versions(caller.tenant, name)]
    return answer({**versions[0], "versions": versions})


@router.post("/experiments/{name}/start", response_model=ChangedExperiment)
def start_experiment(name: OfExperiment, wanted: WantedStart, caller: Experimenter, services: ServicesOf) -> Response:
    """Begins to assign units. Raises NotFound, Conflict, InvalidInput for releases that are not registered, and for a
    `since` of what the gateway assigns."""
    from_ns = None if wanted.since is None else services.clock() - _back_ns(wanted.since)
    before = services.control.experiment(caller.tenant, name)
    record = service_definitions.start(
        services.control, name, wanted.coverage, by=caller, dry_run=wanted.dry_run, from_ns=from_ns
    )
    warnings = service_definitions.begun(before, wanted.coverage)
    return answer(_changed(record, dry_run=wanted.dry_run, warnings=warnings))


@router.post("/experiments/{name}/ramp", response_model=ChangedExperiment)
def ramp_experiment(name: OfExperiment, wanted: WantedCoverage, caller: Experimenter, services: ServicesOf) -> Response:
    """Lets more units in; none is moved out. Raises NotFound, Conflict, InvalidInput for less than now."""
    record = services.control.ramp_experiment(caller.tenant, name, wanted.coverage, by=caller, dry_run=wanted.dry_run)
    return answer(_changed(record, dry_run=wanted.dry_run))


@router.post("/experiments/{name}/stop", response_model=ChangedExperiment)
def stop_experiment(name: OfExperiment, wanted: WantedStop, caller: Experimenter, services: ServicesOf) -> Response:
    """Ends the running version for ever, or withdraws the draft. Raises NotFound."""
    record = services.control.stop_experiment(caller.tenant, name, wanted.reason, by=caller, dry_run=wanted.dry_run)
    return answer(_changed(record, dry_run=wanted.dry_run))


@router.put("/experiments/{name}/overrides", response_model=ChangedExperiment)
def set_overrides(name: OfExperiment, wanted: WantedOverrides, caller: Experimenter, services: ServicesOf) -> Response:
    """Gives testers a variant. Their ids are not kept. Raises NotFound, InvalidInput, Conflict."""
    return answer(_changed(services.control.set_overrides(caller.tenant, name, wanted.overrides, by=caller)))


@router.get("/assignments", response_model=Assignments)
def read_assignments(asked: Annotated[OfUnit, Query()], caller: Viewer, services: ServicesOf) -> Response:
    """Which variant a unit gets in every running experiment of the app, and why."""
    kind = UnitKind(asked.unit_kind)
    found = service_definitions.assigned(services.control, caller.tenant, asked.app, asked.unit, kind)
    return answer({"items": [_assignment(record, one) for record, one in found], "next_cursor": None})


def _back_ns(text: str) -> int:
    seconds = parse_duration_s(text)
    if not 0 < seconds <= _MOST_BACK_S:
        raise InvalidInput("an experiment can have begun at most a year before it is started here", field="since")
    return seconds * NS_PER_S


def _started(services: Services, record: ExperimentRecord, caller: Principal) -> ExperimentRecord:
    try:
        return service_definitions.start(services.control, record.name, 1.0, by=caller, dry_run=False)
    except Conflict as error:
        raise Conflict(f"version {record.version} is registered, but cannot start: {error}") from error


def _uncertified(services: Services, record: ExperimentRecord) -> tuple[str, ...]:
    """Metrics whose judge may decide nothing as it stands."""
    names = judged_metrics(services.control, record.tenant, definition_of(record))
    known = {name: certificate(services, record.tenant, name, app=record.app) for name in names}
    return tuple(f"{name} decides nothing by now: {one.text}" for name, one in known.items() if not one.certified)


def _changed(
    record: ExperimentRecord, *, is_new: bool = False, dry_run: bool = False, warnings: Sequence[str] = ()
) -> dict[str, Any]:
    said = {"is_new": is_new, "dry_run": dry_run, "warnings": list(warnings)}
    says = "a dry run: nothing is registered and nothing changed" if dry_run else next_step(record)
    return {**version_told(record), **said, "says": [says]}


def _assignment(record: ExperimentRecord, one: Placement) -> dict[str, Any]:
    said = {"reason": one.reason.value, "counts": one.counts, "text": _WHY[one.reason]}
    placed = {"variant": one.variant, "release": one.release}
    return {"experiment": record.name, "version": record.version, **placed, **said}
