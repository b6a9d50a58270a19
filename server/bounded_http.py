"""HTTP as uvicorn reads it, with limits of ours on what comes before the body and an answer of ours to what cannot be
read: uvicorn itself answers such requests with a line of plain text, before any application sees them.

Nothing of ours is imported here: the gateway's process uses it too, and stays small.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_URL_BYTES: Final = 60_000  # the parser itself ends at 65,535
MAX_HEAD_BYTES: Final = 131_072  # the URL and all headers
_DRAIN_BYTES: Final = 16 * 2**20  # of a refused request are read and thrown away, so that the client reads our answer
_DRAIN_S: Final = 2.0


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """What a request is told that cannot be read."""

    status: int
    code: str
    detail: str


_TOO_LONG_URL: Final = Refusal(
    status=414,
    code="url_too_long",
    detail=f"the URL is over {MAX_URL_BYTES:,} bytes; ask with fewer or shorter filters",
)
_TOO_LONG_HEAD: Final = Refusal(
    status=431,
    code="headers_too_large",
    detail=f"URL and headers are over {MAX_HEAD_BYTES:,} bytes; send fewer headers",
)
_UNREADABLE: Final = Refusal(
    status=400, code="undecodable", detail="this is not a request that can be read as HTTP/1.1"
)


class BoundedHttp(HttpToolsProtocol):
    """One connection. A head that is too long, or no HTTP at all, is answered and the connection ends."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.url = b""
        self._head_bytes = 0  # of the request whose headers are not complete
        self._in_head = self._in_message = False
        self._n_begun = 0
        self._drained: int | None = None  # bytes thrown away since the refusal

    def data_received(self, data: bytes) -> None:
        """Reads on, or refuses."""
        if self._drained is not None:
            self._drained += len(data)
            if self._drained > _DRAIN_BYTES:
                self.transport.close()
            return
        others = self._n_begun + (0 if self._in_message else 1)
        super().data_received(data)
        # A piece that ended one request and began the next is not counted: nobody says where in it that was.
        if self._drained is None and self._in_head and self._n_begun <= others:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self.send_400_response("")

    def on_message_begin(self) -> None:
        """A request begins."""
        self._head_bytes = 0
        self._in_head = self._in_message = True
        self._n_begun += 1
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """A piece of the URL. Raises ValueError, which ends the parsing, when it has become too long."""
        super().on_url(url)
        if len(self.url) > MAX_URL_BYTES:
            raise ValueError

    def on_headers_complete(self) -> None:
        """The head is complete. Raises ValueError, which ends the parsing, when it was too long."""
        self._head_bytes = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if self._head_bytes > MAX_HEAD_BYTES:
            raise ValueError
        self._in_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The body is complete."""
        self._in_message = False
        self._head_bytes = 0
        super().on_message_complete()

    @abstractmethod
    def answer_to(self, refusal: Refusal, path: str) -> tuple[list[tuple[bytes, bytes]], bytes]:
        """Headers, with the body's length, and body of the answer."""

    def send_400_response(self, msg: str) -> None:
        """Answers a refusal in place of `msg` and ends the connection once the client had time to read it."""
        if len(self.url) > MAX_URL_BYTES:
            refusal = _TOO_LONG_URL
        else:
            refusal = _TOO_LONG_HEAD if self._head_bytes > MAX_HEAD_BYTES else _UNREADABLE
        path = self.url.partition(b"?")[0][:300].decode("ascii", "replace")
        headers, body = self.answer_to(refusal, path)
        head = [*self.server_state.default_headers, *headers, (b"connection", b"close")]
        status_line = f"HTTP/1.1 {refusal.status} {HTTPStatus(refusal.status).phrase}".encode()
        lines = [status_line, *(name + b": " + value for name, value in head)]
        self._drained = 0
        self.transport.write(b"\r\n".join([*lines, b"", body]))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.loop.call_later(_DRAIN_S, self.transport.close)
