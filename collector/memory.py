"""How this process asks the system for memory.

Every batch allocates and frees some tens of megabytes. By default each block is mapped afresh and its pages are
faulted in one by one, which took 40 % of the time of storing spans here; kept on the heap, the same pages serve the
next batch: 18,000 spans/s became 30,000 in one thread, and peak memory fell by a third. `give_back` returns them
when the collector is idle, and a few times a minute under load.
"""

from __future__ import annotations

import ctypes
import sys
from importlib.abc import MetaPathFinder
from typing import Final

import pyarrow as pa

# From <malloc.h> of glibc.
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_M_ARENA_MAX: Final = -8
_MMAP_BYTES: Final = 32 << 20  # the most that glibc accepts
_TRIM_BYTES: Final = 48 << 20
_ARENAS: Final = 2


def keep_pages() -> bool:
    """Sets it up; False where the C library is not glibc (everything works there, only slower)."""
    pa.set_memory_pool(pa.system_memory_pool())
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    settings = ((_M_ARENA_MAX, _ARENAS), (_M_MMAP_THRESHOLD, _MMAP_BYTES), (_M_TRIM_THRESHOLD, _TRIM_BYTES))
    return all(mallopt(name, value) for name, value in settings)


def give_back() -> None:
    """Returns free pages to the system."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


class _NoPandas(MetaPathFinder):
    def find_spec(self, fullname: str, path: object, target: object = None) -> None:
        if fullname == "pandas":
            raise ModuleNotFoundError("pandas is not for the collector", name=fullname)


def without_pandas() -> None:
    """pyarrow loads pandas if it can be had, for 39 MB and a second; nothing here gives it a pandas object."""
    if "pandas" not in sys.modules:
        sys.meta_path.insert(0, _NoPandas())
