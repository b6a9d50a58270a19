"""Files of a data folder as they lie there: logs, in which a user is written over, and what others wrote into it."""

from __future__ import annotations

import mmap
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from store.erasure import Subject

_TRACE: Final = re.compile(rb"[0-9a-f]{32}")
# Folders that only Assay writes into.
_OWN: Final = frozenset({"clustering", "journal", "lake", "lake-cache", "run", "secrets"})


def of_others(data: Path, subject: Subject) -> Iterator[str]:
    """Files below the data folder that others wrote, the reference agent say, and that hold the id; of one whose
    path holds it too, the folder."""
    pieces = re.compile(b"|".join(map(re.escape, subject.pieces())))
    for path in data.rglob("*"):
        inside = path.relative_to(data)
        if inside.parts[0] in _OWN or inside.name.startswith("control.db") or not path.is_file():
            continue
        with (
            suppress(OSError, ValueError),  # ValueError: it is empty
            path.open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
        ):
            if pieces.search(content):
                yield str(inside.parent if pieces.search(os.fsencode(inside)) else inside)


def overwrite_in_logs(data: Path, subject: Subject, traces: frozenset[str]) -> int:
    """Writes x over every mention of the user and of a trace in files of text that a process may have written into;
    how many there were. Raises OSError."""
    return sum(_overwrite(path, subject, traces) for path in _logs(data))


def _logs(data: Path) -> Iterator[Path]:
    for folder, pattern in ((data, "*.log*"), (data / "run", "*.log*"), (data / "journal", "*.txt")):
        yield from (path for path in folder.glob(pattern) if path.is_file())


def _overwrite(path: Path, subject: Subject, traces: frozenset[str]) -> int:
    """Writes x over every mention of the user (an id that is short only where it stands in quotes) and of a trace, in
    place: who appends to the file meanwhile is not disturbed. Returns how many there were."""
    pieces = [re.escape(piece) for piece in subject.pieces() if not piece.startswith((b"\x0a", b"\x12"))]
    ids = re.compile(b"|".join(pieces))
    n = 0
    with suppress(FileNotFoundError, ValueError), path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as content:
        found = [each.span() for each in ids.finditer(content)]
        found += [each.span() for each in _TRACE.finditer(content) if each[0].decode() in traces]
        for start, end in found:
            content[start:end] = b"x" * (end - start)
        n = len(found)
        content.flush()
    return n  # ValueError: the file is empty
