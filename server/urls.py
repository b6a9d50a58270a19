"""Addresses and folders among the settings, checked before anything is started, and addresses that are about to be
called. Nothing but names is asked, and nothing opened.

What is raised repeats no value of a URL: it may carry a password.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from gateway.addresses import Address, may_be_called

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


@dataclass(frozen=True, kw_only=True)
class Callee:
    """An address that may be called: `url` names the very address that was checked, so that a name which leads
    elsewhere a moment later changes nothing; `host` is for the header and for the certificate."""

    url: str
    host: str
    name: str


def checked_callee(value: str, *, private: bool) -> str:
    """`value` when its form may be called: https, or http where `private`, without user, fragment and white space.
    Raises ValueError saying what to write."""
    try:
        parts = urlsplit(value)
        named = bool(parts.hostname) and parts.port != 0
    except ValueError:
        named, parts = False, urlsplit("")
    if not named or parts.username is not None or parts.fragment or re.search(r"[\s\x00-\x1f]", value):
        raise ValueError("not an address that can be called; write https://host/path")
    if parts.scheme not in ("https", "http") or (parts.scheme == "http" and not private):
        raise ValueError("only https is called; say rollout_webhooks_private for http within your network")
    return value


def callee(value: str, *, private: bool) -> Callee:
    """Where a checked address leads now. Raises ValueError when it leads to an address that may not be called: one of
    this machine or network unless `private`, link-local, multicast and unspecified ones never."""
    parts = urlsplit(checked_callee(value, private=private))
    name = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    chosen = address_of(name, port, private=private)
    shown = f"[{chosen}]" if chosen.version == 6 else str(chosen)
    path = parts.path or "/"
    query = f"?{parts.query}" if parts.query else ""
    return Callee(url=f"{parts.scheme}://{shown}:{port}{path}{query}", host=parts.netloc, name=name)


def address_of(name: str, port: int, *, private: bool) -> Address:
    """The address to which a host's name leads now. Raises ValueError as `callee` does, also where only one of several
    may not be called."""
    try:
        found = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise ValueError(f"{name} is not found: {error}") from None
    addresses = [ipaddress.ip_address(str(one[4][0]).partition("%")[0]) for one in found]
    for address in addresses:
        if not may_be_called(address, private=private):
            raise ValueError(f"{name} leads to {address}, which is not called")
    return addresses[0]
