"""The thread of the server that looks after rollouts, each about every second; another server takes over when it ends.

A look may not take more than a part of the time: after one that read for long, the next waits for ten times as long.
A person's abort does not wait for a look: it sets the plan itself.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Final

from core.errors import AssayError, Conflict
from server.process_name import is_gone, this_process
from server.wiring import Services
from store.control.rollout_records import RolloutRecord

if TYPE_CHECKING:
    from experiments.service_rollouts import Ticker

LOOK_EVERY_S: Final = 1.0
IDLE_LOOK_S: Final = 2.0  # where no rollout is open
REST: Final = 10.0  # times as long as a look took, at least, before the next one of the same rollout
_LOG: Final = logging.getLogger("assay.rollouts")


class RolloutRunner:
    """Looks after the rollouts of all tenants. `start` it once; a process that ends, however it ends, leaves them to
    the next one."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._owner = this_process()
        self._stopping = threading.Event()
        self._next: dict[str, float] = {}
        self._thread = threading.Thread(target=self._run, name="rollouts", daemon=True)

    def start(self) -> None:
        """Looks from now on."""
        self._thread.start()

    def close(self) -> None:
        """Looks no more; rollouts stay as they are, for the next process."""
        self._stopping.set()
        self._services.rollout_asked.set()
        if self._thread.is_alive():
            self._thread.join(10.0)

    def _run(self) -> None:
        ticker = None
        while not self._stopping.is_set():
            found: list[RolloutRecord] = []
            try:
                found = self._services.control.take_rollouts(self._owner, gone=is_gone)
                if found and ticker is None:  # what statistics need costs memory that is not spent for nothing
                    from experiments.service_rollouts import Ticker

                    services = self._services
                    ticker = Ticker(control=services.control, store_of=services.store.tenant, clock=services.clock)
                for record in found:
                    if ticker is not None and self._is_due(record):
                        self._look(ticker, record)
                if ticker is not None:
                    ticker.forget({one.rollout_id for one in found})
            except AssayError as error:
                _LOG.error("rollouts cannot be looked at now: %s", error)
            except Exception:
                _LOG.exception("looking at rollouts ended in a defect; it is tried again")
            self._services.rollout_asked.wait(LOOK_EVERY_S if found else IDLE_LOOK_S)
            self._services.rollout_asked.clear()

    def _is_due(self, record: RolloutRecord) -> bool:
        return time.monotonic() >= self._next.get(record.rollout_id, 0.0) and not self._stopping.is_set()

    def _look(self, ticker: Ticker, record: RolloutRecord) -> None:
        began = time.monotonic()
        try:
            after = ticker.tick(record)
            if after.status != record.status:
                _LOG.warning("rollout %s of %s is %s", record.rollout_id, record.app, after.status.value)
        except Conflict:
            pass  # somebody changed it meanwhile: it is looked at again
        except AssayError as error:
            _LOG.error("rollout %s cannot be looked at now, and holds: %s", record.rollout_id, error)
        took = time.monotonic() - began
        self._next[record.rollout_id] = time.monotonic() + min(REST * took, 30.0)
