"""Online evaluation: which rules look at an app's sessions once they have ended, and how far behind they are."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Response
from pydantic import BaseModel, ConfigDict, Field

from core.clock import NS_PER_S
from core.records import Principal, Role
from core.windows import Window
from evaluators import owners
from evaluators.online.planning import is_sampled
from evaluators.online.service import Memory, last_seqs, look, online_evaluators
from server.policy import ServicesOf, known_parameters_only, names_once, needs
from server.routes.answers import answer
from server.routes.keys import rfc3339
from server.routes.scores import Name
from server.wiring import Services
from store.control.online import ANY_APP, LONGEST_IDLE_S, MOST_EVALUATORS, OnlineChoice
from store.tenant import TenantStore

router = APIRouter(
    prefix="/api/v1/evaluators/online",
    tags=["evaluators"],
    dependencies=[Depends(known_parameters_only), Depends(names_once)],
)

App = Annotated[Name, Path()]
Viewer = Annotated[Principal, Depends(needs(Role.VIEWER))]


class WantedOnline(BaseModel):
    """What is to look at an app's sessions (`*`: every app without a choice of its own) from now on: names of built-in
    or own evaluators, none for nothing. `dry_run` says what would be and changes nothing."""

    model_config = ConfigDict(extra="forbid")

    evaluators: Annotated[list[Name], Field(max_length=MOST_EVALUATORS)]
    share: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = 1.0
    idle_s: Annotated[float, Field(ge=1, le=LONGEST_IDLE_S, allow_inf_nan=False)] = 30.0
    dry_run: bool = False


class Choice(BaseModel):
    """What looks at an app's sessions: for which share of them, and how long after its last span one has ended."""

    app: str
    evaluators: list[str]
    share: float
    idle_s: float
    changed_at: str
    changed_by: str


class OnlineStatus(BaseModel):
    """How far it is. `n_waiting`: sessions that are open, or ended and not evaluated; `oldest_wait_s`: since the last
    span of the one that waits longest; `lag_ms`: the longest time from last span to score in the last piece of work;
    `interval_s` 0: this server does not look."""

    interval_s: float
    at_work: bool
    n_waiting: int
    n_due: int
    oldest_wait_s: float | None
    n_sessions: int
    n_scores: int
    lag_ms: float | None
    last_work_at: str | None


class Online(BaseModel):
    """Every choice, by app, and how far it is."""

    items: list[Choice]
    next_cursor: None = None
    status: OnlineStatus


class ChangedOnline(Choice):
    """The choice from now on. `n_day`: the sessions of the last day it would have looked at, out of `n_day_all`."""

    dry_run: bool
    n_day: int
    n_day_all: int


@router.get("", response_model=Online)
def read_online(caller: Viewer, services: ServicesOf) -> Response:
    """What looks at which app's sessions, and how far behind."""
    choices = services.control.online_choices(caller.tenant)
    return answer(
        {"items": [_choice(one) for one in choices], "next_cursor": None, "status": _status(services, caller, choices)}
    )


@router.put("/{app:path}", response_model=ChangedOnline)
def set_online(
    app: App, wanted: WantedOnline, caller: Annotated[Principal, Depends(needs(Role.POWER_USER))], services: ServicesOf
) -> Response:
    """Chooses what looks at an app's sessions from now on. Raises InvalidInput for evaluators that are not there, do
    not score sessions, or compare with what an example expects."""
    names = tuple(one.spec.name for one in online_evaluators(wanted.evaluators))
    choice = OnlineChoice(
        tenant=caller.tenant,
        app=app,
        evaluators=names,
        share=wanted.share,
        idle_s=wanted.idle_s,
        changed_at_ns=services.clock(),
        changed_by=caller.name[:200],
    )
    store = services.store.tenant(caller.tenant)
    if not wanted.dry_run:
        choice = services.control.set_online(choice, last_seqs(store), by=caller)
    n_day, n_all = _last_day(store, choice, services.clock())
    return answer({**_choice(choice), "dry_run": wanted.dry_run, "n_day": n_day, "n_day_all": n_all})


def _status(services: Services, caller: Principal, choices: list[OnlineChoice]) -> dict[str, Any]:
    mark, now = services.control.online_mark(caller.tenant), services.clock()
    status: dict[str, Any] = {"interval_s": services.settings.online_interval_s, "at_work": False, "n_waiting": 0}
    status |= {"n_due": 0, "oldest_wait_s": None, "n_sessions": 0, "n_scores": 0, "lag_ms": None, "last_work_at": None}
    if mark is None:
        return status
    found = look(services.store.tenant(caller.tenant), mark, choices, Memory(), now)
    waits = [max(0.0, (now - one.session.end_ns) / NS_PER_S) for one in found.waiting]
    told = mark.told
    return status | {
        "at_work": mark.owner is not None and mark.lease_until_ns > now,
        "n_waiting": len(found.waiting),
        "n_due": len(found.due),
        "oldest_wait_s": max(waits, default=None),
        "n_sessions": told.get("n_sessions", 0),
        "n_scores": told.get("n_scores", 0),
        "lag_ms": told.get("lag_ms"),
        "last_work_at": rfc3339(told["at_ns"]) if "at_ns" in told else None,
    }


def _last_day(store: TenantStore, choice: OnlineChoice, now_ns: int) -> tuple[int, int]:
    """How many sessions of the last day are in the choice's share, and how many there were."""
    window = Window(start_ns=now_ns - 86_400 * NS_PER_S, end_ns=now_ns + 1)
    found = owners.beginning_in(store, window, None if choice.app == ANY_APP else choice.app, None)
    names = found["session_id"].to_list()
    looked_at = [one for one in names if choice.evaluators and is_sampled(choice.tenant, one, choice.share)]
    return len(looked_at), len(names)


def _choice(one: OnlineChoice) -> dict[str, Any]:
    said = {"app": one.app, "evaluators": list(one.evaluators), "share": one.share, "idle_s": one.idle_s}
    return {**said, "changed_at": rfc3339(one.changed_at_ns), "changed_by": one.changed_by}
