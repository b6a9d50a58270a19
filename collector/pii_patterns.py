"""Which candidates of `pii_scan` are personal information or a secret: the precise rules, on bytes.

Every pattern is either anchored where the scan found its candidate or runs over one bounded range, and uses bounded
or possessive repetition, so that the work is linear in the candidates. Sources: ISO/IEC 7812 (cards, Luhn), ISO
13616 (IBAN), E.123 and the NANP (phones), SSA's area rules (SSN), each vendor's documented key format (secrets).
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from collector import pii_scan
from core.records import PiiEntity


@dataclass(frozen=True, slots=True)
class Found:
    """A confirmed range [start, end) of a text's bytes."""

    start: int
    end: int
    entity: PiiEntity


def confirm(text: bytes, start: int, end: int, bits: int) -> list[Found]:
    """What of the candidate range [start, end) of `text` is real, in no order, possibly overlapping."""
    if bits == pii_scan.EMAIL:
        return _email(text, start, end)
    if bits == pii_scan.SECRET:
        return _secret(text, start)
    if bits == pii_scan.ASSIGNED:
        return _assigned(text, start)
    if bits == pii_scan.IPV6:
        return _ipv6(text, start, end)
    if bits == pii_scan.IBAN:
        return _iban(text, start, end)
    return _number(text, start, end, bits)


# --- what stands around a candidate ---------------------------------------------------------------------------------

_WORD = re.compile(rb"[A-Za-z0-9_]")
_ESCAPE_BEFORE = re.compile(rb"\\(?:[nrtbf]|u[0-9A-Fa-f]{4})\Z")
_ESCAPED = re.compile(rb"u([0-9A-Fa-f]{4})|[nrtbf]")  # what follows the backslash
_MARK_BEFORE = re.compile(rb"\[(?:EMAIL|PHONE|CARD|SSN|IBAN|IP|SECRET):\Z")


def _glued_left(text: bytes, start: int) -> bool:
    """Whether a word character stands right before `start` (a JSON escape such as \\n is none)."""
    if start == 0 or not _WORD.match(text, start - 1):
        return False
    return not _ESCAPE_BEFORE.search(text[max(0, start - 6) : start])


def _glued_right(text: bytes, end: int) -> bool:
    return end < len(text) and _WORD.match(text, end) is not None


def _marked(text: bytes, start: int) -> bool:
    """Whether the range is the hash inside a mark such as [PHONE:123456789012]."""
    return _MARK_BEFORE.search(text[max(0, start - 8) : start]) is not None


def blanks_end(text: bytes, position: int) -> int:
    """The end of what stands before `position`, blanks and escaped blanks (at most 512 bytes of them) left out."""
    limit = max(0, position - 512)
    while position > limit:
        if text[position - 1] in b" \t\r\n":
            position -= 1
        elif text[position - 1] in b"nrt" and text[position - 2 : position - 1] == b"\\":
            position -= 2
            while position > limit and text[position - 1] == 0x5C:
                position -= 1
        else:
            break
    return position


# --- e-mail addresses and credentials in URLs -----------------------------------------------------------------------

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
    if not domain or not local or domain["top"].lower() in _FILES or _marked(text, start):
        return []
    if local == b"git" and text[domain.end() :][:1] == b":":
        return []
    return [Found(start, domain.end(), PiiEntity.EMAIL)]


def _local_start(text: bytes, start: int, at: int) -> int:
    """Where the local part begins: past punctuation and JSON escapes, and before escaped letters that belong to it."""
    while start > 0 and text[start - 1] == 0x5C:
        escape = _ESCAPED.match(text, start)
        if escape is None or escape.end() > at:
            break
        if escape[1] is None or not chr(int(escape[1], 16)).isalnum():
            start = escape.end()
            break
        start = _LETTERS_TAIL.search(text, max(0, start - 64), start).start()  # type: ignore[union-attr]
    return start + len(text[start:at]) - len(text[start:at].lstrip(b"'.!#&*~-%"))


# --- numbers: cards, social security numbers, phones, IPv4 ----------------------------------------------------------

_CARD_GROUPS = re.compile(
    rb"(?<!\d)(?:\d{4}(?P<s>[ .-]|\xc2\xa0)\d{4}(?P=s)\d{4}(?P=s)\d{1,4}(?:(?P=s)\d{3})?"
    rb"|\d{4}(?P<t>[ .-]|\xc2\xa0)\d{6}(?P=t)\d{4,5}|\d{12,19})(?!\d)"
)
_SSN = re.compile(rb"(?<!\d)(?!000|666|9)\d{3}(?P<s>[ .-])(?!00)\d\d(?P=s)(?!0000)\d{4}(?!\d)")
_SSN_LABEL = re.compile(rb"(?i)(?<![a-z])(?:ssn|social[ _-]?security|itin|tax[ _-]?(?:payer)?[ _-]?id)[^\d\n]{0,40}\Z")
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


def _number(text: bytes, start: int, end: int, bits: int) -> list[Found]:
    """Cards, then social security numbers, IPv4 addresses and phones in the run of digit groups [start, end)."""
    negative = text[start - 1 : start] == b"-" and text[blanks_end(text, start - 1) - 1 :][:1] in (b":", b",", b"[")
    if _marked(text, start) or (negative and _NUMBER_END.match(text, end)):
        return []
    found: list[Found] = []
    if bits & pii_scan.NUMBER_CARD:
        found += _cards(text, start, end)
    if bits & pii_scan.NUMBER_IP:
        found += _ipv4(text, start, end)
    if bits & pii_scan.NUMBER_SSN:
        found += _ssn(text, start, end)
    if bits & pii_scan.NUMBER_PHONE and not found:
        found += _phones(text, start, end)
    return found


_NO_CARD = re.compile(rb"(?i)track|imei|serial|order|invoice|item|parcel|shipment|isbn|ean|upc|gtin|time|_at\b|epoch")


def _cards(text: bytes, start: int, end: int) -> list[Found]:
    found = []
    for at, until, piece in _spans(_CARD_GROUPS, text, start, end):
        digits = re.sub(rb"\D", b"", piece)
        if not is_card(digits) or _part_of_longer(text, at, until):
            continue
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
    if _glued_left(text, start) or _glued_right(text, end):
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
        if address in _NOBODY or _glued_left(text, at) or _glued_right(text, until):
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
    rb"(?<![a-z])(?:me|us|him|her|them|back|on|at|to|registered|number))(?P<between>[^\d{}\[\];]{0,44})\Z"
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
    if _glued_left(text, start) or text[start - 1 : start] in (b"#", b"$") or _uuid_before(text, start):
        return []
    shapes = [(a, b) for a, b, phone in _spans(_PHONE_SHAPES, text, start, end) if _is_phone(text, a, b, phone)]
    if len(shapes) < 2 and _phone_labelled(text, start, end):
        weak = _PHONE_WEAK.match(text[start:end])
        if (
            weak
            and not _DATE.search(weak[0])
            and not _FLOAT.match(weak[0])
            and not _glued_right(text, start + weak.end())
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
    if _glued_right(text, end) or re.match(rb"[:.,]?\d", text[end : end + 2]):
        return False
    if phone[:1] == b"+" and _glued_left(text, start):
        return False
    return not (_FLOAT.match(phone) or _DATE.search(phone))


def _uuid_before(text: bytes, start: int) -> bool:
    """Whether hexadecimal groups joined by hyphens lead up to `start`."""
    return re.search(rb"[0-9a-fA-F]{4}-\Z", text[max(0, start - 5) : start]) is not None


def _phone_labelled(text: bytes, start: int, end: int) -> bool:
    if _LABEL_AFTER.match(text, end):
        return True
    label = _LABEL_BEFORE.search(text, max(0, start - pii_scan.LABEL_REACH), start)
    return label is not None and not _NOT_BETWEEN.search(label["between"])


# --- IBAN, IPv6 -----------------------------------------------------------------------------------------------------


def _iban(text: bytes, start: int, end: int) -> list[Found]:
    if _glued_left(text, start) or _glued_right(text, end) or not is_iban(text[start:end]):
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
    if pii_scan.IBAN_LENGTHS.get(compact[:2]) != len(compact):
        return False
    return int("".join(str(int(c, 36)) for c in compact[4:] + compact[:4])) % 97 == 1


def _ipv6(text: bytes, start: int, end: int) -> list[Found]:
    while end > start and text[end - 1] == 0x3A and text[end - 2] != 0x3A:
        end -= 1
    if _glued_left(text, start) or _glued_right(text, end) or text[start - 1 : start] == b":":
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


# --- secrets --------------------------------------------------------------------------------------------------------

_B64 = rb"[A-Za-z0-9_-]"
_VENDOR_KEYS = re.compile(
    rb"(?:"
    # model providers
    rb"sk-(?:proj-|svcacct-|admin-|None-|ant-[a-z0-9]{2,8}-|or-v1-|lf-)?[A-Za-z0-9_-]{16,}|pk-lf-[A-Za-z0-9-]{16,}"
    rb"|sk_[a-f0-9]{40,}|gsk_[A-Za-z0-9]{30,}|csk-[a-z0-9]{30,}|pcsk_[A-Za-z0-9_]{30,}|pplx-[A-Za-z0-9]{30,}"
    rb"|xai-[A-Za-z0-9_-]{40,}|r8_[A-Za-z0-9]{30,}|fw_[A-Za-z0-9]{20,}|tvly-[A-Za-z0-9_-]{20,}|tgp_v1_[A-Za-z0-9_-]{20,}"
    rb"|nvapi-[A-Za-z0-9_-]{40,}|hf_[A-Za-z0-9]{30,}|api_org_[A-Za-z0-9]{30,}|lsv2_(?:pt|sk)_[a-z0-9_]{30,}"
    rb"|wandb_v1_[A-Za-z0-9_]{30,}"
    # code hosts, packages, CI
    rb"|gh[pousr]_[A-Za-z0-9]{30,255}|github_pat_[A-Za-z0-9_]{22,255}|gl(?:pat|dt|rt|cbt|ptt|ft|soat)-[A-Za-z0-9_=.-]{18,}"
    rb"|npm_[A-Za-z0-9]{30,}|pypi-[A-Za-z0-9_-]{40,}|rubygems_[a-f0-9]{48}|dckr_pat_[A-Za-z0-9_-]{20,}"
    rb"|AKCp[A-Za-z0-9]{60,}|sntrys_[A-Za-z0-9_+/=-]{30,}|sntryu_[a-f0-9]{50,}|PMAK-[a-f0-9]{24}-[a-f0-9]{34}"
    # clouds
    rb"|(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}|AIza[A-Za-z0-9_-]{35}|GOCSPX-[A-Za-z0-9_-]{24,}|ya29\.[A-Za-z0-9_-]{20,}"
    rb"|LTAI[A-Za-z0-9]{12,26}|AKID[A-Za-z0-9]{13,40}|do[por]_v1_[a-f0-9]{64}|HRKU-[A-Za-z0-9_-]{30,}"
    rb"|dapi[a-f0-9]{32}(?:-\d)?|pul-[a-f0-9]{40}|hv[sbr]\.[A-Za-z0-9_-]{20,}|\.atlasv1\.[A-Za-z0-9_=-]{50,}"
    rb"|sbp_[a-f0-9]{40}|nfp_[A-Za-z0-9]{36,}|pscale_(?:tkn|pw|oauth)_[A-Za-z0-9_.=-]{30,}|pnu_[A-Za-z0-9]{36}"
    # chat, mail, office
    rb"|xox[bparsoed][-.][A-Za-z0-9.-]{10,}|xapp-[A-Za-z0-9-]{20,}|hooks\.slack\.com/(?:services|workflows)/[A-Za-z0-9+/]{20,}"
    rb"|SG\.[A-Za-z0-9_-]{16,32}\.[A-Za-z0-9_-]{16,64}|key-[a-f0-9]{32}|xkeysib-[a-f0-9]{64}-[A-Za-z0-9]{16}"
    rb"|re_[A-Za-z0-9]{6,12}_[A-Za-z0-9]{16,}|SK[0-9a-f]{32}|:AA[A-Za-z0-9_-]{32,36}|lin_api_[A-Za-z0-9]{32,}"
    rb"|secret_[A-Za-z0-9]{40,}|ntn_[A-Za-z0-9]{40,}|AT[AC]TT3[A-Za-z0-9_=-]{50,}|figd_[A-Za-z0-9_-]{30,}"
    rb"|sl\.[A-Za-z0-9_-]{100,}|tfp_[A-Za-z0-9_.=-]{40,}|8Q~[A-Za-z0-9_~.-]{31,34}"
    # money
    rb"|[sr]k_(?:live|test)_[A-Za-z0-9]{16,}|whsec_[A-Za-z0-9+/=]{24,}|sq0(?:atp|csp)-[A-Za-z0-9_-]{20,}|EAAA[A-Za-z0-9_-]{56,}"
    rb"|EAAC[A-Za-z0-9]{60,}|shp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}|rzp_(?:live|test)_[A-Za-z0-9]{14,}"
    rb"|EZ[AT]K[A-Za-z0-9]{54,}|FLWSECK(?:_TEST)?-[A-Za-z0-9-]{12,}|duffel_(?:live|test)_[A-Za-z0-9_-]{40,}"
    # operations
    rb"|dp\.(?:pt|st)\.[A-Za-z0-9_.-]{40,}|glsa_[A-Za-z0-9]{32}_[a-fA-F0-9]{8}|glc_[A-Za-z0-9+/=]{32,}|NRAK-[A-Z0-9]{27}"
    rb"|NRII-[A-Za-z0-9_-]{32}|phx_[A-Za-z0-9]{30,}|dt0c01\.[A-Z0-9]{24}\.[A-Z0-9]{64}|AGE-SECRET-KEY-1[0-9A-Z]{58}"
    rb"|ops_eyJ[A-Za-z0-9_-]{50,}|ask_[0-9a-f]{12}_[A-Za-z0-9_-]{40,}"
    rb")"
)
# A key is read this far at first, and to the second limit once it is known to be one: hostile text stays cheap.
_KEY_LIMIT, _KEY_LIMIT_LONG = 512, 16_384
# JSON web tokens, signed (three parts) or encrypted (five).
_JWT = re.compile(rb"eyJ[A-Za-z0-9_-]{8,2048}+\.[A-Za-z0-9_-]{4,32768}+(?:\.[A-Za-z0-9_-]{0,32768}+){1,3}")
_HEADER = re.compile(
    rb"(?:(?i:Bearer)[ ]+(?P<bearer>[A-Za-z0-9_.~+/-]{16,}=*)"
    rb"|(?i:Basic)[ ]+(?P<basic>[A-Za-z0-9+/]{12,}={0,2}))(?![A-Za-z0-9])"
)
_BLOCK = re.compile(rb"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
_BLOCK_END = re.compile(rb"-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
_BLOCK_BODY = re.compile(rb"(?:[A-Za-z0-9+/=\s:,.()-]|\\+[nrt])*+")
_BLOCK_LIMIT = 32_768
_LOW_WORDS = re.compile(rb"(?:[a-z]+[-_])+[a-z]+\Z")


def _secret(text: bytes, start: int) -> list[Found]:
    """A vendor's key, a token, a header's credential or a private key block at `start`."""
    if text.startswith(b"-----BEGIN", start):
        return _key_block(text, start)
    header = _HEADER.match(text, start)
    if header:
        part = "bearer" if header["bearer"] else "basic"
        return [Found(*header.span(part), PiiEntity.SECRET)] if _random(header[part], words=2) else []
    inner = text.startswith((b":AA", b".atlasv1", b"8Q~"), start)
    if not inner and _glued_left(text, start):
        return []
    match = _JWT.match(text, start) or _VENDOR_KEYS.match(text, start, start + _KEY_LIMIT)
    if not match or _LOW_WORDS.match(match[0]):
        return []
    if match.end() == start + _KEY_LIMIT:
        match = _VENDOR_KEYS.match(text, start, start + _KEY_LIMIT_LONG) or match
    if not inner:
        return [Found(*match.span(), PiiEntity.SECRET)]
    pattern = rb"(?<!\d)\d{8,10}\Z" if match[0][:1] == b":" else rb"[A-Za-z0-9_~.]{3,14}\Z"
    head = re.search(pattern, text[max(0, start - 14) : start])
    if not head:
        return []
    start -= len(head[0])
    escape = _ESCAPED.match(text, start) if text[start - 1 : start] == b"\\" else None
    return [Found(escape.end() if escape else start, match.end(), PiiEntity.SECRET)]


def _key_block(text: bytes, start: int) -> list[Found]:
    head = _BLOCK.match(text, start)
    if not head:
        return []
    foot = _BLOCK_END.search(text, head.end(), min(len(text), head.end() + _BLOCK_LIMIT))
    if foot:
        return [Found(start, foot.end(), PiiEntity.SECRET)]
    body = _BLOCK_BODY.match(text, head.end(), min(len(text), head.end() + _BLOCK_LIMIT))
    return [Found(start, body.end() if body else head.end(), PiiEntity.SECRET)]


_NAME = re.compile(
    rb"(?i)(?P<name>(?:(?:api|app|secret|access|auth|private|signing|encryption|subscription|account|master|service"
    rb"|admin|client|license|shared|storage|session|consumer|deploy|webhook)[ _-]?(?:access[ _-]?)?keys?"
    rb"|(?:access|auth|refresh|bearer|id|session|api|bot|personal|oauth|security|csrf|xsrf)[ _-]?token"
    rb"|(?:client|app|api|consumer|webhook|shared|oauth|jwt|signing)?[ _-]?secret"
    rb"|(?<![a-z0-9_-])token|authorization|credentials?"
    rb"|pass(?:word|wd|phrase)|pwd|sig))[\"'\\\s\]]{0,7}\Z"
)
_VALUE = re.compile(
    rb"[:=]{0,2}>?[\s\\]{0,4}[\"'`]?(?:(?i:Bearer|Basic|Token|ApiKey)[ ]+)?"
    rb"(?P<value>[A-Za-z0-9_.~+/%!@#$^&*?-]{6,}={0,2})"
)


def _assigned(text: bytes, sign: int) -> list[Found]:
    """The value after a name such as api_key or password, at the ':' or '=' in `sign`, if it looks like a secret."""
    name = _NAME.search(text, max(0, sign - 48), sign)
    if not name:
        return []
    value = _VALUE.match(text, sign, min(len(text), sign + 4096))
    if not value:
        return []
    word, secret = name["name"].lower(), value["value"]
    if text[sign] == 0x3D:
        secret = secret.partition(b"&")[0]  # the next parameter of a query
    secret = secret.rstrip(b".,")
    strong = (
        _random(secret, words=3)
        if b"pass" in word or word == b"pwd"
        else len(secret) >= 16 and _random(secret, words=2)
    )
    start = value.start("value")
    return [Found(start, start + len(secret), PiiEntity.SECRET)] if strong and b"${" not in secret else []


def _random(secret: bytes, *, words: int) -> bool:
    """Whether a value has at least two kinds of characters, as made-up ones do and words and placeholders do not."""
    if words == 3 and len(secret) < 6:
        return False
    kinds = sum(re.search(p, secret) is not None for p in (rb"[a-z]", rb"[A-Z]", rb"\d", rb"[^A-Za-z0-9_.-]"))
    digits = re.search(rb"\d", secret) is not None
    return kinds >= 2 and (digits or kinds >= 3) and len(set(secret)) >= 5
