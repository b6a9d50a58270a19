"""Whether the server is alive, whether it is well, and what it can be asked. Open to everyone: it tells no numbers, and
no name but those of Assay's own jobs."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable
from typing import Any, Literal

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel

from core.errors import AssayError
from server.policy import ServicesOf, anyone
from server.wiring import Services
from store.lake import Lake

State = Literal["ok", "degraded", "failed"]

router = APIRouter(dependencies=[Depends(anyone)], tags=["health"])


class Health(BaseModel):
    """`status` is the worst of the checks. degraded: files of the lake are damaged, or jobs were given up, which
    `dead_jobs` names; everything else is served."""

    status: State
    version: str
    checks: dict[str, State]
    dead_jobs: list[str]


class Ready(BaseModel):
    """Whether spans can be sent and read. `dead_jobs`: those that were given up, which turns nothing away."""

    status: Literal["ok", "degraded", "failed", "starting", "refusing"]
    dead_jobs: list[str]


@router.get("/healthz", include_in_schema=False)
def alive() -> dict[str, str]:
    """Answers as soon as the process serves requests."""
    return {"status": "ok"}


@router.get("/api/v1/health")
def health(services: ServicesOf, response: Response) -> Health:
    """Whether the control database and the lake can be read; 503 when one cannot. `assay doctor` names the damage,
    `assay jobs list --state dead` says of whom a job was given up, and why."""
    checks = {"control": _state(services.control.check), "lake": _state(lambda: _read_log(services.lake))}
    if checks["lake"] == "ok" and (services.lake.damaged() or services.lake.unreadable()):
        checks["lake"] = "degraded"
    dead = _dead_jobs(services)
    checks["jobs"] = "ok" if dead == [] else "degraded"
    worst = max(checks.values(), key=("ok", "degraded", "failed").index)
    response.status_code = 503 if worst == "failed" else 200
    return Health(status=worst, version=services.version, checks=checks, dead_jobs=dead or [])


def _dead_jobs(services: Services) -> list[str] | None:
    """The jobs that were given up, by name; None where nobody can tell."""
    try:
        return services.control.dead_jobs()
    except AssayError:
        return None


def _state(check: Callable[[], None]) -> State:
    try:
        check()
    except AssayError:
        return "failed"
    return "ok"


def _read_log(lake: Lake) -> None:
    lake.snapshot("spans")


@router.get("/api/v1/ready")
def ready(services: ServicesOf, response: Response) -> Ready:
    """200 once spans can be sent and read: the collector of this installation answers and takes requests; else 503.

    Its `status` is ok, failed (503: the control database, which holds the keys, does not answer), starting (503: no
    collector answers, it makes no progress, or its gRPC door is closed), refusing (503: no room, see the collector's
    /healthz), or degraded: ready, but files of the lake are damaged, or jobs were given up. Those are named and turn
    nothing away: another server would do them no better, and spans are taken as before.
    """
    control = _state(services.control.check)
    doors = control if control == "failed" else _doors(services.settings.http_port)
    response.status_code = 200 if doors == "ok" else 503
    dead = [] if control == "failed" else _dead_jobs(services) or []
    if doors != "ok":
        return Ready(status=doors, dead_jobs=dead)
    harmed = dead or services.lake.damaged() or services.lake.unreadable()
    return Ready(status="degraded" if harmed else "ok", dead_jobs=dead)


def _doors(port: int) -> Literal["ok", "starting", "refusing"]:
    """What the collector's doors on this machine do with a request."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=2) as answer:
            refusing = json.loads(answer.read()).get("refusing")
    except (OSError, ValueError, AttributeError):
        return "starting"
    return "refusing" if refusing else "ok"


@router.get("/api/v1/openapi.json", include_in_schema=False)
def openapi(request: Request) -> dict[str, Any]:
    """The description of this API, OpenAPI 3.1."""
    description: dict[str, Any] = request.app.openapi()
    return description
