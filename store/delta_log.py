"""The transaction log of one Delta table on a local disk: read forward, and commit with put-if-absent.

The log is the open Delta protocol (reader version 1, writer version 2, action kinds add, remove, txn, commitInfo);
`deltalake` creates the table, writes checkpoints, cleans the log and can read everything written here. Commits are
written by ourselves because each costs one fsync (0.2 ms here) instead of the 30 to 60 ms that a commit and the
refresh after it took through the library on a 2-core machine; see docs/decisions/0008-own-delta-commits.md.

A commit is durable when `commit` returns: the file is synced, linked into place under a name that must not exist,
and the folder is synced.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final
from urllib.parse import quote, unquote

import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from core.clock import NS_PER_MS
from core.errors import Conflict, Corrupt, StorageFailed
from store import checkpoints
from store.durable import make_folder, replace_durably, sync_folder, write_durably
from store.log_seal import BLANK, check, check_checkpoint, seal_of, sealed
from store.schema import ADDED

MAX_TRIES = 100
LAST: Final = checkpoints.LAST
REMOVED: Final = "removed-"  # and a tenant: the transaction whose version is how many of its rows have left the table
COUNTS_REMOVED: Final = "removed"  # the transaction of a table in which they are counted from its beginning


@dataclass(frozen=True, kw_only=True, slots=True)
class LakeFile:
    """One immutable Parquet file of a table's snapshot. Every process of the lake knows all of them: they are small,
    half a kilobyte each."""

    folder: str  # of the table, absolute
    relative: str  # inside it
    tenant: str
    date: str
    n_rows: int
    size: int
    min_ns: int | None  # of the table's time column
    max_ns: int | None
    min_seq: int
    max_seq: int

    @property
    def path(self) -> str:
        """Where it is, absolute."""
        return f"{self.folder}/{self.relative}"

    @property
    def content_hash(self) -> str:
        """XXH3-128 of the file's bytes as hexadecimal text, carried in its name."""
        return Path(self.relative).stem.rsplit("-", 1)[-1]


def _in_use(root: Path, table: str) -> bool:
    """Whether anything was committed to the tables that are made together with `table`. All of them are made before
    that: one that is not there then was lost, and made anew it would be empty, its files be taken for leftovers. Tables
    of a later format come to a lake that is in use, so they ask for each other only."""
    logs = (path for path in root.glob("*/_delta_log/*") if path.suffix in (".json", ".parquet"))
    named = (path for path in logs if table not in ADDED or path.parent.parent.name in ADDED)
    return any(path.name[:20].isdigit() and int(path.name[:20]) > 0 for path in named)


class DeltaLog:
    """The live files and application transactions of one table. Thread-safe."""

    def __init__(self, folder: Path, schema: pa.Schema, time_column: str) -> None:
        self._folder = folder
        self._log = folder / "_delta_log"
        self._time_column = time_column
        self._lock = threading.RLock()
        self._folder_is_durable = self._names_are_durable = False
        if not self._is_there():
            # Asked again, as another process may just have made it.
            if _in_use(folder.parent, folder.name) and not self._is_there():
                raise Corrupt(f"{folder.name}: {self._log} is gone, while other tables of the lake have rows")
            self._create(schema)
        self._load()

    def _is_there(self) -> bool:
        return checkpoints.newest(self._log) is not None or DeltaTable.is_deltatable(str(self._folder))

    @property
    def version(self) -> int:
        """The table version that the last refresh saw."""
        return self._version

    def files(self) -> tuple[int, Mapping[str, LakeFile]]:
        """(version, live files by relative path) after reading whatever was committed since the last call."""
        with self._lock:
            self._advance()
            return self._version, self._files

    def counted(self) -> tuple[int, Mapping[str, LakeFile], Mapping[str, int]]:
        """As `files`, with the last version of every application transaction as of that version."""
        with self._lock:
            self._advance()
            return self._version, self._files, dict(self._txns)

    def txn_version(self, app_id: str) -> int | None:
        """The last version that `app_id` committed, None if it never did; a power loss does not take it back."""
        with self._lock:
            self._advance()
            self._make_names_durable()
            return self._txns.get(app_id)

    def commit(
        self,
        *,
        add: Sequence[LakeFile],
        remove: Sequence[LakeFile] = (),
        txn: tuple[str, int] | None = None,
        operation: str = "WRITE",
        at_ms: int,
        rearrangement: bool | None = None,
    ) -> int:
        """Writes one atomic commit and returns its version.

        Raises Conflict when `txn` was already committed at this version or later, or when a file to remove has
        gone; StorageFailed when the disk refuses. A commit that raised may have been made: `txn_version` tells, once
        the disk relents. `rearrangement` says
        that the rows stay the same (the default when files are removed). Rows that leave the table are counted by
        tenant, under REMOVED, in the same commit.
        """
        same_rows = bool(remove) if rearrangement is None else rearrangement
        with self._lock:
            self._make_names_durable()
            for _ in range(MAX_TRIES):
                self._advance()
                self._check(remove, txn)
                txns = [*([txn] if txn else []), *self._removed(add, remove)]
                if self._put(self._version + 1, self._entry(add, remove, txns, operation, at_ms, not same_rows)):
                    self._advance()
                    return self._version
        raise Conflict(f"{self._folder.name}: {MAX_TRIES} other commits came in between; try again")

    def checkpoint(self) -> None:
        """Lets deltalake write a checkpoint and drop log entries older than the table's log retention.

        Raises Corrupt when an entry that would go into it was altered.
        """
        self._check_log()
        with TemporaryDirectory(prefix="assay-checkpoint-") as scratch:
            copy = Path(scratch) / "_delta_log"
            checkpoints.copy(self._log, copy)  # deltalake writes its files without a sync
            table = DeltaTable(scratch)
            table.create_checkpoint()
            made = copy / f"{table.version():020}.checkpoint.parquet"
            seal, content = seal_of(made)
            for path, of in ((made, made.read_bytes()), (seal, content), (copy / LAST, (copy / LAST).read_bytes())):
                replace_durably(self._log / path.name, of)
        DeltaTable(str(self._folder)).cleanup_metadata()

    # -- reading -------------------------------------------------------------------------------------------------

    def _create(self, schema: pa.Schema) -> None:
        """Puts entry 0, which deltalake writes without a sync and without a seal, into the log in one durable step."""
        with TemporaryDirectory(prefix="assay-table-") as scratch:
            DeltaTable.create(
                scratch,
                schema=schema,
                partition_by=["tenant", "date"],
                configuration={
                    "delta.dataSkippingStatsColumns": f"seq,{self._time_column}",
                    "delta.checkpointInterval": "1000000",  # checkpoints are written by maintenance, off the hot path
                    "delta.logRetentionDuration": "interval 1 days",
                    # Upkeep deletes replaced files after minutes by itself; a checkpoint need not name a week of them.
                    "delta.deletedFileRetentionDuration": "interval 1 hours",
                },
            )
            made = (Path(scratch) / "_delta_log" / f"{0:020}.json").read_bytes()
        at_ms = time.time_ns() // NS_PER_MS
        lines = [line for line in map(json.loads, made.splitlines()) if "commitInfo" not in line]
        txn = {"txn": {"appId": COUNTS_REMOVED, "version": 0, "lastUpdated": at_ms}}
        make_folder(self._log)
        self._put(0, _sealed_lines("CREATE TABLE", at_ms, [*lines, txn]))

    def _make_names_durable(self) -> None:
        """What this process, or one that was killed before its sync, put into the log stays from here on.
        Raises OSError."""
        if self._names_are_durable:
            return
        if not self._folder_is_durable:
            make_folder(self._log, below=self._folder.parent.parent)
            self._folder_is_durable = True
        sync_folder(self._log)
        self._names_are_durable = True

    def _load(self) -> None:
        self._check_log()
        try:
            with checkpoints.readable(self._folder) as folder:
                table = DeltaTable(folder)
                rows = pa.table(table.get_add_actions(flatten=True)).to_pylist()
        except DeltaError as error:
            raise Corrupt(f"{self._log}: the log cannot be read, a checkpoint may be missing: {error}") from error
        self._files: dict[str, LakeFile] = {}
        for row in rows:
            file = self._lake_file(
                unquote(row["path"]),
                row["partition.tenant"],
                row["partition.date"],
                row["num_records"],
                row["size_bytes"],
                (row.get(f"min.{self._time_column}"), row.get(f"max.{self._time_column}")),
                (row.get("min.seq"), row.get("max.seq")),
            )
            self._files[file.relative] = file
        self._version = table.version()
        self._txns = checkpoints.transactions(self._log, self._version)
        self._advance()

    def _advance(self) -> None:
        while True:
            path = self._log / f"{self._version + 1:020}.json"
            try:
                content = check(path.read_bytes(), path)
            except FileNotFoundError:
                if self._newer_exists():
                    self._load()
                return
            files = dict(self._files)
            for line in content.splitlines():
                self._apply(files, json.loads(line))
            self._files = files
            self._version += 1

    def _check_log(self) -> None:
        """Raises Corrupt when the newest checkpoint, or an entry after it, is not what was written."""
        checkpoints = sorted(self._log.glob("*.checkpoint.parquet"))
        last = checkpoints[-1].name[:20] if checkpoints else ""
        for path in checkpoints[-1:]:
            check_checkpoint(path)
        for path in self._log.glob("*.json"):
            if path.stem > last:
                with suppress(FileNotFoundError):  # another process has put it into a checkpoint and cleaned it away
                    check(path.read_bytes(), path)

    def _newer_exists(self) -> bool:
        """Whether the log jumped ahead of us: entries we have not read were cleaned away after a checkpoint."""
        newest = checkpoints.hinted(self._log)
        if newest is None and (self._log / LAST).exists():  # a damaged hint
            newest = checkpoints.newest(self._log)
        return newest is not None and newest > self._version

    def _apply(self, files: dict[str, LakeFile], action: dict[str, Any]) -> None:
        if added := action.get("add"):
            stats = json.loads(added.get("stats") or "{}")
            low, high = stats.get("minValues", {}), stats.get("maxValues", {})
            values = added["partitionValues"]
            file = self._lake_file(
                unquote(added["path"]),
                values["tenant"],
                values["date"],
                stats.get("numRecords", 0),
                added["size"],
                (low.get(self._time_column), high.get(self._time_column)),
                (low.get("seq"), high.get("seq")),
            )
            files[file.relative] = file
        elif removed := action.get("remove"):
            files.pop(unquote(removed["path"]), None)
        elif txn := action.get("txn"):
            self._txns[txn["appId"]] = txn["version"]

    def _lake_file(
        self,
        relative: str,
        tenant: str,
        date: str,
        n_rows: int,
        size: int,
        times: tuple[int | None, int | None],
        seqs: tuple[int | None, int | None],
    ) -> LakeFile:
        return LakeFile(
            folder=sys.intern(str(self._folder)),
            relative=relative,
            tenant=sys.intern(tenant),
            date=sys.intern(date),
            n_rows=n_rows,
            size=size,
            min_ns=times[0],
            max_ns=times[1],
            min_seq=seqs[0] or 0,
            max_seq=seqs[1] or 0,
        )

    # -- writing -------------------------------------------------------------------------------------------------

    def _check(self, remove: Sequence[LakeFile], txn: tuple[str, int] | None) -> None:
        if txn and self._txns.get(txn[0], -1) >= txn[1]:
            raise Conflict(
                f"{self._folder.name}: {txn[0]} has committed {self._txns[txn[0]]} already, not {txn[1]} again"
            )
        gone = [file.relative for file in remove if file.relative not in self._files]
        if gone:
            raise Conflict(f"{self._folder.name}: {gone[0]} is no longer part of the table")

    def _removed(self, add: Sequence[LakeFile], remove: Sequence[LakeFile]) -> list[tuple[str, int]]:
        """The transactions that count the rows which leave with a commit, by tenant."""
        n: Counter[str] = Counter()
        for file in remove:
            n[file.tenant] += file.n_rows
        for file in add if remove else ():
            n[file.tenant] -= file.n_rows
        return [
            (REMOVED + tenant, self._txns.get(REMOVED + tenant, 0) + gone) for tenant, gone in n.items() if gone > 0
        ]

    def _entry(
        self,
        add: Sequence[LakeFile],
        remove: Sequence[LakeFile],
        txns: Sequence[tuple[str, int]],
        operation: str,
        at_ms: int,
        data_change: bool,
    ) -> bytes:
        lines: list[dict[str, Any]] = [
            {"txn": {"appId": app_id, "version": version, "lastUpdated": at_ms}} for app_id, version in txns
        ]
        lines += [{"remove": self._remove_action(file, at_ms, data_change=data_change)} for file in remove]
        lines += [{"add": self._add_action(file, at_ms, data_change=data_change)} for file in add]
        return _sealed_lines(operation, at_ms, lines)

    def _put(self, version: int, content: bytes) -> bool:
        """Creates the log entry, or answers False when another writer was first."""
        target = self._log / f"{version:020}.json"
        scratch = self._log / f".{version:020}.{os.getpid()}.{threading.get_ident()}.tmp"
        try:
            write_durably(scratch, content)
            # Should a sync fail, the entry can be seen and may not last: nobody builds on it before one succeeds.
            self._names_are_durable = False
            try:
                os.link(scratch, target)
            except FileExistsError:
                return False
            finally:
                with suppress(OSError):
                    scratch.unlink(missing_ok=True)
            self._make_names_durable()
        except OSError as error:
            raise StorageFailed(f"{self._folder.name}: the commit could not be written: {error}") from error
        return True

    def _add_action(self, file: LakeFile, at_ms: int, *, data_change: bool) -> dict[str, Any]:
        stats: dict[str, Any] = {
            "numRecords": file.n_rows,
            "minValues": {"seq": file.min_seq},
            "maxValues": {"seq": file.max_seq},
            "nullCount": {"seq": 0},
        }
        if file.min_ns is not None and self._time_column != "seq":
            stats["minValues"][self._time_column] = file.min_ns
            stats["maxValues"][self._time_column] = file.max_ns
        return {
            "path": quote(file.relative),
            "partitionValues": {"tenant": file.tenant, "date": file.date},
            "size": file.size,
            "modificationTime": at_ms,
            "dataChange": data_change,
            "stats": json.dumps(stats, separators=(",", ":")),
        }

    @staticmethod
    def _remove_action(file: LakeFile, at_ms: int, *, data_change: bool) -> dict[str, Any]:
        return {
            "path": quote(file.relative),
            "deletionTimestamp": at_ms,
            "dataChange": data_change,
            "extendedFileMetadata": True,
            "partitionValues": {"tenant": file.tenant, "date": file.date},
            "size": file.size,
        }


def _sealed_lines(operation: str, at_ms: int, lines: Sequence[dict[str, Any]]) -> bytes:
    """The bytes of an entry: its commitInfo, which carries the seal, and then these actions."""
    about = {"timestamp": at_ms, "operation": operation, "operationParameters": {}, "engineInfo": "assay"}
    first = {"commitInfo": {**about, "seal": BLANK.decode()}}
    return sealed("\n".join(json.dumps(line, separators=(",", ":")) for line in (first, *lines)).encode())
