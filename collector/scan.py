"""Finds and judges every span of an ExportTraceServiceRequest without building an object for any of them.

`scan(body)` walks the wire format once and answers a `Scan`: a table with one row per span (offsets into the body,
ids, times, counts), the reason each unusable span is refused for, and what the door needs to answer the client. The
door runs it before the acknowledgement, the decoder again over the concatenated bodies of a batch.

A body whose outer framing is broken raises Undecodable. A span whose own bytes are broken is refused alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Final

import numpy as np
import numpy.typing as npt

from collector import scan_kernel as kernel
from collector.dialects import MAX_ATTRIBUTES
from collector.scan_kernel import PARENT_INVALID, UTF8_BROKEN
from collector.wire import MAX_DEPTH
from core.errors import TooLarge, Undecodable

__all__ = ["PARENT_INVALID", "REFUSAL_TEXT", "UTF8_BROKEN", "Col", "Refusal", "Scan", "joined", "scan"]


class Refusal(IntEnum):
    """Why a span cannot be kept; 0 means it can."""

    NONE = 0
    MALFORMED_SPAN = 1
    INVALID_TRACE_ID = 2
    INVALID_SPAN_ID = 3
    ZERO_TRACE_ID = 4
    ZERO_SPAN_ID = 5
    HEX_TRACE_ID = 6
    HEX_SPAN_ID = 7
    ATTRIBUTES_TOO_DEEP = 8
    NO_IDS = 9


REFUSAL_TEXT: Final[dict[Refusal, str]] = {
    Refusal.MALFORMED_SPAN: "the span's bytes are not a valid protobuf Span",
    Refusal.INVALID_TRACE_ID: "trace_id must be 16 bytes",
    Refusal.INVALID_SPAN_ID: "span_id must be 8 bytes",
    Refusal.ZERO_TRACE_ID: "trace_id is all zero",
    Refusal.ZERO_SPAN_ID: "span_id is all zero",
    Refusal.HEX_TRACE_ID: "trace_id holds hexadecimal text; send the 16 bytes it stands for",
    Refusal.HEX_SPAN_ID: "span_id holds hexadecimal text; send the 8 bytes it stands for",
    Refusal.ATTRIBUTES_TOO_DEEP: f"attribute values are nested deeper than {MAX_DEPTH}",
    Refusal.NO_IDS: "the span has neither trace_id nor span_id",
}


class Col(IntEnum):
    """Columns of the span table; offsets are into the scanned buffer, -1 or length 0 where absent."""

    START = 0
    END = 1
    RESOURCE = 2
    SCOPE = 3
    REFUSAL = 4
    TRACE_ID = 5
    SPAN_ID = 6
    PARENT = 7
    NAME = 8
    NAME_LEN = 9
    KIND = 10
    START_NS = 11
    END_NS = 12
    STATUS = 13
    MESSAGE = 14
    MESSAGE_LEN = 15
    N_ATTRIBUTES = 16
    N_EVENTS = 17
    N_LINKS = 18
    DROPPED = 19
    FLAGS = 20
    STATE = 21
    STATE_LEN = 22
    ISSUES = 23
    PRIORITY = 24
    HASH = 25


WIDTH: Final = 26

_OFFSETS: Final = (Col.START, Col.END, Col.TRACE_ID, Col.SPAN_ID, Col.NAME, Col.MESSAGE, Col.STATE)

_EMPTY: Final = np.zeros(0, np.uint8)


@dataclass(frozen=True, kw_only=True)
class Scan:
    """What a body holds. `spans` is int64 of shape (n, WIDTH); `resources` and `scopes` are (m, 2): start, end.

    `resources` and `scopes` give the extent of the Resource and InstrumentationScope messages, (0, 0) where absent.
    """

    buffer: npt.NDArray[np.uint8]
    spans: npt.NDArray[np.int64]
    resources: npt.NDArray[np.int64]
    scopes: npt.NDArray[np.int64]

    def without_buffer(self) -> Scan:
        """The same tables; the body itself can be let go and given back to `joined`."""
        return replace(self, buffer=_EMPTY)

    @property
    def nbytes(self) -> int:
        """Memory of the tables."""
        return self.spans.nbytes + self.resources.nbytes + self.scopes.nbytes

    @property
    def n_spans(self) -> int:
        """Spans found, refused ones included."""
        return len(self.spans)

    @property
    def n_refused(self) -> int:
        """Spans that cannot be kept."""
        return int(np.count_nonzero(self.spans[:, Col.REFUSAL]))

    @property
    def has_priority(self) -> bool:
        """Whether an error, guardrail or evaluation span is among them: such a request is never shed."""
        return bool(self.spans[:, Col.PRIORITY].any())

    def refusals(self) -> dict[Refusal, int]:
        """How many spans are refused, by reason."""
        codes, counts = np.unique(self.spans[:, Col.REFUSAL], return_counts=True)
        return {Refusal(int(c)): int(n) for c, n in zip(codes, counts, strict=True) if c}

    def warnings(self) -> list[str]:
        """What was mended in spans that are kept, a sentence per kind of flaw."""
        kept = self.spans[self.spans[:, Col.REFUSAL] == 0]
        flaws = (
            (kept[:, Col.ISSUES] & UTF8_BROKEN != 0, "text that is not UTF-8: it was repaired with U+FFFD"),
            (kept[:, Col.ISSUES] & PARENT_INVALID != 0, "a parent_span_id that is no id: it was dropped"),
            (
                kept[:, Col.N_ATTRIBUTES] > MAX_ATTRIBUTES,
                f"more than {MAX_ATTRIBUTES} attributes: the rest was dropped",
            ),
        )
        counted = ((np.count_nonzero(found), what) for found, what in flaws)
        return [f"{n} of {self.n_spans} spans carry {what}" for n, what in counted if n]


def scan(body: bytes | bytearray | memoryview, *, most_spans: int | None = None) -> Scan:
    """Walks an ExportTraceServiceRequest.

    Raises Undecodable when its outer framing is broken, TooLarge when it holds more than `most_spans`.
    """
    buffer = np.frombuffer(body, np.uint8)
    buffer.flags.writeable = False
    n_resources, n_scopes, n_spans, bad = kernel.count(buffer)
    if bad >= 0:
        raise Undecodable(
            f"the body is not a valid ExportTraceServiceRequest: broken protobuf at byte {bad} of {len(buffer)}", "body"
        )
    if most_spans is not None and max(n_spans, n_resources, n_scopes) > most_spans:
        raise TooLarge(
            f"the request holds more than {most_spans} spans, scopes or resources; send smaller batches", "spans"
        )
    spans = np.zeros((n_spans, WIDTH), np.int64)
    resources = np.zeros((n_resources, 2), np.int64)
    scopes = np.zeros((n_scopes, 2), np.int64)
    kernel.fill(buffer, spans, resources, scopes)
    return Scan(buffer=buffer, spans=spans, resources=resources, scopes=scopes)


def joined(scans: Sequence[Scan], sizes: Sequence[int], buffer: npt.NDArray[np.uint8]) -> Scan:
    """What `scan` would find in `buffer`, the concatenation of scanned bodies of `sizes`, without walking it again."""
    spans, resources, scopes = [], [], []
    base = n_resources = n_scopes = 0
    for part, size in zip(scans, sizes, strict=True):
        moved = part.spans.copy()
        for column in _OFFSETS:
            moved[:, column] += base
        moved[:, Col.PARENT] += np.where(moved[:, Col.PARENT] >= 0, base, 0)
        moved[:, Col.RESOURCE] += n_resources
        moved[:, Col.SCOPE] += n_scopes
        spans.append(moved)
        resources.append(part.resources + base)
        scopes.append(part.scopes + base)
        base += size
        n_resources += len(part.resources)
        n_scopes += len(part.scopes)
    return Scan(
        buffer=buffer,
        spans=np.concatenate(spans),
        resources=np.concatenate(resources),
        scopes=np.concatenate(scopes),
    )
