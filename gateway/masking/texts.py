"""One text of a request with its personal information replaced by placeholders."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

import orjson

from core.pii.context import ESCAPE, Found, unescaped
from core.pii.find import Allowance, find_in_bytes
from core.pii.quotes import Quotes
from core.records import PiiEntity
from gateway.masking.placeholders import Placeholders

MOST_PASSES: Final = 8  # what a placeholder uncovers is found by the next pass
MOST_KNOWN: Final = 32_768  # texts of which it is known where something is
MOST_KNOWN_RANGES: Final = 16
_ESCAPES_A_STEP: Final = 4
_OURS: Final = re.compile(rb"<([A-Z]+_[0-9]+)>")


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where a text stands: `in_json` inside a JSON document that is itself a text, `bare` where only a name of letters,
    digits and underscores is allowed, `label` what the key before it says of it ("password")."""

    in_json: bool = False
    bare: bool = False
    label: str = ""


class TextMasker:
    """Finds and replaces the kinds of `entities`. Remembers of a text, by its hash, where something is: a conversation
    sends its beginning again with every call."""

    def __init__(self, entities: frozenset[PiiEntity]) -> None:
        self._entities = entities
        self._known: dict[int, tuple[Found, ...]] = {}

    def suspect(self, text: str, label: str, allowance: Allowance) -> bool:
        """Whether the text holds something to mask. Raises TooMuch."""
        raw = _bytes(f"{label}: {text}" if label else text)
        if self._found(raw, allowance):
            return True
        plain = _plain(raw, allowance)
        return plain != raw and bool(self._found(plain, allowance))

    def masked(self, text: str, place: Place, placeholders: Placeholders, allowance: Allowance) -> str:
        """The text with a placeholder for each value, JSON still being JSON; what JSON escapes hide is found too.
        Raises TooMuch."""
        head = _bytes(f"{place.label}: ") if place.label else b""
        raw = self._seen(head + _bytes(text), place, placeholders, allowance)
        plain = _plain(raw, allowance)
        if plain != raw and self._found(plain, allowance):
            raw = self._seen(plain, place, placeholders, allowance)
        return raw[len(head) :].decode("utf-8", "surrogatepass")

    def _seen(self, raw: bytes, place: Place, placeholders: Placeholders, allowance: Allowance) -> bytes:
        for _ in range(MOST_PASSES):
            found = self._found(raw, allowance)
            if not found:
                break
            raw = _replaced(raw, found, place, placeholders)
        return raw

    def _found(self, raw: bytes, allowance: Allowance) -> tuple[Found, ...]:
        """What is to be masked, but for placeholders (one in quotes after a name such as password looks like one)."""
        key = hash(raw)
        known = self._known.get(key)
        if known is not None:
            return known
        found = tuple(
            one
            for one in find_in_bytes(raw, allowance)
            if one.entity in self._entities and not _OURS.fullmatch(raw, one.start, one.end)
        )
        if len(found) <= MOST_KNOWN_RANGES:
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
            self._known[key] = found
        return found


def _plain(raw: bytes, allowance: Allowance) -> bytes:
    """The text with what JSON escapes hide. Raises TooMuch."""
    n_escapes = raw.count(b"\\u00")
    allowance.spend(n_escapes // _ESCAPES_A_STEP)
    return ESCAPE.sub(unescaped, raw) if n_escapes else raw


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _replaced(raw: bytes, found: tuple[Found, ...], place: Place, placeholders: Placeholders) -> bytes:
    quotes = Quotes(raw)
    parts: list[bytes] = []
    done = 0
    for one in found:
        value = placeholders.restored(_value(raw[one.start : one.end], place))
        name = placeholders.name(one.entity, value).encode()
        mark = name if place.bare else b"<" + name + b">"
        parts += (raw[done : one.start], quotes.around(one.start, one.end, mark))
        done = one.end
    return b"".join([*parts, raw[done:]])


def _value(piece: bytes, place: Place) -> str:
    """The text that a piece of a document stands for."""
    if place.in_json and b"\\" in piece:
        try:
            return str(orjson.loads(b'"' + piece + b'"'))
        except orjson.JSONDecodeError:  # a piece that begins or ends within an escape stands for itself
            return piece.decode("utf-8", "surrogatepass")
    return piece.decode("utf-8", "surrogatepass")
