"""Which key a client command sends, and to whom.

The key in a data folder's credentials.json belongs to the instance of that folder: it goes to the address which that
instance wrote down and to no other, since another port of this machine may be anybody's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})
_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, kw_only=True)
class ChosenKey:
    """A key (None: send none) and, in one line, where it came from or why there is none, for when it is refused.

    `local` says that it is the one of a data folder, which goes to that folder's own addresses only.
    """

    text: str | None = field(repr=False)
    hint: str
    local: bool = False


def choose_key(
    url: str, *, argument: str | None, variable: str | None, data: Path, folder: Mapping[str, Any], home: str | None
) -> ChosenKey:
    """The first of: `argument` (--key), `variable` (ASSAY_API_KEY), the key in `folder` (credentials.json of `data`).

    The last one only where `url` is `home`, the address of the instance that keeps `data`.
    """
    if argument:
        return ChosenKey(text=argument, hint="the key that was sent is that of --key")
    if variable:
        return ChosenKey(text=variable, hint="the key that was sent is that of ASSAY_API_KEY")
    kept = folder.get("key")
    if not isinstance(kept, str) or not kept:
        return ChosenKey(
            text=None,
            hint=f"there is no {'key in ' if folder else ''}{data / 'credentials.json'} here: "
            "name the data folder with --data DIR, or give a key in ASSAY_API_KEY or with --key",
        )
    if home is not None and same_address(url, home):
        hint = f"the key of {data} was sent; for another instance add its --data DIR, or give its key with --key"
        return ChosenKey(text=kept, hint=hint, local=True)
    belongs = f"belongs to {home}" if home else "has no address beside it"
    return ChosenKey(
        text=None,
        hint=f"the key of {data} was not sent, it {belongs}\n"
        f"for {url} add --data DIR of that instance, or give its key with --key or in ASSAY_API_KEY",
    )


def same_address(one: str, other: str) -> bool:
    """Whether two URLs name one door: scheme, host and port; all names of this machine's loopback are one host."""
    door = _door(one)
    return door is not None and door == _door(other)


def _door(url: str) -> tuple[str, str, int] | None:
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        return None
    if not parts.hostname or port is None:
        return None
    host = "127.0.0.1" if parts.hostname in _LOOPBACK else parts.hostname
    return parts.scheme, host, port
