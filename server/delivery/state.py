"""How channels stand in this process: who is left alone for a while, and since when pages fail."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from server.delivery.outbox import wait_s


@dataclass(kw_only=True)
class _Line:
    failures: int = 0
    until: float = 0.0
    pages_fail_since: float | None = None


class Standing:
    """Of every channel, by `monotonic` seconds; safe between threads. A new process leaves nobody alone."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic, self._lock = monotonic, threading.Lock()
        self._lines: dict[str, _Line] = {}

    def is_left_alone(self, channel: str) -> bool:
        """Whether nothing is sent to it yet, since it failed."""
        with self._lock:
            return self._monotonic() < self._line(channel).until

    def sent(self, channel: str) -> None:
        """A message arrived."""
        with self._lock:
            line = self._line(channel)
            line.failures, line.until, line.pages_fail_since = 0, 0.0, None

    def failed(self, channel: str, *, pages: bool, after_s: float | None) -> float:
        """A try failed; for how many seconds the channel is left alone."""
        with self._lock:
            line, now = self._line(channel), self._monotonic()
            line.failures += 1
            rest_s = max(wait_s(channel, line.failures), after_s or 0.0)
            line.until = now + rest_s
            if pages and line.pages_fail_since is None:
                line.pages_fail_since = now
            return rest_s

    def pages_fail(self, late_s: float) -> str | None:
        """Why it is not well: the channel over which no page has got through for longer than `late_s`; None: none."""
        with self._lock:
            now = self._monotonic()
            for name, line in sorted(self._lines.items()):
                if line.pages_fail_since is not None and now - line.pages_fail_since > late_s:
                    return f"pages have not got through to {name} for {now - line.pages_fail_since:.0f} s"
            return None

    def _line(self, channel: str) -> _Line:
        return self._lines.setdefault(channel, _Line())
