"""What a server does for monitors by the clock: every minute it looks at those of a tenant."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from core.errors import Conflict
from core.ids import TenantId
from server.wiring import Services
from server.works import Done
from store.control.monitoring import MONITORS_JOB

if TYPE_CHECKING:
    from monitors.service_evaluate import Evaluator

TRIES: Final = 3  # of one look, when people change what it reads meanwhile


class MonitorRounds:
    """Looks at the monitors of a tenant. What it finds is written only while `owner` has the job."""

    def __init__(self, services: Services, owner: str) -> None:
        self._services = services
        self._owner = owner

    def tenants(self) -> set[TenantId]:
        """Those with monitors, and those without whose incidents may still have to close, or whose alerts to end."""
        control = self._services.control
        looked_at = {one.tenant for one in control.jobs(None, MONITORS_JOB)}
        return {one.tenant for one in control.monitors(None)} | looked_at

    def run(self, tenant: TenantId, stop: threading.Event) -> Done:
        """One look at all of them. Raises AssayError; Conflict where people changed them meanwhile, again and again."""
        for left in reversed(range(TRIES)):
            try:
                found = self._evaluator(tenant).look()
                failed = "; ".join(f"{name}: {why}" for name, why in sorted(found.failed.items()))
                return Done(told=found.as_json(), trouble=failed or None)
            except Conflict:
                if not left:
                    raise
        raise AssertionError("unreachable")

    def _evaluator(self, tenant: TenantId) -> Evaluator:
        from monitors.service_evaluate import Evaluator  # what statistics need costs memory, not spent for nothing

        services = self._services
        return Evaluator(
            control=services.control, store=services.store.tenant(tenant), clock=services.clock, owner=self._owner
        )
