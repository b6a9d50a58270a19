"""OTLP over HTTP/1.1: one asyncio protocol over the llhttp parser, no framework between the socket and the intake.

Bounds: header bytes and count, body bytes before and after decompression, time for headers, for the body, and between
requests. Every answer, also to a request that is wrong, is an Export…ServiceResponse or a google.rpc.Status in the
encoding of the request. There are no redirects.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final, cast

import httptools

from collector.answers import (
    DEADLINE_EXCEEDED,
    INVALID_ARGUMENT,
    UNIMPLEMENTED,
    Refusal,
    refusal_of,
    response_json,
    response_of,
    status_json,
)
from collector.http_request import (
    JSON,
    PROTOBUF,
    BadRequestLine,
    answers_json,
    check_looks,
    is_gzip,
    is_json,
    key_of,
    signal_of,
)
from collector.intake import Intake
from collector.journal import LARGE_BYTES
from collector.kinds import Signal
from collector.settings import CollectorSettings
from core.errors import AssayError, TooLarge
from core.records import Principal

MAX_HEADER_BYTES: Final = 32 << 10
MAX_HEADERS: Final = 128
MAX_TARGET_BYTES: Final = 8 << 10
# Requests read ahead of the one being answered before the socket is left alone.
MAX_PIPELINED: Final = 8
# How long a refused body is read and thrown away, so that the client gets to read the answer before a reset.
LINGER_S: Final = 5.0
# Headers that may come once only: two different values must not let two readers of the request disagree.
_SINGLE: Final = frozenset({b"content-type", b"content-encoding", b"authorization", b"x-api-key", b"content-length"})


@dataclass(frozen=True, kw_only=True)
class Door:
    """What every connection shares. `health` answers GET /healthz: (is well, details)."""

    intake: Intake
    settings: CollectorSettings
    health: Callable[[], tuple[bool, dict[str, object]]]
    connections: set[HttpConnection]


@dataclass(kw_only=True)
class _Exchange:
    """One request as far as it was read, and what is known of its answer."""

    method: str = ""
    target: bytes = b""
    headers: dict[bytes, bytes] = field(default_factory=dict)
    n_headers: int = 0
    header_bytes: int = 0
    body: list[bytes] = field(default_factory=list)
    body_bytes: int = 0
    keep: bool = False
    refusal: Refusal | None = None
    extra: dict[str, str] = field(default_factory=dict)
    signal: Signal | None = None  # None: a question about health
    principal: Principal | None = None
    is_json: bool = False
    is_gzip: bool = False

    def text(self, name: bytes) -> str | None:
        """A header as text."""
        value = self.headers.get(name)
        return None if value is None else value.decode("latin-1")


class HttpConnection(asyncio.Protocol):
    """One client connection; requests on it are answered one after the other, in their order."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpRequestParser(self)
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._now: _Exchange | None = None
        self._ready: deque[_Exchange] = deque()
        self._unread: asyncio.Future[None] | None = None  # pending while the client does not read its answers
        self._deaf = False  # what still arrives is thrown away
        self.closing = False

    # -- asyncio ---------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Starts the clock of the first request."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but its bases
        self._door.connections.add(self)
        self._expect(self._door.settings.header_timeout_s)

    def connection_lost(self, _error: Exception | None) -> None:
        """The peer went away; a request that is being kept is kept all the same."""
        self._door.connections.discard(self)
        self._stop_timer()
        self._transport = None
        self.resume_writing()

    def pause_writing(self) -> None:
        """The client does not read its answers: no more are made until it does, and soon no more is read from it."""
        self._unread = self._loop.create_future()

    def resume_writing(self) -> None:
        """The client reads again, or is gone."""
        if self._unread and not self._unread.done():
            self._unread.set_result(None)

    def data_received(self, data: bytes) -> None:
        """Feeds the parser; whole requests wait in order while one is being answered."""
        if self._deaf:
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as error:
            self._ignore_upgrade(data[error.args[0] :])
        except httptools.HttpParserCallbackError as error:
            cause = error.__context__
            self._refuse(cause.refusal if isinstance(cause, _Stop) else refusal_of(error))
        except httptools.HttpParserError as error:
            self._refuse(Refusal(http=400, grpc=INVALID_ARGUMENT, message=f"this is not an HTTP request: {error}"))
        if len(self._ready) >= MAX_PIPELINED and self._transport and not self._deaf:
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        """The client has said all it will; what it asked whole is still answered."""
        self.closing = True
        return self._task is not None

    def finish_soon(self) -> None:
        """For shutdown: closes when idle, else after the answer."""
        self.closing = True
        if self._task is None and self._transport:
            self._transport.close()

    # -- llhttp callbacks ------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        self._now = _Exchange()
        self._expect(self._door.settings.header_timeout_s)

    def on_url(self, url: bytes) -> None:
        """A piece of the request target."""
        now = self._current()
        now.target += url
        if len(now.target) > MAX_TARGET_BYTES:
            raise _Stop(414, f"the request target is longer than {MAX_TARGET_BYTES} bytes")

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header."""
        now = self._current()
        name = name.lower()
        now.n_headers += 1
        now.header_bytes += len(name) + len(value)
        if now.n_headers > MAX_HEADERS or now.header_bytes > MAX_HEADER_BYTES:
            raise _Stop(431, f"more than {MAX_HEADERS} headers or {MAX_HEADER_BYTES} bytes of them")
        if name in _SINGLE and now.headers.get(name, value) != value:
            raise _Stop(400, f"the header {name.decode('latin-1')} came twice with different values")
        now.headers.setdefault(name, value)
        if b"content-length" in now.headers and b"transfer-encoding" in now.headers:
            raise _Stop(400, "Content-Length and Transfer-Encoding together are ambiguous")

    def on_headers_complete(self) -> None:
        """Judges the request before its body: what is refused here is read to its end and not kept."""
        now = self._current()
        now.method = self._parser.get_method().decode("latin-1")
        self._expect(self._door.settings.body_timeout_s)
        declared = now.headers.get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > self._door.settings.max_body_bytes:
            raise _Stop(413, self._limit_text())
        try:
            self._check_head(now)
        except (AssayError, OSError) as error:
            now.refusal = _refusal(now, error)
        if now.headers.get(b"expect", b"").lower() == b"100-continue":
            if now.refusal is not None:
                raise _Stop(now.refusal.http, now.refusal.message, now.refusal)
            if self._task is None and self._transport:
                self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, piece: bytes) -> None:
        """A piece of the body."""
        now = self._current()
        now.body_bytes += len(piece)
        if now.body_bytes > self._door.settings.max_body_bytes:
            raise _Stop(413, self._limit_text())
        if now.refusal is None:
            now.body.append(piece)

    def on_message_complete(self) -> None:
        """The request is whole."""
        now = self._current()
        now.keep = self._parser.should_keep_alive()
        self._deaf = not now.keep
        self._answer_in_turn(now)

    # -- reading on ------------------------------------------------------------------------------------------------

    def _current(self) -> _Exchange:
        if self._now is None:
            self._now = _Exchange()
        return self._now

    def _answer_in_turn(self, exchange: _Exchange) -> None:
        self._now = None
        self._stop_timer()
        self._ready.append(exchange)
        if self._task is None:
            self._task = self._loop.create_task(self._answer_all())

    def _refuse(self, refusal: Refusal) -> None:
        """A request that cannot be read on: it is answered in its turn, and nothing after it is read."""
        exchange = self._current()
        exchange.refusal, exchange.keep = refusal, False
        self._deaf = True
        self._answer_in_turn(exchange)

    def _ignore_upgrade(self, rest: bytes) -> None:
        """An offer to switch protocols may be ignored (RFC 9110, section 7.8); the next request follows as usual."""
        self._parser = httptools.HttpRequestParser(self)
        if self._now is not None:
            self._refuse(Refusal(http=400, grpc=INVALID_ARGUMENT, message="the connection cannot be upgraded"))
        elif rest:
            self.data_received(rest)

    def _limit_text(self) -> str:
        return f"the body is larger than {self._door.settings.max_body_bytes} bytes; send smaller batches"

    def _check_head(self, now: _Exchange) -> None:
        target = now.target.decode("latin-1")
        if target.split("?", 1)[0] in ("/healthz", "/health") and now.method in ("GET", "HEAD"):
            return
        now.signal = signal_of(now.method, target)
        now.principal = self._door.intake.principal(key_of(now.text(b"authorization"), now.text(b"x-api-key")))
        self._door.intake.check_quota(now.principal)
        now.is_json = is_json(now.text(b"content-type"))
        now.is_gzip = is_gzip(now.text(b"content-encoding"))

    # -- answering -------------------------------------------------------------------------------------------------

    async def _answer_all(self) -> None:
        while self._ready:
            exchange = self._ready.popleft()
            if self.closing and not self._ready:
                exchange.keep = False
            try:
                await self._answer(exchange)
            except Exception as error:
                self._send_refusal(exchange, _refusal(exchange, error))
            if not exchange.keep:
                self._close(unread=exchange.refusal is not None)
                return
            if self._unread:
                await self._until_read(self._unread)
            if self._transport and len(self._ready) < MAX_PIPELINED:
                self._transport.resume_reading()
        self._task = None
        if self.closing:
            self._close(unread=False)
        elif self._now is None:
            self._expect(self._door.settings.idle_timeout_s)

    async def _until_read(self, unread: asyncio.Future[None]) -> None:
        try:
            await asyncio.wait_for(unread, self._door.settings.idle_timeout_s)
        except TimeoutError:
            if self._transport:
                self._transport.abort()

    async def _answer(self, exchange: _Exchange) -> None:
        if exchange.refusal is not None:
            self._send_refusal(exchange, exchange.refusal)
        elif exchange.signal is None or exchange.principal is None:
            well, details = self._door.health()
            self._send(exchange, 200 if well else 503, JSON, json.dumps(details).encode())
        else:
            await self._export(exchange, exchange.signal, exchange.principal)

    async def _export(self, exchange: _Exchange, signal: Signal, principal: Principal) -> None:
        pieces, exchange.body = exchange.body, []
        if exchange.body_bytes > LARGE_BYTES:  # 64 MB take 40 ms, in which nobody else is answered
            body = await asyncio.to_thread(b"".join, pieces)
        else:
            body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        limit = self._door.settings.max_body_bytes if exchange.is_gzip else None
        body = await self._door.intake.opened(body, principal, gzip_limit=limit)
        check_looks(body, exchange.is_json)
        accepted = await self._door.intake.receive(signal, body, is_json=exchange.is_json, principal=principal)
        if exchange.is_json:
            self._send(exchange, 200, JSON, response_json(accepted))
        else:
            self._send(exchange, 200, PROTOBUF, response_of(accepted))

    def _send_refusal(self, exchange: _Exchange, refusal: Refusal) -> None:
        if refusal.retry_after_s is not None:
            exchange.extra["retry-after"] = str(refusal.retry_after_s)
        if answers_json(exchange.text(b"content-type")):
            self._send(exchange, refusal.http, JSON, status_json(refusal))
        else:
            self._send(exchange, refusal.http, PROTOBUF, refusal.status().SerializeToString())

    def _send(self, exchange: _Exchange, status: int, content_type: str, body: bytes) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        lines = [
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
            f"content-type: {content_type}",
            f"content-length: {len(body)}",
            *(f"{name}: {value}" for name, value in exchange.extra.items()),
        ]
        if not exchange.keep:
            lines.append("connection: close")
        head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")
        self._transport.write(head if exchange.method == "HEAD" else head + body)

    def _close(self, *, unread: bool) -> None:
        """Closes; when the client may still be sending, only after it had time to read the answer: closing a socket
        with unread bytes resets the connection, and exporters take a reset for a fault worth repeating."""
        self._deaf = True
        self._ready.clear()
        if self._transport is None:
            return
        if not unread or self._transport.is_closing() or not self._transport.can_write_eof():
            self._transport.close()
            return
        self._transport.write_eof()
        self._task = None
        self._transport.resume_reading()
        self._expect(LINGER_S)

    # -- time ------------------------------------------------------------------------------------------------------

    def _expect(self, seconds: float) -> None:
        self._stop_timer()
        self._timer = self._loop.call_later(seconds, self._too_slow)

    def _stop_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        """An unfinished request is answered 408; a connection without one is closed."""
        self.closing = True
        if self._now is not None and not self._deaf:
            part = "body" if self._now.method else "head"
            message = f"the request's {part} did not arrive in time; nothing was kept"
            self._refuse(Refusal(http=408, grpc=DEADLINE_EXCEEDED, message=message))
        elif self._transport and self._task is None:
            self._deaf = True
            self._transport.close()


class _Stop(Exception):
    """Leaves the parser: the request is refused with this and not read on."""

    def __init__(self, http: int, message: str, refusal: Refusal | None = None) -> None:
        super().__init__(message)
        grpc = refusal_of(TooLarge(message)).grpc if http == 413 else INVALID_ARGUMENT
        self.refusal = refusal or Refusal(http=http, grpc=grpc, message=message)


def _refusal(exchange: _Exchange, error: Exception) -> Refusal:
    if isinstance(error, BadRequestLine):
        exchange.extra |= error.headers
        code = UNIMPLEMENTED if error.http in (404, 405) else INVALID_ARGUMENT
        return Refusal(http=error.http, grpc=code, message=str(error))
    return refusal_of(error)
