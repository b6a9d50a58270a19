"""Rollouts: a release gets traffic step by step while its guardrails hold, and loses it when one does not."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Response

from core.errors import Forbidden, InvalidInput, NotFound
from core.records import Principal, Role
from experiments import service_deploying as deploying
from experiments.canary.records import DEFAULT_GUARDRAILS, CanaryPolicy, Guardrail, Step
from experiments.rollouts.policy import MOST_GUARDRAILS, guardrail_named, steps_of
from experiments.rollouts.records import Requires, RolloutPolicy
from experiments.rollouts.told import moment, summary, told
from server.policy import ServicesOf, known_parameters_only, names_once, needs
from server.routes import rollout_shapes as shapes
from server.routes.answers import answer
from server.routes.scores import Name
from server.wiring import Services
from store.control.rollout_records import CheckRecord, RolloutRecord

router = APIRouter(
    prefix="/api/v1/rollouts", tags=["rollouts"], dependencies=[Depends(known_parameters_only), Depends(names_once)]
)

App = Annotated[Name, Path()]
RolloutId = Annotated[Name | None, Query(alias="id")]
Viewer = Annotated[Principal, Depends(needs(Role.VIEWER))]
Operator = Annotated[Principal, Depends(needs(Role.POWER_USER))]


@router.post("", status_code=201, response_model=shapes.Deployed)
def deploy(wanted: shapes.WantedRollout, caller: Operator, services: ServicesOf) -> Response:
    """Begins a rollout. Raises InvalidInput for weights that do not rise and for releases that cannot be compared,
    Conflict for an app with an open rollout or a running experiment, and for a release that was rolled back."""
    if wanted.bypass is not None and not caller.role.allows(Role.ADMIN):
        raise Forbidden("a bypass puts a release before everybody untested; it needs the role admin")
    asked = deploying.Wanted(
        app=wanted.app,
        candidate=wanted.candidate,
        policy=_policy(wanted),
        baseline=wanted.baseline,
        unreachable=wanted.endpoint_elsewhere,
    )
    store = services.store.tenant(caller.tenant)
    made = deploying.deploy(services.control, store, services.clock, asked, by=caller, dry_run=wanted.dry_run)
    services.rollout_asked.set()
    shown = told(made.record, [], []) if wanted.dry_run else _shown(services, made.record)
    status = 200 if wanted.dry_run else 201
    return answer({**shown, "dry_run": wanted.dry_run, "warnings": list(made.warnings)}, status=status)


@router.get("", response_model=shapes.Rollouts)
def list_rollouts(
    caller: Viewer,
    services: ServicesOf,
    app: Annotated[Name | None, Query()] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Response:
    """The newest rollouts, of one app or of all."""
    found = services.control.rollouts(caller.tenant, app)[:limit]
    return answer({"items": [summary(one) for one in found], "next_cursor": None})


@router.post("/verify", response_model=shapes.Verdict)
def verify_certificates(wanted: shapes.WantedVerdict, caller: Viewer) -> Response:
    """Computes certificates again from their own counts, wherever they were kept."""
    problems = deploying.verify(wanted.certificates)
    return answer({"ok": not problems, "n_certificates": len(wanted.certificates), "problems": problems})


@router.get("/{app:path}/certificates/{number}", response_model=dict[str, Any])
def read_certificate(
    app: App, number: Annotated[int, Path(ge=1)], caller: Viewer, services: ServicesOf, rollout_id: RolloutId = None
) -> Response:
    """One certificate whole. Raises NotFound."""
    record = deploying.newest(services.control, caller.tenant, app, rollout_id)
    for one in services.control.rollout_certificates(caller.tenant, record.rollout_id):
        if one.number == number:
            return answer(dict(one.body))
    raise NotFound(f"rollout {record.rollout_id} has no certificate {number}; it has {record.n_certificates}")


@router.get("/{app:path}/certificates", response_model=shapes.Certificates)
def list_certificates(app: App, caller: Viewer, services: ServicesOf, rollout_id: RolloutId = None) -> Response:
    """The certificates that a rollout's automatic actions left. Raises NotFound."""
    record = deploying.newest(services.control, caller.tenant, app, rollout_id)
    items = [
        {
            "number": one.number,
            "at": moment(one.at_ns),
            "digest": one.digest,
            **{name: one.body[name] for name in ("decision", "step")},
        }
        for one in services.control.rollout_certificates(caller.tenant, record.rollout_id)
    ]
    return answer({"rollout": record.rollout_id, "items": items, "next_cursor": None})


@router.get("/{app:path}/verdict", response_model=shapes.Verdict)
def verify_rollout(app: App, caller: Viewer, services: ServicesOf, rollout_id: RolloutId = None) -> Response:
    """Computes a rollout's certificates again, and compares them with the counts that are kept. Raises NotFound."""
    record = deploying.newest(services.control, caller.tenant, app, rollout_id)
    problems = deploying.verify_kept(services.control, record)
    return answer({"ok": not problems, "n_certificates": record.n_certificates, "problems": problems})


@router.get("/{app:path}/checks", response_model=shapes.Checks)
def list_checks(app: App, release: Annotated[Name, Query()], caller: Viewer, services: ServicesOf) -> Response:
    """What was reported of a release's checks."""
    found = services.control.rollout_checks(caller.tenant, app, release)
    return answer({"items": [_check(one) for one in found], "next_cursor": None})


@router.post("/{app:path}/checks", status_code=201, response_model=shapes.Check)
def report_check(app: App, wanted: shapes.WantedCheck, caller: Operator, services: ServicesOf) -> Response:
    """Reports the outcome of a named check of a release. Raises NotFound for one that is not registered."""
    release = wanted.release
    if release is None:
        found = services.control.open_rollout(caller.tenant, app)
        if found is None:
            raise InvalidInput("this app has no open rollout: name the release that was checked", field="release")
        release = found.candidate
    check = CheckRecord(
        app=app, release=release, name=wanted.name, passed=wanted.passed, note=wanted.note, link=wanted.link
    )  # fmt: skip
    made = deploying.report_check(services.control, check, by=caller)
    services.rollout_asked.set()
    return answer(_check(made), status=201)


@router.post("/{app:path}/abort", response_model=shapes.Rollout)
def abort(
    app: App, wanted: shapes.WantedAct, caller: Operator, services: ServicesOf, rollout_id: RolloutId = None
) -> Response:
    """Gives the baseline all sessions now; twice is once. Raises NotFound, Conflict after a promotion."""
    record = deploying.newest(services.control, caller.tenant, app, rollout_id)
    after = deploying.abort(services.control, services.clock, record, wanted.reason, by=caller)
    return answer(_shown(services, after))


@router.post("/{app:path}/pause", response_model=shapes.Rollout)
def pause(
    app: App, wanted: shapes.WantedAct, caller: Operator, services: ServicesOf, rollout_id: RolloutId = None
) -> Response:
    """Goes on to no further step; harm still rolls back. Raises NotFound, Conflict where it does not run."""
    record = deploying.newest(services.control, caller.tenant, app, rollout_id)
    return answer(_shown(services, deploying.pause(services.control, record, wanted.reason, by=caller)))


@router.post("/{app:path}/resume", response_model=shapes.Rollout)
def resume(
    app: App, wanted: shapes.WantedAct, caller: Operator, services: ServicesOf, rollout_id: RolloutId = None
) -> Response:
    """Lets a paused one go on. Raises NotFound, Conflict where it is not paused."""
    record = deploying.newest(services.control, caller.tenant, app, rollout_id)
    after = deploying.resume(services.control, record, wanted.reason, by=caller)
    services.rollout_asked.set()
    return answer(_shown(services, after))


@router.post("/{app:path}/approve", response_model=shapes.Rollout)
def approve(
    app: App,
    wanted: shapes.WantedAct,
    caller: Annotated[Principal, Depends(needs(Role.ADMIN))],
    services: ServicesOf,
    rollout_id: RolloutId = None,
) -> Response:
    """Approves one that waits. Raises NotFound, Forbidden for who deployed it, Conflict once it does not wait."""
    record = deploying.newest(services.control, caller.tenant, app, rollout_id)
    after = deploying.approve(services.control, record, wanted.reason, by=caller)
    services.rollout_asked.set()
    return answer(_shown(services, after))


@router.get("/{app:path}", response_model=shapes.Rollout)
def read_rollout(app: App, caller: Viewer, services: ServicesOf, rollout_id: RolloutId = None) -> Response:
    """The open rollout of an app, else its newest, or the one of this id. Raises NotFound."""
    return answer(_shown(services, deploying.newest(services.control, caller.tenant, app, rollout_id)))


def _policy(wanted: shapes.WantedRollout) -> RolloutPolicy:
    bypass = None if wanted.bypass is None else wanted.bypass.reason
    canary = CanaryPolicy(
        steps=_steps(wanted) if bypass is None else (Step(weight=1.0, min_units=0, bake_s=0.0),),
        guardrails=_guardrails(wanted),
        alpha=wanted.alpha,
        mature_s=wanted.mature_s,
        max_missing_share=wanted.max_missing_share,
    )
    asked = wanted.requires
    requires = Requires(gate=asked.gate, checks=tuple(dict.fromkeys(asked.checks)), approval=asked.approval)
    return RolloutPolicy(canary=canary, unit=wanted.unit, requires=requires, bypass=bypass)


def _steps(wanted: shapes.WantedRollout) -> tuple[Step, ...]:
    if wanted.steps is None:
        if wanted.weights is None:
            return steps_of(bake_s=wanted.bake_s, min_units=wanted.min_units)
        return steps_of(wanted.weights, bake_s=wanted.bake_s, min_units=wanted.min_units)
    if wanted.weights is not None:
        raise InvalidInput("give one of steps and weights", field="weights")
    known = {one.weight: one for one in wanted.steps}
    return tuple(
        Step(**known[one.weight].model_dump()) if one.weight in known and one.weight < 1 else one
        for one in steps_of([each.weight for each in wanted.steps])
    )


def _guardrails(wanted: shapes.WantedRollout) -> tuple[Guardrail, ...]:
    chosen = {one.name: one for one in DEFAULT_GUARDRAILS}
    for one in wanted.guardrails:
        if isinstance(one, str):
            chosen[one] = guardrail_named(one)
        else:
            said = {name: value for name, value in one.model_dump().items() if value is not None}
            chosen[one.name] = replace(guardrail_named(one.name, one.better), **said)
    for name in wanted.without:
        if name not in chosen:
            raise InvalidInput(f"there is no guardrail {name[:80]!r} to leave out; there are {', '.join(chosen)[:500]}")
        del chosen[name]
    if not chosen or len(chosen) > MOST_GUARDRAILS:
        raise InvalidInput(f"a rollout has 1 to {MOST_GUARDRAILS} guardrails", field="guardrails")
    return tuple(chosen.values())


def _shown(services: Services, record: RolloutRecord) -> dict[str, Any]:
    blocks = services.control.rollout_blocks(record.tenant, record.rollout_id)
    return told(record, blocks, services.control.rollout_events(record.tenant, record.rollout_id))


def _check(one: CheckRecord) -> dict[str, Any]:
    names = ("app", "release", "name", "number", "passed", "note", "link", "made_by")
    return {**{name: getattr(one, name) for name in names}, "made_at": moment(one.made_at_ns)}
