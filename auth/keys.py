"""API keys at a door: which header carries one, and the text's parts (`core/keytext.py`)."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterable

from core.keytext import ParsedKey, digest, issue, parse

__all__ = ["ParsedKey", "credential_of", "digest", "issue", "parse"]


def credential_of(headers: Iterable[tuple[str, str]]) -> str | None:
    """The key text of a request: of `Authorization: Bearer KEY`, or the password of `Authorization: Basic`, else of
    `x-api-key: KEY`; None without any.

    `headers` are name and value pairs in any case of letters. The first defined header wins, even when it is wrong,
    so that a request never has two identities; an Authorization of another scheme answers its whole value, which is
    not a key and is refused as one. Basic is for callers that can be given an address but no header, such as Flagger:
    the user name of it says nothing. Values are never logged.
    """
    api_key: str | None = None
    for name, value in headers:
        lowered = name.lower()
        if lowered == "authorization":
            scheme, _, token = value.strip().partition(" ")
            if scheme.lower() == "bearer":
                return token.strip()
            return _password(token) if scheme.lower() == "basic" else value
        if lowered == "x-api-key" and api_key is None:
            api_key = value.strip()
    return api_key


def _password(token: str) -> str:
    """What follows the first colon of RFC 7617's user name and password; "" of anything else, which is no key."""
    try:
        return b64decode(token.strip(), validate=True).decode().partition(":")[2]
    except (ValueError, UnicodeDecodeError):
        return ""
