"""How this process asks the system for memory.

Every batch allocates and frees some tens of megabytes. By default each block is mapped afresh and its pages are
faulted in one by one, which took 40 % of the time of storing spans here; kept on the heap, the same pages serve the
next batch: 18,000 spans/s became 30,000 in one thread, and peak memory fell by a third. Every other second a thread
returns those that hold nothing (core/memory.py), so that what an hour of load leaves behind does not add up.
"""

from __future__ import annotations

import ctypes
import sys
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import Final

import pyarrow as pa

from core.memory import ARENA_MAX, ARENAS, MMAP_THRESHOLD, TRIM_THRESHOLD, set_malloc

_MMAP_BYTES: Final = 32 << 20  # the most that glibc accepts
_TRIM_BYTES: Final = 48 << 20
_MADV_DONTNEED: Final = 4  # <sys/mman.h> of Linux
_COMPILER: Final = "libllvmlite.so"


def keep_pages() -> bool:
    """Sets it up; False where the C library is not glibc (everything works there, only slower)."""
    pa.set_memory_pool(pa.system_memory_pool())
    return set_malloc((ARENA_MAX, ARENAS), (MMAP_THRESHOLD, _MMAP_BYTES), (TRIM_THRESHOLD, _TRIM_BYTES))


def leave_compiler() -> None:
    """Gives back the pages of LLVM's code, which loading the kernels has read: 55 MB; on Linux alone.

    They are an unchanged file's, so whatever is called again is read again.
    """
    maps = Path("/proc/self/maps")
    advise = getattr(ctypes.CDLL(None), "madvise", None)
    if advise is None or not maps.exists():
        return
    for line in maps.read_text(encoding="utf-8", errors="replace").splitlines():
        where, access, *_, name = line.split(maxsplit=5)
        if access != "r-xp" or not name.endswith(_COMPILER):
            continue
        begin, end = (int(edge, 16) for edge in where.split("-"))
        advise(ctypes.c_void_p(begin), ctypes.c_size_t(end - begin), _MADV_DONTNEED)


class _NoPandas(MetaPathFinder):
    def find_spec(self, fullname: str, path: object, target: object = None) -> None:
        if fullname == "pandas":
            raise ModuleNotFoundError("pandas is not for the collector", name=fullname)


def without_pandas() -> None:
    """pyarrow loads pandas if it can be had, for 39 MB and a second; nothing here gives it a pandas object."""
    if "pandas" not in sys.modules:
        sys.meta_path.insert(0, _NoPandas())
