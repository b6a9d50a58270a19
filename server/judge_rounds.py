"""What a server does for judges by the clock: sessions that they watch are given to jobs, certificates are held against
what judges do now, and replies go when the rows that they were about do."""

from __future__ import annotations

import logging
import threading
from functools import partial
from typing import TYPE_CHECKING, Final

from core.clock import NS_PER_S
from core.ids import TenantId
from server.wiring import Services
from server.works import DAY_S, Done, Parts
from store.control.judge_records import JudgeSchedule

if TYPE_CHECKING:
    from judges.service_watch import JudgeWatch

_LOG: Final = logging.getLogger("assay.judges")


class JudgeRounds:
    """Looks for sessions that judges watch, and wakes who judges them."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._made: JudgeWatch | None = None

    def tenants(self) -> set[TenantId]:
        """Those with a judge that watches."""
        return {one.tenant for one in self._services.control.judge_schedules(None) if one.is_on}

    def is_idle(self, tenant: TenantId) -> bool:
        """Whether nothing has changed since every schedule was done with."""
        return all(self._watch().is_idle(one) for one in self._services.control.judge_schedules(tenant) if one.is_on)

    def run(self, tenant: TenantId, stop: threading.Event) -> Done:
        """One look at every schedule. Raises AssayError."""
        parts, n_given = Parts(), 0
        for one in self._services.control.judge_schedules(tenant):
            if one.is_on and not stop.is_set():
                n_given += parts.tried(f"{one.judge} on {one.app}", partial(self._given, one)) or 0
        if n_given:
            self._services.judge_asked.set()
        return parts.done({"n_sessions": n_given})

    def _given(self, schedule: JudgeSchedule) -> int:
        return self._watch().look(schedule).n_given

    def _watch(self) -> JudgeWatch:
        if self._made is None:  # what knows prices is not loaded for nothing
            from judges.service_watch import JudgeWatch

            self._made = JudgeWatch(self._services.store, self._services.control, self._services.clock)
        return self._made


class CertificateRounds:
    """Takes back the certificates of judges whose errors have changed."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def tenants(self) -> set[TenantId]:
        """Those with judges."""
        control = self._services.control
        return {one.id for one in control.all_tenants() if control.judges(one.id)}

    def run(self, tenant: TenantId, stop: threading.Event) -> Done:
        """One look at every certified judge. Raises AssayError."""
        from judges.service_trust import take_back

        services = self._services
        made = take_back(services.control, services.store.tenant(tenant), tenant, now_ns=services.clock())
        for one in made:
            _LOG.warning("judge %s of %s is certified no more: its errors changed", one.judge, tenant)
        return Done(told={"n_taken_back": len(made)})


class ReplyRounds:
    """Deletes raw replies of judges when the rows that they were about are kept no longer."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def tenants(self) -> set[TenantId]:
        """Those that do not keep everything."""
        return {one.id for one in self._services.control.all_tenants() if one.retention_days is not None}

    def run(self, tenant: TenantId, stop: threading.Event) -> Done:
        """Deletes what is too old. Raises AssayError."""
        days = self._services.control.tenant(tenant).retention_days
        if days is None:
            return Done(told={"n_deleted": 0})
        before_ns = self._services.clock() - (days + 1) * round(DAY_S) * NS_PER_S
        return Done(told={"n_deleted": self._services.control.expire_verdicts(tenant, before_ns)})
