"""The circuit breaker of one upstream: a state machine without a clock of its own.

closed: calls pass; after `failures` of them failed within `window_s` it opens. open: no call passes for `open_s`.
half_open: one call passes, the probe; its success closes the breaker, its failure opens it again, and a probe that came
to nothing (the caller went away) lets the next call be one.
"""

from __future__ import annotations

from collections import deque
from enum import StrEnum

from gateway.config import BreakerConfig


class BreakerState(StrEnum):
    """What a breaker lets pass."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Breaker:
    """Times are seconds of any clock that never goes back; every method is told what time it is."""

    def __init__(self, config: BreakerConfig) -> None:
        self._config = config
        self._failed_at: deque[float] = deque(maxlen=config.failures)
        self._opened_at: float | None = None
        self._probing = False

    def state(self, now: float) -> BreakerState:
        """The state at `now`."""
        if self._opened_at is None:
            return BreakerState.CLOSED
        return BreakerState.OPEN if now < self._opened_at + self._config.open_s else BreakerState.HALF_OPEN

    def wait_s(self, now: float) -> float:
        """How long no call will pass; 0: one may try."""
        if self._opened_at is None:
            return 0.0
        return max(0.0, self._opened_at + self._config.open_s - now)

    def allow(self, now: float) -> bool:
        """Whether a call may pass. True has to be followed by `succeeded`, `failed` or `dropped`."""
        if self._opened_at is None:
            return True
        if self._probing or self.state(now) is BreakerState.OPEN:
            return False
        self._probing = True
        return True

    def succeeded(self, now: float) -> None:
        """The upstream answered. Only the probe closes a breaker: a call that began before it opened says little."""
        if self._opened_at is None or self.state(now) is BreakerState.OPEN:
            return  # while closed, earlier failures keep counting for their window
        self._opened_at = None
        self._probing = False

    def failed(self, now: float) -> bool:
        """A call failed for a reason that says the upstream is ill. True: this opened the breaker."""
        state = self.state(now)
        if state is BreakerState.HALF_OPEN:
            self._opened_at, self._probing = now, False
            return True
        if state is BreakerState.OPEN:
            return False
        self._failed_at.append(now)
        if len(self._failed_at) < self._config.failures or now - self._failed_at[0] > self._config.window_s:
            return False
        self._opened_at = now
        self._failed_at.clear()
        return True

    def dropped(self) -> None:
        """The call that was let through came to nothing that says how the upstream is."""
        self._probing = False
