"""API keys of the caller's tenant: list, create, revoke. A key's text is answered once, when it is made."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel, ConfigDict, Field

from core.clock import to_datetime
from core.ids import KeyId
from core.records import Principal, Role
from core.windows import parse_moment
from server.policy import ServicesOf, known_parameters_only, names_once, needs
from store.control.records import KeyRecord

router = APIRouter(
    prefix="/api/v1/keys", tags=["keys"], dependencies=[Depends(known_parameters_only), Depends(names_once)]
)

Admin = Annotated[Principal, Depends(needs(Role.ADMIN))]


class NewKey(BaseModel):
    """What a new key shall be. `expires_at` is RFC 3339 with a zone; null never expires."""

    model_config = ConfigDict(extra="forbid")

    role: Role
    name: Annotated[str, Field(min_length=1, max_length=200)]
    expires_at: str | None = None


class Key(BaseModel):
    """A key as people see it."""

    key_id: str
    role: Role
    name: str
    created_at: str
    expires_at: str | None
    revoked_at: str | None
    last_used_at: str | None


class Keys(BaseModel):
    """All keys of a tenant, oldest first."""

    items: list[Key]
    next_cursor: None = None


class MadeKey(Key):
    """A new key with its text, which cannot be shown again."""

    key: str


@router.get("")
def list_keys(caller: Admin, services: ServicesOf) -> Keys:
    """The tenant's keys, revoked ones too."""
    return Keys(items=[_shown(record) for record in services.control.list_keys(caller.tenant)])


@router.post("", status_code=201)
def create_key(wanted: NewKey, caller: Admin, services: ServicesOf, response: Response) -> MadeKey:
    """Makes a key of the caller's tenant."""
    expires = None if wanted.expires_at is None else parse_moment(wanted.expires_at, "expires_at")
    record, text = services.control.create_key(caller.tenant, wanted.role, wanted.name, expires, by=caller)
    response.headers["Cache-Control"] = "no-store"
    return MadeKey(**_shown(record).model_dump(), key=text)


@router.delete("/{key_id}")
def revoke_key(key_id: str, caller: Admin, services: ServicesOf) -> Key:
    """Ends a key's life; it stops working within two seconds everywhere. The last admin key cannot be revoked."""
    return _shown(services.control.revoke_key(caller.tenant, KeyId(key_id), by=caller))


def _shown(record: KeyRecord) -> Key:
    return Key(
        key_id=record.key_id,
        role=record.role,
        name=record.name,
        created_at=rfc3339(record.created_at_ns) or "",
        expires_at=rfc3339(record.expires_at_ns),
        revoked_at=rfc3339(record.revoked_at_ns),
        last_used_at=rfc3339(record.last_used_at_ns),
    )


def rfc3339(ns: int | None) -> str | None:
    """RFC 3339 in UTC with microseconds; None stays None."""
    return None if ns is None else to_datetime(ns).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
