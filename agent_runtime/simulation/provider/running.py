"""Starting the provider: in this event loop beside other work, or alone in a process of its own."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import uvicorn

from agent_runtime.simulation.provider.server import Provider


class Beside(uvicorn.Server):
    """Ends when its owner says so: Ctrl-C is for the program that it runs beside."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leaves the signals alone."""
        yield


def _config(provider: Provider) -> uvicorn.Config:
    return uvicorn.Config(
        provider, http="httptools", loop="uvloop", log_level="warning", access_log=False, server_header=False, ws="none"
    )


def listen(host: str, port: int) -> socket.socket:
    """Opens the door: who comes from now on waits and is not refused; port 0 takes a free one. Raises OSError: the port
    is taken."""
    # Named, the protocol tells asyncio to send small pieces at once; unnamed, an answer in two of them takes 40 ms.
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind((host, port))
    bound.listen(2048)
    bound.setblocking(False)
    return bound


@asynccontextmanager
async def running_provider(provider: Provider, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[str]:
    """Serves in this event loop and gives the address `http://HOST:PORT`; clients add `/v1` where they need it."""
    with listen(host, port) as bound:
        server = Beside(_config(provider))
        serving = asyncio.create_task(server.serve(sockets=[bound]))
        try:
            yield f"http://{host}:{bound.getsockname()[1]}"
        finally:
            server.should_exit = True
            await serving


def serve_forever(provider: Provider, bound: socket.socket) -> None:
    """Serves until a signal ends the process."""
    uvicorn.Server(_config(provider)).run(sockets=[bound])
