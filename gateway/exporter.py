"""Sends spans from the spool to the collector: soon, by tenant, for as long as it takes.

A parent span that reaches the collector before its child is counted twice there, so a call's span is under way a few
milliseconds after its end, and at most `PAUSE_S` later while there are many. One tenant's trouble is never another's:
each has batches of its own. What was acknowledged is deleted; what is sent twice the collector recognises by its ids.
"""

from __future__ import annotations

import asyncio
import gzip
import logging
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import aiohttp
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from gateway.spool import Spool

FIRST_PAUSE_S: Final = 0.005  # calls that end together go together
PAUSE_S: Final = 0.1  # between two batches of a tenant
MOST_RECORDS: Final = 512
MOST_BYTES: Final = 1 << 20
FIRST_RETRY_S: Final = 0.25
MOST_RETRY_S: Final = 3.0  # soon after an outage, before the spans that agents kept meanwhile
MOST_ASKED_S: Final = 30.0  # of what Retry-After asks for
KEY_WITHIN_S: Final = 30.0  # a tenant's first key takes some seconds
_KEY_COMES: Final = "its key is being made"
_TIMEOUT: Final = aiohttp.ClientTimeout(total=30, connect=5)
_POISON: Final = frozenset({400, 413, 422})  # something in the batch is to blame; anything else may pass
_LOG: Final = logging.getLogger("assay.gateway")


class _NotNow(Exception):
    """Nothing was acknowledged; try again, after `retry_after_s` if it was said."""

    def __init__(self, why: str, retry_after_s: float | None = None) -> None:
        super().__init__(why)
        self.retry_after_s = retry_after_s


class _Poison(Exception):
    """The batch will never be taken as it is."""


class _Leaving(Exception):
    """The process stops; what was not sent stays in the spool."""


@dataclass(frozen=True, kw_only=True)
class ExportStatus:
    """How the export is. Counts are of calls since the start; `waiting` says of each tenant that waits for a better
    time why it does."""

    queued: int
    queued_bytes: int
    sent: int
    dropped: int
    refused: int
    damaged: int
    waiting: Mapping[str, str]


class Exporter:
    """One per process. `ingest_key` gives the key to send a tenant's spans with, None when there is none now."""

    def __init__(
        self,
        spool: Spool,
        url: str,
        ingest_key: Callable[[str], str | None],
        *,
        compress: bool = False,
        pause_s: float = PAUSE_S,
        key_within_s: float = KEY_WITHIN_S,
    ) -> None:
        """`url` is the collector's OTLP/HTTP door, without /v1/traces. That a tenant has no key for `key_within_s` is
        nothing to warn of."""
        self._spool = spool
        self._url = url.rstrip("/") + "/v1/traces"
        self._ingest_key = ingest_key
        self._compress = compress
        self._pause_s = pause_s
        self._key_within_s = key_within_s
        self._keyless_since: dict[str, float] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._waiting: dict[str, str] = {}
        self._client: aiohttp.ClientSession | None = None
        self._stopping = asyncio.Event()
        self._n_sent = self._n_refused = self._n_not_kept = 0
        self._complained = False

    async def start(self) -> None:
        """Begins with what an earlier process left. Call in the event loop that `send` is called in."""
        connector = aiohttp.TCPConnector(limit=8)
        self._client = aiohttp.ClientSession(connector=connector, timeout=_TIMEOUT, cookie_jar=aiohttp.DummyCookieJar())
        for tenant in self._spool.tenants():
            self._see_to(tenant)

    def send(self, tenant: str, span: bytes) -> None:
        """Keeps a span and sends it soon. Never raises: one that cannot be kept is counted as dropped."""
        try:
            self._spool.append(tenant, span)
        except OSError as error:
            self._n_not_kept += 1
            if not self._complained:
                _LOG.error("spans of calls cannot be kept, and are dropped: %s", error)
            self._complained = True
            return
        self._complained = False
        self._see_to(tenant)

    def status(self, tenant: str | None = None) -> ExportStatus:
        """How the export is now; why spans wait of one tenant, or of all."""
        spool = self._spool
        return ExportStatus(
            queued=spool.n_queued,
            queued_bytes=spool.n_bytes,
            sent=self._n_sent,
            dropped=spool.n_dropped + self._n_not_kept,
            refused=self._n_refused,
            damaged=spool.n_damaged,
            waiting={name: why for name, why in self._waiting.items() if tenant in (None, name)},
        )

    async def close(self, within_s: float = 3.0) -> None:
        """Sends what waits, as much as the time allows; the rest is sent after the next start."""
        self._stopping.set()
        tasks = list(self._tasks.values())
        if tasks:
            await asyncio.wait(tasks, timeout=within_s)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._client is not None:
            await self._client.close()
        self._spool.close()

    # -- one tenant ------------------------------------------------------------------------------------------------

    def _see_to(self, tenant: str) -> None:
        if tenant not in self._tasks and self._client is not None and not self._client.closed:
            self._tasks[tenant] = asyncio.get_running_loop().create_task(self._drain(tenant))

    async def _drain(self, tenant: str) -> None:
        """Sends until nothing waits."""
        most, attempt = MOST_RECORDS, 0
        try:
            await self._rest(FIRST_PAUSE_S)
            while most:
                try:
                    most, attempt = await self._send_batch(tenant, most), 0
                except _NotNow as error:
                    await self._wait(tenant, attempt, error)
                    attempt += 1
        except _Leaving:
            return
        except OSError as error:  # of the spool; the next call, or the next start, begins again
            _LOG.error("the spans of %s cannot be read: %s", tenant, error)
        except Exception:
            _LOG.exception("sending the spans of %s ended in a defect", tenant)
        finally:
            self._waiting.pop(tenant, None)
            self._tasks.pop(tenant, None)

    async def _send_batch(self, tenant: str, most: int) -> int:
        """Sends up to `most` records, read from the spool for this one try: what an erasure took is not sent. How many
        to read next, fewer while one of them is to blame; 0 when nothing waits. Raises _NotNow, _Leaving, OSError."""
        with self._spool.sending(tenant) as is_allowed:
            if not is_allowed:
                raise _NotNow("an erasure is looking at them")
            batch = self._spool.peek(tenant, most=most, most_bytes=MOST_BYTES)
            if batch is None:
                return 0
            spans = batch.contents
            try:
                n_rejected = await self._post(tenant, b"".join(spans))
            except _Poison as error:
                self._waiting.pop(tenant, None)
                if len(spans) > 1:
                    return len(spans) // 2
                self._set_aside(tenant, spans[0], error)
            else:
                self._waiting.pop(tenant, None)
                self._n_refused += n_rejected
                self._n_sent += max(0, len(spans) - n_rejected)
            self._spool.done(batch)
        await self._rest(self._pause_s if batch.n_records < most else FIRST_PAUSE_S)  # an erasure may begin
        return min(2 * most, MOST_RECORDS)

    def _set_aside(self, tenant: str, span: bytes, error: _Poison) -> None:
        self._n_refused += 1
        _LOG.warning("the collector refused a span of %s (%s); it is set aside", tenant, error)
        try:
            self._spool.set_aside(tenant, span)
        except OSError as fault:
            _LOG.error("it could not be set aside, and is dropped: %s", fault)

    async def _post(self, tenant: str, body: bytes) -> int:
        """How many spans were rejected of those taken. Raises _NotNow, _Poison."""
        key = self._ingest_key(tenant)
        if key is None:
            now = time.monotonic()
            young = now - self._keyless_since.setdefault(tenant, now) < self._key_within_s
            raise _NotNow(_KEY_COMES if young else "there is no key to send its spans with")
        self._keyless_since.pop(tenant, None)
        assert self._client is not None
        headers = {"content-type": "application/x-protobuf", "authorization": f"Bearer {key}"}
        if self._compress:
            headers["content-encoding"] = "gzip"
            body = gzip.compress(body, 1)
        try:
            async with self._client.post(self._url, data=body, headers=headers, allow_redirects=False) as answer:
                said = await answer.content.read(4096)
                if answer.status == 200:
                    return _rejected(said)
                why = f"the collector answered {answer.status}"
                if answer.status in _POISON:
                    raise _Poison(why)
                raise _NotNow(why, _seconds(answer.headers.get("retry-after")))
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _NotNow(f"the collector cannot be reached: {type(error).__name__}") from error

    async def _wait(self, tenant: str, attempt: int, error: _NotNow) -> None:
        if self._stopping.is_set():
            raise _Leaving
        if self._waiting.get(tenant, _KEY_COMES) == _KEY_COMES != str(error):
            _LOG.warning("spans of %s wait: %s", tenant, error)
        self._waiting[tenant] = str(error)
        pause_s = min(MOST_RETRY_S, FIRST_RETRY_S * 2 ** min(attempt, 10)) * random.uniform(0.75, 1.0)  # noqa: S311
        if error.retry_after_s is not None:
            pause_s = min(MOST_ASKED_S, max(error.retry_after_s, FIRST_RETRY_S))
        await self._rest(pause_s)

    async def _rest(self, seconds: float) -> None:
        """Sleeps; a stop of the process wakes it."""
        if self._stopping.is_set():
            return
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except TimeoutError:
            return


def _rejected(said: bytes) -> int:
    try:
        return max(0, int(ExportTraceServiceResponse.FromString(said).partial_success.rejected_spans))
    except DecodeError:
        return 0


def _seconds(value: Any) -> float | None:
    return float(value) if isinstance(value, str) and value.isdigit() else None
