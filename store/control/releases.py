"""Releases: rows that are written once. The same name with the same content is the same release; other content is
refused."""

from __future__ import annotations

import json
from typing import Any, Final

from sqlalchemy import Connection

from core.errors import Conflict, InvalidInput
from core.ids import TenantId
from store.control import seals
from store.control.records import Json, ReleaseRecord, ReleaseSpec
from store.control.tables import RELEASES

MOST_PARAMETERS: Final = 20_000  # characters of JSON
_SAID: Final = ("app", "name", "variant", "model", "provider", "prompt_version", "endpoint")


def content_of(spec: ReleaseSpec) -> Json:
    """The release as a JSON object."""
    return {**{name: getattr(spec, name) for name in _SAID}, "parameters": spec.parameters}


def find(connection: Connection, tenant: TenantId, app: str, name: str) -> ReleaseRecord | None:
    """The release, or None."""
    row = seals.one(connection, RELEASES, {"tenant": str(tenant), "app": app, "name": name})
    return None if row is None else _record(row)


def rows(connection: Connection, tenant: TenantId, app: str | None) -> list[ReleaseRecord]:
    """The releases of a tenant, of one app or of all, by app, newest first."""
    key = {"tenant": str(tenant)} | ({} if app is None else {"app": app})
    found = map(_record, seals.rows(connection, RELEASES, key))
    return sorted(found, key=lambda one: (one.spec.app, -one.created_at_ns, one.spec.name))


def same(found: ReleaseRecord, spec: ReleaseSpec) -> ReleaseRecord:
    """`found`, when it has the content of `spec`. Raises Conflict naming what differs."""
    differs = [name for name in _SAID if getattr(found.spec, name) != getattr(spec, name)]
    if _text(found.spec.parameters) != _text(spec.parameters):
        differs.append("parameters")
    if differs:
        raise Conflict(
            f"this app has a release of that name with another {', '.join(differs)}; a release never changes: "
            "give the new one a name of its own"
        )
    return found


def add(connection: Connection, tenant: TenantId, spec: ReleaseSpec, at_ns: int, by: str) -> ReleaseRecord:
    """Writes a release. Raises InvalidInput when its parameters are too long."""
    text = _text(spec.parameters)
    if len(text) > MOST_PARAMETERS:
        raise InvalidInput(f"parameters are longer than {MOST_PARAMETERS:,} characters as JSON", field="parameters")
    values = {name: getattr(spec, name) for name in _SAID}
    kept = {**values, "tenant": str(tenant), "parameters": text, "created_at_ns": at_ns, "created_by": by}
    seals.add(connection, RELEASES, kept)
    return ReleaseRecord(tenant=tenant, spec=spec, created_at_ns=at_ns, created_by=by)


def _text(parameters: Json) -> str:
    return json.dumps(parameters, ensure_ascii=True, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _record(row: Any) -> ReleaseRecord:
    return ReleaseRecord(
        tenant=TenantId(row.tenant),
        spec=ReleaseSpec(**{name: getattr(row, name) for name in _SAID}, parameters=json.loads(row.parameters)),
        created_at_ns=row.created_at_ns,
        created_by=row.created_by,
    )
