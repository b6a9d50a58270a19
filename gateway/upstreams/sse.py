"""Server-sent events by the WHATWG's rules: from bytes, cut anywhere, to events, with a bound on an event's size."""

from __future__ import annotations

from typing import Final

MOST_EVENT_BYTES: Final = 8 << 20
_BOM: Final = b"\xef\xbb\xbf"


class EventTooLong(ValueError):
    """A line or an event that is larger than the bound."""


class EventSplitter:
    """One stream. Lines end with LF, CR or CRLF; comments, ids and retry times are read over."""

    def __init__(self, most_bytes: int = MOST_EVENT_BYTES) -> None:
        self._most = most_bytes
        self._buffer = bytearray()
        self._searched = 0  # before it no line ends
        self._name = b""
        self._data: list[bytes] = []
        self._n_data = 0
        self._begun = False

    def feed(self, piece: bytes) -> list[tuple[bytes, bytes]]:
        """Name (often empty) and data of the events that are complete with `piece`. Raises EventTooLong."""
        buffer = self._buffer
        buffer += piece
        # A CR at the very end may be the first half of a CRLF.
        end = max(buffer.rfind(b"\n", self._searched), buffer.rfind(b"\r", self._searched, len(buffer) - 1)) + 1
        if not end:
            self._searched = max(0, len(buffer) - 1)
            self._check(len(buffer))
            return []
        lines = bytes(buffer[:end])
        del buffer[:end]
        self._searched = 0
        found = self._read(lines)
        self._check(len(buffer) + self._n_data)
        return found

    def end(self) -> list[tuple[bytes, bytes]]:
        """The event that the stream ended in without the empty line after it."""
        rest = bytes(self._buffer)
        self._buffer.clear()
        self._searched = 0
        return self._read(rest + b"\n\n")

    def _read(self, lines: bytes) -> list[tuple[bytes, bytes]]:
        if b"\r" in lines:
            lines = lines.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        if not self._begun:
            self._begun = True
            lines = lines.removeprefix(_BOM)
        found = []
        for line in lines.split(b"\n")[:-1]:
            if line.startswith(b"data:"):
                self._data.append(line[6:] if line[5:6] == b" " else line[5:])
                self._n_data += len(line)
            elif not line:
                if self._data:
                    found.append((self._name, b"\n".join(self._data)))
                    self._data, self._n_data = [], 0
                self._name = b""
            elif line.startswith(b"event:"):
                self._name = line[6:].strip()
        return found

    def _check(self, n_bytes: int) -> None:
        if n_bytes > self._most:
            raise EventTooLong(f"an event of more than {self._most} bytes")
