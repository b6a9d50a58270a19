"""Texts of strangers made fit to be embedded: without what says nothing of a session's subject. Pure.

Base64, hexadecimal and long numbers differ in every session and mean nothing to an embedder; an id of an order would
make two sessions about the same thing strangers, and could lead back to a person.
"""

from __future__ import annotations

import re
from typing import Final

READ: Final = 200_000  # characters of a text that are looked at: what comes later changes no facet
CUT: Final = "…"
_BLOB: Final = re.compile(r"(?:data:[\w/+.;=-]{0,80};base64,)?[A-Za-z0-9+/_=-]{48,}")
_UUID: Final = re.compile(r"\b[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}\b")
_HEX: Final = re.compile(r"\b(?:0x)?(?=[A-Fa-f]*\d)[0-9A-Fa-f]{12,}\b")
_NUMBER: Final = re.compile(r"\b[A-Za-z]{0,6}[-_#]?\d{4,}\b")  # orders, cards, accounts: LK-10234, 20267
_MARK: Final = re.compile(r"\[([A-Z]{2,12}):[0-9a-f]{6,64}\]")  # personal information, masked by its hash
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\ufeff]+")
_SPACES: Final = re.compile(r"\s+")


def cleaned(text: str | None, most: int) -> str:
    """The text on one line, at most `most` characters: base64, hexadecimal (12 digits), UUIDs and numbers of 4 digits
    and more are cut out (`#` stands for a number), masks of personal information lose their hash. Empty for nothing.

    >>> cleaned("Order LK-10234  was\\nnot delivered", 100)
    'Order # was not delivered'
    """
    if not text:
        return ""
    found = _CONTROL.sub(" ", text[:READ])
    found = _MARK.sub(r"[\1]", _UUID.sub("#", _BLOB.sub(" ", found)))
    found = _NUMBER.sub("#", _HEX.sub(" ", found))
    return shortened(_SPACES.sub(" ", found).strip(), most)


def shortened(text: str, most: int) -> str:
    """The first `most` characters, up to the end of a word where one ends in the last fifth; then `…`."""
    if len(text) <= most:
        return text
    head = text[: most - 1]
    at = head.rfind(" ")
    return (head[:at] if at >= most * 4 // 5 else head).rstrip() + CUT
