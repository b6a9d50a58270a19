"""Plans: the weights by which the gateway splits an app's sessions over its releases; every change is a new version."""

from __future__ import annotations

import math
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Response
from pydantic import BaseModel, ConfigDict, Field

from core.errors import InvalidInput, NotFound
from core.records import Principal, Role
from server.policy import ServicesOf, known_parameters_only, names_once, needs
from server.routes.answers import answer
from server.routes.keys import rfc3339
from server.routes.scores import Name
from server.wiring import Services
from store.control.records import LivePlan, PlanRecord, PlanSpec

router = APIRouter(
    prefix="/api/v1/plans", tags=["plans"], dependencies=[Depends(known_parameters_only), Depends(names_once)]
)

App = Annotated[Name, Path()]
Viewer = Annotated[Principal, Depends(needs(Role.VIEWER))]
Weight = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]


class WantedPlan(BaseModel):
    """A plan to be set. A baseline without a weight gets what the others leave of 1. `if_version` is the version that
    was seen last (0: none), `dry_run` says what would be and changes nothing."""

    model_config = ConfigDict(extra="forbid")

    baseline: Name
    weights: Annotated[dict[Name, Weight], Field(max_length=20)] = {}
    reason: Annotated[str, Field(max_length=2000)] | None = None
    if_version: Annotated[int, Field(ge=0)] | None = None
    dry_run: bool = False


class Version(BaseModel):
    """One version. `shares` are the weights divided by their sum."""

    version: int
    baseline: str
    weights: dict[str, float]
    shares: dict[str, float]
    reason: str | None
    made_by: str
    made_at: str


class Plan(Version):
    """The version that holds now. `endpoints`: where its releases are reached, null where nobody said."""

    app: str
    salt: str
    endpoints: dict[str, str | None]


class Plans(BaseModel):
    """The plan of every app that has one, by app."""

    items: list[Plan]
    next_cursor: None = None


class PlanWithHistory(Plan):
    """The plan now and every version there was, newest first."""

    versions: list[Version]


class ChangedPlan(Plan):
    """The plan as it is from now on. Not `changed`: it said the same before. `dry_run`: it would be, nothing is.
    `warnings`: what may go wrong with it, in words."""

    changed: bool
    dry_run: bool
    warnings: list[str]


@router.get("", response_model=Plans)
def list_plans(caller: Viewer, services: ServicesOf) -> Response:
    """The plan of every app that has one."""
    found = [one for one in services.control.live_plans() if one.plan.tenant == caller.tenant]
    return answer({"items": [_live(one) for one in found], "next_cursor": None})


@router.get("/{app:path}", response_model=PlanWithHistory)
def read_plan(app: App, caller: Viewer, services: ServicesOf) -> Response:
    """An app's plan with its versions. Raises NotFound when it has none."""
    versions = services.control.plans(caller.tenant, app)
    if not versions:
        raise NotFound("this app has no plan; its sessions go where the gateway's configuration says")
    return answer({**_plan(services, versions[0]), "versions": [_version(one) for one in versions]})


@router.put("/{app:path}", response_model=ChangedPlan)
def set_plan(
    app: App, wanted: WantedPlan, caller: Annotated[Principal, Depends(needs(Role.POWER_USER))], services: ServicesOf
) -> Response:
    """Sets an app's weights from now on. Raises InvalidInput for releases that are not registered, Conflict when the
    plan is not at `if_version` any more."""
    weights = _weights(wanted)
    spec = PlanSpec(app=app, baseline=wanted.baseline, weights=weights, reason=wanted.reason)
    act = services.control.try_plan if wanted.dry_run else services.control.set_plan
    plan, changed = act(caller.tenant, spec, by=caller, if_version=wanted.if_version)
    told = _plan(services, plan)
    return answer({**told, "changed": changed, "dry_run": wanted.dry_run, "warnings": _warnings(told)})


def _warnings(told: dict[str, Any]) -> list[str]:
    """A line for each release that gets sessions and is registered without an address."""
    return [
        f"nobody answers for {name[:80]} unless the gateway's file names an address: its sessions get 503"
        for name, weight in told["weights"].items()
        if weight and not told["endpoints"][name]
    ]


def _weights(wanted: WantedPlan) -> dict[str, float]:
    if wanted.baseline in wanted.weights:
        return wanted.weights
    rest = round(1 - math.fsum(wanted.weights.values()), 9)
    if rest < 0:
        raise InvalidInput(
            "the weights of the others sum to more than 1: give the baseline a weight of its own", field="weights"
        )
    return {wanted.baseline: rest, **wanted.weights}


def _plan(services: Services, plan: PlanRecord) -> dict[str, Any]:
    known = {one.spec.name: one.spec.endpoint for one in services.control.releases(plan.tenant, plan.spec.app)}
    return _live(LivePlan(plan=plan, endpoints={name: known.get(name) for name in plan.spec.weights}))


def _live(one: LivePlan) -> dict[str, Any]:
    plan = one.plan
    return {"app": plan.spec.app, **_version(plan), "salt": plan.salt, "endpoints": dict(one.endpoints)}


def _version(plan: PlanRecord) -> dict[str, Any]:
    weights = dict(plan.spec.weights)
    total = math.fsum(weights.values())
    return {
        "version": plan.version,
        "baseline": plan.spec.baseline,
        "weights": weights,
        "shares": {name: weight / total for name, weight in weights.items()},
        "reason": plan.spec.reason,
        "made_by": plan.made_by,
        "made_at": rfc3339(plan.made_at_ns),
    }
