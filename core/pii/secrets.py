"""Vendors' keys, tokens, key blocks, headers' credentials, and values that their name calls a secret.

Each shape is the vendor's documented one. Every pattern is anchored where the scan found its prefix and reads a bounded
piece of text.
"""

from __future__ import annotations

import re

from core.pii.context import ESCAPED, Found, glued_left
from core.pii.tables import LIMIT, WORDS
from core.records import PiiEntity

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


def secret(text: bytes, start: int) -> list[Found]:
    """A vendor's key, a token, a header's credential or a private key block at `start`."""
    if text.startswith(b"-----BEGIN", start):
        return _key_block(text, start)
    header = _HEADER.match(text, start)
    if header:
        part = "bearer" if header["bearer"] else "basic"
        return [Found(*header.span(part), PiiEntity.SECRET)] if _random(header[part], words=2) else []
    inner = text.startswith((b":AA", b".atlasv1", b"8Q~"), start)
    if not inner and glued_left(text, start):
        return []
    match = _JWT.match(text, start) or _VENDOR_KEYS.match(text, start, start + _KEY_LIMIT)
    if not match or _LOW_WORDS.match(match[0] if len(match[0]) < WORDS else match[0][:WORDS].rstrip(b"-_")):
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
    escape = ESCAPED.match(text, start) if text[start - 1 : start] == b"\\" else None
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


def _backwards(words: str) -> bytes:
    return "|".join(word[::-1] for word in words.split()).encode()


# Read from the sign back, from right to left: from left to right it would be tried at each of 48 places.
_NAME = re.compile(
    rb"(?i)[\"'\\\s\]]{0,7}(?:"
    rb"s?yek(?:[ _-]?ssecca)?[ _-]?(?:"
    + _backwards(
        "api app secret access auth private signing encryption subscription account master service admin client license"
        " shared storage session consumer deploy webhook"
    )
    + rb")|nekot(?:[ _-]?(?:"
    + _backwards("access auth refresh bearer id session api bot personal oauth security csrf xsrf")
    + rb")|(?![a-z0-9_-]))|"
    + _backwards("secret authorization credential credentials sig")
    + rb"|(?P<password>"
    + _backwards("password passwd passphrase pwd")
    + rb"))"
)
_SCHEME = rb"[\"'`]?(?:(?i:Bearer|Basic|Token|ApiKey)[ ]+)?"
_LETTERS = rb"[A-Za-z0-9_.~+/%!@#$^&*?-]"
_VALUE = re.compile(rb"[:=]{0,2}>?[\s\\]{0,4}" + _SCHEME + rb"(?P<value>" + _LETTERS + rb"{6,}={0,2})")
# The first element of a list and the ones after it: a chain of them ends where another list begins, so that no byte
# of hostile text is read for many names.
_ELEMENT = rb"[\s\\]{0,32}" + _SCHEME + rb"(?P<value>" + _LETTERS + rb"*={0,2})"
_FIRST = re.compile(rb"[:=]{0,2}>?[\s\\]{0,4}\[" + _ELEMENT)
_NEXT = re.compile(rb"[^,\[\]{}]{0,64}," + _ELEMENT)

# A password in quotes may hold any character; every other value ends where one stands that no key or token has.
_QUOTED = re.compile(
    rb"[:=]{0,2}>?\s{0,4}(?P<escape>\\{0,8})(?P<quote>[\"'`])(?P<value>[^\s\"'`\\]{6,256}+)(?P=escape)(?P=quote)"
)
_MARK = re.compile(rb"\[(?:EMAIL|PHONE|CARD|SSN|IBAN|IP|SECRET)[:\]]")


def named(key: bytes) -> str | None:
    """What `assigned` would take a value of the key for: "password", "secret" (16 characters or more), or None."""
    name = _NAME.match(key[:-49:-1])
    if not name:
        return None
    return "password" if name["password"] else "secret"


def assigned(text: bytes, sign: int) -> list[Found]:
    """The values after a name such as api_key or password, at the ':' or '=' in `sign`, that look like secrets: one,
    or those of a list."""
    name = _NAME.match(text[max(0, sign - 48) : sign][::-1])
    if not name:
        return []
    password = name["password"] is not None
    limit = min(len(text), sign + LIMIT)
    quoted = _QUOTED.match(text, sign, limit) if password else None
    if quoted and not _MARK.search(quoted["value"]):
        return [Found(*quoted.span("value"), PiiEntity.SECRET)] if _strong(quoted["value"], password=True) else []
    found = []
    many = _FIRST.match(text, sign, limit)
    value = many or _VALUE.match(text, sign, limit)
    while value:
        start, secret = value.start("value"), value["value"]
        if text[sign] == 0x3D:
            secret = secret.partition(b"&")[0]  # the next parameter of a query
        secret = secret.rstrip(b".,")
        if _strong(secret, password=password):
            found.append(Found(start, start + len(secret), PiiEntity.SECRET))
        value = _NEXT.match(text, value.end(), limit) if many else None
    return found


def _strong(secret: bytes, *, password: bool) -> bool:
    if b"${" in secret:
        return False
    return _random(secret, words=3) if password else len(secret) >= 16 and _random(secret, words=2)


def _random(secret: bytes, *, words: int) -> bool:
    """Whether a value has at least two kinds of characters, as made-up ones do and words and placeholders do not."""
    if words == 3 and len(secret) < 6:
        return False
    kinds = sum(re.search(p, secret) is not None for p in (rb"[a-z]", rb"[A-Z]", rb"\d", rb"[^A-Za-z0-9_.-]"))
    digits = re.search(rb"\d", secret) is not None
    return kinds >= 2 and (digits or kinds >= 3) and len(set(secret)) >= 5
