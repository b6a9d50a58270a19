"""Calibrations of judges: made, listed, read; the certificate that follows from them; what to read side by side."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from core.errors import NotFound
from core.records import Principal, Role
from core.windows import Window, window_of
from server.calibrating import calibrate, certificate
from server.policy import ServicesOf, known_parameters_only, names_once, needs
from server.routes.answers import answer
from server.routes.keys import rfc3339
from server.routes.scores import Name
from server.wiring import Services
from store.control.certificates import JudgeFacts
from store.control.judge_records import CalibrationState, JudgeCalibration

if TYPE_CHECKING:  # what calibrates loads scipy
    from judges.service_calibration import Asked

router = APIRouter(
    prefix="/api/v1/judges", tags=["judges"], dependencies=[Depends(known_parameters_only), Depends(names_once)]
)
MOST: Final = 1_000
Viewer = Annotated[Principal, Depends(needs(Role.VIEWER))]
Power = Annotated[Principal, Depends(needs(Role.POWER_USER))]
App = Annotated[Name | None, Query()]
Since = Annotated[str | None, Query(max_length=20)]
Moment = Annotated[str | None, Query(max_length=40)]


class WantedCalibration(BaseModel):
    """What is calibrated: verdicts over `app` (all), decided since or from start to end (all), against the `bar`.
    Without `canaries` no judge is certified. The same `seed` gives the same figures. `annotators` says who labelled,
    which sets how much worse than a person a judge may be in the alternative-annotator test."""

    model_config = ConfigDict(extra="forbid")

    app: Name | None = None
    since: Annotated[str | None, Field(max_length=20)] = None
    start: Annotated[str | None, Field(max_length=40)] = None
    end: Annotated[str | None, Field(max_length=40)] = None
    bar: Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)] = 0.7
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    canaries: bool = True
    annotators: Literal["experts", "skilled", "crowd"] = "skilled"


class CalibrationForecast(BaseModel):
    """What a calibration would take. `why_not`: why no canaries are asked; empty where they are. Money in US dollars,
    as expected and at the very most; null: no price is known."""

    judge: str
    n_verdicts: int
    n_labels: int
    n_canaries: int
    n_calls: int
    usd: float | None
    usd_most: float | None
    why_not: str


class CalibrationListed(BaseModel):
    """A calibration without its report. `calibration_id` names it; `kappa` is the coefficient that decided, with its
    one-sided 95 % bounds, over `n` pairs; `labels_more` would settle an undetermined one; `reason` says why it is so.
    `canaries_usd` is what asking them cost; null: none were asked, or no price is known."""

    calibration_id: str
    judge: str
    version: str
    app: str | None
    at: str
    state: CalibrationState
    reason: str
    kappa: float | None
    kappa_low: float | None
    kappa_high: float | None
    bar: float
    n: int
    labels_more: int | None
    canaries_passed: bool | None
    canaries_usd: float | None
    human_ceiling: float | None
    made_by: str


class CalibrationShown(CalibrationListed):
    """A calibration with all that it found: docs/calibration.md explains each part of `report`."""

    report: dict[str, Any]


class Certificate(BaseModel):
    """What holds of a version of a judge now, which may be less than its newest calibration said: `reason` says why."""

    judge: str
    version: str
    state: CalibrationState
    reason: str
    kappa_low: float | None
    kappa_high: float | None
    bar: float | None
    n: int
    calibrated_at: str | None


class CalibrationStep(BaseModel):
    """How far a calibration under way is: `stage` reading, canaries or computing."""

    stage: str
    n_done: int
    n_all: int


class Calibrations(BaseModel):
    """Calibrations of a judge, newest first, with what holds now. `under_way` null: this server is at none."""

    items: list[CalibrationListed]
    certificate: Certificate
    under_way: CalibrationStep | None
    next_cursor: None = None


class Disagreement(BaseModel):
    """A target of which judge and label say different things, with what each says of it. `label_kind` is human, or
    outcome where what happened stands for the truth. `verdict_key` finds the judge's reply as it came."""

    target: str
    session_id: str | None
    verdict: str
    label: str
    label_kind: str
    confidence: float | None
    explanation: str | None
    label_explanation: str | None
    n_annotators: int | None
    queue: str | None
    segment: str | None
    app: str | None
    release: str | None
    at: str
    labelled_at: str
    score_id: str
    verdict_key: str | None


class Disagreements(BaseModel):
    """The surest verdicts first. `n` of `n_labels` pairs disagree, and the first `limit` of them are here."""

    items: list[Disagreement]
    judge: str
    version: str
    n: int
    n_labels: int
    next_cursor: None = None


@router.post("/{name}/calibrations", status_code=201, response_model=CalibrationShown)
def calibrate_judge(name: Name, wanted: WantedCalibration, caller: Power, services: ServicesOf) -> Response:
    """Calibrates a judge: asks the canaries, compares with the labels, keeps the report; answers when that is done.
    Raises NotFound, Conflict while one of this judge is under way, InvalidInput where its model cannot be asked."""
    return answer(_whole(calibrate(services, _asked(name, wanted, services), by=caller)), status=201)


@router.post("/{name}/calibrations/forecast", response_model=CalibrationForecast)
def foresee_calibration(
    name: Name, wanted: WantedCalibration, caller: Annotated[Principal, Depends(needs(Role.USER))], services: ServicesOf
) -> Response:
    """What a calibration would take; nothing is asked. Raises NotFound."""
    from judges.service_calibration import forecast, gather

    store = services.store.tenant(caller.tenant)
    told = forecast(gather(services.control, store, caller.tenant, _asked(name, wanted, services)))
    return answer({"judge": name, **asdict(told)})


@router.get("/{name}/calibrations", response_model=Calibrations)
def list_calibrations(
    name: Name,
    caller: Viewer,
    services: ServicesOf,
    app: App = None,
    limit: Annotated[int, Query(ge=1, le=MOST)] = 50,
) -> Response:
    """The calibrations of a judge, of all its versions, and how far one under way is. Raises NotFound."""
    control, tenant = services.control, caller.tenant
    control.judge(tenant, name)
    found = [one for one in control.calibrations(tenant, name) if app is None or one.report.get("app") in (None, app)]
    step = services.calibrating.step(tenant, name)
    return answer(
        {
            "items": [_listed(one) for one in found[:limit]],
            "certificate": _certificate(certificate(services, tenant, name, app=app)),
            "under_way": None if step is None else asdict(step),
            "next_cursor": None,
        }
    )


@router.get("/{name}/calibrations/{calibration_id}", response_model=CalibrationShown)
def read_calibration(
    name: Name, calibration_id: Annotated[Name, Path()], caller: Viewer, services: ServicesOf
) -> Response:
    """One calibration with its report; `newest` is that of the version that holds. Raises NotFound."""
    control, tenant = services.control, caller.tenant
    version = control.judge(tenant, name).version
    every = control.calibrations(tenant, name)
    for one in every:
        if calibration_id == _id(one) or (calibration_id == "newest" and one.version == version):
            return answer(_whole(one))
    raise NotFound(f"judge {name[:80]} has no calibration {calibration_id[:60]!r}")


@router.get("/{name}/certificate", response_model=Certificate)
def read_certificate(
    name: Name,
    caller: Viewer,
    services: ServicesOf,
    app: App = None,
    version: Annotated[Name | None, Query()] = None,
) -> Response:
    """Whether the judge may decide now, for an app: what gates ask. Raises NotFound."""
    services.control.judge(caller.tenant, name, version)
    return answer(_certificate(certificate(services, caller.tenant, name, version, app)))


@router.get("/{name}/disagreements", response_model=Disagreements)
def list_disagreements(
    name: Name,
    caller: Viewer,
    services: ServicesOf,
    app: App = None,
    since: Since = None,
    start: Moment = None,
    end: Moment = None,
    limit: Annotated[int, Query(ge=1, le=MOST)] = 50,
) -> Response:
    """Where judge and labels differ, to be read side by side. Raises NotFound."""
    from judges.service_pairs import disagreements, pairs
    from judges.stored import spec_of

    control, tenant = services.control, caller.tenant
    spec = spec_of(control.judge(tenant, name).spec)
    store, window = services.store.tenant(tenant), _window(services, since, start, end)
    found = disagreements(store, control, tenant, spec, app, window)
    return answer(
        {
            "items": [_disagreement(row) for row in found.head(limit).iter_rows(named=True)],
            "judge": name,
            "version": spec.version,
            "n": found.height,
            "n_labels": pairs(store, control, tenant, spec, app, window).height,
            "next_cursor": None,
        }
    )


def _asked(name: str, wanted: WantedCalibration, services: Services) -> Asked:
    from judges.agreement.alternative import Annotators
    from judges.service_calibration import Asked

    window = _window(services, wanted.since, wanted.start, wanted.end)
    same = ("app", "bar", "seed", "canaries")
    of = {each: getattr(wanted, each) for each in same}
    return Asked(judge=name, window=window, annotators=Annotators(wanted.annotators), **of)


def _window(services: Services, since: str | None, start: str | None, end: str | None) -> Window | None:
    """All of time where nothing is said."""
    if since is None and start is None and end is None:
        return None
    return window_of(now_ns=services.clock(), since=since, start=start, end=end)


def _id(one: JudgeCalibration) -> str:
    return f"{one.version}-{one.at_ns}"


def _listed(one: JudgeCalibration) -> dict[str, Any]:
    report, canaries = one.report, one.report.get("canaries", {})
    names = ("judge", "version", "state", "kappa_low", "kappa_high", "bar", "n", "made_by")
    return {
        "calibration_id": _id(one),
        **{name: getattr(one, name) for name in names},
        "app": report.get("app"),
        "at": rfc3339(one.at_ns),
        "reason": str(report.get("reason") or ""),
        "kappa": _value(report, "agreement", "coefficient", "estimate"),
        "labels_more": report.get("labels_more"),
        "canaries_usd": None if report.get("withdrawn") else (canaries.get("usage") or {}).get("cost_usd"),
        "canaries_passed": canaries.get("passed"),
        "human_ceiling": _value(report, "agreement", "ceiling", "kappa", "estimate"),
    }


def _value(report: Any, *path: str) -> float | None:
    """The `value` of an estimate deep in a report; None where it is not there."""
    for name in (*path, "value"):
        report = report.get(name) if isinstance(report, dict) else None
    return float(report) if isinstance(report, int | float) else None


def _whole(one: JudgeCalibration) -> dict[str, Any]:
    return {**_listed(one), "report": dict(one.report)}


def _certificate(facts: JudgeFacts) -> dict[str, Any]:
    names = ("judge", "version", "state", "reason", "kappa_low", "kappa_high", "bar", "n")
    at = None if facts.at_ns is None else rfc3339(facts.at_ns)
    return {**{name: getattr(facts, name) for name in names}, "calibrated_at": at}


def _disagreement(row: dict[str, Any]) -> dict[str, Any]:
    said = {name: row[name] for name in Disagreement.model_fields if name in row}
    return {
        **said,
        "at": rfc3339(row["at_ns"]),
        "labelled_at": rfc3339(row["label_at_ns"]),
        "verdict_key": row["kept"],
    }
