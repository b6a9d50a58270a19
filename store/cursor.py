"""Opaque cursors: where a list stopped, signed, bound to its tenant and query, and good for a day.

A cursor reads "payload.signature" in URL-safe base64. Nothing in it is secret; nothing in it can be altered.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from dataclasses import dataclass
from typing import Final

from core.clock import NS_PER_S, Clock, system_clock
from core.errors import Undecodable
from core.windows import Window

LIFETIME_S: Final = 24 * 3600
MAX_CHARS: Final = 1024
_SIGNATURE_BYTES: Final = 16


@dataclass(frozen=True, kw_only=True)
class Position:
    """The last row that was shown: its order value and id, and the window the list is about."""

    order: int
    row_id: str
    window: Window


class Cursors:
    """Writes and reads cursors with one secret key."""

    def __init__(self, key: bytes, clock: Clock = system_clock) -> None:
        self._key = hashlib.sha256(b"assay cursor\0" + key).digest()
        self._clock = clock

    def encode(self, position: Position, *, tenant: str, query: str) -> str:
        """The cursor for what comes after `position` in the list that `query` names."""
        window = position.window
        fields = [
            self._clock() // NS_PER_S + LIFETIME_S,
            position.order,
            position.row_id,
            window.start_ns,
            window.end_ns,
        ]
        payload = json.dumps(fields, separators=(",", ":"), ensure_ascii=True).encode()
        return f"{_base64(payload)}.{_base64(self._signature(payload, tenant, query))}"

    def decode(self, text: str, *, tenant: str, query: str) -> Position:
        """The position. Raises Undecodable for a cursor that was altered, expired, or belongs to another list."""
        payload = self._verified(text, tenant, query)
        expires_s, order, row_id, start_ns, end_ns = json.loads(payload)
        if expires_s * NS_PER_S < self._clock():
            raise Undecodable("the cursor has expired; start the list again without it", field="cursor")
        return Position(order=order, row_id=row_id, window=Window(start_ns=start_ns, end_ns=end_ns))

    def _verified(self, text: str, tenant: str, query: str) -> bytes:
        refused = Undecodable("the cursor is not one of this list; start the list again without it", field="cursor")
        if len(text) > MAX_CHARS or text.count(".") != 1:
            raise refused
        try:
            payload, signature = (_bytes(part) for part in text.split("."))
        except (binascii.Error, ValueError):
            raise refused from None
        if not hmac.compare_digest(signature, self._signature(payload, tenant, query)):
            raise refused
        return payload

    def _signature(self, payload: bytes, tenant: str, query: str) -> bytes:
        bound = b"\0".join((tenant.encode(), hashlib.sha256(query.encode()).digest(), payload))
        return hmac.digest(self._key, bound, "sha256")[:_SIGNATURE_BYTES]


def _base64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    found = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    if _base64(found) != text:
        raise ValueError("not canonical")
    return found
