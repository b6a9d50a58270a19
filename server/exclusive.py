"""Work on a whole data folder that two processes must not do at once: erasures and backups."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from core.errors import Conflict, StorageFailed
from server.settings import Settings


@contextmanager
def alone(settings: Settings) -> Iterator[None]:
    """Holds the folder for an erasure or a backup. Raises Conflict when another has it, StorageFailed."""
    try:
        settings.run_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(settings.run_dir / "whole.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StorageFailed(f"{settings.run_dir} cannot be used: {error.strerror}") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict("an erasure or a backup of this data folder is running; wait until it is done") from None
        yield
    finally:
        os.close(descriptor)
