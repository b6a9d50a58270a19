"""Cards, social security numbers, IPv4 addresses and phones in a run of digit groups.

Sources: ISO/IEC 7812 (cards, Luhn), the SSA's rules for areas, E.123 and the NANP (phones).
"""

from __future__ import annotations

import re

from core.pii import tables
from core.pii.context import Found, blanks_end, glued_left, glued_right, marked
from core.records import PiiEntity

_CARD_GROUPS = re.compile(
    rb"(?<!\d)(?:\d{4}(?P<s>[ .-]|\xc2\xa0)\d{4}(?P=s)\d{4}(?P=s)\d{1,4}(?:(?P=s)\d{3})?"
    rb"|\d{4}(?P<t>[ .-]|\xc2\xa0)\d{6}(?P=t)\d{4,5}|\d{12,19})(?!\d)"
)
_SSN = re.compile(rb"(?<!\d)(?!000|666|9)\d{3}(?P<s>[ .-])(?!00)\d\d(?P=s)(?!0000)\d{4}(?!\d)")
_SSN_LABEL = re.compile(
    rb"(?i)(?<![a-z])(?:(?:ssn|social[ _-]?security|itin|tax[ _-]?(?:payer)?[ _-]?(?:id|number|no\b))[^\d\n]{0,40}"
    rb"|tin(?:[ _-](?:number|no\.?))?[^\w\n]{0,8})\Z"  # TIN, right before the number: no tin can
)
_SSN_BARE = re.compile(rb"(?<!\d)(?!000|666)\d{3}[ .-]?\d{2}[ .-]?\d{4}(?!\d)")
_OCTET = rb"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
_IPV4 = re.compile(rb"(?<![\d.])" + _OCTET + rb"(?:\." + _OCTET + rb"){3}(?!\d|\.\d)")
# A dotted quad after one of these is a version or a numbered section.
_VERSIONED = re.compile(
    rb"(?i:\bv|\bver\.?|\bversions?|\brelease|\bbuild|\brev(?:ision)?|\bsection|\bchapter|\bclause|\bappendix|\bfigure"
    rb"|\btable|\bstep|\xc2\xa7|\boid|[=~<>!^]=|~|\^)[\s\"'\\:=(]{0,6}\Z|(?:[A-Z][A-Za-z]+/|[A-Za-z]-)\Z"
)
# Addresses that name no machine in particular.
_NOBODY = frozenset({b"127.0.0.1", b"0.0.0.0", b"255.255.255.255"})


_NUMBER_END = re.compile(rb"(?:\s|\\+[nrt]){0,512}[,\]}]")  # of a number in JSON


def number(text: bytes, start: int, end: int, bits: int) -> list[Found]:
    """Cards, then social security numbers, IPv4 addresses and phones in the run of digit groups [start, end)."""
    negative = text[start - 1 : start] == b"-" and text[blanks_end(text, start - 1) - 1 :][:1] in (b":", b",", b"[")
    if marked(text, start) or (negative and _NUMBER_END.match(text, end)):
        return []
    found: list[Found] = []
    if bits & tables.NUMBER_CARD:
        found += _cards(text, start, end)
    if bits & tables.NUMBER_IP:
        found += _ipv4(text, start, end)
    if bits & tables.NUMBER_SSN:
        found += _ssn(text, start, end)
    if bits & tables.NUMBER_PHONE and not found:
        found += _phones(text, start, end)
    return found


_FIRST_GROUP = re.compile(rb"\d+")
_NO_CARD = re.compile(rb"(?i)track|imei|serial|order|invoice|item|parcel|shipment|isbn|ean|upc|gtin|time|_at\b|epoch")


def _cards(text: bytes, start: int, end: int) -> list[Found]:
    found = []
    run, place = text[start:end], 0
    while groups := _CARD_GROUPS.search(run, place):
        at, until, digits = start + groups.start(), start + groups.end(), re.sub(rb"\D", b"", groups[0])
        if not is_card(digits) or _part_of_longer(text, at, until):
            place = groups.start() + len(_FIRST_GROUP.match(groups[0])[0])  # type: ignore[index]  # it begins with one
            continue
        place = groups.end()
        # A 12 or 13 digit number passes by chance more often than it is a card: an order or a parcel has those too.
        if len(digits) > 13 or not _NO_CARD.search(text, max(0, at - 32), at):
            found.append(Found(at, until, PiiEntity.CARD))
    return found


def _spans(pattern: re.Pattern[bytes], text: bytes, start: int, end: int) -> list[tuple[int, int, bytes]]:
    """(start, end, bytes) of the matches inside a run; what stands before the run is judged by the caller."""
    return [(start + m.start(), start + m.end(), m[0]) for m in pattern.finditer(text[start:end])]


def _part_of_longer(text: bytes, start: int, end: int) -> bool:
    """Whether [start, end) is glued to letters, a decimal fraction, or a group of a UUID."""
    before, after = text[max(0, start - 9) : start], text[end : end + 3]
    if glued_left(text, start) or glued_right(text, end):
        return True
    if re.search(rb"\d\.\Z", before) or re.match(rb"\.\d", after):
        return True
    return re.search(rb"(?:\A|[^A-Za-z0-9])[0-9a-fA-F]{4}(?:[0-9a-fA-F]{4})?-\Z", before) is not None and (
        re.search(rb"[0-9]", before[-5:]) is not None
    )


def is_card(digits: bytes) -> bool:
    """Whether `digits` has an issuer's prefix with one of its lengths, and the check digit of ISO/IEC 7812-1."""
    n = len(digits)
    two, four = int(digits[:2] or b"0"), int(digits[:4] or b"0")
    known = (
        (digits[:1] == b"4" and n in (13, 16, 19))  # Visa
        or (n == 16 and (51 <= two <= 55 or 2221 <= four <= 2720))  # Mastercard
        or (n == 15 and two in (34, 37))  # American Express
        or (14 <= n <= 19 and (300 <= four // 10 <= 305 or four == 3095 or two in (36, 38, 39)))  # Diners Club
        or (
            16 <= n <= 19 and (four == 6011 or 644 <= four // 10 <= 649 or two in (62, 65, 60, 81, 82))
        )  # Discover, ...
        or (16 <= n <= 19 and 3528 <= four <= 3589)  # JCB
        or (n == 16 and two == 35)
        or (n == 15 and four in (1800, 2131))
        or (12 <= n <= 19 and (two in (50, 56, 57, 58, 63, 67) or four == 604 or four // 10 == 639))  # Maestro, Dankort
        or (16 <= n <= 19 and 2200 <= four <= 2205)  # Mir, Troy
    )
    return known and len(set(digits)) > 1 and luhn(digits)


def luhn(digits: bytes) -> bool:
    """The check digit rule of ISO/IEC 7812-1 Annex B, for ASCII digits."""
    total = 0
    for n, digit in enumerate(reversed(digits)):
        value = digit - 48
        total += value if n % 2 == 0 else (value * 2 - 9 if value > 4 else value * 2)
    return total % 10 == 0


def names_ssn(key: bytes) -> bool:
    """Whether a number is taken for a social security number because it is the value of this key."""
    return _SSN_LABEL.search(key + b": ", max(0, len(key) - 62)) is not None


def names_phone(key: bytes) -> bool:
    """Whether a number is taken for a phone because it is the value of this key."""
    text = key + b": "
    return _phone_labelled(text, len(text), len(text))


def _ssn(text: bytes, start: int, end: int) -> list[Found]:
    labelled = _SSN_LABEL.search(text, max(0, start - 64), start) is not None
    pattern = _SSN_BARE if labelled else _SSN
    found = []
    for at, until, _ in _spans(pattern, text, start, end):
        if not (_part_of_longer(text, at, until) or _hyphen_glued(text, at, until)):
            found.append(Found(at, until, PiiEntity.SSN))
    return found


def _hyphen_glued(text: bytes, start: int, end: int) -> bool:
    """Whether a digit group continues past a hyphen, as in part numbers."""
    return (
        re.match(rb"-\d", text[end : end + 2]) is not None
        or re.search(rb"\d-\Z", text[max(0, start - 2) : start]) is not None
    )


def _ipv4(text: bytes, start: int, end: int) -> list[Found]:
    found = []
    for at, until, address in _spans(_IPV4, text, start, end):
        if address in _NOBODY or glued_left(text, at) or glued_right(text, until):
            continue
        if not _VERSIONED.search(text[max(0, at - 24) : at]):
            found.append(Found(at, until, PiiEntity.IP))
    return found


# Shapes that are phones whatever stands around them.
_GAP = rb"(?:[ .-]|\xc2\xa0)"
_PHONE_SHAPES = re.compile(
    rb"\+1" + _GAP + rb"?\(?\d{3}\)?" + _GAP + rb"?\d{3}" + _GAP + rb"?\d{4}(?!\d)"
    rb"|\+\(?[1-9](?:(?:[ .()/-]|\xc2\xa0){0,2}\d){6,14}(?!\d)"
    rb"|(?<!\d)00[1-9]\d{0,2}[ .(-]{1,2}\d(?:[ .()/-]{0,2}\d){6,12}(?!\d)"
    rb"|(?<!\d)(?:1[ .-])?(?:\([2-9]\d\d\)[ .-]{0,2}|[2-9]\d\d[.-])\d{3}[ .-]?\d{4}(?!\d)"
    rb"|(?<![\d.,])(?:1[ ])?[2-9]\d\d (?:[2-9]\d\d[ -]\d{4})(?!\d)"
    rb"|\((?:0\d{0,4}|\d{2,3})\)[ -]?\d{3,4}[ -]?\d{3,4}(?!\d)"
    rb"|(?<!\d)\(?0(?!00)\d{1,4}\)?(?P<s>[ .-]|\xc2\xa0)\d{2,7}(?:(?P=s)\d{2,5}){0,4}(?!\d)"
    rb"|(?<!\d)0\d{2,4}[-/ ]\d{3,4}[ -]\d{3,4}(?!\d)"
)
_PHONE_WEAK = re.compile(rb"(?<!\d)\(?\d(?:(?:[ .()/-]|\xc2\xa0){0,2}\d){6,12}(?!\d)")
_DATE = re.compile(rb"(?:\d\d[./-]\d\d[./-](?:19|20)\d\d|(?:19|20)\d\d[./ -]?[01]\d[./ -]?[0-3]\d)(?!\d)")
_FLOAT = re.compile(rb"\+?\d*\.\d*\Z")
_LABEL_BEFORE = re.compile(
    rb"(?i)(?:(?<![a-z])(?:tele|cell|mobile|home|work|office|day|contact|user|customer|guest)?[ _-]?phones?"
    rb"|(?<=[a-z])(?-i:Phone)|(?<![a-z])(?:tel|telefon\w*|telef\w*|handy|mobile?|cell|cellular|fax|whatsapp|sms|pager"
    rb"|hotline|helpline|msisdn|voicemail|landline)(?![a-z])"
    rb"|(?<![a-z])(?:call|text|dial|ring|reach|contact|messag)(?:s|e|es|ed|ing)?\b[^\d{}\[\];]{0,40}?"
    rb"(?<![a-z])(?:me|us|him|her|them|back|on|at|to|registered|numbers?)(?![a-z]))(?P<between>[^\d{}\[\];]{0,44})\Z"
)
_NOT_BETWEEN = re.compile(
    rb"(?i)order|item|invoice|ticket|\bzip|postal|address|street|track|serial|imei|amount|price|total|account|\bref"
    rb"|\bids?\b|_id|version|date|time|card|model|sku|size|pixel|\bsince\b|[$\xe2#=]"
)
_LABEL_AFTER = re.compile(
    rb"[\s,(\xe2\x80\x93-]{0,4}(?i:office|fax|mobile|cell|home|work|tel|phone|voice|direct|landline)(?![a-z_=])"
)


_ESCAPED_PLUS = re.compile(rb"(?i)\\++u002b\Z")


def _phones(text: bytes, start: int, end: int) -> list[Found]:
    escaped = _ESCAPED_PLUS.search(text, max(0, start - 16), start)
    if escaped:  # read it as the plus it stands for
        read = b" " * (start - escaped.start() - 1) + b"+" + text[start : end + 24]
        return [
            Found(
                escaped.start() + (f.start if f.start >= start - escaped.start() else 0),
                escaped.start() + f.end,
                f.entity,
            )
            for f in _phones(read, start - escaped.start() - 1, end - escaped.start())
        ]
    while start > 0 and text[start - 1 : start] in (b"(", b"+"):
        start -= 1
    if glued_left(text, start) or text[start - 1 : start] in (b"#", b"$") or _uuid_before(text, start):
        return []
    shapes = [(a, b) for a, b, phone in _spans(_PHONE_SHAPES, text, start, end) if _is_phone(text, a, b, phone)]
    if len(shapes) < 2 and _phone_labelled(text, start, end):
        weak = _PHONE_WEAK.match(text[start:end])
        if (
            weak
            and not _DATE.search(weak[0])
            and not _FLOAT.match(weak[0])
            and not glued_right(text, start + weak.end())
        ):
            bare = weak[0][:1] == b"(" and b")" not in weak[0]
            shapes = [(start + bare, start + weak.end()), *shapes]
    return [Found(a, b, PiiEntity.PHONE) for a, b in shapes]


def _is_phone(text: bytes, start: int, end: int, phone: bytes) -> bool:
    """Whether a phone's shape has enough digits and is no date, decimal number or part of something longer."""
    digits = re.sub(rb"\D", b"", phone)
    n_groups = len(re.findall(rb"\d+", phone))
    if digits[:1] == b"0" and phone[:1] in b"0(" and not digits.startswith(b"00"):
        if not (9 if n_groups > 2 or phone[:1] == b"(" else 10) <= len(digits) <= 12:
            return False
    elif not 7 <= len(digits) <= 17:
        return False
    if glued_right(text, end) or re.match(rb"[:.,]?\d", text[end : end + 2]):
        return False
    if phone[:1] == b"+" and glued_left(text, start):
        return False
    return not (_FLOAT.match(phone) or _DATE.search(phone))


def _uuid_before(text: bytes, start: int) -> bool:
    """Whether hexadecimal groups joined by hyphens lead up to `start`."""
    return re.search(rb"[0-9a-fA-F]{4}-\Z", text[max(0, start - 5) : start]) is not None


def _phone_labelled(text: bytes, start: int, end: int) -> bool:
    if _LABEL_AFTER.match(text, end):
        return True
    label = _LABEL_BEFORE.search(text, max(0, start - tables.LABEL_REACH), start)
    return label is not None and not _NOT_BETWEEN.search(label["between"])
