"""The first start of an installation: a tenant, a first admin key, a key for the dashboard, and credentials.json.

Running it again changes nothing that is still valid.
"""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path
from typing import Any, Final

from core.clock import system_clock
from core.errors import Unauthenticated
from core.ids import TenantId
from core.keytext import digest, parse
from core.records import Role
from server.control_access import open_control, pepper_of
from server.settings import Settings
from store.control.control import Control

TENANT: Final = TenantId("default")


def bootstrap(settings: Settings) -> dict[str, str]:
    """Makes what is missing and returns the content of credentials.json.

    Raises StorageFailed, Corrupt; Unauthenticated when ASSAY_BOOTSTRAP_KEY is not a key's text; Conflict when its id
    belongs to another key.
    """
    path = settings.data / "credentials.json"
    old = _read(path)
    control = open_control(settings)
    try:
        control.ensure_tenant(TENANT)
        wanted = settings.bootstrap_key.get_secret_value() if settings.bootstrap_key else None
        pepper = pepper_of(settings)
        if wanted is not None:
            parse(wanted)
        key = _valid(control, pepper, wanted or old.get("key"), Role.ADMIN)
        if key is None:
            key = control.create_key(TENANT, Role.ADMIN, "first admin", plaintext=wanted)[1]
        dashboard = _valid(control, pepper, old.get("dashboard_key"), Role.USER)
        if dashboard is None:
            dashboard = control.create_key(TENANT, Role.USER, "dashboard")[1]
    finally:
        control.close()
    credentials = {
        "url": settings.api_url,
        "tenant": str(TENANT),
        "key": key,
        "key_id": str(parse(key).key_id),
        "dashboard_key": dashboard,
    }
    if credentials != old:
        write_private(path, json.dumps(credentials, indent=2) + "\n")
    return credentials


def write_private(path: Path, text: str) -> None:
    """Replaces `path` by `text` in one step, mode 0600, durable."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _valid(control: Control, pepper: bytes, text: object, role: Role) -> str | None:
    """`text` when it is a usable key of the tenant with at least this role."""
    if not isinstance(text, str):
        return None
    try:
        parsed = parse(text)
    except Unauthenticated:
        return None  # a credentials.json that was edited by hand
    record = control.find_key(parsed.key_id)
    if record is None or record.digest != digest(parsed.secret, pepper):
        return None
    fits = record.tenant == TENANT and record.role.allows(role) and record.usable(system_clock())
    return text if fits else None
