"""Which files of the lake may be believed.

DuckDB and Parquet answer wrongly, without an error, for most flipped bits. So no row is read from a file whose bytes
were not compared with the hash in the file's name: at its first use in a process, again when its size, times or inode
changed, and again when the comparison is older than REVERIFY_S. A hash costs 2 ms per 32 MiB from the page cache, a
look at the times 2 microseconds.

A file that fails is noted in a small file of its own under `<lake>/_damaged`, so that every process and every restart
knows it. The note holds until the file changes; then its bytes are compared again, and a restored file is read again.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import xxhash

from core.clock import Clock
from core.errors import Conflict, StorageFailed
from store.delta_log import LakeFile
from store.durable import sync_folder, write_durably

REVERIFY_S: Final = 600.0
KEPT: Final = 256  # more comparisons, or an eighth, are remembered before those that hold no longer are given up
FOLDER: Final = "_damaged"
# A write within the same tick of the file system's clock as a look at a file's times leaves them as they were.
TICK_NS: Final = 50_000_000
CHUNK: Final = 256 << 10
# What says something about the file; anything else (no memory, no free descriptor) says something about the process.
_OF_THE_FILE: Final = frozenset(
    {errno.ENOENT, errno.EIO, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.EUCLEAN}
)
# A fingerprint, and when the bytes were compared: 73 bytes of a process for each file, where tuples took 300.
_KNOWN: Final = struct.Struct("<qqqQd")
_LOG: Final = logging.getLogger("assay.store")

Fingerprint = tuple[int, int, int, int]
NEVER: Final[Fingerprint] = (-1, -1, -1, -1)  # no file looks like this


@dataclass(frozen=True, kw_only=True)
class Damage:
    """A file whose rows are not to be trusted. `file` is its path inside the lake, `seen` its size, times and inode
    when it was found (None: it was not there), `taken_out_ns` when a repair took it out of its table."""

    table: str
    tenant: str
    date: str
    file: str
    n_rows: int
    reason: str
    found_at_ns: int
    seen: Fingerprint | None
    taken_out_ns: int | None = None

    def __str__(self) -> str:
        return f"{self.table}, tenant {self.tenant}, {self.date}, {self.n_rows} rows: {self.file} {self.reason}"


def fingerprint(path: str | Path) -> Fingerprint | None:
    """Size, both times and inode of a file: equal means not written since. None when it cannot be looked at."""
    try:
        found = os.stat(path)  # noqa: PTH116 (three times as fast as Path.stat, and asked for every file of every query)
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino


def content_hash(path: str | Path) -> str:
    """XXH3-128 of a file's bytes. Raises OSError."""
    hasher, chunk = xxhash.xxh3_128(), memoryview(bytearray(CHUNK))
    with Path(path).open("rb", buffering=0) as file:
        while n := file.readinto(chunk):
            hasher.update(chunk[:n])
    return hasher.hexdigest()


def _holds(known: bytes, path: str, now: float) -> bool:
    """Whether the file is as it was when it was compared, and that is not too long ago."""
    *seen, compared_at = _KNOWN.unpack_from(known)
    return now - compared_at < REVERIFY_S and tuple(seen) == fingerprint(path)


def _settled(seen: Fingerprint) -> bool:
    return time.time_ns() - max(seen[1], seen[2]) > TICK_NS


# The damaged files that reads did without while one request was answered, by name. Whoever answers sets an empty one.
LEFT_OUT: ContextVar[dict[str, Damage] | None] = ContextVar("LEFT_OUT", default=None)


class Trust:
    """What one process knows of the soundness of the files below `root`. Thread-safe.

    `is_live` tells whether a table still holds a file: bytes that nobody needs may go without being missed.
    """

    def __init__(self, root: Path, clock: Clock, is_live: Callable[[str, LakeFile], bool]) -> None:
        self._root = root
        self._is_live = is_live
        self._folder = root / FOLDER
        self._clock = clock
        self._lock = threading.Lock()
        # By the path inside its table, of which no two tables have one in common: _KNOWN, and the table's name.
        self._verified: dict[str, bytes] = {}
        self._too_many = KEPT
        self._unwritten: dict[str, Damage] = {}
        self._read: tuple[Fingerprint | None, dict[str, Damage]] = (None, {})

    def believed(self, file: LakeFile) -> bool:
        """Whether the bytes were compared not long ago and the file was not written since."""
        known = self._verified.get(file.relative)
        return known is not None and _holds(known, file.path, time.monotonic())

    def damage_of(self, table: str, file: LakeFile) -> Damage | None:
        """What is wrong with a file, None when it may be read. Raises as `compare` does."""
        if self.believed(file):
            return None
        noted = self.noted().get(file.path)
        if noted is not None and noted.seen == fingerprint(file.path):
            return noted
        return self.compare(table, file)

    def compare(self, table: str, file: LakeFile) -> Damage | None:
        """Compares the bytes with the name, whatever was known before, and notes what it finds.

        Raises Conflict when the file is not as it was because it has left its table, StorageFailed when it cannot be
        read for a reason that is not the file's.
        """
        before = fingerprint(file.path)
        try:
            found = content_hash(file.path)
        except OSError as error:
            if error.errno not in _OF_THE_FILE:
                raise StorageFailed(f"{file.path} cannot be read now: {error}") from error
            reason = "is missing" if error.errno == errno.ENOENT else f"cannot be read: {error.strerror}"
            return self._found(table, file, reason, before)
        if found != file.content_hash:
            return self._found(table, file, f"was altered: its content hashes to {found}", before)
        if file.path in self.noted():
            self._restored(table, file)
            before = fingerprint(file.path)
        self._believe(file, before)
        return None

    def judge(self, table: str, file: LakeFile, found: str | None) -> Damage | None:
        """As `compare`, for bytes that lie elsewhere: `found` is their hash, None where there are none. A copy at the
        file's path is not looked at, and is compared by itself when it is read."""
        if found == file.content_hash:
            if file.path in self.noted():
                self._restored(table, file)
            return None
        seen = None if fingerprint(file.path) is None else NEVER
        reason = "is missing" if found is None else f"was altered: its content hashes to {found}"
        return self._found(table, file, reason, seen)

    def note(self, damage: Damage) -> None:
        """Lets every process know. Where the disk refuses, this process still does."""
        path = str(self._root / damage.file)
        with self._lock:
            self._verified.pop(damage.file.partition("/")[2], None)
            self._unwritten[path] = damage
        try:
            made = not self._folder.exists()
            self._folder.mkdir(parents=True, exist_ok=True)
            scratch = self._folder / f".{os.getpid()}.{threading.get_ident()}.tmp"
            write_durably(scratch, json.dumps(asdict(damage), indent=1).encode())
            scratch.replace(self.note_path(damage.table, path))
            sync_folder(self._folder)
            if made:
                sync_folder(self._root)
        except OSError as error:
            _LOG.warning("damage could not be noted below %s: %s", self._folder, error)
            return
        with self._lock:
            self._unwritten.pop(path, None)

    def forget(self, table: str, path: str) -> None:
        """Removes the note of a file. Raises OSError."""
        with self._lock:
            self._unwritten.pop(path, None)
        self.note_path(table, path).unlink(missing_ok=True)

    def noted(self) -> dict[str, Damage]:
        """All notes by absolute path, as fresh as the folder, those of files taken out included."""
        now = fingerprint(self._folder)
        with self._lock:
            seen, notes = self._read
            if now is None:
                notes = {}
            elif now != seen:
                notes = dict(filter(None, map(self._noted, sorted(self._folder.glob("*.json")))))
                self._read = (now if _settled(now) else None, notes)
            return {**notes, **self._unwritten} if self._unwritten else notes

    def note_path(self, table: str, path: str) -> Path:
        """Where the note of a file is."""
        return self._folder / f"{table}.{Path(path).stem}.json"

    def _noted(self, path: Path) -> tuple[str, Damage] | None:
        try:
            content = path.read_bytes()
        except OSError:  # forgotten since it was listed
            return None
        try:
            fields = json.loads(content)
            fields["seen"] = None if fields["seen"] is None else tuple(fields["seen"])
            damage = Damage(**fields)
            return str(self._root / damage.file), damage
        except (ValueError, TypeError, KeyError):
            _LOG.warning("%s is not a note of damage that can be read; the file it names is compared again", path)
            return None

    def _found(self, table: str, file: LakeFile, reason: str, before: Fingerprint | None) -> Damage:
        if not self._is_live(table, file):
            raise Conflict(f"{file.path} has left its table")
        seen = before if before is None or before == NEVER or _settled(before) else NEVER
        damage = Damage(
            table=table,
            tenant=file.tenant,
            date=file.date,
            file=f"{table}/{file.relative}",
            n_rows=file.n_rows,
            reason=reason,
            found_at_ns=self._clock(),
            seen=seen,
        )
        _LOG.error("a file of the lake is damaged: %s", damage)
        self.note(damage)
        return damage

    def _restored(self, table: str, file: LakeFile) -> None:
        """Forgets the note, and gives the file a new time: what a reader keeps under the earlier one may be wrong."""
        try:
            with suppress(FileNotFoundError):  # of an object store, and not in the mirror
                os.utime(file.path)
            self.forget(table, file.path)
        except OSError as error:
            _LOG.warning("the note of %s, which is sound again, could not be removed: %s", file.path, error)

    def _believe(self, file: LakeFile, before: Fingerprint | None) -> None:
        """Remembers the comparison, unless the file was written during it or so shortly before that its times could
        not tell."""
        if before is None or before != fingerprint(file.path):
            return
        if _settled(before):
            now = time.monotonic()
            with self._lock:
                self._verified[file.relative] = _KNOWN.pack(*before, now) + Path(file.folder).name.encode()
                if len(self._verified) >= self._too_many:
                    self._forget_the_gone(now)

    def _forget_the_gone(self, now: float) -> None:
        """Keeps of the comparisons those that hold still: most of the files were packed and are gone. With the lock."""
        fresh = {
            relative: known
            for relative, known in self._verified.items()
            if _holds(known, f"{self._root}/{known[_KNOWN.size :].decode()}/{relative}", now)
        }
        self._verified, self._too_many = fresh, len(fresh) + max(KEPT, len(fresh) // 8)
