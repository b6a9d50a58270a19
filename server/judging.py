"""The thread of the server that works on jobs of judges: those that were asked for, and those that a kill left."""

from __future__ import annotations

import hmac
import logging
import os
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from hashlib import sha256
from typing import TYPE_CHECKING, Final

import httpx

from core.errors import AssayError, InvalidInput, NotFound
from core.ids import KeyId, TenantId
from core.records import Role
from server.control_access import pepper_of
from server.process_name import is_gone, this_process
from server.redaction import redactor_of
from server.settings import Settings
from server.wiring import Services
from store.control.judge_records import JobRecord, JobStatus

if TYPE_CHECKING:  # what asks models costs memory that a server without judges need not spend
    from judges.asking import Asker
    from judges.reach import Access
    from judges.working import Means

LOOK_EVERY_S: Final = 5.0
AT_ONCE: Final = 3  # jobs; each has its own calls in flight
MOST_WAITING: Final = 30  # jobs in all, with those that wait for a provider's batch
KEY_DAYS: Final = 7
_KEY: Final = "judges of "  # begins the names of the keys that calls are traced with
_DAY_NS: Final = 86_400_000_000_000
_LOG: Final = logging.getLogger("assay.judges")


class JudgeRunner:
    """Works on the jobs of all tenants, up to AT_ONCE at a time. `start` it once; what it is at when the process ends,
    however it ends, the next one goes on with."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._owner = this_process()
        self._stopping = threading.Event()
        self._keys = _Keys(services, self._owner)
        self._at_work: dict[str, threading.Event] = {}
        self._batched: set[str] = set()  # those of them that wait for a batch
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._look, name="judges", daemon=True)

    def start(self) -> None:
        """Looks for jobs from now on."""
        self._thread.start()

    def close(self) -> None:
        """Asks nothing more; jobs stay as they are, for the next process."""
        self._stopping.set()
        self._services.judge_asked.set()
        with self._lock:
            for stopping in self._at_work.values():
                stopping.set()
        if self._thread.is_alive():
            self._thread.join(5.0)
        with suppress(AssayError):
            self._keys.close()

    def _look(self) -> None:
        while not self._stopping.is_set():
            try:
                self._take()
            except AssayError as error:
                _LOG.error("jobs of judges cannot be looked for now: %s", error)
            self._services.judge_asked.wait(LOOK_EVERY_S)
            self._services.judge_asked.clear()

    def _take(self) -> None:
        with self._lock:
            at_work, n_busy = set(self._at_work), len(self._at_work.keys() - self._batched)
        if n_busy >= AT_ONCE or len(at_work) >= MOST_WAITING:
            return
        for job in self._services.control.take_judge_jobs(self._owner, AT_ONCE - n_busy, at_work, gone=is_gone):
            stopping = threading.Event()
            with self._lock:
                self._at_work[job.job_id] = stopping
                self._batched |= {job.job_id} if job.params.get("batch") else set()
            threading.Thread(target=self._work, args=(job, stopping), name=job.job_id, daemon=True).start()

    def _work(self, job: JobRecord, stopping: threading.Event) -> None:
        try:
            carry_out(self._services, job, self._owner, self._keys.of(job.tenant), stopping)
        except (InvalidInput, NotFound) as error:
            self._fail(job, str(error))
        except AssayError as error:
            _LOG.error("job %s stops for now and is taken up again: %s", job.job_id, error)
        except Exception as error:
            _LOG.exception("job %s ended in a defect", job.job_id)
            self._fail(job, f"a defect: {type(error).__name__}: {str(error)[:200]}")
        finally:
            with self._lock:
                self._at_work.pop(job.job_id, None)
                self._batched.discard(job.job_id)

    def _fail(self, job: JobRecord, reason: str) -> None:
        try:
            self._services.control.end_judge_job(job.tenant, job.job_id, JobStatus.FAILED, reason=reason)
        except AssayError as error:
            _LOG.error("that job %s failed could not be noted: %s", job.job_id, error)


def carry_out(services: Services, job: JobRecord, owner: str, key: str, stopping: threading.Event) -> JobRecord:
    """Works on one job in the caller's thread; `key` is what its calls are traced with. Raises as JobWork.carry_out,
    NotFound, InvalidInput."""
    from judges.batch_work import BatchedWork
    from judges.batching import Batches
    from judges.working import JobWork

    with httpx.Client(follow_redirects=False, trust_env=False) as client:
        means = _means(services, job, owner, key, client)
        if job.params.get("batch"):
            return BatchedWork(job, means, stopping, lambda: Batches(access_of(services.settings))).carry_out()
        return JobWork(job, means, stopping).carry_out()


def access_of(settings: Settings) -> Access:
    """How the models of judges are reached from this process."""
    from judges.reach import Access

    return Access(environment=os.environ, simulated_url=f"http://127.0.0.1:{settings.simulated_port}/v1")


def _means(services: Services, job: JobRecord, owner: str, key: str, client: httpx.Client) -> Means:
    from judges.scores import Scores
    from judges.service_targets import reading
    from judges.working import Means
    from server.judge_traces import Sender

    store = services.store.tenant(job.tenant)
    secret = hmac.digest(pepper_of(services.settings), f"judges/{job.tenant}".encode(), sha256)

    def fence_of(name: str) -> str:
        return hmac.digest(secret, name.encode(), sha256).hex()[:16]

    @asynccontextmanager
    async def asker(concurrency: int, per_minute: float | None) -> AsyncIterator[Asker]:
        from judges.asking import Asker
        from judges.pacing import Limits

        limits = Limits(concurrency=concurrency, requests_per_minute=per_minute)
        seed = int(job.params.get("order_seed") or 0)
        async with Asker(access_of(services.settings), limits, order_seed=seed, fence_of=fence_of) as made:
            yield made

    return Means(
        control=services.control,
        owner=owner,
        asker=asker,
        read=reading(services.control, store, job.tenant, job.params.get("run_id"), job.params.get("against")),
        scores=Scores(store, services.clock),
        spelled=redactor_of(services, job.tenant).text,
        traced=Sender(services.settings, key, client).send,
        clock=services.clock,
    )


class _Keys:
    """Ingest keys that only this process knows, one for each tenant whose calls it traces. Those of processes that are
    gone are revoked."""

    def __init__(self, services: Services, owner: str) -> None:
        self._control, self._clock = services.control, services.clock
        self._owner = owner
        self._lock = threading.Lock()
        self._made: dict[TenantId, tuple[str, KeyId, int]] = {}

    def of(self, tenant: TenantId) -> str:
        """The text of a key that works for a day at least."""
        with self._lock:
            now = self._clock()
            found = self._made.get(tenant)
            if found is None or found[2] < now + _DAY_NS:
                self._sweep(tenant)
                until = now + KEY_DAYS * _DAY_NS
                record, text = self._control.create_key(tenant, Role.INGEST, (_KEY + self._owner)[:200], until)
                self._made[tenant] = found = (text, record.key_id, until)
            return found[0]

    def close(self) -> None:
        """Revokes them."""
        with self._lock:
            for tenant, (_, key_id, _) in self._made.items():
                self._control.revoke_key(tenant, key_id)
            self._made.clear()

    def _sweep(self, tenant: TenantId) -> None:
        for key in self._control.list_keys(tenant):
            if key.name.startswith(_KEY) and key.revoked_at_ns is None and is_gone(key.name.removeprefix(_KEY)):
                self._control.revoke_key(tenant, key.key_id)
