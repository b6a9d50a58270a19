"""Verdicts and labels from elsewhere."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel, ConfigDict, Field

from core.errors import InvalidInput
from core.records import Principal, Role, TargetKind
from core.windows import moment_ns
from judges.imported import ImportedItem
from judges.records import Rubric
from judges.rubrics import read_rubric
from judges.service_verdicts import Origin, import_verdicts
from judges.stored import rubric_of
from server.policy import ServicesOf, known_parameters_only, names_once, needs
from server.redaction import redactor_of
from server.routes.answers import answer
from server.routes.label_queues import labels_of
from server.routes.scores import Name, Ref
from server.wiring import Services

router = APIRouter(
    prefix="/api/v1/verdicts", tags=["judges"], dependencies=[Depends(known_parameters_only), Depends(names_once)]
)

Short = Annotated[str, Field(max_length=1000)]


class VerdictBody(BaseModel):
    """What is known of one session, turn or item: a raw verdict or why it is `missing`, an `outcome`, `annotations` by
    the annotator's name. `orders`: of a pair, what was chosen with the first answer first, and with the second first,
    both by the names of the answers as they are stored."""

    model_config = ConfigDict(extra="forbid")

    session_id: Ref = None
    trace_id: Ref = None
    target: TargetKind | None = None
    verdict: Annotated[str | None, Field(max_length=20_000)] = None
    missing: Short | None = None
    confidence: float | None = None
    explanation: Annotated[str, Field(max_length=20_000)] = ""
    outcome: Short | None = None
    annotations: Annotated[dict[str, Short], Field(max_length=50)] = {}
    at: Annotated[str | None, Field(max_length=40)] = None
    segment: Annotated[str | None, Field(max_length=200)] = None
    probability: float | None = None
    orders: Annotated[list[Short | None], Field(min_length=2, max_length=2)] | None = None


class VerdictsBody(BaseModel):
    """Up to 1,000 items of one judge under one rubric: one that is there, or `rubric_text`, a rubric's file, which is
    kept. `dry_run` writes nothing."""

    model_config = ConfigDict(extra="forbid")

    rubric: Name | None = None
    rubric_text: Annotated[str | None, Field(max_length=70_000)] = None
    rubric_version: Annotated[int | None, Field(ge=1, le=10**6)] = None
    judge: Name | None = None
    model: Name = "unknown"
    app: Name | None = None
    n_annotators: Annotated[int, Field(ge=1, le=50)] = 1
    items: Annotated[list[VerdictBody], Field(min_length=1, max_length=1000)]
    dry_run: bool = False


class VerdictsTaken(BaseModel):
    """What became of them. `refused`: place among the items and why. `queue` holds what people said, with what they
    disagree on (`n_unresolved`)."""

    rubric: str
    rubric_version: int
    judge_version: str | None
    n_verdicts: int
    missing: dict[str, int]
    n_outcomes: int
    n_labels: int
    n_unresolved: int
    n_new: int
    n_known: int
    refused: list[dict[str, Any]]
    queue: str | None
    dry_run: bool


@router.post("", response_model=VerdictsTaken)
def take_verdicts(
    wanted: VerdictsBody, caller: Annotated[Principal, Depends(needs(Role.POWER_USER))], services: ServicesOf
) -> Response:
    """Writes verdicts, outcomes and labels that are not there yet; durable when it answers. Raises NotFound for the
    rubric, Conflict for a judge of that name that asks models, InvalidInput."""
    redactor = redactor_of(services, caller.tenant)

    def item(one: VerdictBody) -> ImportedItem:
        given = one.model_dump(exclude={"at"})
        given["session_id"] = redactor.identifier(one.session_id) if one.session_id else None
        for name in ("verdict", "explanation"):
            given[name] = redactor.text(given[name]) if given[name] else given[name]
        return ImportedItem(**given, at_ns=None if one.at is None else moment_ns(one.at, "at"))

    rubric = _rubric(wanted, caller, services)
    names = ("judge", "model", "app", "n_annotators")
    origin = Origin(rubric=rubric, **{name: getattr(wanted, name) for name in names})
    items = [item(one) for one in wanted.items]
    told = import_verdicts(labels_of(services), origin, items, dry_run=wanted.dry_run, by=caller)
    refused = [{"item": at, "reason": why} for at, why in told.refused]
    said = {"rubric": rubric.name, "rubric_version": rubric.version, "dry_run": wanted.dry_run}
    return answer({**vars(told), "missing": dict(told.missing), "refused": refused, **said})


def _rubric(wanted: VerdictsBody, caller: Principal, services: Services) -> Rubric:
    """The rubric that is named, or whose text is given. Raises NotFound, InvalidInput."""
    if (wanted.rubric is None) == (wanted.rubric_text is None):
        raise InvalidInput("give one of rubric, a name, and rubric_text", "rubric")
    if wanted.rubric_text is not None:
        return read_rubric(wanted.rubric_text)
    return rubric_of(services.control.rubric(caller.tenant, wanted.rubric or "", wanted.rubric_version).body)
