"""A lake in an object store, through a folder of this machine that mirrors what is used of it.

The object store is the lake: an append is durable when its PUTs were answered, and its commit is a PUT that only one
writer of a version can make. The mirror holds the tables' logs and the files that were read lately; it may be deleted
at any time. Everything above reads files of the mirror, so a file's bytes are compared with the hash in its name
before a row is believed (store/trust.py), as on a local disk, and DuckDB needs no network.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

import pyarrow as pa
import xxhash

from core.errors import Corrupt
from store.delta_log import LAST, DeltaLog, LakeFile
from store.objects import Objects

LOOK_FOR_CHECKPOINT_S: Final = 60.0
YOUNG_S: Final = 120.0
KEEP_LEFT_S: Final = 120.0  # running queries may still read a file that has left its table
HOLDS: Final = "_holds"  # objects by which a backup keeps the others from being deleted
HELD_S: Final = 600.0
MOST_BYTES: Final = 20 << 30
N_FETCHING: Final = 16


class Mirror:
    """The files of a lake in an object store, fetched when they are asked for. Thread-safe.

    It keeps up to `most_bytes`; what was used least recently goes first, never what the present query reads.
    """

    def __init__(self, url: str, cache: Path, most_bytes: int = MOST_BYTES) -> None:
        self.objects = Objects(url)
        self.folder = (cache / xxhash.xxh3_64_hexdigest(self.objects.url.encode())).absolute()
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._fetching = ThreadPoolExecutor(N_FETCHING, "fetch")
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o750)

    def log(self, table: str, schema: pa.Schema, time_column: str) -> MirroredLog:
        """The log of a table, made in the object store when it is not there. Raises StorageFailed, Corrupt."""
        return MirroredLog(self.folder / table, schema, time_column, self.objects)

    def bring(self, table: str, files: Sequence[LakeFile], *, anew: bool = False) -> None:
        """Fetches the files that are not here, or all of them `anew`; one that the store does not have stays away.

        Raises StorageFailed.
        """
        wanted = [file for file in files if anew or not Path(file.path).exists()]
        if wanted:
            list(self._fetching.map(lambda file: self._fetch(table, file), wanted))
            self._make_room({file.path for file in files})

    def send(self, table: str, relative: str, content: bytes) -> None:
        """Stores a new data file. Raises StorageFailed."""
        self.objects.put(f"{table}/{relative}", content)

    def leftover(self, table: str, needed: frozenset[str], older_than_ms: int) -> list[str]:
        """The data files there, by path below the root, that are not needed and were written before then."""
        found = [each for each in self.objects.list(table) if each.written_ms < older_than_ms]
        named = [(each.path, each.path.removeprefix(f"{table}/")) for each in found]
        return [path for path, name in named if not name.startswith("_delta_log/") and name not in needed]

    def tidy(self, table: str, live: Collection[str], older_than_ms: int) -> None:
        """Deletes copies here of files that are not live (absolute paths), whoever has deleted them there."""
        for path in (self.folder / table).rglob("part-*.parquet"):
            if str(path) not in live and _written_ms(path) < older_than_ms:
                path.unlink(missing_ok=True)

    @contextmanager
    def held(self) -> Iterator[Callable[[], None]]:
        """Nobody's `vacuum` deletes an object while it lasts, as long as what it gives is called every few minutes."""
        path, last = f"{HOLDS}/{uuid.uuid4().hex}", -HELD_S

        def renew() -> None:
            nonlocal last
            if time.monotonic() - last > HELD_S / 10:
                self.objects.put(path, b"")
                last = time.monotonic()

        renew()
        try:
            yield renew
        finally:
            self.objects.delete(path)

    def is_held(self) -> bool:
        """Whether somebody, on any machine, holds the objects; one who was killed does for HELD_S more."""
        return any(found.written_ms > (time.time() - HELD_S) * 1000 for found in self.objects.list(HOLDS))

    def sweep(self, table: str, tenant: str, live: frozenset[str], left: frozenset[str]) -> tuple[int, int]:
        """Deletes a tenant's files that are not live, there and here: those that left the table, and those that were
        written YOUNG_S ago without a commit. (deleted, younger ones that a writer elsewhere may be about to commit.)"""
        deleted = young = 0
        for found in self.objects.list(f"{table}/tenant={tenant}"):
            relative = found.path.removeprefix(f"{table}/")
            if relative in live:
                continue
            if relative not in left and found.written_ms > (time.time() - YOUNG_S) * 1000:
                young += 1
                continue
            self.objects.delete(found.path)
            deleted += 1
        for path in (self.folder / table / f"tenant={tenant}").rglob("part-*"):
            if str(path.relative_to(self.folder / table)) not in live:
                path.unlink(missing_ok=True)
        return deleted, young

    def bring_notes(self, folder: str) -> list[str]:
        """Fetches the notes (.json) of a folder that are not here, and returns the names of all there."""
        found = [each.path for each in self.objects.list(folder) if each.path.endswith(".json")]
        for path in found:
            if not (self.folder / path).exists() and (content := self.objects.get(path)) is not None:
                _put_here(self.folder / path, content)
        return [path.removeprefix(f"{folder}/") for path in found]

    def _fetch(self, table: str, file: LakeFile) -> None:
        content = self.objects.get(f"{table}/{file.relative}")
        path = Path(file.path)
        if content is None:
            path.unlink(missing_ok=True)
        else:
            _put_here(path, content)

    def _make_room(self, needed: set[str]) -> None:
        with self._lock:
            held = []
            for path in self.folder.rglob("part-*.parquet"):
                with suppress(FileNotFoundError):
                    seen = path.stat()
                    held.append((max(seen.st_atime, seen.st_mtime), seen.st_size, path))
            left = sum(size for _, size, _ in held) - self._most_bytes
            for _, size, path in sorted(held):
                if left <= 0:
                    return
                if str(path) not in needed:
                    path.unlink(missing_ok=True)
                    left -= size


class MirroredLog(DeltaLog):
    """The log of a table in an object store. Its entries are put there first, and only if absent, then here."""

    def __init__(self, folder: Path, schema: pa.Schema, time_column: str, objects: Objects) -> None:
        """Reads the log, or makes the table. Raises StorageFailed, Corrupt."""
        self._objects = objects
        self._there = f"{folder.name}/_delta_log"
        self._here = folder / "_delta_log"
        self._looked_at = 0.0
        self._left: dict[str, float] = {}
        self._pull()
        try:
            super().__init__(folder, schema, time_column)
        except Corrupt:  # what was altered may be the copy here
            shutil.rmtree(self._here, ignore_errors=True)
            self._pull()
            super().__init__(folder, schema, time_column)
        for path in folder.rglob("part-*.parquet"):
            if str(path.relative_to(folder)) not in self._files:
                path.unlink(missing_ok=True)

    def left_since(self, at_ms: int) -> frozenset[str]:
        """The files, by relative path, that entries written since then took out."""
        recent = [p for p in self._here.glob("*.json") if p.stem.isdigit() and _written_ms(p) >= at_ms]
        return frozenset(
            unquote(line["remove"]["path"]) for path in recent for line in _lines(path) if "remove" in line
        )

    def checkpoint(self) -> None:
        """See DeltaLog; then the checkpoint is sent, and the entries that it replaces are deleted there too."""
        self.files()
        before = {path.name for path in self._here.iterdir()}
        super().checkpoint()
        made = sorted(self._here.glob("*.checkpoint.parquet"))[-1]
        for path in (made, made.with_suffix(".xxh3"), self._here / LAST):
            self._objects.put(f"{self._there}/{path.name}", path.read_bytes())
        for name in sorted(before - {path.name for path in self._here.iterdir()}):
            self._objects.delete(f"{self._there}/{name}")

    def _advance(self) -> None:
        version = self._version + 1
        while (self._here / f"{version:020}.json").exists() or self._pulled(f"{version:020}.json"):
            version += 1
        if version == self._version + 1 and time.monotonic() - self._looked_at > LOOK_FOR_CHECKPOINT_S:
            self._pull()
        before = self._files
        super()._advance()
        if self._files is not before:
            self._left |= dict.fromkeys(before.keys() - self._files.keys(), time.monotonic())
        self._forget_the_left()

    def _forget_the_left(self) -> None:
        """What leaves the lake, by packing, retention or an erasure elsewhere, leaves this machine soon after."""
        for relative in [name for name, at in self._left.items() if time.monotonic() - at >= KEEP_LEFT_S]:
            del self._left[relative]
            (self._folder / relative).unlink(missing_ok=True)

    def _put(self, version: int, content: bytes) -> bool:
        name = f"{version:020}.json"
        if not self._objects.put_new(f"{self._there}/{name}", content):
            self._pulled(name)
            return False
        _put_here(self._here / name, content)
        return True

    def _pull(self) -> None:
        """Brings whatever of the newest checkpoint and the entries after it is not here."""
        self._looked_at = time.monotonic()
        names = sorted(found.path.rpartition("/")[2] for found in self._objects.list(self._there))
        checkpoints = [name for name in names if name.endswith(".checkpoint.parquet")]
        last = checkpoints[-1][:20] if checkpoints else ""
        for name in names:
            needed = (name[:20] > last and name.endswith(".json")) or (last and name[:20] == last)
            if needed and not (self._here / name).exists():
                self._pulled(name)
        if last:  # last, so that who reads the folder meanwhile finds what it points to
            self._pulled(LAST)

    def _pulled(self, name: str) -> bool:
        content = self._objects.get(f"{self._there}/{name}")
        if content is not None:
            _put_here(self._here / name, content)
        return content is not None


def _put_here(path: Path, content: bytes) -> None:
    """Into the mirror in one step, for other threads and processes. Nothing of it has to survive a power loss."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
    scratch = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.tmp")
    scratch.write_bytes(content)
    scratch.replace(path)


def _lines(path: Path) -> list[dict[str, Any]]:
    try:
        return [json.loads(line) for line in path.read_bytes().splitlines()]
    except FileNotFoundError:  # cleaned away since it was listed
        return []


def _written_ms(path: Path) -> float:
    try:
        return path.stat().st_mtime * 1000
    except FileNotFoundError:
        return 0.0
