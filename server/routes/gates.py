"""Gates: may a release take another's place? Decided from the runs of both, and kept with all that it was made of."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from core.errors import InvalidInput, NotFound
from core.records import Principal, Role
from evaluators.evidence import read_run
from experiments.gates.service import GateRequest, GateService
from experiments.gates.summary import checked_address, markdown
from server.gate_policy import MOST_BYTES, read_policy
from server.policy import ServicesOf, known_parameters_only, names_once, needs
from server.routes.answers import answer
from server.routes.keys import rfc3339
from server.routes.scores import Name
from server.wiring import Services
from store.control.certificates import DAY_NS
from store.control.gates import GateRecord

router = APIRouter(
    prefix="/api/v1/gates", tags=["gates"], dependencies=[Depends(known_parameters_only), Depends(names_once)]
)

FOLDER: Final = "gates"  # of the data folder: NAME.yaml is the policy of that name
App = Annotated[Name, Path()]
Viewer = Annotated[Principal, Depends(needs(Role.VIEWER))]
Links = Annotated[str, Field(max_length=500)]


class WantedDecision(BaseModel):
    """What is asked. One of `policy` (the YAML) and `policy_name`; a run that is not named is the newest finished one.
    `links` is the dashboard's address, for links in `markdown`."""

    model_config = ConfigDict(extra="forbid")

    candidate: Name
    baseline: Name
    policy: Annotated[str, Field(max_length=MOST_BYTES)] | None = None
    policy_name: Name | None = None
    candidate_run: Name | None = None
    baseline_run: Name | None = None
    links: Links | None = None


class GateListed(BaseModel):
    """A decision without its evidence. `reasons` are sentences that say why, `digest` is that of its bundle."""

    gate_id: str
    app: str
    candidate: str
    baseline: str
    dataset: str | None
    policy_name: str | None
    decision: str
    reasons: list[dict[str, Any]]
    digest: str
    made_by: str
    made_at: str


class Gates(BaseModel):
    """Decisions, newest first."""

    items: list[GateListed]
    next_cursor: None = None


class GateShown(GateListed):
    """A decision with its evidence. `settle`: what would decide an inconclusive one. `metrics`, `strata`, `worst`: the
    figures of docs/gates.md. `baseline_run`, `candidate_run`: which runs were read; null where there was none.
    `markdown`: all of it for a pull request."""

    settle: list[str]
    metrics: list[dict[str, Any]]
    strata: list[dict[str, Any]]
    worst: list[dict[str, Any]]
    baseline_run: dict[str, Any] | None
    candidate_run: dict[str, Any] | None
    alpha: float
    seed: int
    markdown: str


@router.post("/{app:path}/decide", response_model=GateShown)
def decide_gate(
    app: App, wanted: WantedDecision, caller: Annotated[Principal, Depends(needs(Role.USER))], services: ServicesOf
) -> Response:
    """Decides, and keeps the decision. Raises InvalidInput for a policy that cannot be used, NotFound for a run or a
    policy's name that is not there."""
    request = GateRequest(
        app=app,
        candidate=wanted.candidate,
        baseline=wanted.baseline,
        policy_text=_policy_text(services, wanted),
        policy_name=wanted.policy_name,
        candidate_run=wanted.candidate_run,
        baseline_run=wanted.baseline_run,
    )
    if wanted.links is not None:
        checked_address(wanted.links)  # refused before anything is kept
    return answer(_shown(gates_of(services).decide(request, by=caller), wanted.links))


@router.get("", response_model=Gates)
def list_gates(
    caller: Viewer,
    services: ServicesOf,
    app: Annotated[Name | None, Query()] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Response:
    """The newest decisions, of one app or of all."""
    found = services.control.gates(caller.tenant, app)[:limit]
    return answer({"items": [_listed(one) for one in found], "next_cursor": None})


@router.get("/{gate_id}", response_model=GateShown)
def read_gate(
    gate_id: Name, caller: Viewer, services: ServicesOf, links: Annotated[Links | None, Query()] = None
) -> Response:
    """One decision with its evidence. Raises NotFound."""
    return answer(_shown(services.control.gate(caller.tenant, gate_id), links))


@router.get("/{gate_id}/bundle", response_class=Response)
def read_bundle(gate_id: Name, caller: Viewer, services: ServicesOf) -> Response:
    """The bundle of a decision, from which `assay gate verify` computes it again. Raises NotFound."""
    bundle = services.control.gate_bundle(caller.tenant, gate_id)
    return Response(bundle, media_type="application/json")


def gates_of(services: Services) -> GateService:
    """What decides gates of this server."""
    return GateService(
        control=services.control,
        read_run=lambda tenant, run_id: read_run(services.control, services.store.tenant(tenant), tenant, run_id),
        read_policy=lambda text, known: read_policy(text, known=known),
        clock=services.clock,
        assay_version=services.version,
        certificate_ns=round(services.settings.judge_certificate_days * DAY_NS),
    )


def _policy_text(services: Services, wanted: WantedDecision) -> str:
    if (wanted.policy is None) == (wanted.policy_name is None):
        raise InvalidInput("give one of policy, the YAML text, and policy_name", "policy")
    if wanted.policy_name is None:
        return wanted.policy or ""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", wanted.policy_name):
        raise InvalidInput("a policy's name is letters, digits, '.', '_', '-'", "policy_name")
    path = services.settings.data / FOLDER / f"{wanted.policy_name}.yaml"
    try:
        with path.open("rb") as file:
            return file.read(MOST_BYTES + 1).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InvalidInput(f"the policy {wanted.policy_name} is not UTF-8 text", "policy_name") from None
    except OSError:
        raise NotFound(f"there is no policy {wanted.policy_name}.yaml in the folder {FOLDER} of the data") from None


def _listed(record: GateRecord) -> dict[str, Any]:
    names = ("gate_id", "app", "candidate", "baseline", "dataset", "policy_name", "decision", "digest", "made_by")
    return {
        **{name: getattr(record, name) for name in names},
        "reasons": record.told["reasons"],
        "made_at": rfc3339(record.made_at_ns),
    }


def _shown(record: GateRecord, links: str | None) -> dict[str, Any]:
    told = record.told
    return {
        **_listed(record),
        **{name: told[name] for name in ("settle", "metrics", "strata", "worst", "alpha", "seed")},
        **{f"{side}_run": told[side] for side in ("baseline", "candidate")},
        "markdown": markdown({**told, "gate_id": record.gate_id}, links),
    }
