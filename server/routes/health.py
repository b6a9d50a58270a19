"""Whether the server is alive, whether it is well, and what it can be asked. Open to everyone; tells no numbers."""

from __future__ import annotations

import urllib.request
from collections.abc import Callable
from typing import Any, Literal

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel

from core.errors import AssayError
from server.policy import ServicesOf, anyone
from store.lake import Lake

State = Literal["ok", "degraded", "failed"]

router = APIRouter(dependencies=[Depends(anyone)], tags=["health"])


class Health(BaseModel):
    """`status` is the worst of the checks. degraded: files of the lake are damaged, everything else is served."""

    status: State
    version: str
    checks: dict[str, State]


@router.get("/healthz", include_in_schema=False)
def alive() -> dict[str, str]:
    """Answers as soon as the process serves requests."""
    return {"status": "ok"}


@router.get("/api/v1/health")
def health(services: ServicesOf, response: Response) -> Health:
    """Whether the control database and the lake can be read; 503 when one cannot. `assay doctor` names the damage."""
    checks = {"control": _state(services.control.check), "lake": _state(lambda: _read_log(services.lake))}
    if checks["lake"] == "ok" and (services.lake.damaged() or services.lake.unreadable()):
        checks["lake"] = "degraded"
    worst = max(checks.values(), key=("ok", "degraded", "failed").index)
    response.status_code = 503 if worst == "failed" else 200
    return Health(status=worst, version=services.version, checks=checks)


def _state(check: Callable[[], None]) -> State:
    try:
        check()
    except AssayError:
        return "failed"
    return "ok"


def _read_log(lake: Lake) -> None:
    lake.snapshot("spans")


@router.get("/api/v1/ready")
def ready(services: ServicesOf, response: Response) -> dict[str, str]:
    """200 once spans can be sent and read: the collector of this installation answers too; else 503.

    Its `status` is ok, starting (503), or degraded: ready, but files of the lake are damaged.
    """
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{services.settings.http_port}/healthz", timeout=2) as answer:
            well = answer.status == 200
    except OSError:
        well = False
    response.status_code = 200 if well else 503
    if not well:
        return {"status": "starting"}
    return {"status": "degraded" if services.lake.damaged() or services.lake.unreadable() else "ok"}


@router.get("/api/v1/openapi.json", include_in_schema=False)
def openapi(request: Request) -> dict[str, Any]:
    """The description of this API, OpenAPI 3.1."""
    description: dict[str, Any] = request.app.openapi()
    return description
