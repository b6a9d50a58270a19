"""A deadman's switch: while monitors are evaluated and pages get through, an address is called every minute; whoever
listens there calls somebody when it is not. So Assay need not be alive to say that it is dead."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Final, Protocol

from core.clock import NS_PER_S, Clock
from core.errors import AssayError
from core.ids import TenantId
from server.delivery.channels import HeartbeatSetting
from server.delivery.posting import post
from server.delivery.records import NotDelivered, Request
from store.control.monitor_records import MonitorRecord, MonitorStatus, ScheduledJob
from store.control.monitoring import MONITORS_JOB

_LOG: Final = logging.getLogger("assay.heartbeat")


class Watched(Protocol):
    """What the control database tells of evaluation."""

    def jobs(self, tenant: TenantId | None) -> list[ScheduledJob]:
        """The jobs of all tenants."""

    def monitors(self, tenant: TenantId | None) -> list[MonitorRecord]:
        """The monitors of all tenants."""


def not_evaluated(watched: Watched, now_ns: int, late_s: float) -> str | None:
    """Which tenant's monitors were not evaluated for longer than `late_s`; None: all that are on were, or are new."""
    done = {one.tenant: one.succeeded_ns or 0 for one in watched.jobs(None) if one.name == MONITORS_JOB}
    on = [one for one in watched.monitors(None) if one.status is MonitorStatus.ON]
    begun = {one.tenant: one.changed_at_ns for one in sorted(on, key=lambda one: -one.changed_at_ns)}
    for tenant, since_ns in sorted(begun.items()):
        passed_ns = now_ns - max(since_ns, done.get(tenant, 0))
        if passed_ns > late_s * NS_PER_S:
            return f"the monitors of {tenant} were not evaluated for {passed_ns // NS_PER_S} s"
    return None


class Heartbeat:
    """Calls an address while monitors are evaluated and `trouble` knows of none. `start` it once."""

    def __init__(
        self,
        setting: HeartbeatSetting | None,
        watched: Watched,
        trouble: Callable[[float], str | None],
        clock: Clock,
    ) -> None:
        self._setting, self._watched, self._trouble, self._clock = setting, watched, trouble, clock
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        self.last_ns: int | None = None

    def start(self) -> None:
        """Beats from now on, where an address is set."""
        if self._setting is not None:
            self._thread.start()

    def close(self) -> None:
        """Beats no more."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(20.0)

    def beat(self) -> str | None:
        """Calls the address, or says why it was left out or did not arrive."""
        setting = self._setting
        if setting is None:
            return "no heartbeat is set"
        said = not_evaluated(self._watched, self._clock(), setting.late_s) or self._trouble(setting.late_s)
        if said is not None:
            return said
        token = setting.authorization
        headers = {} if token is None else {"authorization": token.get_secret_value()}
        request = Request(url=setting.url.get_secret_value(), body=b"", headers=headers, method=setting.method)
        try:
            post(request, private=setting.private)
        except NotDelivered as error:
            return str(error)
        self.last_ns = self._clock()
        return None

    def _run(self) -> None:
        every_s = 60 if self._setting is None else self._setting.every_s
        while not self._stopping.is_set():
            try:
                said = self.beat()
                if said is not None:
                    _LOG.error("no heartbeat: %s", said)
            except AssayError as error:
                _LOG.error("no heartbeat: %s", error)
            except Exception:
                _LOG.exception("a heartbeat ended in a defect; it is tried again")
            self._stopping.wait(every_s)
