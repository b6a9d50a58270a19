"""Keys of journal segments and of the quarantine: made, wrapped under the master key, and destroyed.

Every journal segment has a data key of its own. It lies beside the segment, wrapped (AES-256-GCM) under the master
key of this data directory. Destroying that small file makes the segment unreadable for ever, whoever copied it.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from hashlib import sha256
from hmac import digest as hmac_digest
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from core.errors import Corrupt, StorageFailed
from store.control.secret_file import read_or_create_secret
from store.durable import sync_folder, write_durably

KEY_BYTES: Final = 32
TAG_BYTES: Final = 16
_NONCE_BYTES: Final = 12
# The library holds the GIL while it works: 40 ms for 64 MB.
_SLICE: Final = 512 << 10


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


class SegmentKey:
    """Seals the records of one segment (AES-256-GCM), large ones in slices, between which other threads have a turn."""

    def __init__(self, key: bytes) -> None:
        self._algorithm = algorithms.AES256(key)
        self._whole = AESGCM(key)

    def seal(self, nonce: bytes, content: bytes, header: bytes) -> list[bytes]:
        """Pieces of the encrypted content, with the tag at the end; `header` is authenticated with it."""
        if len(content) <= _SLICE:
            return [self._whole.encrypt(nonce, content, header)]
        encryptor = Cipher(self._algorithm, modes.GCM(nonce)).encryptor()
        encryptor.authenticate_additional_data(header)
        pieces = [encryptor.update(piece) for piece in _slices(content)]
        return [*pieces, encryptor.finalize(), encryptor.tag]

    def unseal(self, nonce: bytes, content: bytes, header: bytes) -> bytes:
        """The inverse of `seal`. Raises InvalidTag."""
        if len(content) <= _SLICE:
            return self._whole.decrypt(nonce, content, header)
        decryptor = Cipher(self._algorithm, modes.GCM(nonce, content[-TAG_BYTES:])).decryptor()
        decryptor.authenticate_additional_data(header)
        pieces = [decryptor.update(piece) for piece in _slices(memoryview(content)[:-TAG_BYTES])]
        return b"".join([*pieces, decryptor.finalize()])


def _slices(content: bytes | memoryview) -> Iterator[memoryview]:
    whole = memoryview(content)
    return (whole[at : at + _SLICE] for at in range(0, len(whole), _SLICE))


def new_segment_key(master: MasterKey, path: Path) -> SegmentKey:
    """Makes a data key and keeps it wrapped and durable at `path`. Raises StorageFailed."""
    key = secrets.token_bytes(KEY_BYTES)
    try:
        write_durably(path, master.wrap(key, path.stem))
        sync_folder(path.parent)
    except OSError as error:
        raise StorageFailed(f"{path} could not be written: {error}") from error
    return SegmentKey(key)


def segment_key(master: MasterKey, path: Path) -> SegmentKey:
    """The data key at `path`. Raises Corrupt when it is missing or altered."""
    try:
        wrapped = path.read_bytes()
    except OSError as error:
        raise Corrupt(f"{path} cannot be read: {error}") from error
    return SegmentKey(master.unwrap(wrapped, path.stem))


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
