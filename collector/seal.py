"""Keys of journal segments and of the quarantine: made, wrapped under the master key, and destroyed.

Every journal segment has a data key of its own. It lies beside the segment, wrapped (AES-256-GCM) under the master
key of this data directory. Destroying that small file makes the segment unreadable for ever, whoever copied it.
"""

from __future__ import annotations

import os
import secrets
from hashlib import sha256
from hmac import digest as hmac_digest
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from core.errors import Corrupt, StorageFailed
from store.control.secret_file import read_or_create_secret
from store.durable import sync_folder, write_durably

KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12


class MasterKey:
    """The one key that wraps all others; a file of 32 bytes that only its owner may read."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._cipher = AESGCM(key)

    @classmethod
    def open(cls, path: Path) -> MasterKey:
        """Reads the key, or makes one. Raises Corrupt when the file is not a key, StorageFailed when it cannot be."""
        return cls(read_or_create_secret(path, KEY_BYTES))

    def derived(self, purpose: str) -> bytes:
        """32 bytes for another purpose, the same every time (HMAC-SHA256 of the purpose)."""
        return hmac_digest(self._key, purpose.encode(), sha256)

    def wrap(self, key: bytes, name: str) -> bytes:
        """The key, encrypted for the thing called `name`."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, key, name.encode())

    def unwrap(self, wrapped: bytes, name: str) -> bytes:
        """Raises Corrupt when the bytes are not what `wrap` made for `name`."""
        try:
            return self._cipher.decrypt(wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:], name.encode())
        except (InvalidTag, ValueError) as error:
            raise Corrupt(
                f"the key of {name} cannot be unwrapped: it was altered, or the master key is another"
            ) from error


def new_segment_key(master: MasterKey, path: Path) -> AESGCM:
    """Makes a data key and keeps it wrapped and durable at `path`. Raises StorageFailed."""
    key = secrets.token_bytes(KEY_BYTES)
    try:
        write_durably(path, master.wrap(key, path.stem))
        sync_folder(path.parent)
    except OSError as error:
        raise StorageFailed(f"{path} could not be written: {error}") from error
    return AESGCM(key)


def segment_key(master: MasterKey, path: Path) -> AESGCM:
    """The data key at `path`. Raises Corrupt when it is missing or altered."""
    try:
        wrapped = path.read_bytes()
    except OSError as error:
        raise Corrupt(f"{path} cannot be read: {error}") from error
    return AESGCM(master.unwrap(wrapped, path.stem))


def destroy(path: Path) -> None:
    """Overwrites and removes a wrapped key, durably."""
    try:
        size = path.stat().st_size
        with path.open("r+b") as file:
            file.write(bytes(size))
            file.flush()
            os.fsync(file.fileno())
        path.unlink()
        sync_folder(path.parent)
    except FileNotFoundError:
        return


def sealed(key: bytes, content: bytes) -> bytes:
    """`content` encrypted on its own (AES-256-GCM, random nonce in front)."""
    nonce = secrets.token_bytes(_NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, content, None)


def unsealed(key: bytes, content: bytes) -> bytes:
    """The inverse of `sealed`. Raises Corrupt when the bytes were altered."""
    try:
        return AESGCM(key).decrypt(content[:_NONCE_BYTES], content[_NONCE_BYTES:], None)
    except (InvalidTag, ValueError) as error:
        raise Corrupt("a sealed payload was altered, or the key is another") from error
