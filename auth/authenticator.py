"""From the text of a key to a Principal, with a small memory so that a busy door rarely asks the database."""

from __future__ import annotations

import hashlib
import hmac
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from auth.keys import digest, parse
from core.clock import NS_PER_S, Clock, system_clock
from core.errors import StorageFailed, Unauthenticated
from core.ids import KeyId, TenantId
from core.records import Principal, Role

MAX_TEXT: Final = 512
NOTED_EVERY_NS: Final = 60 * NS_PER_S
_LOG: Final = logging.getLogger("assay.auth")
_NOT_KNOWN: Final = "this API key is not known, or it was revoked or has expired"
_NO_DIGEST: Final = bytes(32)


class StoredKey(Protocol):
    """What the authenticator needs to know of a kept key."""

    @property
    def key_id(self) -> KeyId:
        """The public part of the key's text."""

    @property
    def tenant(self) -> TenantId:
        """The one tenant it belongs to."""

    @property
    def role(self) -> Role:
        """What it may do."""

    @property
    def name(self) -> str:
        """What people call it."""

    @property
    def digest(self) -> bytes:
        """`auth.keys.digest` of its secret."""

    def usable(self, now_ns: int) -> bool:
        """Whether it is neither revoked nor expired."""


FindKey = Callable[[KeyId], StoredKey | None]


@dataclass(frozen=True, kw_only=True)
class _Remembered:
    principal: Principal
    key: StoredKey
    until_ns: int


class Authenticator:
    """Checks keys. Thread-safe.

    An answer is remembered for `ttl_s` under the SHA-256 of the whole text (never of a part of it), so a revoked key
    stops working within that time in every process. Refusals are not remembered: they need no memory to be refused.
    """

    def __init__(
        self,
        find_key: FindKey,
        pepper: bytes,
        clock: Clock = system_clock,
        ttl_s: float = 2.0,
        max_entries: int = 4096,
        note_use: Callable[[KeyId], None] | None = None,
    ) -> None:
        """`find_key` answers the kept key of an id, or raises StorageFailed. `note_use` is told, at most once a minute
        and key, that the key was used; a StorageFailed of it does not refuse the caller."""
        self._find_key = find_key
        self._pepper = pepper
        self._clock = clock
        self._ttl_ns = int(ttl_s * NS_PER_S)
        self._max_entries = max_entries
        self._note_use = note_use
        self._noted: dict[KeyId, int] = {}
        self._remembered: OrderedDict[bytes, _Remembered] = OrderedDict()
        self._lock = threading.Lock()

    def principal(self, key_text: str | None) -> Principal:
        """Who the key belongs to.

        Raises Unauthenticated for no key, or one that is malformed, unknown, revoked or expired (one message for the
        last three); StorageFailed when the keys cannot be read, which a door answers as 503.
        """
        if not key_text:
            raise Unauthenticated("no API key; send it as 'Authorization: Bearer KEY' or 'x-api-key: KEY'")
        if len(key_text) > MAX_TEXT:
            raise Unauthenticated("this is not an Assay API key; copy it whole, starting with ask_")
        name = hashlib.sha256(key_text.encode("utf-8", "surrogatepass")).digest()
        now = self._clock()
        remembered = self._recall(name, now)
        if remembered is not None:
            return remembered
        key = self._checked(key_text, now)
        principal = Principal(tenant=key.tenant, role=key.role, name=key.name, key_id=key.key_id)
        self._remember(name, _Remembered(principal=principal, key=key, until_ns=now + self._ttl_ns))
        self._note(key.key_id, now)
        return principal

    def _note(self, key_id: KeyId, now_ns: int) -> None:
        if self._note_use is None or now_ns - self._noted.get(key_id, 0) < NOTED_EVERY_NS:
            return
        self._noted[key_id] = now_ns
        try:
            self._note_use(key_id)
        except StorageFailed as error:
            _LOG.warning("the last use of a key was not noted: %s", error)

    def _checked(self, key_text: str, now_ns: int) -> StoredKey:
        parsed = parse(key_text)
        key = self._find_key(parsed.key_id)
        expected = key.digest if key is not None else _NO_DIGEST
        matches = hmac.compare_digest(digest(parsed.secret, self._pepper), expected)
        if key is None or not matches or not key.usable(now_ns):
            raise Unauthenticated(_NOT_KNOWN)
        return key

    def _recall(self, name: bytes, now_ns: int) -> Principal | None:
        with self._lock:
            entry = self._remembered.get(name)
            if entry is None:
                return None
            fresh = entry.until_ns - self._ttl_ns <= now_ns < entry.until_ns
            if not fresh or not entry.key.usable(now_ns):
                del self._remembered[name]
                return None
            return entry.principal

    def _remember(self, name: bytes, entry: _Remembered) -> None:
        with self._lock:
            self._remembered[name] = entry
            while len(self._remembered) > self._max_entries:
                self._remembered.popitem(last=False)
