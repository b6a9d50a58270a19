"""The simulated provider on a free loopback port, in a thread of the test's process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from agent_runtime.simulation.provider.running import running_provider
from agent_runtime.simulation.provider.server import Provider
from tests.waiting import wait_until


@contextmanager
def serving(provider: Provider) -> Iterator[str]:
    """Gives the provider's address, http://127.0.0.1:PORT."""
    address: list[str] = []
    loops: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def serve() -> None:
        stop = asyncio.Event()
        loops.append((asyncio.get_running_loop(), stop))
        async with running_provider(provider) as url:
            address.append(url)
            await stop.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    wait_until(lambda: address, 30, "the provider's address")
    try:
        yield address[0]
    finally:
        loop, stop = loops[0]
        loop.call_soon_threadsafe(stop.set)
        thread.join(30)
