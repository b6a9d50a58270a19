"""A release of an app behind the session door: a server that says what it was asked, and misbehaves on request."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.stack import free_port_base


@dataclass(kw_only=True)
class Asked:
    """One request that a release got. `raw_path` as it was sent, with the query."""

    method: str
    raw_path: str
    headers: dict[str, str]
    body: bytes
    pairs: list[tuple[str, str]]

    @property
    def baggage(self) -> dict[str, str]:
        """The entries of its baggage, as they were sent."""
        return dict(entry.split("=", 1) for entry in self.headers.get("baggage", "").split(",") if entry)


@dataclass(kw_only=True)
class Release:
    """A running release."""

    name: str
    url: str
    asked: list[Asked] = field(default_factory=list)
    n_left: int = 0  # requests whose caller went away


@contextmanager
def running(name: str, port: int = 0) -> Iterator[Release]:
    """Serves until the end of the block, in a thread of its own."""
    port = port or free_port_base(1)
    release = Release(name=name, url=f"http://127.0.0.1:{port}")
    ready, stop = threading.Event(), threading.Event()

    async def serve() -> None:
        app = web.Application(client_max_size=1 << 30)

        async def answer(request: web.Request) -> web.StreamResponse:
            return await _answer(release, request)

        app.router.add_route("*", "/{rest:.*}", answer)
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        ready.set()
        while not stop.is_set():
            await asyncio.sleep(0.01)
        await runner.cleanup()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    try:
        assert ready.wait(30), "the release did not start"
        yield release
    finally:
        stop.set()
        thread.join(30)


async def _answer(release: Release, request: web.Request) -> web.StreamResponse:
    body = await request.read()
    headers = {name.lower(): value for name, value in request.headers.items()}
    asked = Asked(
        method=request.method,
        raw_path=request.raw_path,
        headers=headers,
        body=body,
        pairs=list(request.headers.items()),
    )
    release.asked.append(asked)
    match request.query.get("do"):
        case "stream" | "break" as how:
            return await _streamed(request, whole=how == "stream")
        case "hang":
            try:
                await asyncio.sleep(600)
            except asyncio.CancelledError:
                release.n_left += 1
                raise
        case "close":
            assert request.transport is not None
            request.transport.close()
        case "fail":
            return web.json_response({"error": {"code": "busy"}}, status=503, headers={"retry-after": "7"})
        case "cookies":
            answer = web.json_response({})
            answer.set_cookie("a", "1")
            answer.set_cookie("b", "2")
            return answer
    said: dict[str, Any] = {"release": release.name, "reply": f"{release.name} says ann@example.com", "n": len(body)}
    return web.json_response(said, headers={"x-own": "kept", "connection": "x-secret", "x-secret": "dropped"})


async def _streamed(request: web.Request, *, whole: bool) -> web.StreamResponse:
    answer = web.StreamResponse(headers={"content-type": "text/event-stream"})
    await answer.prepare(request)
    for n in range(5):
        await answer.write(f"data: {n}\n\n".encode())
        await asyncio.sleep(0.01)
        if n == 2 and not whole:
            assert request.transport is not None
            request.transport.abort()
            return answer
    await answer.write_eof()
    return answer
