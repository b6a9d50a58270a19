"""The text of an API key: how it is made, read and digested.

    ask_ 0a1b2c3d4e5f _ <43 url-safe characters, 256 random bits> <6 hexadecimal digits of checksum>

The fixed prefix and the checksum let secret scanners recognise a leaked key without asking anybody. Only the digest
of the secret part is ever stored; at 256 random bits it needs a keyed hash and no slow one.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass, field
from typing import Final

from core.errors import Unauthenticated
from core.ids import KeyId

PREFIX: Final = "ask_"
_FORM: Final = re.compile(r"ask_([0-9a-f]{12})_([A-Za-z0-9_-]{43})([0-9a-f]{6})\Z", re.ASCII)
_LENGTH: Final = len(PREFIX) + 12 + 1 + 43 + 6


@dataclass(frozen=True, kw_only=True)
class ParsedKey:
    """The parts of a key whose form and checksum are right; says nothing about whether the key is known."""

    key_id: KeyId
    secret: str = field(repr=False)


def issue() -> str:
    """A fresh key."""
    body = f"{PREFIX}{secrets.token_hex(6)}_{secrets.token_urlsafe(32)}"
    return body + _checksum(body)


def parse(text: str) -> ParsedKey:
    """The parts of `text`. Raises Unauthenticated, never quoting the text, when the form or checksum is wrong."""
    found = _FORM.match(text) if len(text) == _LENGTH else None
    if found is None or not hmac.compare_digest(_checksum(text[:-6]), found[3]):
        raise Unauthenticated("this is not an Assay API key; copy it whole, starting with ask_")
    return ParsedKey(key_id=KeyId(found[1]), secret=found[2])


def digest(secret: str, pepper: bytes) -> bytes:
    """The 32 bytes that are stored in place of the secret: HMAC-SHA256 under the installation's pepper."""
    return hmac.digest(pepper, b"assay api key v1\0" + secret.encode("ascii"), hashlib.sha256)


def _checksum(body: str) -> str:
    return hashlib.sha256(body.encode("ascii")).hexdigest()[:6]
