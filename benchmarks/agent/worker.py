"""What the measured programs share: a clock, and the conversation with `benchmarks.agent.overhead`. Standard library
only, since one of them runs in a virtual environment of its own.

The parent writes a number of sessions per line; the program plays them, one turn at a time, and answers a line of JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

TURNS: Final = 5  # of a session: its history grows
Turn = Callable[[str, int], Awaitable[str]]  # session id, number of the turn -> the reply


@dataclass
class Clock:
    """Seconds of a batch. `wall_s` is of its turns, `cpu_s` of the whole process; the rest lies within them."""

    n_turns: int = 0
    n_model_calls: int = 0
    n_tool_calls: int = 0
    wall_s: float = 0.0
    cpu_s: float = 0.0
    model_wall_s: float = 0.0
    model_cpu_s: float = 0.0
    tool_wall_s: float = 0.0


CLOCK = Clock()


def measure_requests(http: Any) -> None:
    """Counts what `http` (httpx or httpx2) spends in async transports: from handing a request over until its whole
    answer was read. Its CPU time is the event loop's thread's, in which nothing else is done meanwhile."""
    ask = http.AsyncHTTPTransport.handle_async_request

    async def measured(transport: Any, request: Any) -> Any:
        wall, cpu = time.perf_counter(), time.thread_time()
        try:
            response = await ask(transport, request)
            await response.aread()
            return response
        finally:
            CLOCK.model_wall_s += time.perf_counter() - wall
            CLOCK.model_cpu_s += time.thread_time() - cpu
            CLOCK.n_model_calls += 1

    http.AsyncHTTPTransport.handle_async_request = measured


async def tool(**_: Any) -> dict[str, Any]:
    """Every tool of everyone: the same answer at once."""
    wall = time.perf_counter()
    found = {
        "order_id": "LK-1023145",
        "status": "shipped",
        "placed_on": "2026-11-14",
        "items": [{"item_id": "LK-1023145/1", "name": "Cairn boots", "price_usd": "129.00", "quantity": 1}],
    }
    CLOCK.tool_wall_s += time.perf_counter() - wall
    CLOCK.n_tool_calls += 1
    return found


def job() -> dict[str, Any]:
    """What the parent wrote: `url`, `text`, `answer`, `tools`, `route`, `router`, `agent`."""
    found: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    return found


async def serve(turn: Turn, answer: str) -> None:
    """Plays batches until the parent closes the pipe. Raises RuntimeError when a turn was not the one asked for."""
    n_sessions = 0
    print("ready", flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        CLOCK.__init__()  # type: ignore[misc]
        cpu = time.process_time()
        for _ in range(int(line)):
            n_sessions += 1
            for number in range(TURNS):
                began = time.perf_counter()
                reply = await turn(f"session-{n_sessions}", number)
                CLOCK.wall_s += time.perf_counter() - began
                CLOCK.n_turns += 1
                if reply != answer:
                    raise RuntimeError(f"the turn ended with {reply!r}")
        CLOCK.cpu_s = time.process_time() - cpu
        print(json.dumps(asdict(CLOCK)), flush=True)
