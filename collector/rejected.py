"""What of a request cannot be kept, on its way to the quarantine: the first items alone, the rest together.

A small body can hold half a million bad items. A Python object for each of them kept every other thread of the process
waiting for seconds, for the objects and for the search for garbage among them. So there are objects for the first
MOST_ALONE of a request only; the others are gathered as bytes, by reason.

A shared payload is JSON lines, or spans (log records) framed as in a ScopeSpans (ScopeLogs): length-delimited fields 2.
It is at most MAX_PAYLOAD long unless one item alone is longer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from collector.json_fields import framed

MOST_ALONE: Final = 1_000
MAX_PAYLOAD: Final = 1 << 20
_ITEM: Final = b"\x12"


@dataclass(frozen=True, kw_only=True)
class Rejection:
    """An item that cannot be kept, or (`is_shared`) `n_items` of one request with the same fault: a short code, a
    sentence for the sender, and the bytes."""

    reason: str
    detail: str
    payload: bytes
    n_items: int = 1
    is_shared: bool = False


def shared(reason: str, payload: bytes, n_items: int) -> Rejection:
    """Items of one request that share a payload."""
    detail = f"{n_items} more items of the same request with the same fault, their bytes together"
    return Rejection(reason=reason, detail=detail, payload=payload, n_items=n_items, is_shared=True)


class Rejections:
    """Gathers the rejections of one request, in their order; `n_items` counts the items."""

    def __init__(self) -> None:
        self.n_items = 0
        self._alone: list[Rejection] = []
        self._whole: list[Rejection] = []
        self._shared: dict[tuple[str, bool], tuple[bytearray, int]] = {}

    def add(self, rejection: Rejection) -> None:
        """One more."""
        self.n_items += rejection.n_items
        if rejection.is_shared:
            self._whole.append(rejection)
        elif len(self._alone) < MOST_ALONE:
            self._alone.append(rejection)
        else:
            self._share(rejection)

    def all(self) -> list[Rejection]:
        """Those alone, then those together."""
        for key in list(self._shared):
            self._close(key)
        return self._alone + self._whole

    def _share(self, rejection: Rejection) -> None:
        key = (rejection.reason, rejection.payload[:1] == b"{")
        piece = rejection.payload + b"\n" if key[1] else framed(_ITEM, rejection.payload)
        if key in self._shared and len(self._shared[key][0]) + len(piece) > MAX_PAYLOAD:
            self._close(key)
        payload, n = self._shared.get(key, (bytearray(), 0))
        payload += piece
        self._shared[key] = payload, n + 1

    def _close(self, key: tuple[str, bool]) -> None:
        payload, n = self._shared.pop(key)
        self._whole.append(shared(key[0], bytes(payload), n))


def folded(rejected: list[Rejection]) -> list[Rejection]:
    """The first MOST_ALONE as they are, the others together."""
    gathered = Rejections()
    for each in rejected:
        gathered.add(each)
    return gathered.all()
