"""Addresses and folders among the settings, checked before anything is started. Nothing is asked or opened.

What is raised repeats no value of a URL: it may carry a password.
"""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

# setting -> (schemes, what to write). A driver may follow control_url's scheme, as in postgresql+psycopg://.
_SCHEMES: Final = {
    "lake": (("s3", "s3a"), "a folder, or s3://bucket/prefix"),
    "control_url": (("sqlite", "postgresql"), "postgresql://user:password@host/database"),
    "clickhouse_url": (
        ("clickhouse", "clickhouses", "http", "https", "chdb"),
        "clickhouse://user:password@host:8123/",
    ),
}
_HOSTLESS: Final = frozenset({"sqlite", "postgresql"})  # a file; a socket, or ?host=
_SCHEME: Final = re.compile(r"([a-z][a-z0-9]+)(?:\+[a-z0-9_]+)?:/", re.IGNORECASE)


def checked_url(setting: str, value: str) -> str:
    """`value` when it can be the address that the setting means. Raises ValueError saying what to write."""
    schemes, example = _SCHEMES[setting]
    found = _SCHEME.match(value)
    if found is None and setting == "lake":
        return value  # a folder
    try:
        parts = urlsplit(value)
        named = parts.port != 0 and (parts.hostname or (found and found[1] in _HOSTLESS))
    except ValueError:  # a port that is none, or half an IPv6 address
        named = None
    if found is None or found[1] not in schemes or not named or "://" not in value:
        raise ValueError(f"not an address that can be used; write {example}")
    return value


def checked_folder(value: Path) -> Path:
    """`value` unless it, or a folder above it, is a file. Raises ValueError."""
    for path in (value, *value.parents):
        with suppress(PermissionError):  # who opens it says so
            if path.exists() and not path.is_dir():
                raise ValueError(f"{path} is not a folder")
    return value
