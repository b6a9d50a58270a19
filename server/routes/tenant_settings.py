"""The choices of a tenant: what happens to personal information, and for how long rows are kept."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field

from core.records import PiiEntity, PiiMode, PiiPolicy, Principal, Role
from server.policy import ServicesOf, known_parameters_only, names_once, needs
from store.control.records import TenantRecord

router = APIRouter(
    prefix="/api/v1/tenant", tags=["tenant"], dependencies=[Depends(known_parameters_only), Depends(names_once)]
)

Admin = Annotated[Principal, Depends(needs(Role.ADMIN))]


class Pii(BaseModel):
    """One mode for everything, and exceptions by entity."""

    model_config = ConfigDict(extra="forbid")

    default: PiiMode
    by_entity: dict[PiiEntity, PiiMode] = Field(default_factory=dict)


class TenantSettings(BaseModel):
    """All choices of a tenant. `retention_days` null keeps everything."""

    model_config = ConfigDict(extra="forbid")

    pii: Pii
    retention_days: Annotated[int, Field(ge=1, le=36_500)] | None


@router.get("/settings")
def read_settings(caller: Admin, services: ServicesOf) -> TenantSettings:
    """The tenant's choices."""
    return _shown(services.control.tenant(caller.tenant))


@router.put("/settings")
def replace_settings(wanted: TenantSettings, caller: Admin, services: ServicesOf) -> TenantSettings:
    """Replaces the tenant's choices; they apply to what arrives from now on."""
    policy = PiiPolicy(default=wanted.pii.default, by_entity=dict(wanted.pii.by_entity))
    return _shown(
        services.control.set_settings(caller.tenant, pii=policy, retention_days=wanted.retention_days, by=caller)
    )


def _shown(record: TenantRecord) -> TenantSettings:
    return TenantSettings(
        pii=Pii(default=record.pii.default, by_entity=record.pii.by_entity), retention_days=record.retention_days
    )
