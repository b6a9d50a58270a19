"""Evaluates every session that has ended by now, slice by slice, and ends: `python -m server.online_child`.

The server starts it for a burst. It ends after its slice when it is told to, or when the server is gone.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading

from core.errors import AssayError, Conflict
from server.online_rounds import watch_of
from server.own_evaluators import install_own
from server.settings import load_settings
from server.wiring import build_services

MOST: int = 2_000  # sessions of a tenant before the next tenant has its turn
NICE: int = 5
_LOG = logging.getLogger("assay.online")


def main() -> int:
    """0 when nothing is due any more or it was told to stop, 1 when the store or the database failed."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    threading.Thread(target=_end_with, args=(os.getppid(), stop), name="parent", daemon=True).start()
    os.nice(NICE)
    try:
        settings = load_settings()
        services = build_services(settings)
        own = install_own(settings.own_evaluators)
    except AssayError as error:
        _LOG.error("%s", error)
        return 1
    try:
        watch, n_left = watch_of(services), 1
        while n_left and not stop.is_set():
            done = [watch.work(tenant, choices, most=MOST, stop=stop) for tenant, choices in watch.tenants().items()]
            n_left = sum(one.n_left for one in done)
            if not sum(one.n_sessions for one in done):
                break
    except Conflict as error:
        _LOG.info("%s", error)
    except AssayError as error:
        _LOG.error("%s", error)
        return 1
    finally:
        own.close()
        services.control.close()
    return 0


def _end_with(parent: int, stop: threading.Event) -> None:
    while not stop.wait(0.5):
        if os.getppid() != parent:
            stop.set()


if __name__ == "__main__":
    sys.exit(main())
