"""How many units an experiment takes: computed from what is asked, nothing is read or stored."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel, ConfigDict, Field

from core.errors import InvalidInput
from core.records import Principal, Role
from experiments.records import Design
from experiments.statistics.planning import Wanted, plan
from server.policy import known_parameters_only, names_once, needs
from server.routes.answers import answer

router = APIRouter(
    prefix="/api/v1/experiments/plan",
    tags=["experiments"],
    dependencies=[Depends(known_parameters_only), Depends(names_once)],
)

Number = Annotated[float, Field(allow_inf_nan=False)]


class WantedPlan(BaseModel):
    """What is to be found. `baseline` and `mde` (signed, absolute) in the metric's unit; `sd` of one session's value
    for means. `split`: weights of control and treatment. `sequential` false is one look at the end, whatever the
    `design`."""

    model_config = ConfigDict(extra="forbid")

    baseline: Number
    mde: Number
    kind: Literal["binary", "mean"] = "binary"
    sd: Number | None = None
    alpha: Number = 0.05
    power: Number = 0.8
    sessions_per_user: Number = 1.0
    sessions_cv: Number = 0.0
    icc: Number | None = None
    rho: Number = 0.0
    split: Annotated[list[Number], Field(min_length=2, max_length=2)] = [0.5, 0.5]
    users_per_day: Number | None = None
    n_metrics: int = 1
    sequential: bool = True
    design: Design = Design.GROUP_SEQUENTIAL


class PlanInflation(BaseModel):
    """One reason for more units, or with a factor below 1 for fewer."""

    name: str
    factor: float
    reason: str


class PlanPoint(BaseModel):
    """The power at an effect, with the planned units."""

    effect: float
    power: float


class PlanMade(BaseModel):
    """What it takes. `n_per_arm`: control, treatment. `n_sessions_independent`: of the control, before any inflation.
    `expected_units`: that come on average until it ends if the effect is the mde."""

    units: int
    n_per_arm: list[int]
    sessions: int
    days: int | None
    looks: int
    n_sessions_independent: int
    power: float
    expected_units: int
    expected_units_without_effect: int
    inflations: list[PlanInflation]
    curve: list[PlanPoint]
    notes: list[str]


@router.post("", response_model=PlanMade)
def planned(_: Annotated[Principal, Depends(needs(Role.VIEWER))], wanted: WantedPlan) -> Response:
    """Plans an experiment; nothing is stored."""
    control, treatment = wanted.split
    if not (control > 0 and treatment > 0):
        raise InvalidInput("both weights of a split are above 0", field="split")
    own = {name: getattr(wanted, name) for name in WantedPlan.model_fields if name in Wanted.__dataclass_fields__}
    own |= {"split": treatment / (control + treatment), "design": wanted.design if wanted.sequential else None}
    return answer(plan(Wanted(**own)).as_json())
