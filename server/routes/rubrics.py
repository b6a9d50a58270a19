"""Rubrics: what judges and people are asked. A version, once it is there, never changes."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from core.records import Principal, Role
from server.policy import ServicesOf, known_parameters_only, names_once, needs
from server.routes import judge_shapes as shapes
from server.routes.answers import answer
from server.routes.scores import Name

router = APIRouter(
    prefix="/api/v1/rubrics", tags=["judges"], dependencies=[Depends(known_parameters_only), Depends(names_once)]
)
Viewer = Annotated[Principal, Depends(needs(Role.VIEWER))]
Power = Annotated[Principal, Depends(needs(Role.POWER_USER))]


@router.get("", response_model=shapes.Rubrics)
def list_rubrics(caller: Viewer, services: ServicesOf, name: Annotated[Name | None, Query()] = None) -> Response:
    """The versions of a rubric, or of all."""
    found = services.control.rubrics(caller.tenant, name)
    return answer({"items": [shapes.rubric_told(one) for one in found], "next_cursor": None})


@router.post("", status_code=201, response_model=shapes.RubricShown)
def add_rubric(wanted: shapes.NewRubric, caller: Power, services: ServicesOf) -> Response:
    """Keeps a version of a rubric; one that says the same is left as it is. Raises InvalidInput naming the part of the
    file, Conflict when the version is there with another text."""
    from judges.rubrics import read_rubric
    from judges.stored import rubric_record

    made = services.control.add_rubric(rubric_record(caller.tenant, read_rubric(wanted.text)), by=caller)
    return answer(shapes.rubric_told(made), status=201)


@router.get("/{name}", response_model=shapes.RubricShown)
def read_one_rubric(
    name: Name, caller: Viewer, services: ServicesOf, version: Annotated[int | None, Query(ge=1)] = None
) -> Response:
    """A version of a rubric, the newest where none is named. Raises NotFound."""
    return answer(shapes.rubric_told(services.control.rubric(caller.tenant, name, version)))
