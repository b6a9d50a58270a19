"""What keeps one tenant from taking the doors away from the others: its quota, and its turn at reading large bodies.

Both answer before anything is decoded, from numbers alone, and both ask the sender to come again: a refused exporter
loses nothing. They belong to the event loop and are not thread-safe.
"""

from __future__ import annotations

import asyncio
import math
import os
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final, TypeVar

from core.errors import Overloaded
from core.ids import TenantId

EVERYBODY: Final = "*"
BURST_S: Final = 5.0  # what a bucket holds: the SDK's batch processor sends once in five seconds
MOST_HINT_S: Final = 3  # exporters give up when a hint goes past their deadline, and lose what they hold
INLINE_BYTES: Final = 32 << 10
NICE: Final = 5
READING_BYTES: Final = 128 << 20  # of one tenant's large bodies in memory, waiting to be read
T = TypeVar("T")


def room_error(what: str, retry_after_s: int) -> Overloaded:
    """The refusal that makes an exporter wait and send again."""
    return Overloaded(f"{what}; nothing was kept, send again in {retry_after_s} s", retry_after_s)


def be_nice() -> None:
    """This thread gives way to those that acknowledge, however nice the process was started."""
    me = threading.get_native_id()
    os.setpriority(os.PRIO_PROCESS, me, os.getpriority(os.PRIO_PROCESS, os.getpid()) + NICE)


class Quotas:
    """A token bucket per tenant. A request is taken while its tenant's bucket holds anything and may leave it in debt,
    so that no request is too large ever to be taken; the debt is paid before the next one is."""

    def __init__(self, bytes_s: Mapping[str, int], clock: Callable[[], float] = time.monotonic) -> None:
        """`bytes_s`: body bytes a second by tenant, of all others under "*"; a tenant that is in neither has no quota.
        `clock` answers seconds."""
        self._bytes_s = bytes_s
        self._clock = clock
        self._buckets: dict[TenantId, tuple[float, float]] = {}  # what it holds, and when that was

    def check(self, tenant: TenantId) -> None:
        """Raises Overloaded while the tenant's bucket is empty."""
        rate = self._rate(tenant)
        held = self._held(tenant, rate) if rate else 1.0
        if rate and held <= 0:
            hint_s = min(MOST_HINT_S, max(1, math.ceil(-held / rate)))
            raise room_error(f"the tenant's quota of {rate} bytes a second is used up", hint_s)

    def charge(self, tenant: TenantId, size: int) -> None:
        """Takes `size` bytes out of the bucket."""
        rate = self._rate(tenant)
        if rate:
            self._buckets[tenant] = (self._held(tenant, rate) - size, self._clock())

    def _rate(self, tenant: TenantId) -> int:
        return self._bytes_s.get(tenant, self._bytes_s.get(EVERYBODY, 0))

    def _held(self, tenant: TenantId, rate: int) -> float:
        held, since = self._buckets.get(tenant, (rate * BURST_S, self._clock()))
        return min(rate * BURST_S, held + rate * (self._clock() - since))


@dataclass(kw_only=True)
class _Line:
    """One tenant's large bodies: one is being read, the others wait."""

    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    n: int = 0
    size: int = 0


class Turns:
    """Reads bodies: small ones at once, large ones on two threads that give way, of each tenant one at a time."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(2, thread_name_prefix="read", initializer=be_nice)
        self._lines: dict[TenantId, _Line] = {}

    async def run(self, tenant: TenantId, size: int, work: Callable[[], T]) -> T:
        """The result of `work` on a body of `size` bytes. Raises Overloaded when too much of the tenant waits."""
        if size <= INLINE_BYTES:
            return work()
        line = self._lines.setdefault(tenant, _Line())
        if line.n and line.size + size > READING_BYTES:
            raise room_error(f"{line.size >> 20} MiB of the tenant's requests wait to be read", 1)
        line.n, line.size = line.n + 1, line.size + size
        try:
            async with line.turn:
                return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        finally:
            line.n, line.size = line.n - 1, line.size - size
            if not line.n:
                del self._lines[tenant]
