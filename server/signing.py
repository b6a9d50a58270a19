"""Signatures of what is sent to other systems: HMAC-SHA256 over the moment of sending, a full stop and the body."""

from __future__ import annotations

import hmac
from hashlib import sha256
from typing import Final

SCHEME: Final = "v1="
WINDOW_S: Final = 300  # how far a receiver lets the moment be from its own


def signature_of(key: str, timestamp: str, body: bytes) -> str:
    """The signature's header."""
    return SCHEME + hmac.new(key.encode(), f"{timestamp}.".encode() + body, sha256).hexdigest()


def is_signed(key: str, timestamp: str, signature: str, body: bytes, *, now_s: float) -> bool:
    """Whether who has the key sent this body within WINDOW_S of now; what a receiver checks."""
    if not timestamp.isascii() or not timestamp.isdigit() or abs(now_s - int(timestamp)) > WINDOW_S:
        return False
    return hmac.compare_digest(signature_of(key, timestamp, body).encode(), signature.encode())
