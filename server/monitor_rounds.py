"""What a server does for monitors by the clock: every minute it looks at those of every tenant, one server at a time.

What runs late or was missed is caught up once. A tenant whose look fails is tried again later, the others go on.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Final

from core.clock import NS_PER_S
from core.errors import AssayError, Conflict
from core.ids import TenantId
from server.monitor_upkeep import upkeep
from server.process_name import is_gone, this_process
from server.wiring import Services
from store.control.monitoring import MONITORS_JOB

if TYPE_CHECKING:
    from monitors.service_evaluate import Evaluator

TRIES: Final = 3  # of one look, when people change what it reads meanwhile
_LOG: Final = logging.getLogger("assay.monitors")


class MonitorRounds:
    """Looks every `monitors_interval_s`. Several servers may try at once: the job of each tenant is one's at a time."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._owner = this_process()
        self._stopping = threading.Event()

    def close(self) -> None:
        """No tenant is begun any more; the look under way ends, or its transaction never was."""
        self._stopping.set()

    def round(self) -> int:
        """One look at every tenant that has monitors; at how many. Failures are told in the log, and tried again."""
        try:
            control = self._services.control
            tenants = sorted({one.tenant for one in control.monitors(None)} | _with_incidents(self._services))
        except AssayError as error:
            _LOG.error("monitors cannot be looked at now, and are tried again: %s", error)
            return 0
        n = 0
        for tenant in tenants:
            if self._stopping.is_set():
                break
            n += self._look(tenant)
            upkeep(self._services, tenant)
        return n

    def _look(self, tenant: TenantId) -> bool:
        control = self._services.control
        try:
            if control.take_job(tenant, MONITORS_JOB, self._owner, is_gone) is None:
                return False
        except AssayError as error:
            _LOG.error("monitors of %s cannot be looked at now: %s", tenant, error)
            return False
        try:
            told = self._looked(tenant)
            control.end_job(tenant, MONITORS_JOB, self._owner, next_ns=self._next_ns(), told=told)
        except Conflict as error:
            _LOG.info("a look at monitors of %s is left: %s", tenant, error)
            self._failed(tenant, str(error))
        except AssayError as error:
            _LOG.error("monitors of %s cannot be looked at now, and are tried again: %s", tenant, error)
            self._failed(tenant, str(error))
        except Exception as defect:
            _LOG.exception("looking at monitors of %s ended in a defect; it is tried again", tenant)
            self._failed(tenant, f"a defect: {type(defect).__name__}")
        return True

    def _looked(self, tenant: TenantId) -> dict[str, object]:
        evaluator = self._evaluator(tenant)
        for left in reversed(range(TRIES)):
            try:
                return evaluator.look().as_json()
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

    def _next_ns(self) -> int:
        """The next whole interval."""
        every = max(1, round(self._services.settings.monitors_interval_s)) * NS_PER_S
        return self._services.clock() // every * every + every

    def _failed(self, tenant: TenantId, error: str) -> None:
        try:
            self._services.control.end_job(tenant, MONITORS_JOB, self._owner, next_ns=0, error=error)
        except AssayError as again:
            _LOG.warning("it was not noted that a look at monitors of %s failed: %s", tenant, again)


def _with_incidents(services: Services) -> set[TenantId]:
    """Tenants without a monitor whose incidents may still have to close, or whose alerts have to end."""
    jobs = services.control.jobs(None)
    return {one.tenant for one in jobs if one.name == MONITORS_JOB}
