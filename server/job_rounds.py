"""One piece of work done by the clock: what is due of it is taken as a job of the control database, one server at a
time for each tenant, done, and noted with how it ended."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from typing import Final

from core.clock import NS_PER_S
from core.errors import AssayError, Conflict
from core.ids import TenantId
from core.pii.find import find
from server.process_name import is_gone
from server.wiring import Services
from server.works import Done, Work
from store.control.jobs import may_begin
from store.control.monitor_records import JobState, ScheduledJob

MOST_TRIES: Final = 8  # about four minutes; then a job rests for a quarter of an hour before each
IDLE_NOTED_NS: Final = 60 * NS_PER_S  # looks that find nothing to do are written down no more often
KNOWN_NS: Final = 60 * NS_PER_S  # for how long the tenants of a piece of work are remembered, at most
_LOG: Final = logging.getLogger("assay.jobs")


class JobRounds:
    """The rounds of one piece of work, for one server process named `owner`. `round` is not to be called twice at
    once; the other methods are for any thread."""

    def __init__(self, services: Services, work: Work, owner: str) -> None:
        self._control, self._clock = services.control, services.clock
        self._work, self._owner = work, owner
        self._known: frozenset[TenantId] = frozenset()
        self._known_ns: int | None = None
        self._idle_ns: dict[TenantId, int] = {}  # when it was seen that there is nothing to do
        self._at_work: tuple[TenantId, threading.Event] | None = None
        self._stopping = threading.Event()
        self._lock = threading.Lock()

    def round(self) -> int:
        """Does what is due, tenant by tenant; how many jobs it did. Failures are told in the log and in the job."""
        try:
            rows = {one.tenant: one for one in self._control.jobs(None, self._work.name)}
            tenants = self._tenants(rows)
        except AssayError as error:
            _LOG.error("it cannot be seen what of %s is due, and is looked again: %s", self._work.name, error)
            return 0
        return sum(self._tried(tenant, rows.get(tenant)) for tenant in sorted(tenants))

    def renew(self) -> None:
        """Keeps the job that is being done; one that is another's by now is ended."""
        with self._lock:
            at_work = self._at_work
        if at_work is None:
            return
        tenant, stop = at_work
        try:
            self._control.renew_job(tenant, self._work.name, self._owner)
        except Conflict as error:
            with self._lock:
                goes_on = self._at_work is at_work  # else it has ended meanwhile
            if goes_on and not stop.is_set():
                _LOG.warning("%s of %s ends here: %s", self._work.name, tenant, error)
                stop.set()
        except AssayError as error:
            _LOG.error("%s of %s cannot be kept now, and is tried again: %s", self._work.name, tenant, error)

    def close(self) -> None:
        """Ends the job that is being done at its next slice, and begins no other."""
        with self._lock:
            self._stopping.set()
            if self._at_work is not None:
                self._at_work[1].set()
        self._work.close()

    def _tenants(self, rows: Mapping[TenantId, ScheduledJob]) -> frozenset[TenantId]:
        """Those with something to do; the job of who has nothing to do any more is forgotten."""
        now = self._clock()
        for_ns = min(KNOWN_NS, round(self._work.schedule.every_s * NS_PER_S))
        if self._known_ns is None or not 0 <= now - self._known_ns < for_ns:
            self._known, self._known_ns = frozenset(self._work.tenants()), now
            for tenant in rows.keys() - self._known:
                self._control.drop_job(tenant, self._work.name)
        return self._known

    def _tried(self, tenant: TenantId, row: ScheduledJob | None) -> bool:
        now = self._clock()
        if self._stopping.is_set() or (row is not None and not may_begin(row, self._owner, now, is_gone)):
            return False
        if row is not None and self._is_idle(row, now):
            return False
        try:
            taken = self._control.take_job(
                tenant, self._work.name, self._owner, is_gone,
                schedule=self._work.schedule.words, most_tries=MOST_TRIES,
            )  # fmt: skip
        except AssayError as error:
            _LOG.error("%s of %s cannot be begun now, and is tried again: %s", self._work.name, tenant, error)
            return False
        if taken is not None:
            self._do(tenant)
        return taken is not None

    def _is_idle(self, row: ScheduledJob, now: int) -> bool:
        """Whether there is nothing to do, and it was noted lately that there was not."""
        if row.state is not JobState.SUCCEEDED or not 0 <= now - (row.ended_ns or 0) < IDLE_NOTED_NS:
            return False
        every_ns = self._work.schedule.every_s * NS_PER_S
        if 0 <= now - self._idle_ns.get(row.tenant, 0) < every_ns:
            return True
        try:
            is_idle = self._work.is_idle(row.tenant)
        except Exception:  # the run says what is wrong, and the job remembers it
            return False
        if is_idle:
            self._idle_ns[row.tenant] = now
        return is_idle

    def _do(self, tenant: TenantId) -> None:
        stop = threading.Event()
        with self._lock:
            self._at_work = tenant, stop
            if self._stopping.is_set():
                stop.set()
        began, name = time.monotonic(), self._work.name
        done, error = Done(), None
        try:
            done = self._work.run(tenant, stop)
        except Conflict as conflict:
            _LOG.info("%s of %s is left, and tried again: %s", name, tenant, conflict)
            error = str(conflict)
        except AssayError as failure:
            _LOG.error("%s of %s failed, and is tried again: %s", name, tenant, failure)
            error = str(failure)
        except Exception as defect:
            _LOG.exception("%s of %s ended in a defect; it is tried again", name, tenant)
            error = f"a defect: {type(defect).__name__}; the server's log has more"
        with self._lock:
            self._at_work = None
        self._end(tenant, done, error, stop.is_set(), 1000 * (time.monotonic() - began))

    def _end(self, tenant: TenantId, done: Done, error: str | None, stopped: bool, took_ms: float) -> None:
        now, in_part = self._clock(), error is None and done.trouble is not None
        if in_part:
            _LOG.error("a part of %s of %s failed: %s", self._work.name, tenant, done.trouble)
        again_ns = None if done.again_s is None else now + round(done.again_s * NS_PER_S)
        next_ns = now if stopped else again_ns or self._work.schedule.next_ns(now)
        said = error or done.trouble
        try:
            self._control.end_job(
                tenant, self._work.name, self._owner, next_ns=next_ns, told=None if error else done.told,
                error=None if said is None else masked(said), in_part=in_part, most_tries=MOST_TRIES, took_ms=took_ms,
            )  # fmt: skip
        except AssayError as failure:
            _LOG.warning("it was not noted how %s of %s ended: %s", self._work.name, tenant, failure)


def masked(text: str) -> str:
    """A text that is kept and shown: without secrets, personal information and signs that cannot be seen."""
    text = "".join(one if one.isprintable() else " " for one in text[:4_000])
    for found in reversed(find(text)):
        text = f"{text[: found.start]}[{found.entity.value.upper()}]{text[found.end :]}"
    return text
