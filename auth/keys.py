"""API keys at a door: which header carries one, and the text's parts (`core/keytext.py`)."""

from __future__ import annotations

from collections.abc import Iterable

from core.keytext import ParsedKey, digest, issue, parse

__all__ = ["ParsedKey", "credential_of", "digest", "issue", "parse"]


def credential_of(headers: Iterable[tuple[str, str]]) -> str | None:
    """The key text of a request: of `Authorization: Bearer KEY`, else of `x-api-key: KEY`; None without either.

    `headers` are name and value pairs in any case of letters. The first defined header wins, even when it is wrong,
    so that a request never has two identities; an Authorization of another scheme answers its whole value, which is
    not a key and is refused as one. Values are never logged.
    """
    api_key: str | None = None
    for name, value in headers:
        lowered = name.lower()
        if lowered == "authorization":
            scheme, _, token = value.strip().partition(" ")
            return token.strip() if scheme.lower() == "bearer" else value
        if lowered == "x-api-key" and api_key is None:
            api_key = value.strip()
    return api_key
