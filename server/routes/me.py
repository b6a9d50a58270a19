"""Who the caller is."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import BaseModel

from core.records import Principal, Role
from server.policy import known_parameters_only, needs

router = APIRouter(prefix="/api/v1", tags=["me"], dependencies=[Depends(known_parameters_only)])


class Me(BaseModel):
    """The principal behind the key."""

    tenant: str
    role: Role
    name: str


@router.get("/me")
def me(caller: Annotated[Principal, Depends(needs(Role.VIEWER))]) -> Me:
    """The caller's tenant, role and name."""
    return Me(tenant=caller.tenant, role=caller.role, name=caller.name)
