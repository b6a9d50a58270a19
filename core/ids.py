"""Identifiers as distinct types, and how fresh ones are made."""

from __future__ import annotations

import re
import secrets
from typing import NewType

from core.errors import InvalidInput

TenantId = NewType("TenantId", str)
TraceId = NewType("TraceId", str)
SpanId = NewType("SpanId", str)
SessionId = NewType("SessionId", str)
AppId = NewType("AppId", str)
KeyId = NewType("KeyId", str)

_TENANT = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}\Z")


def tenant_id(text: str) -> TenantId:
    """A checked tenant name: 1 to 63 of a-z, 0-9, '-' and '_', so that it is safe as a folder name.

    Raises InvalidInput for anything else.
    """
    if not _TENANT.match(text):
        raise InvalidInput(
            f"tenant {text[:80]!r} is not valid: use 1 to 63 of a-z, 0-9, '-', '_', starting with a letter or digit",
            field="tenant",
        )
    return TenantId(text)


def trace_id(text: str) -> TraceId:
    """32 hexadecimal digits, lower-cased. Raises InvalidInput otherwise."""
    return TraceId(_hex(text, 32, "trace_id"))


def span_id(text: str) -> SpanId:
    """16 hexadecimal digits, lower-cased. Raises InvalidInput otherwise."""
    return SpanId(_hex(text, 16, "span_id"))


def _hex(text: str, length: int, field: str) -> str:
    if len(text) != length or not all(c in "0123456789abcdefABCDEF" for c in text):
        raise InvalidInput(f"{field} must be {length} hexadecimal digits, not {text[:80]!r}", field=field)
    return text.lower()


def fresh(prefix: str) -> str:
    """A new random id such as 'score_1f0c…' (96 random bits, hexadecimal)."""
    return f"{prefix}_{secrets.token_hex(12)}"
