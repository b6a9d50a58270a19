"""Lines that a person types, read without a thread: Ctrl-C ends the wait, and work goes on beside it."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from typing import Final

_CHUNK: Final = 65_536


class TypedLines:
    """Standard input, line by line. A terminal edits the line itself; a pipe or file is read as it comes."""

    def __init__(self, say: Callable[[str], None]) -> None:
        """`say` shows the prompt."""
        self._say = say
        self._read = b""
        self._ended = sys.stdin is None  # closed with `<&-`

    async def next(self, prompt: str) -> str:
        """The next line without its end; "" at the end of input."""
        self._say(prompt)
        while b"\n" not in self._read and not self._ended:
            chunk = await _more(sys.stdin.fileno())
            self._read += chunk
            self._ended = not chunk
        line, _, self._read = self._read.partition(b"\n")
        return line.decode(errors="replace").rstrip("\r")


async def _more(number: int) -> bytes:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    try:
        loop.add_reader(number, _wake, ready)
    except OSError:  # a file: never waits
        return os.read(number, _CHUNK)
    try:
        await ready
    finally:
        loop.remove_reader(number)
    return os.read(number, _CHUNK)


def _wake(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)
