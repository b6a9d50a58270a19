"""The API over real parts on a temporary folder, with keys of two tenants, for tests of this folder."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn
from starlette.testclient import TestClient

from core.clock import Clock, system_clock
from core.ids import TenantId
from core.records import Role
from server.app import create_app
from server.http_protocol import BoundedProtocol
from server.settings import Settings
from server.wiring import Services, build_services
from tests.first_start import begun
from tests.waiting import wait_until

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
def running_shell(folder: Path, clock: Clock = system_clock, **settings: Any) -> Iterator[Shell]:
    """Builds and at the end closes it."""
    services = build_services(Settings(data=begun(folder / "data"), **settings), clock)
    keys = {}
    for tenant in (AIRLINE, SHOP):
        services.control.ensure_tenant(tenant)
        for role in Role:
            keys[tenant, role] = services.control.create_key(tenant, role, f"{role.value} of {tenant}")[1]
    with TestClient(create_app(services), base_url="http://127.0.0.1", raise_server_exceptions=False) as client:
        yield Shell(services=services, client=client, keys=keys)
    services.control.close()


@contextmanager
def served(services: Services) -> Iterator[str]:
    """The API behind uvicorn on a free port, with the protocol that `assay serve server` gives it; yields its URL."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        config = uvicorn.Config(create_app(services), http=BoundedProtocol, log_level="error", server_header=False)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        wait_until(lambda: server.started, 20, "uvicorn to listen")
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        server.should_exit = True
        thread.join(20)
