"""The false pages that are allowed: how many, over which monitors they are divided, and what of them is used."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response
from pydantic import BaseModel, ConfigDict

from core.records import Principal, Role
from monitors.service_budget import budget_of, set_budget
from server.policy import known_parameters_only, names_once, needs
from server.routes.answers import answer
from server.routes.asking import ReadingOf
from server.routes.scores import Name

router = APIRouter(
    prefix="/api/v1/monitors",
    tags=["monitors"],
    dependencies=[Depends(known_parameters_only), Depends(names_once)],
)

PowerUser = Annotated[Principal, Depends(needs(Role.POWER_USER))]


class WantedBudget(BaseModel):
    """So many false pages a week of `app`, or of all apps together where it is null; null: nothing is said of it."""

    model_config = ConfigDict(extra="forbid")

    app: Name | None = None
    false_pages_per_week: float | None
    dry_run: bool = False


class AskedBudget(BaseModel):
    """The monitors of one app, or of all."""

    model_config = ConfigDict(extra="forbid")

    app: Name | None = None


class Allowed(BaseModel):
    """What is allowed of an app; null: altogether."""

    app: str | None
    false_pages_per_week: float


class SpentTold(BaseModel):
    """A monitor that is on: what it asks for, what it was allotted (null: it takes no part, `why` says more), after how
    many points one of its series breaches falsely, false pages a week to expect, and pages in the last four weeks."""

    name: str
    app: str
    series: str
    severity: str
    step: str
    n_series: int
    asked: float
    allotted: float | None
    points: float | None
    expected: float | None
    pages: int
    why: str


class BudgetTold(BaseModel):
    """What is allowed, and a week's use of it: what the bands of all monitors that page are made for, and the pages
    there were in the last four weeks, false or not."""

    budgets: list[Allowed]
    expected_per_week: float
    pages_per_week: float
    monitors: list[SpentTold]
    dry_run: bool = False


@router.get("/budget", response_model=BudgetTold)
def read_budget(reading: ReadingOf, asked: Annotated[AskedBudget, Query()]) -> Response:
    """How the false pages that are allowed are divided, and what of them is used."""
    found = budget_of(reading.services.control, reading.caller.tenant, reading.services.clock(), app=asked.app)
    return answer({**found.as_json(), "dry_run": False})


@router.put("/budget", response_model=BudgetTold)
def put_budget(wanted: WantedBudget, caller: PowerUser, reading: ReadingOf) -> Response:
    """Allows so many false pages a week. Raises InvalidInput."""
    services = reading.services
    found = set_budget(
        services.control, caller.tenant, wanted.app, wanted.false_pages_per_week, services.clock(), by=caller,
        dry_run=wanted.dry_run,
    )  # fmt: skip
    return answer({**found.as_json(), "dry_run": wanted.dry_run})
