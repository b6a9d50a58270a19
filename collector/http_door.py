"""OTLP over HTTP/1.1: one asyncio protocol over the llhttp parser, no framework between the socket and the intake.

Bounds: header bytes and count, body bytes before and after decompression, time for headers, for the body, and between
requests. Every answer, also to a request that is wrong, is an Export…ServiceResponse or a google.rpc.Status in the
encoding of the request. There are no redirects.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, cast

import httptools

from collector.answers import INVALID_ARGUMENT, Refusal, refusal_of, response_json, response_of, status_json
from collector.http_request import (
    JSON,
    PROTOBUF,
    BadRequestLine,
    answers_json,
    is_gzip,
    is_json,
    key_of,
    signal_of,
)
from collector.inflate import gunzip
from collector.intake import INLINE_BYTES, Intake
from collector.settings import CollectorSettings
from core.errors import AssayError, TooLarge, Undecodable

MAX_HEADER_BYTES: Final = 32 << 10
MAX_HEADERS: Final = 128
# Headers that may come once only: two different values must not let two readers of the request disagree.
_SINGLE: Final = frozenset({b"content-type", b"content-encoding", b"authorization", b"x-api-key", b"content-length"})


@dataclass(frozen=True, kw_only=True)
class Door:
    """What every connection shares. `health` answers GET /healthz: (is well, details)."""

    intake: Intake
    settings: CollectorSettings
    health: Callable[[], tuple[bool, dict[str, object]]]
    connections: set[HttpConnection]


class HttpConnection(asyncio.Protocol):
    """One client connection; requests on it are answered one after the other."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpRequestParser(self)
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._held: list[bytes] = []
        self.closing = False
        self._reset()

    def _reset(self) -> None:
        self._target = b""
        self._headers: dict[bytes, bytes] = {}
        self._n_headers = self._header_bytes = self._body_bytes = 0
        self._body: list[bytes] = []
        self._early: Refusal | None = None
        self._extra: dict[str, str] = {}
        self._in_request = False

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

    def data_received(self, data: bytes) -> None:
        """Feeds the parser, or holds pipelined bytes while a request is being answered."""
        if self._task is not None:
            self._held.append(data)
            if sum(map(len, self._held)) > self._door.settings.max_body_bytes and self._transport:
                self._transport.pause_reading()
            return
        if not self._in_request:
            self._in_request = True
            self._expect(self._door.settings.header_timeout_s)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._fail(Refusal(http=400, grpc=INVALID_ARGUMENT, message="the connection cannot be upgraded"))
        except httptools.HttpParserCallbackError as error:
            cause = error.__context__
            self._fail(cause.refusal if isinstance(cause, _TooMuch) else refusal_of(error))
        except httptools.HttpParserError as error:
            self._fail(Refusal(http=400, grpc=INVALID_ARGUMENT, message=f"this is not an HTTP request: {error}"))

    def eof_received(self) -> bool:
        """A client that stops sending in the middle of a request gets no answer to it."""
        return self._task is not None

    def finish_soon(self) -> None:
        """For shutdown: closes when idle, else after the answer."""
        self.closing = True
        if self._task is None and self._transport:
            self._transport.close()

    # -- llhttp callbacks ------------------------------------------------------------------------------------------

    def on_url(self, url: bytes) -> None:
        """A piece of the request target."""
        self._target += url
        if len(self._target) > 8192:
            raise _TooMuch(414, "the request target is longer than 8 KiB")

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header."""
        name = name.lower()
        self._n_headers += 1
        self._header_bytes += len(name) + len(value)
        if self._n_headers > MAX_HEADERS or self._header_bytes > MAX_HEADER_BYTES:
            raise _TooMuch(431, f"more than {MAX_HEADERS} headers or {MAX_HEADER_BYTES} bytes of them")
        if name in _SINGLE and name in self._headers and self._headers[name] != value:
            raise _TooMuch(400, f"the header {name.decode('latin-1')} came twice with different values")
        self._headers.setdefault(name, value)
        if b"content-length" in self._headers and b"transfer-encoding" in self._headers:
            raise _TooMuch(400, "Content-Length and Transfer-Encoding together are ambiguous")

    def on_headers_complete(self) -> None:
        """Judges the request before its body: what is refused here is read to its end and not kept."""
        self._expect(self._door.settings.body_timeout_s)
        declared = self._headers.get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > self._door.settings.max_body_bytes:
            raise _TooMuch(413, self._limit_text())
        try:
            self._check_head()
        except (AssayError, OSError) as error:
            self._early = self._refusal(error)
        if self._headers.get(b"expect", b"").lower() == b"100-continue" and self._transport:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, piece: bytes) -> None:
        """A piece of the body."""
        self._body_bytes += len(piece)
        if self._body_bytes > self._door.settings.max_body_bytes:
            raise _TooMuch(413, self._limit_text())
        if self._early is None:
            self._body.append(piece)

    def on_message_complete(self) -> None:
        """The request is whole."""
        self._stop_timer()
        self._task = self._loop.create_task(self._answer())

    # -- answering -------------------------------------------------------------------------------------------------

    def _text(self, name: bytes) -> str | None:
        value = self._headers.get(name)
        return None if value is None else value.decode("latin-1")

    def _limit_text(self) -> str:
        return f"the body is larger than {self._door.settings.max_body_bytes} bytes; send smaller batches"

    def _check_head(self) -> None:
        method = self._parser.get_method().decode("latin-1")
        target = self._target.decode("latin-1")
        if target.split("?", 1)[0] in ("/healthz", "/health") and method in ("GET", "HEAD"):
            return
        self._signal = signal_of(method, target)
        self._principal = self._door.intake.principal(key_of(self._text(b"authorization"), self._text(b"x-api-key")))
        self._json = is_json(self._text(b"content-type"))
        self._gzip = is_gzip(self._text(b"content-encoding"))

    def _refusal(self, error: Exception) -> Refusal:
        if isinstance(error, BadRequestLine):
            self._extra = error.headers
            return Refusal(http=error.http, grpc=INVALID_ARGUMENT, message=str(error))
        return refusal_of(error)

    async def _answer(self) -> None:
        keep = self._parser.should_keep_alive() and not self.closing
        as_json = answers_json(self._text(b"content-type"))
        try:
            if self._early is not None:
                self._send_refusal(self._early, as_json, keep)
            elif self._parser.get_method() in (b"GET", b"HEAD"):
                self._send_health(keep)
            else:
                await self._export(keep)
        except Exception as error:
            self._send_refusal(self._refusal(error), as_json, keep)
        finally:
            self._task = None
        self._next_request(keep and not self.closing)

    async def _export(self, keep: bool) -> None:
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        self._body = []
        limit = self._door.settings.max_body_bytes
        if self._gzip and body:
            if len(body) > INLINE_BYTES // 4:
                body = await self._loop.run_in_executor(None, gunzip, body, limit)
            else:
                body = gunzip(body, limit)
        _check_looks(body, self._json)
        accepted = await self._door.intake.receive(self._signal, body, is_json=self._json, principal=self._principal)
        if self._json:
            self._send(200, JSON, response_json(accepted), keep)
        else:
            self._send(200, PROTOBUF, response_of(accepted), keep)

    def _send_health(self, keep: bool) -> None:
        well, details = self._door.health()
        self._send(200 if well else 503, JSON, json.dumps(details).encode(), keep)

    def _send_refusal(self, refusal: Refusal, as_json: bool, keep: bool) -> None:
        if refusal.retry_after_s is not None:
            self._extra = {**self._extra, "retry-after": str(refusal.retry_after_s)}
        if as_json:
            self._send(refusal.http, JSON, status_json(refusal), keep)
        else:
            self._send(refusal.http, PROTOBUF, refusal.status().SerializeToString(), keep)

    def _send(self, status: int, content_type: str, body: bytes, keep: bool) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        lines = [
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
            f"content-type: {content_type}",
            f"content-length: {len(body)}",
            *(f"{name}: {value}" for name, value in self._extra.items()),
        ]
        if not keep:
            lines.append("connection: close")
        head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")
        self._transport.write(head if self._parser.get_method() == b"HEAD" else head + body)

    def _next_request(self, keep: bool) -> None:
        if self._transport is None:
            return
        if not keep:
            self._transport.close()
            return
        self._parser = httptools.HttpRequestParser(self)
        self._reset()
        self._expect(self._door.settings.idle_timeout_s)
        held, self._held = self._held, []
        self._transport.resume_reading()
        for data in held:
            self.data_received(data)

    def _fail(self, refusal: Refusal) -> None:
        """Answers a request that cannot be read on, and closes."""
        self._stop_timer()
        self._send_refusal(refusal, answers_json(self._text(b"content-type")), False)
        if self._transport:
            self._transport.close()

    # -- time ------------------------------------------------------------------------------------------------------

    def _expect(self, seconds: float) -> None:
        self._stop_timer()
        self._timer = self._loop.call_later(seconds, self._too_slow)

    def _stop_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        if self._transport and self._task is None:
            self._transport.close()


class _TooMuch(Exception):
    def __init__(self, http: int, message: str) -> None:
        super().__init__(message)
        grpc = refusal_of(TooLarge(message)).grpc if http == 413 else INVALID_ARGUMENT
        self.refusal = Refusal(http=http, grpc=grpc, message=message)


def _check_looks(body: bytes, as_json: bool) -> None:
    """Names the mistake when the body is plainly not what its headers say."""
    if body[:2] == b"\x1f\x8b":
        raise Undecodable("the body is gzip; add the header Content-Encoding: gzip", "body")
    if not as_json and body[:1] == b"{":
        raise Undecodable(f"the body looks like JSON; send it with Content-Type: {JSON}", "body")
    if as_json and body[:1] == b"\x0a" and body.lstrip()[:1] not in (b"{", b"["):
        raise Undecodable(f"the body looks like protobuf; send it with Content-Type: {PROTOBUF}", "body")
