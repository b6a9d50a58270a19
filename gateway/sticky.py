"""Which release a session was given, for as long as it is remembered: a session seen before stays where it is.

Kept in memory, the least recently used forgotten first, and appended to a file, so that a restart keeps it: `sessions`
in the folder, and `sessions.before`, which it becomes when it has as many lines as are remembered. Sessions stand in
it by a hash of tenant, app and id.
"""

from __future__ import annotations

import logging
import os
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Final

import orjson

from core.clock import NS_PER_S, Clock

MOST: Final = 100_000
TTL_S: Final = 7 * 86_400
_LOG: Final = logging.getLogger("assay.gateway")


@dataclass(slots=True)
class Kept:
    """What is remembered of a session. `release` empty: it was seen, and nobody decided where it goes. `arm`: the
    experiment's NAME:VERSION, a slash and the variant that it was given, empty without one."""

    release: str
    written_s: int
    in_file: int  # the number of the file that it was written to
    arm: str = ""


class Sticky:
    """Not thread-safe; of one process. Never raises: what cannot be written is remembered until the process ends."""

    def __init__(self, folder: Path, clock: Clock, *, most: int = MOST, ttl_s: int = TTL_S) -> None:
        """Reads what an earlier process left."""
        self._path, self._before = folder / "sessions", folder / "sessions.before"
        self._clock, self._most, self._ttl_s = clock, most, ttl_s
        self._kept: OrderedDict[bytes, Kept] = OrderedDict()
        self._file = self._n_lines = 0
        self._descriptor = -1
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._load(self._before)
            self._file = 1
            self._n_lines = self._load(self._path)
            self._open()
        except OSError as error:
            _LOG.error("the file of sessions cannot be used: %s", error)

    def __len__(self) -> int:
        return len(self._kept)

    def of(self, session: bytes) -> Kept | None:
        """What is remembered of a session; None when it is not known, or was seen too long ago."""
        kept = self._kept.get(session)
        if kept is None:
            return None
        now_s = self._clock() // NS_PER_S
        if now_s - kept.written_s > self._ttl_s:
            del self._kept[session]
            return None
        self._kept.move_to_end(session)
        if now_s - kept.written_s > self._ttl_s // 4 or kept.in_file != self._file:
            self.keep(session, kept.release, kept.arm)
        return kept

    def keep(self, session: bytes, release: str, arm: str = "") -> None:
        """Remembers that a session was given a release, and by which arm of an experiment."""
        if self._n_lines >= self._most:
            self._turn()
        now_s = self._clock() // NS_PER_S
        self._kept[session] = Kept(release, now_s, self._file, arm)
        self._kept.move_to_end(session)
        if len(self._kept) > self._most:
            self._kept.popitem(last=False)
        if self._descriptor >= 0:
            try:
                line = [session.hex(), now_s, release, *([arm] if arm else [])]
                os.write(self._descriptor, orjson.dumps(line) + b"\n")
                self._n_lines += 1
            except OSError as error:
                _LOG.error("the file of sessions cannot be written any more: %s", error)
                self.close()

    def close(self) -> None:
        """Lets go of the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _open(self) -> None:
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        size = os.fstat(self._descriptor).st_size
        if size and os.pread(self._descriptor, 1, size - 1) != b"\n":
            os.write(self._descriptor, b"\n")  # a process was killed in the middle of a line

    def _turn(self) -> None:
        """The file becomes the one before, and another begins; what was used since is written again when it is used."""
        self.close()
        self._file += 1
        self._n_lines = 0
        try:
            self._path.replace(self._before)
            self._open()
        except OSError as error:
            _LOG.error("the file of sessions cannot be begun anew: %s", error)

    def _load(self, path: Path) -> int:
        lines: list[bytes] = []
        with suppress(FileNotFoundError):
            lines = path.read_bytes().splitlines()
        oldest_s = self._clock() // NS_PER_S - self._ttl_s
        for line in lines[-self._most :]:
            try:
                session, at_s, release, *arm = orjson.loads(line)
                if isinstance(release, str) and isinstance(at_s, int) and at_s >= oldest_s:
                    key = bytes.fromhex(session)
                    self._kept[key] = Kept(release, at_s, self._file, "".join(arm))
                    self._kept.move_to_end(key)
            except (ValueError, TypeError):
                continue  # half a line
        while len(self._kept) > self._most:
            self._kept.popitem(last=False)
        return len(lines)


def session_key(tenant: str, app: str, session: str) -> bytes:
    """What a session is remembered by."""
    return blake2b(f"{tenant}\0{app}\0{session}".encode(), digest_size=16).digest()
