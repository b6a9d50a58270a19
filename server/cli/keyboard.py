"""Single keys from a terminal; where input is a file or a pipe, a line each, of which the first character counts."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

ENTER: Final = "\n"
END: Final = ""  # there is no more input
_ESCAPE: Final = "\x1b"
_MOST_PENDING: Final = 64


class Keyboard:
    """Where keys and lines come from; the terminal is put back as it was after each."""

    def __init__(self, stream: Any = None) -> None:
        self._stream = stream if stream is not None else sys.stdin
        self.is_terminal: bool = self._stream.isatty()

    def key(self) -> str:
        """One key; ENTER for the return key, END at the end of the input. Arrows and the like are passed over."""
        if not self.is_terminal:
            line = self._stream.readline()
            return END if not line else (line.strip()[:1] or ENTER)
        with _single_keys(self._stream.fileno()):
            while True:
                found = self._byte()
                if found in ("\x04", END):
                    return END
                if found == "\x03":
                    raise KeyboardInterrupt
                if found != _ESCAPE:
                    return ENTER if found in "\r\n" else found
                self._pass_over()

    def line(self, question: str) -> str | None:
        """A line that answers a question; None at the end of the input."""
        print(question, end="", file=sys.stderr, flush=True)
        line = self._stream.readline()
        return line.strip() if line else None

    def _pass_over(self) -> None:
        """Reads what is left of an escape sequence."""
        import select

        for _ in range(_MOST_PENDING):
            if not select.select([self._stream], [], [], 0.01)[0] or self._byte() not in "[O0123456789;":
                return

    def _byte(self) -> str:
        """Past the stream's own buffer, which would hide what is pending."""
        import os

        return os.read(self._stream.fileno(), 1).decode("latin-1")


@contextmanager
def _single_keys(descriptor: int) -> Iterator[None]:
    """The terminal gives each key at once, and does not show it."""
    import termios
    import tty

    before = termios.tcgetattr(descriptor)
    try:
        tty.setcbreak(descriptor, termios.TCSADRAIN)
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
