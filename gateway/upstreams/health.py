"""How an upstream does: what `GET /status`, `assay gateway status` and the page show. No secrets, no content."""

from __future__ import annotations

from collections import deque
from statistics import median
from typing import Any

from gateway.upstreams.breaker import Breaker
from gateway.upstreams.keyring import Keyring


class Health:
    """Counts of one upstream since the gateway began, and how fast its last 100 answers were."""

    def __init__(self) -> None:
        self.in_flight = 0
        self.n_ok = 0
        self.n_errors = 0
        self.n_aborted = 0
        self.last_error = ""
        self.last_error_ns = 0
        self.tenants: set[str] = set()  # whose calls these are
        self._last_ms: deque[float] = deque(maxlen=100)

    def answered(self, ms: float) -> None:
        """An answer came, or a stream's first chunk, after `ms`."""
        self.n_ok += 1
        self._last_ms.append(ms)

    def failed(self, reason: str, now_ns: int) -> None:
        """An attempt failed, or a stream broke off; `reason` is a word."""
        self.n_errors += 1
        self.last_error = reason
        self.last_error_ns = now_ns

    def shown(self, name: str, wire: str, breaker: Breaker, keys: Keyring, now: float) -> dict[str, Any]:
        """One row. `p50_ms` None: nothing was answered yet; for streams it is the time to the first chunk."""
        return {
            "upstream": name,
            "wire": wire,
            "state": breaker.state(now).value,
            "opens_again_in_s": round(breaker.wait_s(now), 1),
            "keys_resting": keys.n_resting(now),
            "in_flight": self.in_flight,
            "n_ok": self.n_ok,
            "n_errors": self.n_errors,
            "n_aborted": self.n_aborted,
            "last_error": self.last_error,
            "last_error_ns": self.last_error_ns,
            "p50_ms": round(median(self._last_ms), 3) if self._last_ms else None,
        }
