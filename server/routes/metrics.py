"""Metrics over stored sessions: pass^k, and what a resolved session costs."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Response
from pydantic import BaseModel, Field

from evaluators.ratios import Ratio
from evaluators.service_passk import ReleasePasses, read_passes
from evaluators.service_ratio import ReleaseCost, read_costs
from evaluators.statistics.passk import PassK
from server.policy import known_parameters_only, names_once
from server.routes.answers import answer
from server.routes.asking import ReadingOf, Text, Times
from server.routes.scores import Name
from store.outcomes import OutcomesAsked

router = APIRouter(
    prefix="/api/v1/metrics", tags=["metrics"], dependencies=[Depends(known_parameters_only), Depends(names_once)]
)


class AskedPassK(Times):
    """Sessions of `app` that begin in the window; `evaluator` chooses where outcomes are of several. A trial succeeded
    when its outcome is `threshold` or more."""

    app: Name
    k: Annotated[int, Field(ge=1, le=1000)] = 1
    release: Text = None
    evaluator: Text = None
    threshold: Annotated[float, Field(allow_inf_nan=False)] = 1.0


class Passed(BaseModel):
    """pass^k or pass@k at one k, over tasks. `se` is clustered by task, null for one task or where all have the same;
    `se_iid` counts trials as independent, which they are not; `plug_in` is of the pooled rate, which is biased."""

    k: int
    value: float
    se: float | None
    se_iid: float
    low: float | None
    high: float | None
    plug_in: float


class PassedRelease(BaseModel):
    """One release. Where a task has fewer than k trials, `refused` says so and the lists end at what can be told."""

    release: str | None
    n_tasks: int
    n_trials: int
    least_trials: int
    pass_hat: list[Passed]
    pass_at: list[Passed]
    refused: str | None


class PassMetrics(BaseModel):
    """pass^1..k and pass@1..k by release."""

    app: str
    evaluator: str
    threshold: float
    k: int
    items: list[PassedRelease]
    n_without_task: int
    n_unscored: int


class AskedCost(Times):
    """Sessions of `app` that begin in the window; `evaluator` chooses where outcomes are of several."""

    app: Name
    release: Text = None
    evaluator: Text = None


class CostOfRelease(BaseModel):
    """US dollars per resolved session over the sessions whose cost and outcome are known, with the standard error by
    user; `unscored` says why there is none. `n_unknown`: sessions of which one of both is not known."""

    release: str | None
    value_usd: float | None
    se_usd: float | None
    n_sessions: int
    n_resolved: int
    n_unknown: int
    unscored: str | None


class CostMetrics(BaseModel):
    """Cost per resolved session by release."""

    app: str
    evaluator: str
    items: list[CostOfRelease]


@router.get("/cost-per-resolved", response_model=CostMetrics)
def read_cost_per_resolved(reading: ReadingOf, asked: Annotated[AskedCost, Query()]) -> Response:
    """What a resolved session costs: all dollars of the sessions, resolved or not, for each that was resolved."""
    wanted = OutcomesAsked(
        window=reading.window(asked), app=asked.app, release=asked.release, as_of_ns=reading.as_of_ns(asked)
    )
    evaluator, found = read_costs(reading.store, wanted, asked.evaluator)
    return answer({"app": asked.app, "evaluator": evaluator, "items": [_cost(one) for one in found]})


@router.get("/pass-k", response_model=PassMetrics)
def read_pass_k(reading: ReadingOf, asked: Annotated[AskedPassK, Query()]) -> Response:
    """pass^k of stored trials: sessions whose outcome names the task they tried."""
    wanted = OutcomesAsked(
        window=reading.window(asked), app=asked.app, release=asked.release, as_of_ns=reading.as_of_ns(asked)
    )
    found = read_passes(reading.store, wanted, asked.k, evaluator=asked.evaluator, threshold=asked.threshold)
    told = {"app": asked.app, "evaluator": found.evaluator, "threshold": found.threshold, "k": found.k}
    left = {"n_without_task": found.n_without_task, "n_unscored": found.n_unscored}
    return answer({**told, "items": [_release(one) for one in found.releases], **left})


def _cost(one: ReleaseCost) -> dict[str, Any]:
    found = one.found
    if not isinstance(found, Ratio):
        none = {"value_usd": None, "se_usd": None, "n_resolved": 0, "n_unknown": 0, "unscored": found.text}
        return {"release": one.release, "n_sessions": one.n_sessions, **none}
    said = {"value_usd": found.value, "se_usd": found.standard_error, "unscored": None}
    counts = {"n_sessions": found.n_sessions, "n_resolved": found.n_resolved, "n_unknown": found.n_unscored}
    return {"release": one.release, **said, **counts}


def _release(one: ReleasePasses) -> dict[str, Any]:
    return {
        **{name: getattr(one, name) for name in ("release", "n_tasks", "n_trials", "least_trials", "refused")},
        "pass_hat": [_passed(each) for each in one.pass_hat],
        "pass_at": [_passed(each) for each in one.pass_at],
    }


def _passed(one: PassK) -> dict[str, Any]:
    interval = one.interval
    ends = {"low": None, "high": None} if interval is None else {"low": interval.low, "high": interval.high}
    return {**{name: getattr(one, name) for name in ("k", "value", "se", "se_iid", "plug_in")}, **ends}
