"""The lake: Delta tables of Parquet files in a folder or an object store, each file named by the hash of its content.

An append writes one Parquet file per (tenant, date), makes them durable, and commits them in one transaction.
Readers take a snapshot: an immutable list of files with row counts, time bounds and hashes, never a folder listing.
"""

from __future__ import annotations

import fcntl
import logging
import os
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq
import xxhash
from deltalake.exceptions import DeltaError

from core.clock import NS_PER_MS, Clock, system_clock
from core.errors import Conflict, Corrupt, InvalidInput, StorageFailed
from core.windows import day_of
from store import schema
from store.delta_log import DeltaLog, LakeFile
from store.durable import make_folder, sync_folder, write_durably
from store.mirror import YOUNG_S, Mirror, MirroredLog
from store.objects import is_object_url
from store.parquet import bounds, encoded, partitions
from store.snapshot import Snapshot
from store.stamps import Stamps
from store.trust import FOLDER as DAMAGED
from store.trust import Damage, Trust

TIME_COLUMN: Final = {
    "spans": "start_ns",
    "scores": "at_ns",
    "events": "at_ns",
    "quarantine": "seq",
    "turns": "start_ns",
    "sessions": "start_ns",
    "rollups": "minute_ns",
    "embeddings": "at_ns",
    "memberships": "at_ns",
}
WRITERS: Final = "_writers.lock"
_LOG: Final = logging.getLogger("assay.store")


class Lake:
    """All tables under one root: a folder, or an s3:// URL. Thread-safe; several processes may append at once.

    Of an object store's lake, `root` is the mirror of it in the folder `cache` (store/mirror.py).
    """

    def __init__(self, root: str | Path, *, clock: Clock = system_clock, cache: Path | None = None) -> None:
        """Raises InvalidInput for another kind of URL, or one without `cache`; StorageFailed."""
        self._mirror: Mirror | None = None
        self.root = Path(root).absolute()
        if is_object_url(str(root)):
            self._mirror = _mirror_of(str(root), cache)
            self.root = self._mirror.folder
        self._clock = clock
        self.stamps = Stamps(self.root, clock)
        self._logs: dict[str, DeltaLog] = {}
        self._durable_folders: set[Path] = set()
        for table in schema.TABLES:
            try:
                self._log(table)
            except Corrupt as error:  # the other tables are served; whoever needs this one is told
                _LOG.error("%s", error)
        self.trust = Trust(self.root, clock, lambda table, file: self.file(table, file.relative) is not None)
        if self._mirror is not None:
            _bring_notes(self._mirror, self.trust)

    def append(self, table: str, rows: pa.Table, *, txn: tuple[str, int] | None = None) -> int:
        """Stores `rows` (columns of store/schema.py, tenant and date among them) in one durable commit.

        An empty `rows` with a `txn` still moves that transaction. Returns the number of rows.
        Raises Conflict when `txn` is not newer than the committed one, StorageFailed when the disk refuses.
        """
        with self._writing(fcntl.LOCK_SH), self._kept(table) as sent:
            files = [self._write(table, part, sent) for part in partitions(rows)]
            if files or txn:
                with _log_read(table):
                    self._log(table).commit(add=files, txn=txn, at_ms=self._clock() // NS_PER_MS)
        return int(rows.num_rows)

    def replace(
        self, table: str, old: list[LakeFile], rows: pa.Table, *, operation: str, same_rows: bool = True
    ) -> list[LakeFile]:
        """Puts `rows` in the place of the files `old` in one commit; the old bytes stay until `vacuum`.

        `same_rows`: nothing but their arrangement changes. Raises Conflict when one of them has gone meanwhile.
        """
        at_ms, rearrangement = self._clock() // NS_PER_MS, same_rows and bool(old)
        with self._writing(fcntl.LOCK_SH), self._kept(table) as sent:
            files = [self._write(table, part, sent) for part in partitions(rows)]
            _date_from_now(old)
            with _log_read(table):
                self._log(table).commit(
                    add=files, remove=old, operation=operation, at_ms=at_ms, rearrangement=rearrangement
                )
        return files

    def remove(self, table: str, files: list[LakeFile]) -> None:
        """Takes files out of the table in one commit; their bytes stay until `vacuum`. Raises Conflict."""
        at_ms = self._clock() // NS_PER_MS
        _date_from_now(files)
        with _log_read(table):
            self._log(table).commit(add=[], remove=files, operation="DELETE", at_ms=at_ms, rearrangement=False)

    def txn_version(self, table: str, app_id: str) -> int | None:
        """The last version that `app_id` committed to `table`, None if never."""
        with _log_read(table):
            return self._log(table).txn_version(app_id)

    def snapshot(self, table: str) -> Snapshot:
        """The table as it is now."""
        version, files = self._files(table)
        return Snapshot(table=table, version=version, files=tuple(files.values()))

    def counted(self, table: str) -> tuple[Snapshot, Mapping[str, int]]:
        """The table as it is now, and the last version of every application transaction as of the same commit."""
        with _log_read(table):
            version, files, txns = self._log(table).counted()
        return Snapshot(table=table, version=version, files=tuple(files.values())), txns

    @contextmanager
    def unwritten(self, patience_s: float | None = None) -> Iterator[None]:
        """While it lasts, no process of this machine is between writing a file and committing it: what no snapshot
        names never will be part of a table. Waits for those that are; keep it short. Raises StorageFailed; Conflict
        when some are for `patience_s` seconds."""
        with self._writing(fcntl.LOCK_EX, patience_s):
            yield

    @contextmanager
    def _writing(self, kind: int, patience_s: float | None = None) -> Iterator[None]:
        try:
            descriptor = os.open(self.root / WRITERS, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        except OSError as error:
            raise StorageFailed(f"{self.root / WRITERS} cannot be opened: {error.strerror}") from error
        try:
            if patience_s is None:
                fcntl.flock(descriptor, kind)
            else:
                _locked_within(descriptor, kind, patience_s)
            yield
        finally:
            os.close(descriptor)

    def checkpoint(self, table: str) -> None:
        """Writes a log checkpoint so that opening the table stays fast."""
        self._log(table).checkpoint()

    def tables(self) -> tuple[str, ...]:
        """The names of all tables."""
        return tuple(schema.TABLES)

    def unreadable(self) -> dict[str, Corrupt]:
        """The tables whose log is damaged, with what is wrong."""
        found = {}
        for table in self.tables():
            try:
                self._files(table)
            except Corrupt as error:
                found[table] = error
        return found

    def read(self, file: LakeFile, columns: list[str] | None = None, *, verify: bool = False) -> pa.Table:
        """One file as Arrow, with its partition columns. With `verify` the very bytes that are decoded are hashed;
        else the file is read where it is believed (see store/trust.py).

        Raises Corrupt when the file is missing, unreadable or altered.
        """
        wanted = None if columns is None else [c for c in columns if c not in ("tenant", "date")]
        self.bring(self._table_of(file), [file])
        if not verify:
            self._refuse(self.trust.damage_of(self._table_of(file), file))
        try:
            rows = pq.ParquetFile(self._verified_bytes(file) if verify else file.path).read(columns=wanted)
        except (OSError, pa.ArrowException) as error:
            raise Corrupt(f"{file.path} cannot be read: {error}") from error
        for name, value in (("date", file.date), ("tenant", file.tenant)):
            if columns is None or name in columns:
                rows = rows.add_column(0, pa.field(name, pa.string()), pa.repeat(pa.scalar(value), rows.num_rows))
        return rows

    def compare(self, table: str, file: LakeFile) -> Damage | None:
        """Compares a file's bytes with its name where the lake lies: of an object store the object, not its copy here.
        Notes and raises as `Trust.compare` does."""
        if self._mirror is None:
            return self.trust.compare(table, file)
        content = self._mirror.objects.get(f"{table}/{file.relative}")
        return self.trust.judge(table, file, None if content is None else xxhash.xxh3_128_hexdigest(content))

    def verify(self, file: LakeFile) -> None:
        """Reads the file, from the object store where it lies there. Raises Corrupt, and notes it, unless its bytes are
        those that were committed."""
        if self._mirror is not None:
            self._mirror.bring(self._table_of(file), [file], anew=True)
        self._refuse(self.trust.compare(self._table_of(file), file))

    @property
    def mirror(self) -> Mirror | None:
        """Through which an object store's lake is read; None for a lake in a folder."""
        return self._mirror

    @property
    def is_mirrored(self) -> bool:
        """Whether the lake lies in an object store, and `root` is a mirror of it."""
        return self._mirror is not None

    def left_since(self, table: str, at_ms: int) -> frozenset[str]:
        """Of a table in an object store the files, by relative path, that recent entries since then took out."""
        log = self._log(table)
        return log.left_since(at_ms) if isinstance(log, MirroredLog) else frozenset()

    def not_noted(self, files: Sequence[LakeFile]) -> tuple[tuple[LakeFile, ...], tuple[Damage, ...]]:
        """As `sound`, from what is known of damage alone: for who reads the object store past the mirror."""
        noted = self.trust.noted()
        kept = tuple(file for file in files if file.path not in noted)
        return kept, tuple(noted[file.path] for file in files if file.path in noted)

    def sound(self, table: str, files: Sequence[LakeFile]) -> tuple[tuple[LakeFile, ...], tuple[Damage, ...]]:
        """The files that may be read, and what is wrong with the others.

        Raises Conflict when one has left the table and its bytes are gone, StorageFailed.
        """
        kept, damaged = [], []
        self.bring(table, files)
        for file in files:
            damage = self.trust.damage_of(table, file)
            if damage is not None and self._mirror is not None:  # the copy here may be what was altered
                self._mirror.bring(table, [file], anew=True)
                damage = self.trust.compare(table, file)
            if damage is None:
                kept.append(file)
            else:
                damaged.append(damage)
        return tuple(kept), tuple(damaged)

    def bring(self, table: str, files: Sequence[LakeFile]) -> None:
        """Fetches files of an object store that are not in the mirror; does nothing on a disk. Raises StorageFailed."""
        if self._mirror is not None:
            self._mirror.bring(table, files)

    def damaged(self) -> list[Damage]:
        """The files known to be damaged that are part of a table. Looks at notes only, reads no file."""
        noted = self.trust.noted()
        if not noted:
            return []
        named = {damage.table for damage in noted.values()} & set(self.tables()) - set(self.unreadable())
        live = {file.path for table in named for file in self.snapshot(table).files}
        return [damage for path, damage in sorted(noted.items()) if path in live]

    def _log(self, table: str) -> DeltaLog:
        if table not in self._logs:
            with _log_read(table):
                about = (schema.TABLES[table], TIME_COLUMN[table])
                self._logs[table] = (
                    DeltaLog(self.root / table, *about) if self._mirror is None else self._mirror.log(table, *about)
                )
        return self._logs[table]

    def _files(self, table: str) -> tuple[int, Mapping[str, LakeFile]]:
        with _log_read(table):
            return self._log(table).files()

    def forget_the_gone(self) -> None:
        """Forgets damage of files that retention or packing has taken out of their table since it was found."""
        live = {damage.file for damage in self.damaged()}
        unknown = self.unreadable()
        for path, damage in self.trust.noted().items():
            if damage.file not in live and damage.taken_out_ns is None and damage.table not in unknown:
                self.trust.forget(damage.table, path)

    def file(self, table: str, relative: str) -> LakeFile | None:
        """The file of that name in the table as it is now; None where it has none."""
        return self._files(table)[1].get(relative)

    def _table_of(self, file: LakeFile) -> str:
        return Path(file.folder).name

    def _verified_bytes(self, file: LakeFile) -> pa.BufferReader:
        try:
            content = Path(file.path).read_bytes()
        except OSError:
            content = b""
        if xxhash.xxh3_128_hexdigest(content) != file.content_hash:
            self.verify(file)  # tells what is wrong, and notes it
            raise Corrupt(f"{file.path} was written to while it was read")
        return pa.BufferReader(content)

    def _refuse(self, damage: Damage | None) -> None:
        if damage is not None:
            raise Corrupt(f"{damage}; its rows are not to be trusted")

    # -- one Parquet file ------------------------------------------------------------------------------------------

    @contextmanager
    def _kept(self, table: str) -> Iterator[dict[str, bytes]]:
        """The objects that are sent before one commit, by relative path. Where the commit took so long that another
        machine may have taken them for left over, they are sent once more after it."""
        sent: dict[str, bytes] = {}
        began = time.time()  # a machine that sleeps does not stop this clock
        yield sent
        if self._mirror is not None and time.time() - began > YOUNG_S / 2:
            for relative, content in sent.items():
                self._mirror.send(table, relative, content)

    def _write(self, table: str, rows: pa.Table, sent: dict[str, bytes]) -> LakeFile:
        tenant, date = rows.column("tenant")[0].as_py(), rows.column("date")[0].as_py()
        body = rows.drop_columns(["tenant", "date"])
        content = encoded(table, body)
        name = f"part-{uuid.uuid4().hex[:16]}-{xxhash.xxh3_128_hexdigest(content)}.parquet"
        relative = f"tenant={tenant}/date={date}/{name}"
        path = self.root / table / relative
        try:
            if path.parent not in self._durable_folders or not path.parent.exists():
                make_folder(path.parent, below=self.root / table)
                self._durable_folders.add(path.parent)
            scratch = path.with_suffix(".tmp")
            write_durably(scratch, content)
            scratch.replace(path)
            sync_folder(path.parent)
        except OSError as error:
            raise StorageFailed(f"{table}: {path} could not be written: {error}") from error
        if self._mirror is not None:
            sent[relative] = content
            self._mirror.send(table, relative, content)
        low, high = bounds(body, TIME_COLUMN[table])
        low_seq, high_seq = bounds(body, "seq")
        return LakeFile(
            folder=str(self.root / table),
            relative=relative,
            tenant=tenant,
            date=date,
            n_rows=body.num_rows,
            size=len(content),
            min_ns=low,
            max_ns=high,
            min_seq=low_seq or 0,
            max_seq=high_seq or 0,
        )


def _locked_within(descriptor: int, kind: int, patience_s: float) -> None:
    give_up = time.monotonic() + patience_s
    while True:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > give_up:
                raise Conflict(f"other processes write to the lake all the while; waited {patience_s:g} s") from None
            time.sleep(0.01)


def _bring_notes(mirror: Mirror, trust: Trust) -> None:
    """What repairs on any machine took out is noted here too, until an operator deletes it there."""
    there = set(mirror.bring_notes(DAMAGED))
    for path, damage in trust.noted().items():
        if damage.taken_out_ns is not None and trust.note_path(damage.table, path).name not in there:
            trust.forget(damage.table, path)


def _mirror_of(url: str, cache: Path | None) -> Mirror:
    if cache is None:
        raise InvalidInput(f"a lake in an object store needs a folder for what is read of it: {url}", field="lake")
    return Mirror(url, cache)


@contextmanager
def _log_read(table: str) -> Iterator[None]:
    """Whatever an altered log makes its reader stumble over is Corrupt, and says which table is concerned."""
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError, DeltaError, pa.ArrowException) as error:
        raise Corrupt(f"{table}: the log of the table was altered: {type(error).__name__}: {error}") from error
    except OSError as error:
        raise StorageFailed(f"{table}: the log of the table cannot be read: {error}") from error


def _date_from_now(files: list[LakeFile]) -> None:
    """Files that leave a table are as old as their leaving, so that `vacuum` gives running queries their time."""
    for file in files:
        with suppress(OSError):
            os.utime(file.path)


def partition_date(start_ns: int) -> str:
    """The UTC day a span belongs to. Days outside 2000 to 2199 share '1970-01-01', so that a broken clock cannot
    open a folder for every day there is."""
    if not 946_684_800_000_000_000 <= start_ns < 7_258_118_400_000_000_000:
        return "1970-01-01"
    return day_of(start_ns)
