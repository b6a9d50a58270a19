"""How a newest-first list walks time: slices that hold a wished number of rows, doubling until the list is filled."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from core.windows import Window
from store.delta_log import LakeFile

GROWTH = 4


def slices(files: Sequence[LakeFile], window: Window, first_rows: int) -> Iterator[Window]:
    """Adjacent windows from the end of `window` to its start, without gap or overlap.

    The first holds about `first_rows` rows by the files' statistics (rows spread evenly between a file's bounds), each
    next one four times as many. Stretches without files belong to the slice before them.
    """
    known = [file for file in files if file.min_ns is not None and file.max_ns is not None]
    if len(known) < len(files):
        yield window
        return
    hi, wanted = window.end_ns, first_rows
    while hi > window.start_ns:
        lo = _start(known, window.start_ns, hi, wanted)
        yield Window(start_ns=lo, end_ns=hi)
        hi, wanted = lo, wanted * GROWTH


def _start(files: Sequence[LakeFile], start: int, end: int, wanted: int) -> int:
    """The latest moment from which `wanted` rows lie before `end`; `start` where there are not as many."""
    if _rows(files, start, end) <= wanted:
        return start
    # A file's share is linear between its bounds, so halving converges; a millisecond is close enough.
    low, high = start, end - 1
    while high - low > 1_000_000:
        middle = (low + high) // 2
        low, high = (middle, high) if _rows(files, middle, end) >= wanted else (low, middle)
    return low


def _rows(files: Sequence[LakeFile], start: int, end: int) -> float:
    total = 0.0
    for file in files:
        assert file.min_ns is not None
        assert file.max_ns is not None
        length = file.max_ns - file.min_ns + 1
        overlap = min(end, file.max_ns + 1) - max(start, file.min_ns)
        if overlap > 0:
            total += file.n_rows * overlap / length
    return total
