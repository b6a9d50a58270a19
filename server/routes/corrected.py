"""Judged metrics, corrected for the judge's errors: the rate, its days, what drifted, and whether the judge is
certified."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Response
from pydantic import BaseModel, Field

from core.clock import to_datetime
from evaluators.statistics.estimates import Interval, Unestimated
from judges.correction.drift import Detected, Range
from judges.correction.records import Corrected, Method
from judges.correction.watching import Watched
from judges.service_corrected import CorrectedAsked, CorrectedMetric, Day, LabelsAre, corrected_metric
from server.calibrating import certificate
from server.policy import known_parameters_only, names_once
from server.routes.answers import answer
from server.routes.asking import ReadingOf, Text, Times
from server.routes.scores import Name
from store.control.certificates import JudgeFacts

router = APIRouter(
    prefix="/api/v1/metrics", tags=["metrics"], dependencies=[Depends(known_parameters_only), Depends(names_once)]
)


class AskedCorrected(Times):
    """Sessions of `app` that begin in the window. `name` is a judge's, or that of the rubric of one judge. `method` is
    chosen where it is left out; `labels=random` takes all labels as a simple random sample. `baseline`: the rate that
    the product is held against, else that of the first third of the days."""

    name: Name
    app: Name
    version: Text = None
    release: Text = None
    variant: Text = None
    segment: Text = None
    method: Method | None = None
    labels: LabelsAre = LabelsAre.AS_STORED
    level: Annotated[float, Field(ge=0.5, le=0.999)] = 0.95
    baseline: Annotated[float | None, Field(ge=0, le=1)] = None
    arl_days: Annotated[float, Field(ge=1, le=100_000)] = 365.0


class Ends(BaseModel):
    """An interval: its ends, its level, how it was made."""

    low: float
    high: float
    level: float
    method: str


class CorrectedRate(BaseModel):
    """The rate, and beside it `raw`, what the judge alone says. `lam`: how much of the judge's word is used;
    `effective_n`: so many labels alone would be as exact; `human_value`, `human`: what the labels say alone."""

    value: float
    se: float
    interval: Ends
    raw: float
    method: str
    why: str
    lam: float | None
    n_labels: int
    n_judged: int
    effective_n: float
    human_value: float | None
    human: Ends | None
    sensitivity: float | None
    specificity: float | None
    note: str


class Refused(BaseModel):
    """Why there is no rate. `reason` is one of docs/corrected-metrics.md."""

    reason: str
    detail: str


class CorrectedDay(BaseModel):
    """The rate up to the end of a day; `low` and `high` hold on all days at once. `of_day` is the day's own, `raw` the
    judge's so far."""

    day: str
    value: float
    low: float
    high: float
    raw: float
    of_day: float
    n_judged: int
    n_labels: int


class Band(BaseModel):
    """Where something lay in the baseline."""

    low: float
    high: float


class Evidence(BaseModel):
    """The evidence of a change after each watched day, and the first day on which it was enough; null: none."""

    by_day: list[float]
    since: str | None


class DriftTold(BaseModel):
    """What changed after the baseline: nothing, product, judge, both; null where it cannot be told, as `why` says."""

    state: str | None
    why: str
    arl_days: float
    baseline_from: str
    baseline_to: str
    rate: Band | None
    sensitivity: Band | None
    false_pass: Band | None
    days: list[str]
    product: Evidence | None
    judge: Evidence | None


class Certificate(BaseModel):
    """Whether the judge may block or page: certified, failed or undetermined, with kappa's bounds against the bar."""

    state: str
    reason: str
    kappa_low: float | None
    kappa_high: float | None
    bar: float | None
    n: int
    at: str | None


class CorrectedShown(BaseModel):
    """A judged metric. One of `corrected` and `refused` is null; `drift` is null where the labels are not a sample of
    these targets. `missing`: targets without a verdict, by reason; `n_waiting`: those after the last label."""

    name: str
    judge: str
    version: str
    rubric: str
    rubric_version: int
    models: list[str]
    app: str
    certificate: Certificate
    corrected: CorrectedRate | None
    refused: Refused | None
    days: list[CorrectedDay]
    drift: DriftTold | None
    n_waiting: int
    missing: dict[str, int]
    notes: list[str]


@router.get("/corrected", response_model=CorrectedShown)
def read_corrected(reading: ReadingOf, asked: Annotated[AskedCorrected, Query()]) -> Response:
    """A judged metric with the judge's errors taken out. Raises NotFound for a judge, InvalidInput for a rubric of
    several judges."""
    same = (
        "name",
        "app",
        "version",
        "release",
        "variant",
        "segment",
        "method",
        "labels",
        "level",
        "baseline",
        "arl_days",
    )
    wanted = CorrectedAsked(
        window=reading.window(asked), as_of_ns=reading.as_of_ns(asked), **{name: getattr(asked, name) for name in same}
    )
    services = reading.services
    found = corrected_metric(reading.store, services.control, reading.caller.tenant, wanted, now_ns=services.clock())
    now = certificate(services, reading.caller.tenant, found.spec.name, found.spec.version, asked.app)
    return answer(_shown(replace(found, certificate=now), asked))


def _shown(found: CorrectedMetric, asked: AskedCorrected) -> dict[str, Any]:
    rate, spec = found.rate, found.spec
    refused = {"reason": rate.reason.value, "detail": rate.detail} if isinstance(rate, Unestimated) else None
    return {
        "name": asked.name,
        "judge": spec.name,
        "version": spec.version,
        "rubric": spec.rubric,
        "rubric_version": spec.rubric_version,
        "models": [one.text for one in spec.models],
        "app": asked.app,
        "certificate": _certificate(found.certificate),
        "corrected": None if isinstance(rate, Unestimated) else _rate(rate),
        "refused": refused,
        "days": [_day(one) for one in found.days],
        "drift": None if found.watched is None else _drift(found.watched),
        "n_waiting": found.n_waiting,
        "missing": dict(found.missing),
        "notes": list(found.notes),
    }


def _rate(rate: Corrected) -> dict[str, Any]:
    same = ("value", "se", "raw", "why", "lam", "n_labels", "n_judged", "effective_n", "human_value")
    return {
        **{name: getattr(rate, name) for name in (*same, "sensitivity", "specificity", "note")},
        "method": rate.method.value,
        "interval": _ends(rate.interval),
        "human": None if rate.human is None else _ends(rate.human),
    }


def _ends(one: Interval) -> dict[str, Any]:
    return {name: getattr(one, name) for name in ("low", "high", "level", "method")}


def _day(one: Day) -> dict[str, Any]:
    same = ("day", "value", "raw", "of_day", "n_judged", "n_labels")
    return {**{name: getattr(one, name) for name in same}, "low": one.interval.low, "high": one.interval.high}


def _drift(one: Watched) -> dict[str, Any]:
    return {
        "state": None if one.drift is None else one.drift.value,
        "why": one.why,
        "arl_days": one.arl,
        "baseline_from": one.first,
        "baseline_to": one.last,
        **{name: _band(getattr(one, name)) for name in ("rate", "sensitivity", "false_pass")},
        "days": list(one.days),
        **{name: _evidence(getattr(one, name), one.days) for name in ("product", "judge")},
    }


def _band(one: Range | None) -> dict[str, float] | None:
    return None if one is None else {"low": one.low, "high": one.high}


def _evidence(one: Detected | None, days: tuple[str, ...]) -> dict[str, Any] | None:
    if one is None:
        return None
    return {"by_day": one.evidence.tolist(), "since": None if one.at is None else days[one.at]}


def _certificate(facts: JudgeFacts) -> dict[str, Any]:
    same = ("reason", "kappa_low", "kappa_high", "bar", "n")
    at = None if facts.at_ns is None else f"{to_datetime(facts.at_ns):%Y-%m-%dT%H:%M:%SZ}"
    return {"state": facts.state.value, **{name: getattr(facts, name) for name in same}, "at": at}
