"""The runtime's own file: one SQLite database, written by one thread, many jobs to one fsync.

A job is a function of a connection. All jobs that wait when the thread becomes free run in one transaction, each in a
savepoint of its own, and are answered after the commit: what an awaited write returned is on the disk (WAL,
synchronous=FULL). One process owns the folder; a second one is refused.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from agent_runtime.errors import CorruptState, FolderInUse, RuntimeFailed

_log = logging.getLogger(__name__)
T = TypeVar("T")
Job = tuple[Callable[[sqlite3.Connection], Any], asyncio.AbstractEventLoop, "asyncio.Future[Any]"]
_MOST_JOBS = 256  # in one transaction
_LOCK = "agent.lock"


class StateFile:
    """`agent.db` under `folder`. Tables are given as DDL by the parts that own them (CREATE ... IF NOT EXISTS)."""

    def __init__(self, folder: Path, schemas: Sequence[str] = ()) -> None:
        """Opens or creates the file. Raises FolderInUse if another process has it, CorruptState if it is none."""
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "agent.db"
        self._lock = _lock(folder / _LOCK)
        try:
            self._connection = _open(self.path, schemas)
        except (sqlite3.DatabaseError, OSError) as error:
            os.close(self._lock)
            raise CorruptState(f"{self.path} cannot be opened: {error}; move it away to start anew") from error
        self._scrub = self._vacuum = self._closed = False
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="agent-state", daemon=True)
        self._thread.start()

    async def run(self, job: Callable[[sqlite3.Connection], T]) -> T:
        """Runs `job` in the next transaction and gives its answer after the commit.

        Raises what the job raises; CorruptState when the file is damaged, RuntimeFailed when it was closed.
        """
        if self._closed:
            raise RuntimeFailed(f"{self.path} is closed")
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()
        self._jobs.put((job, loop, answer))
        try:
            return await answer
        except sqlite3.DatabaseError as error:
            if getattr(error, "sqlite_errorcode", None) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
                raise CorruptState(f"{self.path} is damaged: {error}; move it away to start anew") from error
            raise

    async def scrub(self) -> None:
        """Empties the write-ahead log, in which deleted rows would live on until it is reused.

        A reader of another process can keep it: then it is emptied after a later transaction, and a warning says so.
        """

        def note(_: sqlite3.Connection) -> None:
            self._scrub = True

        await self.run(note)

    async def vacuum(self) -> None:
        """Rewrites the file without what was deleted, and empties the write-ahead log. Other jobs wait meanwhile."""

        def note(_: sqlite3.Connection) -> None:
            self._scrub = self._vacuum = True

        await self.run(note)

    def close(self) -> None:
        """Finishes the jobs that wait and lets go of the folder."""
        self._closed = True
        self._jobs.put(None)
        self._thread.join()
        self._connection.close()
        os.close(self._lock)

    def _work(self) -> None:
        stop = False
        while not stop:
            batch = [self._jobs.get()]
            while len(batch) < _MOST_JOBS and not self._jobs.empty():
                batch.append(self._jobs.get())
            stop = None in batch
            self._transact([job for job in batch if job is not None])

    def _transact(self, jobs: Sequence[Job]) -> None:
        answers: list[tuple[Job, Any, BaseException | None]] = []
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            answers = [(job, *self._one(job[0])) for job in jobs]
            self._connection.execute("COMMIT")
            if self._vacuum:
                self._connection.execute("VACUUM")
                self._vacuum = False
            if self._scrub:
                self._scrub = bool(self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0])
                if self._scrub:
                    _log.warning("%s is read elsewhere: what was deleted is still in its write-ahead log", self.path)
        except sqlite3.Error as error:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            answers = [(job, None, error) for job in jobs]
        for (_, loop, future), value, failed in answers:
            if not loop.is_closed():
                loop.call_soon_threadsafe(_answer, future, value, failed)

    def _one(self, job: Callable[[sqlite3.Connection], Any]) -> tuple[Any, BaseException | None]:
        self._connection.execute("SAVEPOINT job")
        try:
            value = job(self._connection)
        except Exception as error:  # told to whoever awaits the job; the others of the batch go on
            self._connection.execute("ROLLBACK TO job")
            self._connection.execute("RELEASE job")
            return None, error
        self._connection.execute("RELEASE job")
        return value, None


def tell_door(folder: Path, url: str) -> None:
    """Says where the process that has the folder answers."""
    (folder / _LOCK).write_text(url, encoding="utf-8")


def door_of(folder: Path) -> str:
    """Where the process that has the folder answers; "" when it has no door. Only of use while the folder is taken."""
    return (folder / _LOCK).read_text(encoding="utf-8")


def _answer(future: asyncio.Future[Any], value: Any, failed: BaseException | None) -> None:
    if future.done():  # whoever asked was cancelled
        return
    if failed is None:
        future.set_result(value)
    else:
        future.set_exception(failed)


def _lock(path: Path) -> int:
    opened = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(opened)
        raise FolderInUse(f"{path.parent} is in use by another agent runtime; stop it or set AGENT_DATA") from error
    os.ftruncate(opened, 0)  # the door of whoever had it before
    return opened


def _open(path: Path, schemas: Sequence[str]) -> sqlite3.Connection:
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))  # its log gets the mode that it has when it is opened
    path.chmod(0o600)
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA secure_delete=ON")  # a forgotten user is overwritten, not unlinked
    for schema in schemas:
        connection.executescript(schema)
    return connection
