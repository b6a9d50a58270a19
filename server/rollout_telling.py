"""The thread of the server that tells other systems what rollouts do: each event at least once, in order."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

from core.clock import NS_PER_S
from core.errors import AssayError
from server.process_name import is_gone, this_process
from server.rollout_targets import Target
from server.webhooks import NeverTold, NotTold
from server.wiring import Services
from store.control.rollout_records import EventRecord, RolloutRecord

LOOK_EVERY_S: Final = 1.0
MOST_WAIT_S: Final = 300.0  # between two tries of one event
GIVE_UP_NS: Final = 86_400 * NS_PER_S  # after an event happened
_LATER_NS: Final = 3600 * NS_PER_S  # a rollout that ended a day ago is looked at for so much longer
_LOG: Final = logging.getLogger("assay.rollouts")


class RolloutTeller:
    """Tells `targets`. `start` it once, where there is one; what a process that ends left is told by the next one."""

    def __init__(
        self, services: Services, targets: Sequence[Target], monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._services, self._targets, self._monotonic = services, targets, monotonic
        self._owner = this_process()
        self._stopping = threading.Event()
        self._tries: dict[tuple[str, str], int] = {}
        self._next: dict[tuple[str, str], float] = {}
        self._thread = threading.Thread(target=self._run, name="telling", daemon=True)

    def start(self) -> None:
        """Tells from now on; without a target there is nothing to do."""
        if self._targets:
            self._thread.start()

    def close(self) -> None:
        """Ends after the event under way."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(15.0)

    def round(self) -> int:
        """One look at every target; how many events were told. Raises AssayError as the control database does."""
        n, control = 0, self._services.control
        for target in self._targets:
            for record in control.untold(target.name, self._services.clock() - GIVE_UP_NS - _LATER_NS):
                while target.wants(record) and self._is_due(target, record) and not self._stopping.is_set():
                    event = control.take_untold(record, target.name, self._owner, is_gone)
                    if event is None or not self._told(target, record, event):
                        break
                    n += 1
        return n

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self.round()
            except AssayError as error:
                _LOG.error("events of rollouts cannot be told now: %s", error)
            except Exception:
                _LOG.exception("telling events of rollouts ended in a defect; it is tried again")
            self._stopping.wait(LOOK_EVERY_S)

    def _told(self, target: Target, record: RolloutRecord, event: EventRecord) -> bool:
        """Whether the event needs no more telling, so that the next one's turn has come."""
        key = (target.name, record.rollout_id)
        try:
            target.tell(record, event)
        except NeverTold as error:
            return self._left_out(target, record, event, str(error))
        except NotTold as error:
            if self._services.clock() - event.at_ns > GIVE_UP_NS:
                return self._left_out(target, record, event, f"after a day: {error}")
            tries = self._tries[key] = self._tries.get(key, 0) + 1
            wait_s = min(2.0 ** (tries - 1), MOST_WAIT_S)
            self._next[key] = self._monotonic() + wait_s
            said = (event.number, record.rollout_id, target.name, error, wait_s)
            _LOG.warning("event %d of rollout %s was not told to %s: %s; again in %.0f s", *said)
            return False
        self._forget(key)
        self._services.control.note_told(record, target.name, event.number)
        return True

    def _left_out(self, target: Target, record: RolloutRecord, event: EventRecord, why: str) -> bool:
        _LOG.error("event %d of rollout %s is not told to %s: %s", event.number, record.rollout_id, target.name, why)
        self._forget((target.name, record.rollout_id))
        self._services.control.note_told(record, target.name, event.number, gave_up=why[:500])
        return True

    def _forget(self, key: tuple[str, str]) -> None:
        self._tries.pop(key, None)
        self._next.pop(key, None)

    def _is_due(self, target: Target, record: RolloutRecord) -> bool:
        return self._monotonic() >= self._next.get((target.name, record.rollout_id), 0.0)
