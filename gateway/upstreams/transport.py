"""HTTP to the upstreams: one session for all of them, without redirects, cookies or proxies of the environment."""

from __future__ import annotations

import io
import ssl

import aiohttp
from yarl import URL

from gateway.errors import UpstreamFailed
from gateway.upstreams.failures import AttemptFailed, Then, garbage

_SKIPPED = ("user-agent", "accept", "accept-encoding", "content-type")
_MOST_ERROR_BYTES = 64 << 10
_LARGE_BYTES = 1 << 20


class Transport:
    """Needs a running event loop from `start` on. How many requests are open at once is the slots' business."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    def start(self) -> None:
        """Opens no connection yet."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, limit_per_host=0, ttl_dns_cache=30),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            skip_auto_headers=_SKIPPED,
            timeout=aiohttp.ClientTimeout(total=None),
        )

    async def close(self) -> None:
        """Drops every connection."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def send(
        self, url: URL, headers: dict[str, str], body: bytes, timeout: aiohttp.ClientTimeout
    ) -> aiohttp.ClientResponse:
        """Posts; returns when the answer's headers are there. Raises AttemptFailed; the caller sets the time limit."""
        if self._session is None:
            raise RuntimeError("the upstreams were not started: call Pool.start() in the event loop")
        try:
            data = body if len(body) < _LARGE_BYTES else io.BytesIO(body)  # sent in pieces, as fast as they are taken
            return await self._session.post(url, data=data, headers=headers, allow_redirects=False, timeout=timeout)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise network_failure(error) from error


def network_failure(error: Exception) -> AttemptFailed:
    """What a failure of the connection means. Our words only: the library's name addresses."""
    if isinstance(error, aiohttp.ClientSSLError | ssl.SSLError):
        return _unreachable("tls", "no secure connection could be made to the upstream; check its certificate")
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return _unreachable("connect_timeout", "the upstream could not be reached in time", 504)
    if isinstance(error, aiohttp.ClientConnectorError):
        return _unreachable("connect", "the upstream could not be reached")
    if isinstance(error, TimeoutError):
        return timed_out("the upstream took too long")
    if isinstance(error, aiohttp.ClientPayloadError):
        return _unreachable("disconnected", "the upstream closed the connection within its answer")
    if isinstance(error, aiohttp.ClientConnectionError | OSError):
        return _unreachable("disconnected", "the upstream closed the connection without an answer")
    if isinstance(error, aiohttp.InvalidURL):
        return AttemptFailed("bad_url", UpstreamFailed("the upstream's base_url is no address"), then=Then.ELSEWHERE)
    return AttemptFailed("garbage", garbage("it is no HTTP"))


def timed_out(said: str) -> AttemptFailed:
    """The upstream took longer than it may."""
    return AttemptFailed("timeout", UpstreamFailed(said, status=504, code="upstream_timeout"))


def _unreachable(reason: str, said: str, status: int = 502) -> AttemptFailed:
    return AttemptFailed(reason, UpstreamFailed(said, status=status, code=f"upstream_{reason}"))


async def read_whole(response: aiohttp.ClientResponse, into: bytearray, most: int) -> None:
    """The answer's body. Raises AttemptFailed: it broke off or is larger than `most` bytes; `into` has what came."""
    try:
        if (response.content_length or 0) > most:
            raise too_large(most)
        async for piece in response.content.iter_any():
            into += piece
            if len(into) > most:
                raise too_large(most)
    except TimeoutError:
        raise
    except (aiohttp.ClientError, OSError) as error:
        raise network_failure(error) from error


async def read_error(response: aiohttp.ClientResponse) -> bytes:
    """As much of an error answer as anybody wants to read; never raises because of the upstream."""
    try:
        return await response.content.read(_MOST_ERROR_BYTES)
    except (aiohttp.ClientError, OSError):
        return b""


def too_large(most: int) -> AttemptFailed:
    """An answer that nobody wants to hold in memory."""
    error = UpstreamFailed(f"the upstream's answer is larger than {most} bytes", code="upstream_answer_too_large")
    return AttemptFailed("too_large", error, then=Then.ELSEWHERE, status=200, sick=False)
