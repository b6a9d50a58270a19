"""What was not yet acknowledged by the collector: spans by tenant, sealed, in files that survive the process.

An append is one `write` and no `fsync`: what was appended is the kernel's, and is there after `kill -9`, though not
after a power loss. Every file has a key of its own, made of the folder's key and a random salt in its head; a record's
nonce is its place in the file, and its tenant is authenticated with it.

    FOLDER/lock                    held while a process has the folder
    FOLDER/TENANT/lock             held while a batch is read and sent, and by an erasure
    FOLDER/TENANT/NUMBER.spans     head of 24 bytes, then records: length (4 bytes), sealed content
    FOLDER/TENANT/refused          records that the collector will never take: salt, length, sealed content

An erasure (`gateway.spool_erasing`) writes zeros over a record where it lies, whoever has the file open.

Not thread-safe; of one process.
"""

from __future__ import annotations

import logging
import os
import secrets
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from hmac import digest
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from core.errors import Conflict, StorageFailed
from gateway.folder_lock import hold

KEY_BYTES: Final = 32
MOST_BYTES: Final = 1 << 30
SEGMENT_BYTES: Final = 4 << 20
LOCK: Final = "lock"
REFUSED: Final = "refused"
MOST_REFUSED: Final = 8 << 20  # bytes that are kept of a tenant's refused spans
MAGIC: Final = b"assaysp1"
SALT: Final = 16
HEAD: Final = len(MAGIC) + SALT
LENGTH: Final = 4  # bytes of it, little-endian
_TAG: Final = 16
_MOST_RECORD: Final = 16 << 20
_LOG: Final = logging.getLogger("assay.gateway")


class _Segment:
    """One file. `sent`: the offset up to which everything was acknowledged; `n_left` records follow it. `ended`: it
    takes no more; where a write failed or a process died, a nonce may have been used."""

    def __init__(self, path: Path, tenant: str, descriptor: int, cipher: AESGCM, *, ended: bool) -> None:
        self.path, self.descriptor, self.cipher, self.ended = path, descriptor, cipher, ended
        self.tenant = tenant.encode()
        self.size = self.sent = HEAD
        self.n_left = 0
        self.gone = False

    def append(self, content: bytes) -> int:
        """Writes a record and returns its bytes. Raises OSError; then the file has ended."""
        sealed = self.cipher.encrypt(nonce(self.size), content, self.tenant)
        record = len(sealed).to_bytes(LENGTH, "little") + sealed
        try:
            written = os.pwrite(self.descriptor, record, self.size)
            if written != len(record):
                raise OSError(f"only {written} of {len(record)} bytes could be written")
        except OSError:
            self.ended = True
            with suppress(OSError):  # the first error says what is wrong; a start finds the torn record by its length
                os.ftruncate(self.descriptor, self.size)
            raise
        self.size += len(record)
        self.n_left += 1
        return len(record)

    def records(self, most: int, most_bytes: int) -> tuple[list[bytes], int, int, int]:
        """Contents from `sent` on, the offset behind them, how many records that is, how many cannot be read."""
        if self.descriptor < 0:
            self.descriptor = os.open(self.path, os.O_RDWR)
        raw = os.pread(self.descriptor, min(most_bytes, self.size - self.sent), self.sent)
        if len(raw) >= LENGTH:
            first = LENGTH + int.from_bytes(raw[:LENGTH], "little")
            if first > len(raw):
                raw = os.pread(self.descriptor, first, self.sent)
        contents: list[bytes] = []
        at = n_records = n_damaged = 0
        while n_records < most and at + LENGTH <= len(raw):
            end = at + LENGTH + int.from_bytes(raw[at : at + LENGTH], "little")
            if end > len(raw):
                break
            sealed = raw[at + LENGTH : end]
            try:
                contents.append(self.cipher.decrypt(nonce(self.sent + at), sealed, self.tenant))
            except InvalidTag:
                n_damaged += not is_erased(sealed)
            at, n_records = end, n_records + 1
        return contents, self.sent + at, n_records, n_damaged

    def close(self, *, remove: bool) -> None:
        """Lets go of the file; never raises."""
        if remove:
            self.gone = True
            with suppress(OSError):  # what stays is sent once more after the next start, which does no harm
                self.path.unlink(missing_ok=True)
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Records of one tenant from the oldest on: their contents, and what to tell `Spool.done`."""

    contents: tuple[bytes, ...]
    segment: _Segment
    end: int
    n_records: int
    n_damaged: int = 0


class Spool:
    """All tenants' spans that wait. Counters are since the start of the process."""

    def __init__(
        self, folder: Path, key: bytes, *, most_bytes: int = MOST_BYTES, segment_bytes: int = SEGMENT_BYTES
    ) -> None:
        """Opens or makes the folder, with what was left in it. Raises Conflict when another process has it,
        StorageFailed when it cannot be read or written."""
        self._folder = folder
        self._key = key
        self._most_bytes = most_bytes
        self._segment_bytes = min(segment_bytes, max(1 << 16, most_bytes // 8))
        self._segments: dict[str, deque[_Segment]] = {}
        self._next = 1
        self.n_queued = 0
        self.n_bytes = 0
        self.n_dropped = 0  # too old when there was no more room
        self.n_damaged = 0  # on disk, and not readable
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._held = hold(folder / LOCK)
            for path in sorted(folder.glob("*/*.spans")):
                self._recover(path)
        except OSError as error:
            raise StorageFailed(f"the spool in {folder} cannot be opened: {error}") from error

    def append(self, tenant: str, content: bytes) -> None:
        """Keeps one record. Drops the oldest of the tenant with most when there is no room. Raises OSError."""
        segments = self._segments.get(tenant)
        if not segments or segments[-1].ended:
            made = self._made(tenant)
            segments = self._segments.setdefault(tenant, deque())
            segments.append(made)
        segment = segments[-1]
        try:
            self.n_bytes += segment.append(content)
        except OSError:
            if not segment.n_left:
                self._remove(segment)
            raise
        self.n_queued += 1
        if segment.size >= self._segment_bytes:
            segment.ended = True
            if segment is not segments[0]:
                segment.close(remove=False)  # opened again when it is its turn
        while self.n_bytes > self._most_bytes:
            self._drop_oldest()

    def tenants(self) -> list[str]:
        """Those of whom something waits."""
        return list(self._segments)

    @contextmanager
    def sending(self, tenant: str) -> Iterator[bool]:
        """Surrounds `peek`, sending what it gave, and `done` or `set_aside`. False when an erasure looks at the
        tenant's records: nothing may be sent then. Raises OSError."""
        try:
            held = hold(self._folder / tenant / LOCK)
        except Conflict:
            yield False
            return
        try:
            yield True
        finally:
            os.close(held)

    def peek(self, tenant: str, *, most: int, most_bytes: int) -> Batch | None:
        """The oldest records of a tenant, at least one; None when nothing waits. Raises OSError."""
        while segments := self._segments.get(tenant):
            segment = segments[0]
            contents, end, n_records, n_damaged = segment.records(most, most_bytes)
            batch = Batch(contents=tuple(contents), segment=segment, end=end, n_records=n_records, n_damaged=n_damaged)
            if contents:
                return batch
            if n_records == 0 and segment.n_left:  # a length that leads out of the file
                n_left = segment.n_left
                batch = Batch(contents=(), segment=segment, end=segment.size, n_records=n_left, n_damaged=n_left)
            self.done(batch)
        return None

    def done(self, batch: Batch) -> None:
        """What `peek` gave is settled; it is not given again. A file without records is removed."""
        segment = batch.segment
        if segment.gone:  # it was dropped meanwhile, and arrived all the same
            self.n_dropped -= batch.n_records
            return
        self.n_damaged += batch.n_damaged
        self.n_queued -= batch.n_records
        self.n_bytes -= batch.end - segment.sent
        segment.n_left -= batch.n_records
        segment.sent = batch.end
        if segment.sent >= segment.size:
            self._remove(segment)

    def set_aside(self, tenant: str, content: bytes) -> None:
        """Keeps a record apart that the collector will never take, as long as there are few. Raises OSError."""
        path = self._folder / tenant / REFUSED
        path.parent.mkdir(exist_ok=True, mode=0o700)
        if path.exists() and path.stat().st_size + len(content) > MOST_REFUSED:
            return
        salt = secrets.token_bytes(SALT)
        sealed = cipher(self._key, salt).encrypt(nonce(0), content, tenant.encode())
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as file:
            file.write(salt + len(sealed).to_bytes(LENGTH, "little") + sealed)

    def close(self) -> None:
        """Lets go of the folder; what waits stays in it."""
        for segments in self._segments.values():
            for segment in segments:
                segment.close(remove=False)
        self._segments.clear()
        os.close(self._held)

    def _made(self, tenant: str) -> _Segment:
        folder = self._folder / tenant
        folder.mkdir(exist_ok=True, mode=0o700)
        path = folder / f"{self._next:015}.spans"
        salt = secrets.token_bytes(SALT)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.pwrite(descriptor, MAGIC + salt, 0)
        except OSError:
            os.close(descriptor)
            raise
        self._next += 1
        return _Segment(path, tenant, descriptor, cipher(self._key, salt), ended=False)

    def _recover(self, path: Path) -> None:
        self._next = max(self._next, int(path.stem) + 1)
        descriptor = os.open(path, os.O_RDWR)
        head = os.pread(descriptor, HEAD, 0)
        if len(head) < HEAD or head[: len(MAGIC)] != MAGIC:
            os.close(descriptor)
            if len(head) < HEAD:  # its process was killed before it wrote anything
                path.unlink()
            else:
                _LOG.warning("%s is no file of spans; it is left as it is", path)
            return
        tenant = path.parent.name
        segment = _Segment(path, tenant, descriptor, cipher(self._key, head[len(MAGIC) :]), ended=True)
        size = os.fstat(descriptor).st_size
        while segment.size + LENGTH <= size:
            length = int.from_bytes(os.pread(descriptor, LENGTH, segment.size), "little")
            if not _TAG <= length <= min(_MOST_RECORD, size - segment.size - LENGTH):
                break
            segment.size += LENGTH + length
            segment.n_left += 1
        if segment.size < size:
            _LOG.warning("%s: its last %d bytes are no record", path, size - segment.size)
            os.ftruncate(descriptor, segment.size)  # an erasure could not tell what is in them
            self.n_damaged += 1
        if not segment.n_left:
            segment.close(remove=True)
            return
        segment.close(remove=False)
        self._segments.setdefault(tenant, deque()).append(segment)
        self.n_queued += segment.n_left
        self.n_bytes += segment.size - HEAD

    def _drop_oldest(self) -> None:
        largest = max(self._segments.values(), key=lambda segments: sum(each.size - each.sent for each in segments))
        oldest = largest[0]
        _LOG.warning("no room for more spans: %d of the oldest are dropped", oldest.n_left)
        self.n_dropped += oldest.n_left
        self.n_queued -= oldest.n_left
        self.n_bytes -= oldest.size - oldest.sent
        self._remove(oldest)

    def _remove(self, segment: _Segment) -> None:
        tenant = segment.tenant.decode()
        segments = self._segments[tenant]
        segments.remove(segment)
        if not segments:
            del self._segments[tenant]
        segment.close(remove=True)


def cipher(key: bytes, salt: bytes) -> AESGCM:
    """What seals the records of a file, or one that was set aside."""
    return AESGCM(digest(key, salt, sha256))


def nonce(place: int) -> bytes:
    """Of the record at this offset of its file; 0 for one that was set aside."""
    return place.to_bytes(12, "little")


def is_erased(sealed: bytes) -> bool:
    """Whether an erasure wrote over a record."""
    return not sealed.strip(b"\0")
