"""What a cache keeps in memory, by tenant: the longest unused goes first, and of the tenant that holds most."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final, Generic, TypeVar

import orjson

from gateway.records import Call

_ENTRY_BYTES: Final = 400  # what an answer takes beside its body

# What an answer does not depend on. The model's name is that of the virtual model, which is part of every digest.
_NO_PART: Final = ("model", "stream", "stream_options", "user", "safety_identifier", "metadata", "prompt_cache_key")


def digest_of(call: Call, body: dict[str, Any], behind: Mapping[str, str]) -> bytes:
    """A SHA-256 over tenant, kind, virtual model, its targets, where their upstreams are (by name), and a body, but for
    what cannot change an answer."""
    left = body.copy()
    for name in _NO_PART:
        left.pop(name, None)
    targets = [(target.upstream, behind.get(target.upstream, ""), target.model) for target in call.model.targets]
    parts = (call.caller.tenant, call.kind, call.model.name, targets, left)
    return sha256(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS)).digest()


V = TypeVar("V")


class Shelves(Generic[V]):
    """Values by tenant and key within `max_bytes`, of which one value may take the `most_share`-th part. A tenant is
    never pushed out by one that holds more."""

    def __init__(self, max_bytes: int, most_share: int = 8) -> None:
        self._max_bytes = max_bytes
        self._most_bytes = max_bytes // most_share
        self._shelves: dict[str, _Shelf[V]] = {}
        self.n_bytes = 0

    def get(self, tenant: str, key: bytes) -> V | None:
        """The value, which is now the one used last."""
        shelf = self._shelves.get(tenant)
        found = shelf.values.get(key) if shelf else None
        if shelf is None or found is None:
            return None
        shelf.values.move_to_end(key)
        return found[0]

    def put(self, tenant: str, key: bytes, value: V, size: int) -> bool:
        """Keeps a value of `size` bytes; False: it is too large."""
        self.drop(tenant, key)
        if size > self._most_bytes:
            return False
        shelf = self._shelves.setdefault(tenant, _Shelf())
        shelf.values[key] = (value, size)
        shelf.n_bytes += size
        self.n_bytes += size
        while self.n_bytes > self._max_bytes:
            fullest = max(self._shelves, key=lambda name: self._shelves[name].n_bytes)
            self.drop(fullest, next(iter(self._shelves[fullest].values)))
        return True

    def drop(self, tenant: str, key: bytes) -> None:
        """Forgets a value, if it is there."""
        shelf = self._shelves.get(tenant)
        if shelf is None or key not in shelf.values:
            return
        _, size = shelf.values.pop(key)
        shelf.n_bytes -= size
        self.n_bytes -= size
        if not shelf.values:
            del self._shelves[tenant]

    def __len__(self) -> int:
        return sum(len(shelf.values) for shelf in self._shelves.values())


class _Shelf(Generic[V]):
    """The values of one tenant with their sizes, the one longest unused first."""

    __slots__ = ("n_bytes", "values")

    def __init__(self) -> None:
        self.values: OrderedDict[bytes, tuple[V, int]] = OrderedDict()
        self.n_bytes = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Kept:
    """An answer: its body as JSON, when it was kept, what it cost (None: nobody knows) and whether it was simulated."""

    body: bytes
    kept_ns: int
    cost_usd: float | None
    simulated: bool


class CachedAnswers:
    """Answers, bounded by bytes and age."""

    def __init__(self, max_bytes: int, ttl_ns: int) -> None:
        self._shelves: Shelves[Kept] = Shelves(max_bytes)
        self._ttl_ns = ttl_ns

    @property
    def n_bytes(self) -> int:
        """Of all that is kept."""
        return self._shelves.n_bytes

    def get(self, tenant: str, key: bytes, now_ns: int) -> Kept | None:
        """The answer, if it is there and young enough."""
        kept = self._shelves.get(tenant, key)
        if kept is not None and now_ns - kept.kept_ns >= self._ttl_ns:
            self._shelves.drop(tenant, key)
            return None
        return kept

    def put(self, tenant: str, key: bytes, kept: Kept) -> bool:
        """Keeps an answer; False: it is too large."""
        return self._shelves.put(tenant, key, kept, len(kept.body) + _ENTRY_BYTES)

    def __len__(self) -> int:
        return len(self._shelves)
