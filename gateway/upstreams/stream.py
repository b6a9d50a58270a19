"""A streamed answer under way, from its first chunk to the connection's return."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import aiohttp

from gateway.errors import BadCall, CallFailed, UpstreamFailed
from gateway.upstreams.failures import AttemptFailed, Then, garbage
from gateway.upstreams.running import Running, Waiting
from gateway.upstreams.transport import network_failure, timed_out, too_large
from gateway.upstreams.wire import EventReader

# A stream may take this many times as long as a whole answer.
STREAM_TIMES: Final = 10
_DRAIN_S: Final = 0.1
_MOST_DRAINED: Final = 64 << 10


class UpstreamStream:
    """Chunks as they arrive. Whoever has one closes it."""

    def __init__(self, response: aiohttp.ClientResponse, reader: EventReader, running: Running) -> None:
        self._response, self._reader, self._running = response, reader, running
        config = running.slot.config
        self._idle_s = config.idle_timeout_s
        self._most = config.max_answer_bytes
        self._n_bytes = 0
        self._waiting: list[dict[str, Any]] = []
        self._at_end = False
        self._until = asyncio.get_running_loop().time() + config.timeout_s * STREAM_TIMES

    async def begin(self) -> None:
        """Waits for the first chunk; the caller sets the time limit. Raises AttemptFailed."""
        while not self._waiting:
            if not await self._step():
                raise AttemptFailed("garbage", garbage("there is no chunk in its stream"), status=200)

    def __aiter__(self) -> UpstreamStream:
        """Itself: a stream is read once."""
        return self

    async def __anext__(self) -> list[dict[str, Any]]:
        """The chunks that arrived. Raises UpstreamFailed."""
        try:
            while not self._waiting:
                if not await self._timed_step():
                    self._running.ended()
                    raise StopAsyncIteration
        except AttemptFailed as failed:
            self._running.failed(failed)
            raise failed.error from failed
        chunks, self._waiting = self._waiting, []
        return chunks

    async def close(self) -> None:
        """Counts the attempt as given up when it is not at its end."""
        whole = self._reader.finished
        if whole and not self._waiting:
            self._running.ended()
        else:
            self._running.given_up()
        if not whole or not await _is_drained(self._response):
            self._response.close()
        self._response.release()

    async def _timed_step(self) -> bool:
        loop = asyncio.get_running_loop()
        try:
            with Waiting(self._running.call):
                async with asyncio.timeout_at(min(loop.time() + self._idle_s, self._until)):
                    return await self._step()
        except TimeoutError:
            if self._is_whole_anyway():
                return True
            what = "stopped sending" if loop.time() < self._until else "went on for too long"
            raise timed_out(f"the upstream {what} in the middle of its answer") from None

    async def _step(self) -> bool:
        """Reads what is there; False: the answer is over and whole."""
        reader = self._reader
        if reader.failure is not None:
            raise _from_event(reader.failure)
        if reader.finished or self._at_end:
            return False
        if self._n_bytes > self._most:
            raise too_large(self._most)
        try:
            piece = await self._response.content.readany()
        except TimeoutError:
            raise
        except (aiohttp.ClientError, OSError) as error:
            if self._is_whole_anyway():
                return True
            raise network_failure(error) from error
        if not piece:
            return self._ended_by_upstream()
        self._n_bytes += len(piece)
        self._waiting = reader.feed(piece)
        return True

    def _ended_by_upstream(self) -> bool:
        if not self._is_whole_anyway() and self._reader.failure is None:
            said = "the upstream ended its answer in the middle"
            raise AttemptFailed("cut_off", UpstreamFailed(said, code="upstream_cut_off"), status=200)
        return True

    def _is_whole_anyway(self) -> bool:
        """Nothing more will be read: whether what came is all that matters, without the end of the stream."""
        self._at_end = True
        self._waiting = self._reader.end()
        return self._reader.finished


def _from_event(error: CallFailed) -> AttemptFailed:
    reason = "garbage" if error.code == "upstream_garbage" else "error_event"
    # What is wrong with the request is found out in the middle of a stream too.
    then = Then.TELL if isinstance(error, BadCall) else Then.RETRY
    return AttemptFailed(reason, error, then=then, status=200, sick=then is Then.RETRY)


async def _is_drained(response: aiohttp.ClientResponse) -> bool:
    """Whether the connection can be used again: after the last event there is hardly ever anything left to read."""
    content, n_bytes = response.content, 0
    if content.at_eof():
        return True
    try:
        async with asyncio.timeout(_DRAIN_S):
            while n_bytes < _MOST_DRAINED:
                piece = await content.readany()
                if not piece:
                    return True
                n_bytes += len(piece)
    except (aiohttp.ClientError, OSError):
        return False
    return False
