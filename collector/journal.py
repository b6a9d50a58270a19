"""The journal: what was acknowledged, sealed on disk until the lake has it.

`append` answers when the bytes are sealed, written and `fdatasync` has returned; requests that wait at the same time
share one sync (group commit). A write or sync that fails is never acknowledged, and the segment it went to is left
for good: the next append starts another, so that the journal recovers by itself once the disk does.

Positions count up from 1 without end, across segments and restarts. `committed` says up to where the lake has
everything; segments that lie wholly below are destroyed, key first.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import queue
import secrets
import threading
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import xxhash

from collector import segment
from collector.admission import room_error
from collector.seal import MasterKey, SegmentKey, destroy, new_segment_key, segment_key
from core.errors import Conflict, Corrupt, StorageFailed
from store.doctor import DAMAGE_FILE
from store.durable import make_folder, replace_durably, sync_folder

GROUP_BYTES: Final = 8 << 20
LARGE_BYTES: Final = 1 << 20  # an entry beyond it is written alone: who waits with it waits for all of its bytes
MOST_WAITING: Final = 128 << 20  # bytes that wait for a disk that does not answer
_META: Final = 4
_LOG: Final = logging.getLogger("assay.journal")


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One acknowledged request: whose it is, when it came, what kind, and its bytes."""

    position: int
    kind: int
    tenant: str
    received_at_us: int
    body: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where an entry can be read again."""

    path: Path
    record: segment.Sealed


@dataclass(frozen=True, kw_only=True, slots=True)
class _Waiting:
    kind: int
    tenant: str
    received_at_us: int
    body: bytes
    done: Future[tuple[int, Place]]


class Journal:
    """Thread-safe; one process may hold a journal at a time."""

    def __init__(self, folder: Path, master: MasterKey, *, segment_bytes: int = 64 << 20) -> None:
        """Opens or makes the journal in `folder`. Raises Corrupt, StorageFailed, Conflict when another has it open."""
        self.folder = folder
        self._master = master
        self._segment_bytes = segment_bytes
        try:
            make_folder(folder, below=folder.parent.parent)
            self._held = _hold(folder / "lock")
            self.number = number_of(folder)
            sync_folder(folder)
        except OSError as error:
            raise StorageFailed(f"the journal in {folder} cannot be opened: {error}") from error
        self._closed = sorted(folder.glob("*.seg"))
        # Keys whose segment is gone, or was never made: a crash came in between.
        self._loose_keys = [key for key in folder.glob("*.key") if not key.with_suffix(".seg").exists()]
        self._unused: list[Path] = []
        self._damaged: set[Path] = set()
        self._next = 1
        self._active: Path | None = None
        self._descriptor = -1
        self._cipher: SegmentKey | None = None
        self._size = 0
        self._queue: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._waiting_bytes = 0
        self._counting = threading.Lock()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    # -- reading back ----------------------------------------------------------------------------------------------

    def replay(self) -> Iterator[Entry | Corrupt]:
        """Every sound entry in order, and a Corrupt for each damaged stretch. Call before `start`.

        Damaged segments are kept until somebody removes them: a lost key may still be in a backup.
        """
        for path in self._closed:
            try:
                cipher = segment_key(self._master, path.with_suffix(".key"))
            except Corrupt as error:
                self._damaged.add(path)
                yield error
                continue
            for found in segment.read(path, cipher):
                if isinstance(found, segment.Damage):
                    self._damaged.add(path)
                    yield Corrupt(
                        f"{path}: {found.length} bytes at offset {found.offset} were altered; entries are lost"
                    )
                    continue
                record, content = found
                self._next = max(self._next, record.position + 1)
                yield entry_of(record, content)

    def read(self, place: Place) -> Entry:
        """One entry again. Raises Corrupt when it cannot be had."""
        cipher = segment_key(self._master, place.path.with_suffix(".key"))
        try:
            with place.path.open("rb") as file:
                file.seek(place.record.offset)
                raw = file.read(segment.HEADER.size + place.record.length)
        except FileNotFoundError as error:
            raise Corrupt(f"{place.path} is gone, and entry {place.record.position} with it") from error
        record = segment.Sealed(
            position=place.record.position, kind=place.record.kind, offset=0, length=place.record.length
        )
        content = segment.unseal(cipher, raw, record)
        if content is None:
            raise Corrupt(f"{place.path}: entry {place.record.position} was altered")
        return entry_of(record, content)

    # -- appending -------------------------------------------------------------------------------------------------

    def start(self, next_position: int = 1) -> None:
        """Starts the writer; positions go on from the larger of what was replayed and `next_position`."""
        self._next = max(self._next, next_position)
        self._thread = threading.Thread(target=self._write_groups, name="journal", daemon=True)
        self._thread.start()

    def append(self, *, kind: int, tenant: str, received_at_us: int, body: bytes) -> Future[tuple[int, Place]]:
        """A future of (position, place), done when the entry is durable; StorageFailed when it is not kept. Raises
        Overloaded while so much waits for the disk that more would only fill memory."""
        done: Future[tuple[int, Place]] = Future()
        with self._counting:
            if self._waiting_bytes > MOST_WAITING:
                raise room_error(f"{self._waiting_bytes >> 20} MiB wait for the disk", 2)
            self._waiting_bytes += len(body)
        self._queue.put(_Waiting(kind=kind, tenant=tenant, received_at_us=received_at_us, body=body, done=done))
        return done

    def note_damage(self, what: str) -> None:
        """Keeps a record of what was acknowledged and cannot be read any more, for the doctor; never raises."""
        try:
            with (self.folder / DAMAGE_FILE).open("a", encoding="utf-8") as file:
                file.write(f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {what}\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            _LOG.exception("damage of the journal could not be noted: %s", what)

    def stop(self) -> None:
        """Writes what waits and closes. The folder stays held until `release`, or until the process ends."""
        self._queue.put(None)
        if self._thread:
            self._thread.join()
        self._close_active()

    def release(self) -> None:
        """Lets another collector open the folder; for when everything that was stopped with it is done."""
        os.close(self._held)

    def committed(self, position: int, *, keep_s: float = 0.0) -> list[Path]:
        """Destroys the segments whose entries are all at or below `position` and that were last written more than
        `keep_s` seconds ago; returns them. Raises OSError; the next call goes on with what is left."""
        with self._lock:
            paths = list(self._closed)
            active = self._active
        gone: list[Path] = []
        for path, following in zip(paths, [*paths[1:], active][: len(paths)], strict=True):
            first_of_next = segment.first_position(following) if following else self._next
            if first_of_next - 1 > position or (keep_s and time.time() - path.stat().st_mtime < keep_s):
                break
            if path in self._damaged:
                continue
            path.unlink(missing_ok=True)
            gone.append(path)
            self._loose_keys.append(path.with_suffix(".key"))
            with self._lock:
                self._closed.remove(path)
        while self._unused:
            self._unused[0].unlink(missing_ok=True)
            self._loose_keys.append(self._unused.pop(0).with_suffix(".key"))
        if self._loose_keys:
            # The segment goes first: one whose key is missing was damaged, never merely caught by a crash half way.
            sync_folder(self.folder)
        while self._loose_keys:
            destroy(self._loose_keys[-1])
            self._loose_keys.pop()
        return gone

    @property
    def last_position(self) -> int:
        """Of the newest entry; 0 when there never was one."""
        return self._next - 1

    def segments(self) -> tuple[list[Path], list[Path]]:
        """The segments that hold entries, and those of them that are damaged and stay until somebody removes them."""
        with self._lock:
            paths = [*self._closed, *([self._active] if self._active is not None else [])]
        return paths, [path for path in paths if path in self._damaged]

    def roll(self) -> None:
        """Lets the next entry start a new segment, so that this one can be destroyed."""
        self._queue.put(_Waiting(kind=0, tenant="", received_at_us=0, body=b"", done=Future()))

    # -- the writer ------------------------------------------------------------------------------------------------

    def _write_groups(self) -> None:
        """Small entries wait for one write of a large one at the most, and a large one for one group of small ones."""
        large: deque[_Waiting] = deque()
        last = False
        while large or not last:
            small, last = self._taken(large, last=last)
            if small:
                self._keep(small)
            if large:
                self._keep([large.popleft()])

    def _taken(self, large: deque[_Waiting], *, last: bool) -> tuple[list[_Waiting], bool]:
        """(small entries that wait, whether no more come); large ones go to `large`. Waits when there are none."""
        small: list[_Waiting] = []
        size = 0
        while not last and size < GROUP_BYTES:
            try:
                waiting = self._queue.get(block=not small and not large)
            except queue.Empty:
                break
            if waiting is None:
                last = True
            elif len(waiting.body) > LARGE_BYTES:
                large.append(waiting)
            else:
                small.append(waiting)
                size += len(waiting.body)
        return small, last

    def _keep(self, group: list[_Waiting]) -> None:
        with self._counting:
            self._waiting_bytes -= sum(len(waiting.body) for waiting in group)
        if any(waiting.kind == 0 for waiting in group):
            self._close_active()
        # Who was cancelled before this is not written; from here on nobody can cancel.
        entries = [each for each in group if each.kind and each.done.set_running_or_notify_cancel()]
        if entries:
            self._write(entries)

    def _write(self, group: list[_Waiting]) -> None:
        try:
            placed = self._write_group(group)
        except Exception as error:  # whatever it is, this thread goes on and nobody waits in vain
            if not isinstance(error, OSError | StorageFailed):
                _LOG.exception("an unforeseen fault of the journal")
            self._close_active()
            failure = StorageFailed(f"the journal could not keep the request: {error}")
            for waiting in group:
                waiting.done.set_exception(failure)
            return
        for waiting, result in zip(group, placed, strict=True):
            waiting.done.set_result(result)

    def _write_group(self, group: list[_Waiting]) -> list[tuple[int, Place]]:
        if self._cipher is None or self._size >= self._segment_bytes:
            self._close_active()
            self._open_segment()
        assert self._cipher is not None
        assert self._active is not None
        placed: list[tuple[int, Place]] = []
        buffers, offset = [], self._size
        for waiting in group:
            position = self._next
            self._next += 1
            parts = segment.seal(self._cipher, position, waiting.kind, _content(waiting), len(placed))
            length = sum(len(part) for part in parts[1:])
            record = segment.Sealed(position=position, kind=waiting.kind, offset=offset, length=length)
            placed.append((position, Place(path=self._active, record=record)))
            buffers += parts
            offset += len(parts[0]) + length
        _write_all(self._descriptor, buffers)
        os.fdatasync(self._descriptor)
        self._size = offset
        return placed

    def _open_segment(self) -> None:
        path = self.folder / f"{self._next:020}-{secrets.token_hex(4)}.seg"
        try:
            self._cipher = new_segment_key(self._master, path.with_suffix(".key"))
            self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640)
            sync_folder(self.folder)
        except (OSError, StorageFailed):
            self._unused.append(path)  # empty, if it is there at all: it goes once the disk works
            raise
        self._size = 0
        with self._lock:
            self._active = path

    def _close_active(self) -> None:
        descriptor, self._descriptor, self._cipher = self._descriptor, -1, None
        if descriptor >= 0:
            try:
                os.close(descriptor)
            except OSError as error:  # everything acknowledged in it was synced before
                _LOG.warning("a journal segment did not close: %s", error)
        with self._lock:
            if self._active is not None:
                self._closed.append(self._active)
            self._active = None


def _hold(path: Path) -> int:
    """The descriptor of a locked file; the kernel lets go of it when the process ends, however it ends."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o640)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise Conflict(f"{path.parent} is in use by another collector; stop it, or use another data folder") from error
    return descriptor


def _content(waiting: _Waiting) -> bytes:
    meta = json.dumps({"tenant": waiting.tenant, "at_us": waiting.received_at_us}).encode()
    return b"".join([len(meta).to_bytes(_META, "little"), meta, waiting.body])  # from 1 MiB on without the GIL


def entry_of(record: segment.Sealed, content: bytes) -> Entry:
    """The entry of an unsealed record."""
    size = int.from_bytes(content[:_META], "little")
    meta = json.loads(content[_META : _META + size])
    return Entry(
        position=record.position,
        kind=record.kind,
        tenant=meta["tenant"],
        received_at_us=meta["at_us"],
        body=content[_META + size :],
    )


def _write_all(descriptor: int, buffers: list[bytes]) -> None:
    """Writes all buffers, however the kernel cuts them. Raises OSError."""
    pending = [memoryview(buffer) for buffer in buffers if buffer]
    while pending:
        written = os.writev(descriptor, pending[:512])
        while pending and written >= len(pending[0]):
            written -= len(pending[0])
            pending.pop(0)
        if written:
            pending[0] = pending[0][written:]


def number_of(folder: Path) -> int:
    """The number of the journal in `folder` (1 to 32767), drawn when it is made: two journals of one lake differ.

    Raises Corrupt: under another number everything that is kept would be stored once more.
    """
    path = folder / "journal.json"
    try:
        kept = json.loads(path.read_bytes())
        number = int(kept["number"])
    except FileNotFoundError as error:
        if any(folder.glob("*.seg")):
            raise Corrupt(f"{path} is gone, and what it numbers is here; restore it from a backup") from error
        number, kept = 1 + secrets.randbelow(32_767), {}
    except (ValueError, KeyError, TypeError) as error:
        raise Corrupt(f"{path} is not readable: {error}; restore it from a backup") from error
    check = xxhash.xxh3_64_hexdigest(str(number).encode())
    if "check" in kept and kept["check"] != check:
        raise Corrupt(f"{path} was altered: the number does not fit its check; restore it from a backup")
    if kept != {"number": number, "check": check}:  # new, or of a release before checks
        replace_durably(path, json.dumps({"number": number, "check": check}).encode())
    return number
