"""How fast and how often a model is asked: calls in flight, requests a minute, pauses that it asks for, tries again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import Random
from typing import Final

from core.errors import InvalidInput

Sleep = Callable[[float], Awaitable[None]]
Clock = Callable[[], float]

LONGEST_PAUSE_S: Final = 120.0  # a server that asks for more is not waited for


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How an Asker paces itself. `n_tries` counts the first; a pause before try n is `backoff_s` * 2^(n-2), at most
    `most_backoff_s`, drawn between its half and its whole, or what the server asks for. Raises InvalidInput."""

    concurrency: int = 8
    requests_per_minute: float | None = None  # of each model
    timeout_s: float = 60.0  # of one request, all told
    n_tries: int = 5
    backoff_s: float = 1.0
    most_backoff_s: float = 30.0

    def __post_init__(self) -> None:
        """Checks the figures."""
        if not 1 <= self.concurrency <= 256:
            raise InvalidInput(f"calls in flight are 1 to 256, not {self.concurrency}", field="concurrency")
        if self.requests_per_minute is not None and not 0 < self.requests_per_minute < 1e6:
            raise InvalidInput("requests a minute are more than 0", field="requests_per_minute")
        if not (1 <= self.n_tries <= 20 and 0 < self.timeout_s <= 3_600 and 0 <= self.backoff_s <= self.most_backoff_s):
            raise InvalidInput("a judge makes 1 to 20 tries, each within an hour", field="n_tries")


class Lane:
    """The pace of one model: a place in flight, a slot a minute, and no request before a pause is over."""

    def __init__(self, limits: Limits, in_flight: asyncio.Semaphore, clock: Clock, sleep: Sleep) -> None:
        self._gap_s = 60.0 / limits.requests_per_minute if limits.requests_per_minute else 0.0
        self._in_flight = in_flight
        self._clock = clock
        self._sleep = sleep
        self._next = clock()
        self._paused_until = clock()

    async def __aenter__(self) -> None:
        """Waits for its slot, for the end of a pause, and then for a place in flight."""
        now = self._clock()
        slot = max(self._next, now)
        self._next = slot + self._gap_s
        while (wait_s := max(slot, self._paused_until) - self._clock()) > 0:
            await self._sleep(wait_s)
        await self._in_flight.acquire()

    async def __aexit__(self, *_: object) -> None:
        """Gives the place back."""
        self._in_flight.release()

    def pause(self, seconds: float) -> None:
        """Lets no further request begin before so many seconds are over: the server asked for it."""
        self._paused_until = max(self._paused_until, self._clock() + seconds)


def pause_before(limits: Limits, n_tried: int, chance: Random) -> float:
    """Seconds before the next try, after `n_tried` tries that failed."""
    whole = min(limits.most_backoff_s, limits.backoff_s * 2.0 ** (n_tried - 1))
    return whole * (0.5 + chance.random() / 2)
