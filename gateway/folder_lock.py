"""A folder that one process at a time may write in."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from core.errors import Conflict


def hold(path: Path) -> int:
    """The descriptor of a locked file; the kernel lets go of it when the process ends, however it ends. Raises Conflict
    when another process has it, OSError when it cannot be opened."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise Conflict(f"{path.parent} is in use by another gateway; stop it, or use another data folder") from error
    return descriptor
