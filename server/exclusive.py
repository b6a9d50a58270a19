"""Work on a whole data folder that two processes must not do at once: erasures and backups."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from core.errors import Conflict, StorageFailed
from server.settings import Settings


@contextmanager
def alone(settings: Settings, *, wait: bool = False) -> Iterator[None]:
    """Holds the folder for an erasure or a backup. StorageFailed when it cannot be used.

    Raises Conflict when another has it; with `wait` only when another waits for it already.
    """
    with _opened(settings, "whole.lock") as whole:
        if wait:
            with _opened(settings, "waits.lock") as queue:  # a second one that waits would find nothing left to do
                _locked(queue, "another process waits for this data folder, and will do what is under way")
                fcntl.flock(whole, fcntl.LOCK_EX)
        else:
            _locked(whole, "an erasure or a backup of this data folder is running; wait until it is done")
        yield


@contextmanager
def _opened(settings: Settings, name: str) -> Iterator[int]:
    try:
        settings.run_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(settings.run_dir / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StorageFailed(f"{settings.run_dir} cannot be used: {error.strerror}") from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _locked(descriptor: int, else_say: str) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise Conflict(else_say) from None
