"""The thread of the server that tells who watches a cluster that it grew: each alert at least once, to each address."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from core.clock import NS_PER_S
from core.errors import AssayError
from experiments.rollouts.told import moment
from server.process_name import is_gone, this_process
from server.settings import Settings
from server.webhooks import NotTold, hook_name, post_signed
from server.wiring import Services
from store.control.cluster_records import AlertRecord, AlertState, WatchRecord

LOOK_EVERY_S: Final = 2.0
MOST_WAIT_S: Final = 300.0  # between two tries of one alert
GIVE_UP_NS: Final = 86_400 * NS_PER_S  # after it was raised
_LOG: Final = logging.getLogger("assay.clusters")


class ClusterTeller:
    """Tells alerts to the addresses of the settings, and to that of the watch. `start` it once; what a process that
    ends left is told by the next one."""

    def __init__(self, services: Services, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._services, self._monotonic = services, monotonic
        self._owner = this_process()
        self._stopping = threading.Event()
        self._tries: dict[tuple[str, ...], int] = {}
        self._next: dict[tuple[str, ...], float] = {}
        self._thread = threading.Thread(target=self._run, name="cluster-alerts", daemon=True)

    def start(self) -> None:
        """Tells from now on."""
        self._thread.start()

    def close(self) -> None:
        """Ends after the message under way."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(15.0)

    def round(self) -> int:
        """One look at every alert that is still to be told; how many came to their end."""
        control, n = self._services.control, 0
        for alert in control.cluster_alerts(None, AlertState.PENDING):
            key = (str(alert.tenant), alert.cluster_id, alert.day)
            if self._stopping.is_set() or self._monotonic() < self._next.get(key, 0.0):
                continue
            taken = control.take_alert(alert, self._owner, is_gone)
            if taken is not None and self._tell(key, *taken).state is not AlertState.PENDING:
                n += 1
        return n

    def _run(self) -> None:
        while not self._stopping.wait(LOOK_EVERY_S):
            try:
                self.round()
            except AssayError as error:
                _LOG.error("alerts of clusters cannot be told now: %s", error)
            except Exception:
                _LOG.exception("telling alerts of clusters ended in a defect; it is tried again")

    def _tell(self, key: tuple[str, ...], alert: AlertRecord, watch: WatchRecord | None) -> AlertRecord:
        settings, told = self._services.settings, dict(alert.told)
        addresses = addresses_of(settings, watch)
        if not addresses and not told:
            return self._services.control.note_alert(alert, {}, AlertState.SHOWN)
        left = {hook_name(address): address for address in addresses if hook_name(address) not in told}
        for name, address in left.items():
            try:
                self._post(settings, address, alert)
                told[name] = None
            except NotTold as error:
                if self._services.clock() - alert.at_ns > GIVE_UP_NS:
                    told[name] = f"after a day: {error}"[:500]
                else:
                    self._wait(key, alert, name, error)
        return self._services.control.note_alert(alert, told, _state(told, left))

    def _post(self, settings: Settings, address: str, alert: AlertRecord) -> None:
        key = settings.rollout_webhook_key
        if key is None:
            raise NotTold("rollout_webhook_key is not set, and nothing is sent without a signature")
        delivery = f"{alert.cluster_id}:{alert.day}"
        said = message(alert)
        post_signed(address, key.get_secret_value(), delivery, said, private=settings.rollout_webhooks_private)

    def _wait(self, key: tuple[str, ...], alert: AlertRecord, name: str, error: NotTold) -> None:
        tries = self._tries[key] = self._tries.get(key, 0) + 1
        wait_s = min(2.0 ** (tries - 1), MOST_WAIT_S)
        self._next[key] = self._monotonic() + wait_s
        said = (alert.cluster_id, alert.day, name, error, wait_s)
        _LOG.warning("the alert of %s of %s was not told to %s: %s; again in %.0f s", *said)


def _state(told: Mapping[str, str | None], left: Mapping[str, str]) -> AlertState:
    """PENDING while somebody is to be told; TOLD where one was, SHOWN where all were given up."""
    if any(name not in told for name in left):
        return AlertState.PENDING
    return AlertState.TOLD if None in told.values() else AlertState.SHOWN


def addresses_of(settings: Settings, watch: WatchRecord | None) -> list[str]:
    """Who is told: the addresses of the settings, and that of the watch where it is still there. Each once."""
    own = [] if watch is None or watch.url is None else [watch.url]
    return list(dict.fromkeys([*settings.rollout_webhooks, *own]))


def message(alert: AlertRecord) -> Mapping[str, Any]:
    """An alert as it is told."""
    return {
        "id": f"{alert.cluster_id}:{alert.day}",
        "kind": "cluster.grew",
        "at": moment(alert.at_ns),
        "tenant": str(alert.tenant),
        "app": alert.app,
        "cluster": alert.cluster_id,
        **dict(alert.body),
    }
