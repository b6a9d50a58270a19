"""The API over real parts on a temporary folder, with keys of two tenants, for tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from starlette.testclient import TestClient

from core.ids import TenantId
from core.records import Role
from server.app import create_app
from server.settings import Settings
from server.wiring import Services, build_services

AIRLINE, SHOP = TenantId("airline"), TenantId("shop")


@dataclass(frozen=True, kw_only=True)
class Shell:
    """A server in this process and what knocks at its door."""

    services: Services
    client: TestClient
    keys: dict[tuple[TenantId, Role], str]

    def headers(self, role: Role = Role.ADMIN, tenant: TenantId = AIRLINE) -> dict[str, str]:
        """The credential of a role."""
        return {"Authorization": f"Bearer {self.keys[tenant, role]}"}


@contextmanager
def running_shell(folder: Path) -> Iterator[Shell]:
    """Builds and at the end closes it."""
    services = build_services(Settings(data=folder / "data"))
    keys = {}
    for tenant in (AIRLINE, SHOP):
        services.control.ensure_tenant(tenant)
        for role in Role:
            keys[tenant, role] = services.control.create_key(tenant, role, f"{role.value} of {tenant}")[1]
    with TestClient(create_app(services), base_url="http://127.0.0.1", raise_server_exceptions=False) as client:
        yield Shell(services=services, client=client, keys=keys)
    services.control.close()
