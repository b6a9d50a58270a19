"""Waiting for a condition instead of sleeping for a guess."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

LEAST_S: Final = 60.0  # what comes soon on an idle machine may take so long on one with other work


def wait_until(predicate: Callable[[], object], timeout_s: float, what: str, *, least_s: float = LEAST_S) -> None:
    """Polls `predicate` until it is true; fails naming `what` after so many seconds, `least_s` at least."""
    timeout_s = max(timeout_s, least_s)
    pause = threading.Event()
    deadline = time.monotonic() + timeout_s
    while not predicate():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout_s:g} s in vain for {what}")
        pause.wait(0.02)
