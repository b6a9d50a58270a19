"""Whether the server is alive, whether it is well, and what it can be asked. Open to everyone; tells no numbers."""

from __future__ import annotations

import urllib.request
from typing import Any, Literal

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel

from core.errors import AssayError
from server.policy import ServicesOf, anyone

router = APIRouter(dependencies=[Depends(anyone)], tags=["health"])


class Health(BaseModel):
    """`status` is the worst of the checks."""

    status: Literal["ok", "failed"]
    version: str
    checks: dict[str, Literal["ok", "failed"]]


@router.get("/healthz", include_in_schema=False)
def alive() -> dict[str, str]:
    """Answers as soon as the process serves requests."""
    return {"status": "ok"}


@router.get("/api/v1/health")
def health(services: ServicesOf, response: Response) -> Health:
    """Whether the control database and the lake can be read; 503 when one cannot."""
    checks: dict[str, Literal["ok", "failed"]] = {}
    for name, check in (("control", services.control.check), ("lake", lambda: services.lake.snapshot("spans"))):
        try:
            check()
            checks[name] = "ok"
        except AssayError:
            checks[name] = "failed"
    well = all(found == "ok" for found in checks.values())
    response.status_code = 200 if well else 503
    return Health(status="ok" if well else "failed", version=services.version, checks=checks)


@router.get("/api/v1/ready")
def ready(services: ServicesOf, response: Response) -> dict[str, str]:
    """200 once spans can be sent and read: the collector of this installation answers too; else 503."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{services.settings.http_port}/healthz", timeout=2) as answer:
            well = answer.status == 200
    except OSError:
        well = False
    response.status_code = 200 if well else 503
    return {"status": "ok" if well else "starting"}


@router.get("/api/v1/openapi.json", include_in_schema=False)
def openapi(request: Request) -> dict[str, Any]:
    """The description of this API, OpenAPI 3.1."""
    description: dict[str, Any] = request.app.openapi()
    return description
