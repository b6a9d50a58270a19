"""What happens to a request between a door and its answer, the same for both transports.

Who is calling comes first, then the tenant's quota, then size, then whether the bytes are a request at all (one
compiled scan), then whether there is room, then the journal. Only when the journal has it on disk is it accepted.
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, Protocol

from auth.authenticator import Authenticator
from collector.admission import INLINE_BYTES, Quotas, Turns
from collector.answers import Accepted
from collector.inflate import declared_size, gunzip
from collector.journal import Journal, Place
from collector.json_body import MOST_REASONS, Transcode, Transcoded, transcode
from collector.kinds import EntryKind, Signal
from collector.log_events import admit_logs, looks_like_logs
from collector.metric_points import admit_metrics, looks_like_metrics
from collector.scan import REFUSAL_TEXT, Refusal, Scan, scan
from core.clock import Clock
from core.errors import Forbidden, Overloaded, TooLarge, Unauthenticated, Undecodable
from core.ids import TenantId
from core.records import Counts, Principal, Role

MOST_SPANS: Final = 500_000  # of one request: an empty span is two bytes on the wire and two hundred in our tables
DISK_PATIENCE_S: Final = 5.0  # half of an exporter's deadline: time for a second try
# A request of which nothing is a span is looked at once more, for another signal, when it has an exporter's size.
LOOKED_AT_SPANS: Final = 10_000
LOOKED_AT_BYTES: Final = 1 << 20
MOST_TABLE: Final = 2  # times a body: a larger table of its spans is made again when they are stored


@dataclass(frozen=True, kw_only=True, slots=True)
class Acknowledged:
    """An entry that is durable and now the committer's to store. `body` None: read it back from the journal."""

    position: int
    kind: EntryKind
    tenant: TenantId
    received_at_us: int
    size: int
    body: bytes | None
    place: Place | None
    transcoded: Transcoded | None = None
    scan: Scan | None = None


class Backlog(Protocol):
    """Where acknowledged entries wait."""

    def put(self, entry: Acknowledged) -> None:
        """Takes an entry over."""

    def check_room(self, size: int, tenant: TenantId | None = None, *, priority: bool) -> None:
        """Raises Overloaded when there is none."""


@dataclass(kw_only=True)
class Tally:
    """Counts of items that never reach the journal (refused requests, metric points). Thread-safe."""

    _counts: dict[tuple[TenantId, str], Counts] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, tenant: TenantId, signal: Signal, counts: Counts) -> None:
        """Adds to the tenant's counts of a signal."""
        with self._lock:
            key = (tenant, str(signal))
            self._counts[key] = self._counts.get(key, Counts()) + counts

    def take(self) -> dict[tuple[TenantId, str], Counts]:
        """What was added since the last call."""
        with self._lock:
            counts, self._counts = self._counts, {}
        return counts


class Intake:
    """Admits requests. `receive` runs on the event loop and waits for the disk, never blocks it."""

    def __init__(
        self,
        *,
        authenticator: Authenticator,
        journal: Journal,
        backlog: Backlog,
        clock: Clock,
        tally: Tally,
        quotas: Quotas | None = None,
        transcode: Transcode = transcode,
    ) -> None:
        self._authenticator = authenticator
        self._journal = journal
        self._backlog = backlog
        self._clock = clock
        self._tally = tally
        self._quotas = quotas or Quotas({})
        self._turns = Turns()
        self._transcode = transcode

    def principal(self, key: str | None) -> Principal:
        """Who sends. Raises Unauthenticated, Forbidden, or StorageFailed when the key store is away."""
        if not key:
            raise Unauthenticated("no API key: send the header 'authorization: Bearer KEY' (or x-api-key)")
        principal = self._authenticator.principal(key)
        if principal.role is Role.VIEWER:
            raise Forbidden(f"the key {principal.name!r} may only read; use one with role ingest or user")
        return principal

    def check_quota(self, principal: Principal) -> None:
        """Raises Overloaded while the tenant's quota is used up."""
        self._quotas.check(principal.tenant)

    async def opened(self, body: bytes, principal: Principal, *, gzip_limit: int | None = None) -> bytes:
        """The body as it was before the sender packed it (`gzip_limit`: it is gzip, and so many bytes may come out),
        charged to the tenant's quota. Raises Overloaded, and what gunzip raises."""
        tenant = principal.tenant
        self._quotas.check(tenant)
        self._quotas.charge(tenant, len(body))
        if gzip_limit is None or not body:
            return body
        try:
            plain = await self._gunzipped(body, tenant, gzip_limit)
        except TooLarge:
            self._quotas.charge(tenant, gzip_limit)
            raise
        self._quotas.charge(tenant, len(plain) - len(body))
        return plain

    async def _gunzipped(self, body: bytes, tenant: TenantId, limit: int) -> bytes:
        """Here only what stays small: what comes out may be a thousand times what came in, whatever it says."""
        if len(body) <= INLINE_BYTES and declared_size(body) <= INLINE_BYTES:
            with suppress(TooLarge):
                return gunzip(body, min(limit, INLINE_BYTES))
        return await self._turns.run(tenant, max(len(body) * 4, INLINE_BYTES + 1), lambda: gunzip(body, limit))

    async def receive(self, signal: Signal, body: bytes, *, is_json: bool, principal: Principal) -> Accepted:
        """Keeps one export request. Raises the errors of core.errors; then nothing was kept."""
        if not body:
            return Accepted(signal=signal)
        match signal:
            case Signal.SPANS:
                return await self._spans(body, is_json, principal)
            case Signal.LOG_RECORDS:
                return await self._logs(body, is_json, principal)
            case Signal.METRIC_POINTS:
                return await self._metrics(body, is_json, principal)

    async def _transcoded(self, body: bytes, signal: Signal, principal: Principal) -> Transcoded:
        return await self._turns.run(principal.tenant, len(body), lambda: self._transcode(body, signal))

    # -- spans -----------------------------------------------------------------------------------------------------

    async def _spans(self, body: bytes, is_json: bool, principal: Principal) -> Accepted:
        transcoded = await self._transcoded(body, Signal.SPANS, principal) if is_json else None
        wire = transcoded.protobuf if transcoded else body
        found = await self._turns.run(
            principal.tenant, len(wire), lambda: _judged(wire, other_signals=transcoded is None)
        )
        n_json = transcoded.n_rejected if transcoded else 0
        n_items = found.scan.n_spans + n_json
        warnings = list(transcoded.warnings) if transcoded else []
        if n_items == 0:
            return Accepted(signal=Signal.SPANS, message="; ".join(warnings))
        self._backlog.check_room(len(body), principal.tenant, priority=found.has_priority)
        kind = EntryKind.SPANS_JSON if is_json else EntryKind.SPANS_PROTOBUF
        await self._keep(kind, body, principal, transcoded, found.scan)
        n_refused = sum(found.refusals.values()) + n_json
        reasons = _reasons(found.refusals, transcoded)
        if n_refused == n_items:
            raise Undecodable(
                f"none of the {n_items} spans can be used: {reasons}; they are in the quarantine", "spans"
            )
        warnings += found.warnings
        if n_refused:
            warnings.insert(0, f"{n_refused} of {n_items} spans were rejected and quarantined: {reasons}")
        return Accepted(signal=Signal.SPANS, n_rejected=n_refused, message="; ".join(warnings))

    # -- logs and metrics ------------------------------------------------------------------------------------------

    async def _logs(self, body: bytes, is_json: bool, principal: Principal) -> Accepted:
        transcoded = await self._transcoded(body, Signal.LOG_RECORDS, principal) if is_json else None
        wire = transcoded.protobuf if transcoded else body
        admission = await self._turns.run(principal.tenant, len(wire), lambda: admit_logs(wire))
        n_json = transcoded.n_rejected if transcoded else 0
        kept = admission.n_records - admission.n_rejected + admission.n_quarantined
        if kept + n_json:
            self._backlog.check_room(len(body), principal.tenant, priority=True)
            kind = EntryKind.LOGS_JSON if is_json else EntryKind.LOGS_PROTOBUF
            await self._keep(kind, body, principal, transcoded)
        elif admission.n_records:
            counts = Counts(received=admission.n_records, rejected=admission.n_records)
            self._tally.add(principal.tenant, Signal.LOG_RECORDS, counts)
        messages = [admission.message, *(transcoded.warnings if transcoded else [])]
        if transcoded and n_json:
            messages.append(f"{n_json} log records could not be decoded: {transcoded.rejected[0].detail}")
        return Accepted(
            signal=Signal.LOG_RECORDS,
            n_rejected=admission.n_rejected + n_json,
            message="; ".join(m for m in messages if m),
        )

    async def _metrics(self, body: bytes, is_json: bool, principal: Principal) -> Accepted:
        transcoded = await self._transcoded(body, Signal.METRIC_POINTS, principal) if is_json else None
        wire = transcoded.protobuf if transcoded else body
        admission = await self._turns.run(principal.tenant, len(wire), lambda: admit_metrics(wire))
        counts = Counts(received=admission.n_records, rejected=admission.n_records)
        self._tally.add(principal.tenant, Signal.METRIC_POINTS, counts)
        return Accepted(signal=Signal.METRIC_POINTS, n_rejected=admission.n_rejected, message=admission.message)

    async def _keep(
        self,
        kind: EntryKind,
        body: bytes,
        principal: Principal,
        transcoded: Transcoded | None,
        found: Scan | None = None,
    ) -> None:
        """Waits until the journal has it; then it is the committer's, also when the client no longer waits."""
        at_us = self._clock() // 1000

        def hand_over(done: Future[tuple[int, Place]]) -> None:
            if done.cancelled() or done.exception():
                return
            position, place = done.result()
            self._backlog.put(
                Acknowledged(
                    position=position,
                    kind=kind,
                    tenant=principal.tenant,
                    received_at_us=at_us,
                    size=len(body),
                    body=body,
                    place=place,
                    transcoded=transcoded,
                    scan=found.without_buffer() if found and found.nbytes <= MOST_TABLE * len(body) else None,
                )
            )

        done = self._journal.append(kind=kind, tenant=principal.tenant, received_at_us=at_us, body=body)
        done.add_done_callback(hand_over)
        try:
            await asyncio.wait_for(asyncio.wrap_future(done), DISK_PATIENCE_S)
        except TimeoutError:  # what is being written is the committer's all the same; what still waits is given up
            said = f"the disk has not answered for {DISK_PATIENCE_S:g} s; send again, what is kept twice is stored once"
            raise Overloaded(said, 2) from None


@dataclass(frozen=True, kw_only=True)
class _Judged:
    """A scan, and what is told of it: of half a million spans that takes a while, too."""

    scan: Scan
    has_priority: bool
    refusals: dict[Refusal, int]
    warnings: list[str]


def _judged(body: bytes, *, other_signals: bool) -> _Judged:
    found = scan(body, most_spans=MOST_SPANS)
    if other_signals:
        _refuse_other_signals(body, found)
    return _Judged(scan=found, has_priority=found.has_priority, refusals=found.refusals(), warnings=found.warnings())


def _refuse_other_signals(body: bytes, found: Scan) -> None:
    """Logs and metrics sent to the traces path decode to spans without ids, because field numbers coincide."""
    if found.n_spans == 0 or found.n_refused < found.n_spans:
        return
    if found.n_spans > LOOKED_AT_SPANS or len(body) > LOOKED_AT_BYTES:
        return
    if looks_like_logs(body):
        raise Undecodable("the body looks like OTLP logs; send it to /v1/logs", "body")
    if looks_like_metrics(body):
        raise Undecodable("the body looks like OTLP metrics; send it to /v1/metrics", "body")


def _reasons(refusals: dict[Refusal, int], transcoded: Transcoded | None) -> str:
    """ "3 x trace_id must be 16 bytes, 1 x ..." with at most MOST_REASONS reasons."""
    parts = [f"{n} x {REFUSAL_TEXT[refusal]}" for refusal, n in refusals.items()]
    n_parts = len(parts) + (transcoded.n_reasons if transcoded else 0)
    parts += [f"{n} x {_short(detail)}" for detail, n in (transcoded.reasons.items() if transcoded else ())]
    more = f", and {n_parts - MOST_REASONS} other reasons" if n_parts > MOST_REASONS else ""
    return ", ".join(parts[:MOST_REASONS]) + more


def _short(detail: str) -> str:
    """At most 200 characters: the start of a long path, and the end, which says what is wrong there."""
    return detail if len(detail) <= 200 else f"{detail[:79]} ... {detail[-116:]}"
