"""Refused spans of one request as shared payloads of the quarantine (collector.rejected), made by a compiled loop."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from collector.native import copy, kernel
from collector.rejected import MAX_PAYLOAD

Bytes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]


def shared_payloads(body: Bytes, starts: Ints, ends: Ints) -> Iterator[tuple[bytes, int]]:
    """(payload, spans in it) of the spans of `body` from `starts` to `ends`, in their order."""
    sizes = ends - starts
    framed_sizes = sizes + 1 + _varint_sizes(sizes)
    upto = np.cumsum(framed_sizes)
    first = 0
    while first < len(sizes):
        before = int(upto[first] - framed_sizes[first])
        last = max(first + 1, int(np.searchsorted(upto, before + MAX_PAYLOAD, side="right")))
        out = np.empty(int(upto[last - 1]) - before, np.uint8)
        _frame_all(body, starts[first:last], ends[first:last], out)
        yield out.tobytes(), last - first
        first = last


def compile_kernels() -> None:
    """Compiles, or loads what was compiled."""
    body = np.frombuffer(b"x", np.uint8)
    assert list(shared_payloads(body, np.zeros(1, np.int64), np.ones(1, np.int64))) == [(b"\x12\x01x", 1)]


def _varint_sizes(values: Ints) -> Ints:
    sizes = np.ones(len(values), np.int64)
    for bits in (7, 14, 21, 28):  # no body is longer than 2^35 bytes
        sizes += values >> bits > 0
    return sizes


@kernel
def _frame_all(body, starts, ends, out):  # type: ignore[no-untyped-def]
    at = 0
    for i in range(starts.size):
        size = ends[i] - starts[i]
        out[at] = 0x12
        at += 1
        left = size
        while left > 127:
            out[at] = left & 127 | 128
            left >>= 7
            at += 1
        out[at] = left
        at += 1
        copy(out, at, body, starts[i], size)
        at += size
