"""What deployment tools ask before they give a release more traffic: Argo Rollouts by `analysis`, Flagger by `flagger`.

With a `candidate` the tool steers traffic and Assay judges from traces; without one Assay's own rollout is told.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Final, assert_never

from fastapi import APIRouter, Body, Depends, Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from core.errors import Conflict, InvalidInput
from core.records import Principal, Role
from core.windows import moment_ns
from experiments import service_deploying as deploying
from experiments.canary.decide import Act
from experiments.canary.records import DEFAULT_GUARDRAILS, CanaryPolicy, Guardrail, Step
from experiments.records import UnitKind
from experiments.rollouts.policy import MOST_GUARDRAILS, guardrail_named
from experiments.rollouts.records import RolloutPolicy
from experiments.rollouts.told import moment
from experiments.service_external import Asked, judge_external
from server.policy import ServicesOf, known_parameters_only, names_once, needs
from server.routes.answers import answer
from server.routes.rollout_shapes import Seconds, Units
from server.routes.scores import Name
from server.wiring import Services
from store.control.rollout_records import RolloutStatus

router = APIRouter(
    prefix="/api/v1/rollouts", tags=["rollouts"], dependencies=[Depends(known_parameters_only), Depends(names_once)]
)

_HALF: Final = 0.5  # a weight below 1: there is a baseline beside the candidate
App = Annotated[Name, Path()]
Viewer = Annotated[Principal, Depends(needs(Role.VIEWER))]


class HookDecision(StrEnum):
    """What a tool is told. Hold: time, units or a proof are not there yet. Inconclusive: evidence is missing."""

    PROMOTE = "promote"
    HOLD = "hold"
    INCONCLUSIVE = "inconclusive"
    ROLL_BACK = "roll_back"


_VALUES: Final = {
    HookDecision.PROMOTE: 1,
    HookDecision.HOLD: 0,
    HookDecision.INCONCLUSIVE: 0,
    HookDecision.ROLL_BACK: -1,
}


class FlaggerAsk(StrEnum):
    """What a Flagger hook asks: shall it be rolled back, may it get more, is nothing against it."""

    ROLL_BACK = "roll_back"
    PROMOTE = "promote"
    NO_HARM = "no_harm"


class Judging(BaseModel):
    """Whom to judge and by what. `candidate`: a release, or `newest`, the one registered last; without it the app's
    newest rollout is told and nothing else may be said. `baseline`: the other release, by default that with the most
    sessions. `since`: when the candidate got traffic (RFC 3339 or nanoseconds), by default its first session of the
    last seven days. `guardrails`: names with commas between. `proves`: promote only once every guardrail is shown to be
    no worse than its margin. `certificate`: answer with everything that the decision was made from."""

    model_config = ConfigDict(extra="forbid")

    candidate: Name | None = None
    baseline: Name | None = None
    since: Annotated[str | None, Field(max_length=40)] = None
    guardrails: Annotated[str | None, Field(max_length=2000)] = None
    alpha: Annotated[float, Field(ge=0.0001, le=0.2, allow_inf_nan=False)] = 0.05
    min_units: Units = 20
    bake_s: Seconds = 0.0
    mature_s: Seconds = 60.0
    proves: bool = False
    unit: UnitKind = UnitKind.SESSION
    certificate: bool = False


class FlaggerJudging(Judging):
    """As of an analysis, and what is asked."""

    ask: FlaggerAsk


class HookAnswer(BaseModel):
    """`value` is 1 to promote, -1 to roll back, 0 otherwise. `controlled_by`: who steers traffic, assay or external.
    `rollout`, `certificate`: of each of these the one, where there is one."""

    decision: HookDecision
    value: int
    app: str
    controlled_by: str
    candidate: str | None
    baseline: str | None
    since: str | None
    rollout: str | None
    reasons: list[str]
    certificate: dict[str, Any] | None


@router.get("/{app:path}/analysis", response_model=HookAnswer)
def analyse(app: App, wanted: Annotated[Judging, Query()], caller: Viewer, services: ServicesOf) -> Response:
    """What is to be done with a candidate now. Raises NotFound for an app without a rollout where no candidate is
    named, InvalidInput."""
    return answer(_told(services, caller, app, wanted))


@router.post("/{app:path}/flagger", response_model=HookAnswer)
def flagger(
    app: App,
    wanted: Annotated[FlaggerJudging, Query()],
    caller: Viewer,
    services: ServicesOf,
    hook: Annotated[dict[str, Any] | None, Body()] = None,
) -> Response:
    """The same as a status: 200 where the answer to `ask` is yes, else Conflict with the reasons. What Flagger says of
    its canary in the body changes nothing. Raises as an analysis does."""
    found = _told(services, caller, app, wanted)
    decision = HookDecision(found["decision"])
    match wanted.ask:
        case FlaggerAsk.ROLL_BACK:
            yes = decision is HookDecision.ROLL_BACK
        case FlaggerAsk.PROMOTE:
            yes = decision is HookDecision.PROMOTE
        case FlaggerAsk.NO_HARM:
            yes = decision is not HookDecision.ROLL_BACK
        case _:
            assert_never(wanted.ask)
    if not yes:
        asked = wanted.ask.value.replace("_", " ")
        raise Conflict(f"no to {asked}: {decision.value.replace('_', ' ')}; {'; '.join(found['reasons'])}"[:2000])
    return answer(found)


def _told(services: Services, caller: Principal, app: str, wanted: Judging) -> dict[str, Any]:
    if wanted.candidate is None:
        return _of_rollout(services, caller, app, wanted)
    store = services.store.tenant(caller.tenant)
    found = judge_external(services.control, store, services.clock, _asked(app, wanted))
    seen = found.seen
    return _answer(
        _decision(found.act),
        app,
        found.reasons,
        controlled_by="external",
        candidate=seen.candidate if seen else wanted.candidate,
        baseline=seen.baseline if seen else wanted.baseline,
        since=moment(seen.since_ns) if seen else None,
        certificate=found.certificate if wanted.certificate else None,
    )


def _of_rollout(services: Services, caller: Principal, app: str, wanted: Judging) -> dict[str, Any]:
    """How Assay's own rollout stands; it has its policy, so that nothing of one may be said here."""
    given = sorted(wanted.model_fields_set - {"ask", "certificate"})
    if given:
        raise InvalidInput(
            f"{given[0]} is said without a candidate; name the candidate, or ask without it for the app's own rollout",
            given[0],
        )
    record = deploying.newest(services.control, caller.tenant, app)
    kept = services.control.rollout_certificates(caller.tenant, record.rollout_id) if wanted.certificate else []
    match record.status:
        case RolloutStatus.PROMOTED:
            decision = HookDecision.PROMOTE
        case RolloutStatus.ROLLED_BACK | RolloutStatus.ABORTED:
            decision = HookDecision.ROLL_BACK
        case RolloutStatus.WAITING | RolloutStatus.RUNNING | RolloutStatus.PAUSED:
            decision = HookDecision.HOLD
        case _:
            assert_never(record.status)
    return _answer(
        decision,
        app,
        (f"rollout {record.rollout_id} is {record.status.value}", *record.state["reasons"]),
        controlled_by="assay",
        candidate=record.candidate,
        baseline=record.baseline,
        since=moment(record.started_at_ns),
        rollout=record.rollout_id,
        certificate=dict(kept[-1].body) if kept else None,
    )


def _answer(decision: HookDecision, app: str, reasons: tuple[str, ...], **other: Any) -> dict[str, Any]:
    nothing = {"rollout": None, "certificate": None}
    said = {"decision": decision.value, "value": _VALUES[decision], "app": app, "reasons": list(reasons)}
    return {**nothing, **said, **other}


def _decision(act: Act) -> HookDecision:
    match act:
        case Act.ROLL_BACK:
            return HookDecision.ROLL_BACK
        case Act.PROMOTE:
            return HookDecision.PROMOTE
        case Act.WAIT:
            return HookDecision.HOLD
        case Act.HOLD:
            return HookDecision.INCONCLUSIVE
        case _:
            assert_never(act)


def _asked(app: str, wanted: Judging) -> Asked:
    if wanted.candidate is not None and wanted.candidate == wanted.baseline:
        raise InvalidInput("candidate and baseline are one release; name two", "baseline")
    guardrails: tuple[Guardrail, ...] = DEFAULT_GUARDRAILS
    if wanted.guardrails is not None:
        names = [one.strip() for one in wanted.guardrails.split(",") if one.strip()]
        if not names or len(names) > MOST_GUARDRAILS:
            raise InvalidInput(f"guardrails names {len(names)} guardrails; name 1 to {MOST_GUARDRAILS}", "guardrails")
        guardrails = tuple(guardrail_named(one) for one in names)
    step = Step(weight=_HALF, min_units=wanted.min_units, bake_s=wanted.bake_s, proves=wanted.proves)
    canary = CanaryPolicy(steps=(step,), guardrails=guardrails, alpha=wanted.alpha, mature_s=wanted.mature_s)
    return Asked(
        app=app,
        candidate=wanted.candidate or "",
        baseline=wanted.baseline,
        since_ns=None if wanted.since is None else moment_ns(wanted.since, "since"),
        policy=RolloutPolicy(canary=canary, unit=wanted.unit),
    )
