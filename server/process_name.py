"""Names of processes, by which who works on something is known, and whether it still lives."""

from __future__ import annotations

import os
import socket

import psutil


def this_process() -> str:
    """Host, number and start of this process: another one never has the same."""
    return f"{socket.gethostname()[:200]}/{os.getpid()}/{psutil.Process().create_time():.2f}"


def is_gone(owner: str) -> bool:
    """Whether `owner` was a process of this host that is no more; one of another host may be alive."""
    host, _, rest = owner.rpartition("/")[0].rpartition("/")
    pid, started = rest, owner.rpartition("/")[2]
    if host != socket.gethostname()[:200] or not pid.isdigit():
        return False
    try:
        return f"{psutil.Process(int(pid)).create_time():.2f}" != started
    except psutil.NoSuchProcess:
        return True
    except psutil.Error:
        return False
