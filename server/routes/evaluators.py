"""The evaluators, built in and own: what each scores, needs and misses, and how well it was measured to predict."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Response
from pydantic import BaseModel

from core.errors import NotFound
from core.records import EvaluatorKind, Principal, Role, TargetKind
from evaluators.catalogue import BY_NAME, every, near
from evaluators.records import Dimension, Direction, EvaluatorSpec
from server.policy import known_parameters_only, names_once, needs
from server.routes.answers import answer

router = APIRouter(
    prefix="/api/v1/evaluators", tags=["evaluators"], dependencies=[Depends(known_parameters_only), Depends(names_once)]
)

Viewer = Annotated[Principal, Depends(needs(Role.VIEWER))]


class EvaluatorShown(BaseModel):
    """An evaluator. `targets`: what it scores; `needs`: the fields of `expected` that it compares with, of several
    any will do; `binary`: every score is 0 or 1; `validity`: how well it predicts, null where not measured."""

    name: str
    version: str
    kind: EvaluatorKind
    dimension: Dimension
    summary: str
    targets: list[TargetKind]
    unit: str
    direction: Direction
    binary: bool
    needs: list[str]
    failure_modes: list[str]
    validity: str | None


class Evaluators(BaseModel):
    """All of them, in the order of the catalogue."""

    items: list[EvaluatorShown]
    next_cursor: None = None


@router.get("", response_model=Evaluators)
def list_evaluators(_caller: Viewer, dimension: Annotated[Dimension | None, Query()] = None) -> Response:
    """The evaluators that are built in, and the operator's own after them, of one dimension or all."""
    specs = [one.spec for one in every() if dimension is None or one.spec.dimension is dimension]
    return answer({"items": [shown(one) for one in specs], "next_cursor": None})


@router.get("/{name}", response_model=EvaluatorShown)
def read_evaluator(name: str, _caller: Viewer) -> Response:
    """One evaluator. Raises NotFound, naming those whose names are near."""
    found = BY_NAME.get(name)
    if found is None:
        raise NotFound(f"there is no evaluator of that name; {near(name)}")
    return answer(shown(found.spec))


def shown(spec: EvaluatorSpec) -> dict[str, Any]:
    """A spec as the API tells it."""
    return {
        "name": spec.name,
        "version": spec.version,
        "kind": spec.kind.value,
        "dimension": spec.dimension.value,
        "summary": spec.summary,
        "targets": sorted(one.value for one in spec.targets),
        "unit": spec.unit,
        "direction": spec.direction.value,
        "binary": spec.binary,
        "needs": list(spec.needs),
        "failure_modes": list(spec.failure_modes),
        "validity": spec.validity,
    }
