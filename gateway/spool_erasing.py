"""Takes records out of a tenant's spool, whether a gateway has it open or not.

A record is written over with zeros where it lies, so that who has the file open reads on behind it, and a kill in the
middle leaves nothing to mend: what is half written over cannot be opened any more, and goes the next time. While the
tenant's lock is held a gateway sends none of the tenant's records; it goes on taking calls and keeps their spans.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from core.errors import Conflict, StorageFailed
from gateway.folder_lock import hold
from gateway.spool import HEAD, LENGTH, LOCK, MAGIC, REFUSED, SALT, cipher, is_erased, nonce

_LOOK_S: Final = 0.002  # shorter than a gateway rests between two batches


@dataclass(frozen=True, kw_only=True)
class Lying:
    """A record where it lies: its sealed bytes are `n_bytes` from `at` on. `content` is None where it cannot be opened;
    `is_tail`: no record at all, but the rest of a file behind the last one."""

    path: Path
    at: int
    n_bytes: int
    content: bytes | None
    is_tail: bool = False


@contextmanager
def held(folder: Path, tenant: str, within_s: float) -> Iterator[None]:
    """Nothing of the tenant is sent from the spool in `folder` until the end; what was on its way is answered. Does
    nothing where the tenant has no files. Raises StorageFailed when that takes longer than `within_s` seconds."""
    place = folder / tenant
    if not place.is_dir():
        yield
        return
    deadline = time.monotonic() + within_s
    while True:
        try:
            descriptor = hold(place / LOCK)
            break
        except Conflict:
            if time.monotonic() > deadline:
                said = f"a gateway has been sending what waits in {place} for {within_s:g} s; try again"
                raise StorageFailed(said) from None
            time.sleep(_LOOK_S)
        except OSError as error:
            raise StorageFailed(f"{place} cannot be opened: {error}") from error
    try:
        yield
    finally:
        os.close(descriptor)


def records(folder: Path, key: bytes, tenant: str) -> Iterator[Lying]:
    """All that lies in the tenant's files and was not erased, also what was sent already and not deleted yet. Call it
    while the tenant is `held`. Raises OSError."""
    place = folder / tenant
    for path in sorted(place.glob("*.spans")) if place.is_dir() else []:
        with suppress(FileNotFoundError):  # there was no more room: the oldest are dropped
            yield from _waiting(path, path.read_bytes(), key, tenant)
    with suppress(FileNotFoundError):
        yield from _refused(place / REFUSED, (place / REFUSED).read_bytes(), key, tenant)


def erase(folder: Path, found: Iterable[Lying]) -> None:
    """Writes over what `records` found, durably. Raises OSError."""
    by_path: dict[Path, list[Lying]] = {}
    for one in found:
        by_path.setdefault(one.path, []).append(one)
    for path, lying in by_path.items():
        with suppress(FileNotFoundError):
            _erase_in(folder, path, lying)


def _erase_in(folder: Path, path: Path, lying: list[Lying]) -> None:
    descriptor = os.open(path, os.O_RDWR)
    try:
        for one in lying:
            if not one.is_tail:
                os.pwrite(descriptor, bytes(one.n_bytes), one.at)
            elif path.name == REFUSED or not one.at:
                os.ftruncate(descriptor, one.at)
            else:
                _cut(folder, descriptor, one.at)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _cut(folder: Path, descriptor: int, at: int) -> None:
    """Takes the end off a file that no gateway writes into: the end of one that does is a record on its way, and what
    an earlier one left it took off when it started."""
    try:
        alone = hold(folder / LOCK)
    except Conflict:
        return
    try:
        os.ftruncate(descriptor, at)
    finally:
        os.close(alone)


def _waiting(path: Path, raw: bytes, key: bytes, tenant: str) -> Iterator[Lying]:
    if not raw.startswith(MAGIC) or len(raw) < HEAD:
        if len(raw) > HEAD:  # no file of ours, or a damaged one: no gateway reads or writes it
            yield Lying(path=path, at=0, n_bytes=len(raw), content=None, is_tail=True)
        return
    opener, at = cipher(key, raw[len(MAGIC) : HEAD]), HEAD
    while (end := _end(raw, at)) is not None:
        yield from _lying(path, raw, at + LENGTH, end, opener, nonce(at), tenant)
        at = end
    if at < len(raw):
        yield Lying(path=path, at=at, n_bytes=len(raw) - at, content=None, is_tail=True)


def _refused(path: Path, raw: bytes, key: bytes, tenant: str) -> Iterator[Lying]:
    at = 0
    while (end := _end(raw, at + SALT)) is not None:
        opener = cipher(key, raw[at : at + SALT])
        yield from _lying(path, raw, at + SALT + LENGTH, end, opener, nonce(0), tenant)
        at = end
    if at < len(raw):
        yield Lying(path=path, at=at, n_bytes=len(raw) - at, content=None, is_tail=True)


def _lying(path: Path, raw: bytes, at: int, end: int, opener: AESGCM, number: bytes, tenant: str) -> Iterator[Lying]:
    sealed = raw[at:end]
    if is_erased(sealed):
        return
    content = None
    with suppress(InvalidTag):
        content = opener.decrypt(number, sealed, tenant.encode())
    yield Lying(path=path, at=at, n_bytes=end - at, content=content)


def _end(raw: bytes, at: int) -> int | None:
    """Where the record ends whose length stands at `at`; None when the file ends before."""
    end = at + LENGTH + int.from_bytes(raw[at : at + LENGTH], "little")
    return end if at + LENGTH <= len(raw) and end <= len(raw) else None
