"""Which candidates are personal information or a secret: the precise rules, on bytes.

Every pattern is either anchored where a scan found its candidate or runs over one bounded range, and uses bounded
or possessive repetition, so that the work is linear in the candidates. Numbers and
secrets have modules of their own (`numbers`, `secrets`); IBAN after ISO 13616.
"""

from __future__ import annotations

import ipaddress
import re

from core.pii import tables
from core.pii.context import ESCAPED, Found, glued_left, glued_right, marked
from core.pii.numbers import number
from core.pii.secrets import assigned, secret
from core.pii.tables import IBAN_LENGTHS
from core.records import PiiEntity


def confirm(text: bytes, start: int, end: int, bits: int) -> list[Found]:
    """What of the candidate range [start, end) of `text` is real, in no order, possibly overlapping."""
    if bits == tables.EMAIL:
        return _email(text, start, end)
    if bits == tables.SECRET:
        return secret(text, start)
    if bits == tables.ASSIGNED:
        return assigned(text, start)
    if bits == tables.IPV6:
        return _ipv6(text, start, end)
    if bits == tables.IBAN:
        return _iban(text, start, end)
    return number(text, start, end, bits)


# --- e-mail addresses and credentials in URLs ----------------------------------------------------------------------

_DOMAIN = re.compile(
    rb"(?:@|%40)(?:[A-Za-z0-9\x80-\xff](?:[A-Za-z0-9\x80-\xff-]{0,61}[A-Za-z0-9\x80-\xff])?\.){1,8}"
    rb"(?P<top>[A-Za-z]{2,24}|xn--[A-Za-z0-9-]{2,59}|[\x80-\xff]{4,60})(?![A-Za-z0-9_])"
)
_USERINFO = re.compile(rb"://[^\s/@:\"'<>]{0,128}:(?P<password>[^\s/@\"'<>]{1,256})\Z")
_LETTERS_TAIL = re.compile(rb"[A-Za-z0-9\x80-\xff_%+.-]*\\+\Z")
# "icon@2x.png" and "pkg@latest.js" name files.
_FILES = frozenset(b"png jpg jpeg gif svg webp ico js mjs ts tsx jsx py css html json yaml yml md txt pdf".split())


def _email(text: bytes, start: int, end: int) -> list[Found]:
    at = text.find(b"@", start, end)
    at = at if at >= 0 else text.find(b"%40", start, end)
    credential = _USERINFO.search(text, max(0, at - 400), at)
    if credential:
        return [Found(credential.start("password"), at, PiiEntity.SECRET)]
    domain = _DOMAIN.match(text, at, min(len(text), end + 1))
    start = _local_start(text, start, at)
    local = text[start:at]
    if not domain or not local or domain["top"].lower() in _FILES or marked(text, start):
        return []
    if local == b"git" and text[domain.end() :][:1] == b":":
        return []
    return [Found(start, domain.end(), PiiEntity.EMAIL)]


def _local_start(text: bytes, start: int, at: int) -> int:
    """Where the local part begins: past punctuation and JSON escapes, and before escaped letters that belong to it."""
    while start > 0 and text[start - 1] == 0x5C:
        escape = ESCAPED.match(text, start)
        if escape is None or escape.end() > at:
            break
        if escape[1] is None or not chr(int(escape[1], 16)).isalnum():
            start = escape.end()
            break
        start = _LETTERS_TAIL.search(text, max(0, start - 64), start).start()  # type: ignore[union-attr]
    return start + len(text[start:at]) - len(text[start:at].lstrip(b"'.!#&*~-%"))


# --- IBAN, IPv6 -----------------------------------------------------------------------------------------------------


def _iban(text: bytes, start: int, end: int) -> list[Found]:
    if glued_left(text, start) or glued_right(text, end) or not is_iban(text[start:end]):
        return []
    return [Found(start, end, PiiEntity.IBAN)]


def is_iban(candidate: bytes) -> bool:
    """Whether the text (blanks and hyphens ignored) has its country's length and remainder 1 modulo 97 (ISO 7064)."""
    groups = re.split(rb"[ -]", candidate)
    if len(groups) > 1 and (any(len(g) != 4 for g in groups[:-1]) or not 1 <= len(groups[-1]) <= 4):
        return False
    compact = b"".join(groups).decode("ascii", "replace").upper()
    if not re.fullmatch(r"[A-Z]{2}\d\d[A-Z0-9]{11,30}", compact):
        return False
    if IBAN_LENGTHS.get(compact[:2]) != len(compact):
        return False
    return int("".join(str(int(c, 36)) for c in compact[4:] + compact[:4])) % 97 == 1


def _ipv6(text: bytes, start: int, end: int) -> list[Found]:
    while end > start and text[end - 1] == 0x3A and text[end - 2] != 0x3A:
        end -= 1
    if glued_left(text, start) or glued_right(text, end) or text[start - 1 : start] == b":":
        return []
    groups = text[start:end].split(b":")
    if all(len(g) == 2 for g in groups) or not _routable(groups):
        return []
    try:
        ipaddress.IPv6Address(text[start:end].decode("ascii"))
    except ValueError:
        return []
    return [Found(start, end, PiiEntity.IP)]


def _routable(groups: list[bytes]) -> bool:
    """Four written groups, or an assigned first group: '::1', a slice [1::2] and C++ scopes are none."""
    first = groups[0].lower()
    assigned = re.match(rb"(?:[23][0-9a-f]{3}|f[cd][0-9a-f]{2}|fe[89ab][0-9a-f]|ff[0-9a-f]{2}|64)\Z", first) is not None
    written = sum(1 for g in groups if g)
    return written >= 4 or (assigned and re.search(rb"\d", first) is not None)
