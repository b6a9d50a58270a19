"""Real kills at counted points: a child process ends itself with SIGKILL just before its n-th change of a folder.

A change is a file opened for writing, renamed, linked, removed or touched below the folder, as Python's audit events
report it to the child itself; nothing of ours is replaced.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.stack import REPOSITORY

_CHILD = """
import os, signal, sys

folder, left = sys.argv[1], [int(sys.argv[2])]
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

def changes(event, arguments):
    if event == "open":
        path, _, flags = arguments
        return isinstance(flags, int) and flags & WRITES and str(path).startswith(folder)
    if event in ("os.rename", "os.link", "os.remove", "os.utime", "os.truncate", "os.mkdir"):
        return str(arguments[0]).startswith(folder)
    return False

def count(event, arguments):
    if changes(event, arguments):
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(count)
sys.argv = sys.argv[3:]
if sys.argv[0] == "-m":
    import runpy
    module = sys.argv[1]
    sys.argv = sys.argv[1:]
    try:
        runpy.run_module(module, run_name="__main__")
    finally:
        print("CHANGES", -left[0], file=sys.stderr)
"""


def killed_at(n: int, folder: Path, *command: str) -> bool:
    """Runs `python -m COMMAND` and kills it before its n-th change of `folder`; False when it ended before that."""
    return _run(n, folder, command).returncode == -signal.SIGKILL


def n_changes(folder: Path, *command: str) -> int:
    """How many changes of `folder` the whole command makes; fails unless it ends well."""
    child = _run(0, folder, command)
    assert child.returncode == 0, child.stderr
    return int(child.stderr.rsplit("CHANGES", 1)[1])


def _run(n: int, folder: Path, command: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-c", _CHILD, str(folder), str(n), "-m", *command]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ASSAY_")}
    child = subprocess.run(
        words, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=180, check=False
    )
    assert child.returncode in (0, -signal.SIGKILL), child.stderr
    return child
