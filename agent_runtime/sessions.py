"""One turn at a time per session: messages that arrive mid-turn wait in the order they came."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from agent_runtime.errors import Busy


class Sessions:
    """The locks of the sessions that are being worked on; an idle session costs nothing."""

    def __init__(self, queued_messages: int) -> None:
        self._most = queued_messages
        self._locks: dict[str, tuple[asyncio.Lock, int]] = {}

    @asynccontextmanager
    async def turn(self, session: str) -> AsyncIterator[None]:
        """Holds the session; waits behind earlier messages. Raises Busy when too many wait already."""
        lock, users = self._locks.get(session, (asyncio.Lock(), 0))
        if users > self._most:
            raise Busy(f"session {session!r} has {users - 1} messages waiting; send this one again later")
        self._locks[session] = (lock, users + 1)
        try:
            async with lock:
                yield
        finally:
            users = self._locks[session][1] - 1
            if users:
                self._locks[session] = (lock, users)
            else:
                del self._locks[session]

    def n_busy(self) -> int:
        """How many sessions are worked on now."""
        return len(self._locks)
