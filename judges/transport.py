"""The HTTP client of judges: replies are read up to a limit and no further."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

import httpx2

MOST_BODY: Final = 1_048_576  # bytes of a reply
_CONNECT_S: Final = 5.0
_HEAD: Final = 4_096  # bytes of what was too large that are kept


class ReplyTooLarge(Exception):
    """A server sent more than is read; the connection was closed. `head` is how it began."""

    def __init__(self, head: bytes, most: int) -> None:
        super().__init__(f"the reply is larger than {most:,} bytes")
        self.head = head


class ReplyEncoded(Exception):
    """A server sent a compressed reply, which was not asked for and could be of any size."""


def capped_client(timeout_s: float, connections: int, most: int = MOST_BODY) -> httpx2.AsyncClient:
    """A client that follows no redirect, asks for no compression and stops reading a reply after `most` bytes."""

    async def cap(response: httpx2.Response) -> None:
        if response.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
            raise ReplyEncoded("the reply is compressed")
        length = response.headers.get("content-length", "")
        if length.isdecimal() and int(length[:20]) > most:
            raise ReplyTooLarge(b"", most)
        if isinstance(response.stream, httpx2.AsyncByteStream):
            response.stream = _Capped(response.stream, most)

    return httpx2.AsyncClient(
        timeout=httpx2.Timeout(timeout_s, connect=_CONNECT_S),
        limits=httpx2.Limits(max_connections=connections, max_keepalive_connections=connections),
        headers={"accept-encoding": "identity"},
        follow_redirects=False,
        event_hooks={"response": [cap]},
    )


def too_large_in(error: BaseException | None) -> ReplyTooLarge | None:
    """The ReplyTooLarge behind an error that an SDK made of it."""
    for _ in range(10):
        if error is None or isinstance(error, ReplyTooLarge):
            return error
        error = error.__cause__ or error.__context__
    return None


class _Capped(httpx2.AsyncByteStream):
    def __init__(self, stream: httpx2.AsyncByteStream, most: int) -> None:
        self._stream = stream
        self._most = most

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size, head = 0, b""
        async for chunk in self._stream:
            size += len(chunk)
            head = head + chunk[: _HEAD - len(head)] if len(head) < _HEAD else head
            if size > self._most:
                raise ReplyTooLarge(head, self._most)
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()
