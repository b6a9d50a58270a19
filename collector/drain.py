"""Drains a journal on request: what was acknowledged so far is in the lake, and the segments that held it are gone.

Who wants it writes a token to `journal/drain`; the collector that holds the journal starts a new segment, goes on
taking requests, and answers in `journal/drained` once no segment is left of those there were. An erasure asks for it.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import secrets
import time
from pathlib import Path
from typing import Any, Final

from collector.journal import Journal
from collector.segment import first_position
from core.errors import StorageFailed
from store.durable import write_durably

ASKED: Final = "drain"
ANSWERED: Final = "drained"
_LOG: Final = logging.getLogger("assay.journal")


class Drain:
    """The collector's side. Not thread-safe: the committer's thread owns it."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._token: str | None = None
        self._upto = 0
        self._n_before = 0

    def look(self, committed: int, *, behind: bool) -> None:
        """Begins with a new request, or answers it when everything up to its position is stored and derived.

        Raises OSError, StorageFailed; the next call tries again.
        """
        try:
            token = (self._journal.folder / ASKED).read_text(encoding="ascii").strip()
        except FileNotFoundError:
            return
        if token != self._token:
            self._token, self._upto = token, self._journal.last_position
            self._n_before = len(self._held())
            self._journal.roll()
        if committed < self._upto or behind:
            return
        self._journal.committed(committed)
        if self._held():
            return
        damaged = len(self._journal.segments()[1])
        answer = {"token": token, "segments": self._n_before, "damaged": damaged}
        write_durably(self._journal.folder / ANSWERED, json.dumps(answer).encode())
        (self._journal.folder / ASKED).unlink(missing_ok=True)
        self._token = None
        _LOG.info("drained the journal up to position %d on request", self._upto)

    def _held(self) -> list[Path]:
        paths, damaged = self._journal.segments()
        return [path for path in paths if path not in damaged and first_position(path) <= self._upto]


def request_drain(folder: Path, within_s: float) -> tuple[int, int] | None:
    """Asks the collector that holds the journal in `folder`, and waits: (segments destroyed, damaged ones left).

    None when no collector holds it. Raises StorageFailed when none has answered after `within_s` seconds.
    """
    token = secrets.token_hex(8)
    deadline = time.monotonic() + within_s
    if not is_held(folder):
        return None
    write_durably(folder / ASKED, token.encode())
    try:
        while is_held(folder):
            found = _answer(folder / ANSWERED)
            if found.get("token") == token:
                (folder / ANSWERED).unlink(missing_ok=True)
                return int(found["segments"]), int(found["damaged"])
            if time.monotonic() > deadline:
                waited = f"what waits in {folder} was not stored within {within_s:g} s"
                raise StorageFailed(f"{waited}; look at the collector's log, then try again")
            time.sleep(0.05)
    finally:
        (folder / ASKED).unlink(missing_ok=True)
    return None


def is_held(folder: Path) -> bool:
    """Whether a collector holds the journal in `folder`."""
    try:
        descriptor = os.open(folder / "lock", os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _answer(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):  # not there, or half written
        return {}
    return found if isinstance(found, dict) else {}
