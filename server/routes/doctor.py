"""What `assay doctor` shows of a running server: data folder, collector, and the tenant's ledger and audit chain."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel

from core.errors import Corrupt
from core.ids import TenantId
from core.records import Principal, Role
from server.place import place_of
from server.policy import ServicesOf, known_parameters_only, needs
from server.wiring import Services
from store.control.ledger_checks import ledger_checks
from store.doctor import Check, Settled, examine

router = APIRouter(prefix="/api/v1/doctor", tags=["doctor"], dependencies=[Depends(known_parameters_only)])
ASK_S: Final = 5.0


class Finding(BaseModel):
    """One check: `status` is ok, warn or fail; `remedy` says what to do, empty when nothing."""

    name: str
    status: str
    detail: str
    remedy: str


class Findings(BaseModel):
    """All checks."""

    checks: list[Finding]


@router.get("")
def read_doctor(
    caller: Annotated[Principal, Depends(needs(Role.ADMIN))],
    services: ServicesOf,
    scrub: Annotated[bool, Query(description="read every lake file and compare its hash")] = True,
) -> Findings:
    """Looks the installation over. With `scrub` it reads the whole lake. It names files and counts rows of the caller's
    tenant only."""
    settings = services.settings
    settled = _settled(services, caller.tenant)  # before the lake is looked at: it may only be ahead of the ledger
    found = examine(place_of(settings), scrub=scrub, tenant=caller.tenant, settled=settled)
    checks = [_collector(settings.http_port), *found]
    try:
        checks += ledger_checks(services.control.ledger(caller.tenant))
    except Corrupt as error:
        remedy = "assay doctor --repair, or restore a backup of control.db"
        checks.append(Check(name="ledger", status="fail", detail=str(error), remedy=remedy))
    verdict = services.control.verify(caller.tenant)
    checks.append(
        Check(
            name="audit log",
            status="ok" if verdict.ok else "fail",
            detail=f"chain intact, records: {verdict.n_records}" if verdict.ok else str(verdict.reason),
            remedy="" if verdict.ok else "somebody changed the control database: compare with a backup",
        )
    )
    return Findings(checks=[Finding(name=c.name, status=c.status, detail=c.detail, remedy=c.remedy) for c in checks])


def _settled(services: Services, tenant: TenantId) -> Settled:
    """What the ledger says; nothing where it is damaged, which is checked by itself."""
    try:
        watermarks = services.control.watermarks()
        return Settled.of(watermarks, services.control.ledger(tenant))
    except Corrupt:
        return Settled(upto={}, stored={})


def _collector(port: int) -> Check:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=ASK_S) as answer:
            found = json.loads(answer.read())
    except urllib.error.HTTPError as error:
        found = json.loads(error.read())
    except (OSError, ValueError) as error:
        remedy = "assay serve collector, or look at its log"
        return Check(name="collector", status="fail", detail=f"none answers on port {port}: {error}", remedy=remedy)
    backlog = found["backlog"]
    waiting = f"{backlog['bytes'] / 2**20:.1f} MiB, oldest {backlog['oldest_s']} s"
    detail = f"requests that wait: {backlog['entries']} ({waiting})"
    if found.get("refusing"):
        remedy = "free some space; no restart is needed"
        return Check(name="collector", status="fail", detail=f"refuses requests: {found['refusing']}", remedy=remedy)
    if found.get("grpc") == "closed":
        remedy = "see its log; the door opens again by itself once the port is free"
        return Check(name="collector", status="fail", detail="does not listen for gRPC", remedy=remedy)
    if found["status"] != "ok":
        return Check(name="collector", status="fail", detail=f"{detail}; {backlog['trouble']}", remedy="see its log")
    return Check(name="collector", status="ok", detail=detail)
