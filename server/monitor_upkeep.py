"""Once a day what monitors left behind long ago is forgotten: `monitors_kept_days`."""

from __future__ import annotations

import threading
from typing import Final

from core.clock import NS_PER_S
from core.ids import TenantId
from server.wiring import Services
from server.works import DAY_S, Done

UPKEEP_JOB: Final = "monitors-upkeep"
HOUR: Final = 3  # at three at night, UTC


class MonitorUpkeep:
    """Forgets what of a tenant is older than it is kept."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def run(self, tenant: TenantId, stop: threading.Event) -> Done:
        """Does so, and tells how many rows of what. Raises AssayError."""
        services = self._services
        kept_ns = services.settings.monitors_kept_days * round(DAY_S) * NS_PER_S
        return Done(told=services.control.forget_monitoring(tenant, services.clock() - kept_ns))
