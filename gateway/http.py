"""The few words of ASGI that the doors need: a request with its headers at hand, and answers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any, Final
from urllib.parse import quote

import orjson

from gateway.errors import BadCall, CallFailed

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

JSON: Final = b"application/json"
EVENTS: Final = b"text/event-stream; charset=utf-8"
_NO_LENGTH: Final = -1


class Gone(Exception):
    """The caller closed the connection before the request was whole."""


class Request:
    """One request: `method`, `path` (`raw_path`: not yet percent-decoded), and headers by lower-case name (the first of
    a name counts; `pairs` has all of them)."""

    __slots__ = ("_receive", "headers", "method", "pairs", "path", "query", "raw_path")

    def __init__(self, scope: Message, receive: Receive) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.raw_path: bytes = scope.get("raw_path") or quote(self.path).encode()
        self.query: bytes = scope.get("query_string", b"")
        self.pairs: Sequence[tuple[bytes, bytes]] = scope["headers"]
        self.headers: dict[bytes, bytes] = {}
        for name, value in self.pairs:
            self.headers.setdefault(name, value)
        self._receive = receive

    def text(self, name: bytes) -> str:
        """A header as text, empty when it is not there. Raises BadCall for control characters."""
        value = self.headers.get(name, b"")
        if not value:
            return ""
        found = value.decode("utf-8", "replace").strip()
        if not found.isprintable():
            raise BadCall(f"the header {name.decode()} has control characters; send plain text", param=name.decode())
        return found

    def joined(self, name: bytes) -> bytes:
        """All headers of a name as one list (RFC 9110, section 5.3); empty where there is none."""
        return b",".join(value for each, value in self.pairs if each == name)

    def declared_length(self) -> int:
        """Of the body, -1 when it is not said."""
        value = self.headers.get(b"content-length", b"")
        return int(value) if value.isdigit() else _NO_LENGTH

    async def body(self, most: int, keep: Callable[[int], None], within_s: float) -> bytes:
        """The whole body. `keep` is told of every piece's bytes and may raise. Raises BadCall: 413 above `most` bytes,
        408 when it is not there in time, 415 when it is compressed; Gone when the caller left."""
        if self.declared_length() > most:
            raise too_large(most)
        if self.headers.get(b"content-encoding", b"identity") != b"identity":
            raise BadCall("the body is compressed; send it plain", status=415, code="content_encoding")
        try:
            async with asyncio.timeout(within_s):
                return await self._body(most, keep)
        except TimeoutError:
            said = f"the body was not there within {within_s:g} s; send it faster, or have body_timeout_s raised"
            raise BadCall(said, status=408, code="body_timeout") from None

    async def _body(self, most: int, keep: Callable[[int], None]) -> bytes:
        pieces: list[bytes] = []
        size = 0
        while True:
            message = await self._receive()
            if message["type"] != "http.request":
                raise Gone
            piece = message.get("body", b"")
            size += len(piece)
            if size > most:
                raise too_large(most)
            keep(len(piece))
            pieces.append(piece)
            if not message.get("more_body", False):
                return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def until_gone(self) -> None:
        """Returns when the caller has closed the connection. For after the body was read."""
        while (await self._receive())["type"] != "http.disconnect":
            pass


def too_large(most: int) -> BadCall:
    """The refusal of a body above `most` bytes."""
    return BadCall(f"the body is larger than {most} bytes; send less, or have max_body_bytes raised", status=413,
                   code="too_large")  # fmt: skip


async def send_json(send: Send, status: int, body: object, headers: dict[str, str] | None = None) -> None:
    """One JSON answer."""
    await send_bytes(send, status, orjson.dumps(body), JSON, headers)


async def send_bytes(
    send: Send, status: int, body: bytes, content_type: bytes, headers: dict[str, str] | None = None
) -> None:
    """One whole answer."""
    head = [(b"content-type", content_type), (b"content-length", b"%d" % len(body))]
    head += header_pairs(headers)
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body", "body": body})


def header_pairs(headers: dict[str, str] | None) -> list[tuple[bytes, bytes]]:
    """Headers as ASGI wants them; what is not Latin-1 is replaced."""
    return [(name.encode(), value.encode("latin-1", "replace")) for name, value in (headers or {}).items()]


def error_headers(error: CallFailed) -> dict[str, str]:
    """The headers of a refusal: when to come again."""
    if error.retry_after_s is None:
        return {}
    return {"retry-after": str(max(1, -int(-error.retry_after_s // 1)))}
