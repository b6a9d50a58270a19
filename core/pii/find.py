"""Personal information in one text, in plain Python: what the collector's native scan lists for a whole column.

Each pattern below is lenient, begins with one byte or a set of bytes that prose has few of, and answers where a
candidate is; `patterns.confirm` then says whether it is real. The collector's scan is the model: nothing that it finds
may be missed here (tests/collector/test_find.py).
"""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from typing import Final, NamedTuple

from core.pii import tables
from core.pii.context import Found, disjoint, whole_characters
from core.pii.patterns import confirm
from core.records import PiiEntity

_SHORTEST: Final = 6  # bytes: a@b.cc
# What patterns cost that come upon nothing: a step for so many characters, and for so many at which one begins.
_CHARACTERS_A_STEP: Final = 512
_SIGNS_A_STEP: Final = 32
_STEPS_A_VALUE: Final = 3
_CALM: Final = bytes(c for c in range(256) if chr(c) not in "0123456789.@%:=-_~AKBJ")


class _Candidate(NamedTuple):
    trigger: int  # where the scan would come upon it: what stands in a secret found before is no candidate
    start: int
    end: int
    bits: int


class TooMuch(ValueError):
    """A text has more to look at than its reader has time for."""


class Allowance:
    """How many steps a search may still take: a reader who must answer soon gives one to all texts of a request. A step
    is a place that a scan's loop comes upon, whatever becomes of it; long texts and long numbers take some too."""

    def __init__(self, n_steps: int) -> None:
        self._left = n_steps

    def spend(self, n: int = 1) -> None:
        """Takes `n` steps. Raises TooMuch."""
        self._left -= n
        if self._left < 0:
            raise TooMuch


def find(text: str, allowance: Allowance | None = None) -> list[Found]:
    """What of `text` is personal information or a secret, in order and apart; ranges are of characters. Raises TooMuch
    beyond the allowance."""
    raw = text.encode("utf-8", "surrogatepass")
    found = find_in_bytes(raw, allowance)
    if not found or len(raw) == len(text):
        return found
    places = [0]  # characters up to each range's bounds
    done = 0
    for bound in (bound for one in found for bound in (one.start, one.end)):
        places.append(places[-1] + len(raw[done:bound].decode("utf-8", "surrogatepass")))
        done = bound
    return [Found(places[2 * n + 1], places[2 * n + 2], one.entity) for n, one in enumerate(found)]


def find_in_bytes(raw: bytes, allowance: Allowance | None = None) -> list[Found]:
    """As `find`, of a text in UTF-8; ranges are of bytes and cut no character. Raises TooMuch beyond the allowance."""
    found: list[Found] = []
    if len(raw) < _SHORTEST:
        return found
    allowance = Allowance(sys.maxsize) if allowance is None else allowance
    consumed = 0
    for _, start, end, bits in sorted(_candidates(raw, allowance)):
        if start < consumed:
            continue
        for one in confirm(raw, start, end, bits):
            allowance.spend(_STEPS_A_VALUE)
            found.append(one)
            if one.entity is PiiEntity.SECRET:
                consumed = max(consumed, one.end)
    if not found:
        return found
    return [Found(*whole_characters(raw, one.start, one.end), one.entity) for one in disjoint(found)]


def _candidates(raw: bytes, allowance: Allowance) -> Iterator[_Candidate]:
    signs = raw.translate(None, _CALM)
    allowance.spend(1 + len(raw) // _CHARACTERS_A_STEP + len(signs) // _SIGNS_A_STEP)
    if b"@" in signs or b"%" in signs:
        yield from _addresses(raw, allowance)
    if len(signs.translate(None, _NO_DIGITS)) >= _FEWEST_DIGITS:
        yield from _numbers(raw, allowance)
    if b":" in signs:
        yield from _ipv6(raw, allowance)
    for named in _NAMED:
        for sign in named.finditer(raw):
            allowance.spend()
            yield _Candidate(sign.start(), sign.start(), sign.end(), tables.ASSIGNED)
    yield from _secrets(raw, allowance)


# --- addresses ------------------------------------------------------------------------------------------------------

_LOCAL: Final = bytes(c for c in range(256) if c >= 128 or chr(c).isalnum() or chr(c) in "._%+-'!#&*~")
_AT: Final = re.compile(rb"@|%40")
_AFTER_AT: Final = re.compile(rb"(?:@|%40)[A-Za-z0-9\x80-\xff.-]{1,259}")


def _addresses(raw: bytes, allowance: Allowance) -> Iterator[_Candidate]:
    for at in _AT.finditer(raw):
        allowance.spend()
        i = at.start()
        after = _AFTER_AT.match(raw, i)
        before = raw[max(0, i - 320) : i]
        start = i - len(before) + len(before.rstrip(_LOCAL))
        if after and not (start == i and (i == 0 or raw[i - 1] <= 32)):
            yield _Candidate(i, start, after.end(), tables.EMAIL)


# --- numbers --------------------------------------------------------------------------------------------------------

_GAP: Final = b"[" + re.escape(tables.SEPARATORS) + b"]"
_NO_DIGITS: Final = bytes(c for c in range(256) if not 48 <= c <= 57)
_FEWEST_DIGITS: Final = 4
_DIGITS_A_STEP: Final = 16  # of a run of digit groups
_STEPS_A_NUMBER: Final = 2  # one that may be a phone number is looked at several times
# Seven digits of one number, the first octets of an IPv4 address, or the digits after two letters of an IBAN.
_DIGITS: Final = re.compile(
    rb"[0-9](?:(?:"
    + _GAP
    + rb"{0,2}[0-9]){6}|[0-9]{0,2}(?:\.[0-9]{1,3}){3}|(?<=[A-Za-z]{2}[0-9])[0-9][A-Za-z0-9 -]{11})"
)
_RUN: Final = re.compile(rb"[0-9]++(?:" + _GAP + rb"{1,2}[0-9]++)*+")
_GROUP: Final = re.compile(rb"([0-9]+)([^0-9]?)")
_REST: Final = re.compile(rb"[0-9]+")
_WORD_BEFORE: Final = re.compile(rb"[A-Za-z0-9_]")
_ESCAPE_BEFORE: Final = re.compile(rb"\\(?:[nrtbf]|u.{4})\Z", re.DOTALL)
_ESCAPED_PLUS: Final = re.compile(rb"\\.{3}2[bB]\Z", re.DOTALL)
_ACCOUNTS: Final = {
    country.encode(): re.compile(rb"[A-Za-z0-9](?:[ -]?[A-Za-z0-9]){%d}" % (length - 1))
    for country, length in tables.IBAN_LENGTHS.items()
}


def _numbers(raw: bytes, allowance: Allowance) -> Iterator[_Candidate]:
    place = 0
    while digits := _DIGITS.search(raw, place):
        allowance.spend()
        i = digits.start()
        escape = raw.find(b"\\u", max(0, i - 5), i)
        if escape >= 0:  # they are the number of an escaped character
            place = max(i + 1, escape + 6)
            continue
        if _glued(raw, i):
            account = None if i < 2 or _glued(raw, i - 2) else _ACCOUNTS.get(raw[i - 2 : i].upper())
            whole = account.match(raw, i - 2) if account and raw[i + 1 : i + 2].isdigit() else None
            if whole:
                yield _Candidate(i, i - 2, whole.end(), tables.IBAN)
            place = whole.end() if whole else _REST.match(raw, i).end()  # type: ignore[union-attr]
            continue
        place = _RUN.match(raw, i).end()  # type: ignore[union-attr]
        allowance.spend((place - i) // _DIGITS_A_STEP)
        bits = _number(raw, i, place)
        if bits:
            allowance.spend(_STEPS_A_NUMBER)
            yield _Candidate(i, i, place, bits)


def _glued(raw: bytes, i: int) -> bool:
    """Whether a letter, digit or underscore stands before, and is not the end of a JSON escape."""
    if i == 0 or not _WORD_BEFORE.match(raw, i - 1):
        return False
    return not _ESCAPE_BEFORE.search(raw, max(0, i - 6), i)


def _number(raw: bytes, start: int, end: int) -> int:
    """What the run of digit groups may be, as bits. Whether a bare number has its label is left to `confirm`."""
    groups = _GROUP.findall(raw, start, end)
    lengths = [len(group) for group, _ in groups]
    bits, n_digits = _shapes(lengths, [gap for _, gap in groups]), sum(lengths)
    before = raw[start - 1 : start] if start else b""
    plus = before == b"+" or (n_digits >= 7 and _ESCAPED_PLUS.search(raw, max(0, start - 6), start) is not None)
    if n_digits >= 7 and (plus or (before == b"(" and len(lengths) > 1)):
        bits |= tables.NUMBER_PHONE
    if n_digits >= 9 and raw[start] == 48 and len(lengths) > 1:
        bits |= tables.NUMBER_PHONE
    dated = len(lengths) == 3 and lengths[0] == 4 and lengths[1] == 2 and lengths[2] == 2
    decimal = len(lengths) == 2 and groups[0][1] == b"."
    either = tables.NUMBER_PHONE | tables.NUMBER_SSN
    weak = 7 <= n_digits <= 24 and not bits & either and not dated and not decimal
    return bits | either if weak else bits


def _shapes(lengths: list[int], gaps: list[bytes]) -> int:
    """What the lengths of the groups speak for; `gaps` are the first bytes between them."""
    bits = tables.NUMBER_CARD if any(12 <= length <= 19 for length in lengths) else 0
    for n in range(1, len(lengths)):
        one, length = lengths[n - 1], lengths[n]
        if one == 3 and length == 7:
            bits |= tables.NUMBER_PHONE
        if n < 2:
            continue
        two = lengths[n - 2]
        if length >= 4 and two >= 3:
            bits |= {3: tables.NUMBER_PHONE, 2: tables.NUMBER_SSN}.get(one, 0)
        if two >= 4 and (one == 6 or (one == 4 and length >= 4)):
            bits |= tables.NUMBER_CARD
        if n >= 3 and max(two, one, length) <= 3 and gaps[n - 3 : n] == [b"."] * 3:
            bits |= tables.NUMBER_IP
    return bits


# --- IPv6 -----------------------------------------------------------------------------------------------------------

_COLONS: Final = re.compile(rb":(?=:|[0-9a-fA-F]{1,46}:)")
_HEX: Final = b"0123456789abcdefABCDEF"
_HEXES: Final = re.compile(rb"[0-9a-fA-F:]+")


def _ipv6(raw: bytes, allowance: Allowance) -> Iterator[_Candidate]:
    place = raw.find(b":")
    while colon := _COLONS.search(raw, place):
        allowance.spend()
        i = colon.start()
        place = i + 1
        before = raw[max(0, i - 5) : i]
        start = i - len(before) + len(before.rstrip(_HEX))
        run = _HEXES.match(raw, i, start + 46)
        written = run[0] if run else b""
        if written.count(b":") >= 7 or b"::" in written:
            place = run.end() if run else place
            yield _Candidate(i, start, place, tables.IPV6)


# --- secrets --------------------------------------------------------------------------------------------------------

# The last letters of a word for a secret (key, token, secret, password, passwd, pwd, sig, credentials, authorization),
# then up to seven quotes and blanks, then the sign.
_ENDS: Final = rb"(?i:key|ken|ret|ord|swd|pwd|sig|als|ion)"
_NAMED: Final = tuple(
    re.compile(
        sign
        + rb"(?:(?<="
        + _ENDS
        + sign
        + rb")|(?<=[\"'\\ \]]"
        + sign
        + rb")(?:"
        + b"|".join(rb"(?<=" + _ENDS + rb"[\"'\\ \]]{%d}" % n + sign + rb")" for n in range(1, 8))
        + rb"))"
    )
    for sign in (b":", b"=")
)
_RARE: Final = b"AKBJ"  # letters to look for in prefixes of letters and digits only


def _anchor(prefix: bytes) -> int:
    """The place of a byte of the prefix that prose has few of: a sign, else a capital, else the first byte."""
    signs = [k for k, c in enumerate(prefix) if not chr(c).isalnum() and c != 0x20]
    capitals = [prefix.rfind(c) for c in _RARE if c in prefix]
    return signs[-1] if signs else next(iter(capitals), 0)


def _grouped() -> dict[bytes, list[tuple[int, bytes]]]:
    """(place of the anchor, prefix) by the byte at the anchor; those without a rare byte stand alone."""
    groups: dict[bytes, list[tuple[int, bytes]]] = defaultdict(list)
    for prefix in (word.encode() for word in tables.PREFIXES):
        k = _anchor(prefix)
        groups[prefix if prefix[k : k + 1].islower() else prefix[k : k + 1]].append((k, prefix))
    return groups


def _spots(anchor: bytes, members: list[tuple[int, bytes]]) -> re.Pattern[bytes]:
    """Matches where a prefix of a group has its anchor."""
    if len(anchor) > 1:
        return re.compile(re.escape(anchor))
    before = b"".join(sorted({re.escape(prefix[k - 1 : k]) for k, prefix in members if k}))
    gate = rb"(?<=[" + before + rb"]" + re.escape(anchor) + rb")" if all(k for k, _ in members) else b""
    each = [rb"(?<=" + re.escape(p[: k + 1]) + rb")(?=" + re.escape(p[k + 1 :]) + rb")" for k, p in members]
    return re.compile(re.escape(anchor) + gate + rb"(?:" + b"|".join(each) + rb")")


_GROUPS: Final = [(_spots(anchor, members), members) for anchor, members in _grouped().items()]


def _secrets(raw: bytes, allowance: Allowance) -> Iterator[_Candidate]:
    for spots, members in _GROUPS:
        for spot in spots.finditer(raw):
            allowance.spend()
            for k, prefix in members:
                start = spot.start() - k
                if start >= 0 and raw.startswith(prefix, start) and not _inside_a_word(raw, start, prefix):
                    yield _Candidate(spot.start(), start, start + len(prefix), tables.SECRET)


def _inside_a_word(raw: bytes, start: int, prefix: bytes) -> bool:
    """Whether a prefix that begins a word goes on one; of two it is known only what stands before."""
    return prefix[:1].isalnum() and prefix != b"8Q~" and _glued(raw, start)
