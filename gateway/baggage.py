"""W3C baggage on its way to a release: what the caller sent stays, what we say wins.

Source: https://www.w3.org/TR/baggage/, section 3.2 and 3.3.2 (at most 8,192 bytes, 180 entries).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

MOST_BYTES: Final = 8192
MOST_ENTRIES: Final = 180


def stamped(header: bytes, ours: Mapping[str, str]) -> str:
    """The header to send on: our entries first, so that a limit never costs them, then the caller's that do not say
    the same keys. Empty values of ours are left out, and so are the caller's."""
    entries = [f"{key}={quote(value, safe='')}" for key, value in ours.items() if value]
    size = sum(map(len, entries)) + len(entries)
    for entry in header.decode("latin-1").split(",") if len(header) <= MOST_BYTES else ():
        entry = entry.strip()
        key, is_there, _ = entry.partition("=")
        if not is_there or not key.strip() or key.strip() in ours or not entry.isprintable() or not entry.isascii():
            continue
        if len(entries) >= MOST_ENTRIES or size + len(entry) + 1 > MOST_BYTES:
            break
        entries.append(entry)
        size += len(entry) + 1
    return ",".join(entries)
