"""Spans that cannot be kept: a few alone, the rest of a request in payloads that a compiled loop makes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from collector.native import copy, kernel
from collector.rejected import MAX_PAYLOAD, MOST_ALONE
from collector.scan import Col, Refusal, Scan

Bytes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]
_REFUSALS: Final = tuple(Refusal)  # by their numbers


@dataclass(frozen=True, kw_only=True)
class Refused:
    """A span that cannot be kept: its journal position, why, and its bytes; or (`is_shared`) those of one request with
    the same fault, framed as in a ScopeSpans."""

    seq: int
    refusal: Refusal
    payload: bytes
    n_spans: int = 1
    is_shared: bool = False


def refused_spans(found: Scan, seq: Ints, bad: npt.NDArray[np.bool_]) -> list[Refused]:
    """The spans marked as bad; `seq`, the positions of all spans, has those of a request side by side.

    Of one small request there can be half a million, of one batch ten thousand requests with one each.
    """
    at = np.flatnonzero(bad)
    refused: list[Refused] = []
    for own in np.split(at, np.flatnonzero(np.diff(seq[at])) + 1) if len(at) else ():
        one, alone = int(seq[own[0]]), own[:MOST_ALONE]
        columns = (found.spans[alone, column].tolist() for column in (Col.REFUSAL, Col.START, Col.END))
        for why, start, end in zip(*columns, strict=True):
            refused.append(Refused(seq=one, refusal=_REFUSALS[why], payload=found.buffer[start:end].tobytes()))
        if len(own) > MOST_ALONE:
            refused += _together(found, one, own[MOST_ALONE:])
    return refused


def _together(found: Scan, seq: int, at: Ints) -> Iterator[Refused]:
    why = found.spans[at, Col.REFUSAL]
    for code in np.unique(why).tolist():
        starts, ends = (found.spans[at[why == code], column] for column in (Col.START, Col.END))
        for payload, n in shared_payloads(found.buffer, starts, ends):
            yield Refused(seq=seq, refusal=_REFUSALS[code], payload=payload, n_spans=n, is_shared=True)


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
