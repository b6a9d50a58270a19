"""How a process asks the system for memory, where the C library is glibc; elsewhere nothing here does anything."""

from __future__ import annotations

import ctypes
import gc
import os
import resource
import sys
import threading
from pathlib import Path
from typing import Final

# From <malloc.h> of glibc.
TRIM_THRESHOLD: Final = -1
MMAP_THRESHOLD: Final = -3
ARENA_MAX: Final = -8
ARROW_POOL: Final = "ARROW_DEFAULT_MEMORY_POOL"
# One for each of many threads keeps holes of its own, and the free end of any but the first is never given back.
ARENAS: Final = 1


def set_malloc(*options: tuple[int, int]) -> bool:
    """Sets options of malloc, each a name and a value; False where there are none to set."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and all(mallopt(name, value) for name, value in options)


def one_heap() -> None:
    """All memory from one heap, which `give_back` can give back. Call it before numpy, pyarrow or a thread is there.

    Of a second arena malloc_trim leaves the free end, up to the trim threshold; what Arrow's mimalloc asks for is made
    of huge pages, 2 MB each for as long as anything on it lives; numpy asks for such pages, too.
    """
    os.environ.setdefault("NUMPY_MADVISE_HUGEPAGE", "0")
    os.environ.setdefault(ARROW_POOL, "system")
    set_malloc((ARENA_MAX, ARENAS))


def settled() -> None:
    """What is there now is looked at no more for garbage. To be called when a process begins to serve.

    Python looks at everything once a quarter more has come; of a million objects, many are garbage for an hour by then.
    """
    gc.collect()
    gc.freeze()


def peak_bytes() -> int:
    """The most memory that this program held until now, in bytes.

    On Linux of this program alone: getrusage's figure begins at what the process held that started it, for it outlives
    exec.
    """
    try:
        status = Path("/proc/self/status").read_bytes()
        return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith(b"VmHWM"))
    except (OSError, StopIteration):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024  # KiB elsewhere


def give_back() -> None:
    """Returns free pages to the system; 6 ms of processor time on average under load."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def give_back_every(seconds: float) -> None:
    """From now on, in a thread of its own that ends with the process."""

    def forever() -> None:
        while not threading.Event().wait(seconds):
            give_back()

    threading.Thread(target=forever, name="give-back", daemon=True).start()
