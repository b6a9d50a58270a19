"""Writing so that it is still there after a power loss: content is synced, and so is every name that leads to it.

A file system promises neither the bytes of a file before `fsync` of the file, nor its name before `fsync` of the
folder it stands in, nor that folder's own name before `fsync` of the one above. tests/reliability builds the states
that this allows and starts Assay on each.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def write_durably(path: Path, content: bytes) -> None:
    """Writes and syncs a new file; the caller syncs the folder. Raises OSError; leaves nothing behind then."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o640)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(descriptor, view) :]
        os.fsync(descriptor)
    except OSError:
        with suppress(OSError):  # the first error says what is wrong
            path.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)


def replace_durably(path: Path, content: bytes) -> None:
    """Puts `content` at `path` in one step: a reader, or a start after a crash, sees all or none. Raises OSError."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    write_durably(scratch, content)
    try:
        scratch.replace(path)
    except OSError:
        with suppress(OSError):
            scratch.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Makes the names in a folder durable: what was made, moved and removed there. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(path: Path, *, below: Path | None = None, mode: int = 0o750) -> None:
    """Makes a folder with those above it that are missing, and makes all their names durable, up to the one in `below`
    (default: the nearest that was there). Raises OSError.

    That a folder is there does not say that its name is durable: who made it may have been killed before the sync.
    A folder above that may not be read is left out: what stands in it was not made by us.
    """
    top = below or path.parent
    while not top.exists():
        top = top.parent
    path.mkdir(parents=True, exist_ok=True, mode=mode)
    while path != top and path != path.parent:
        path = path.parent
        with suppress(PermissionError):
            sync_folder(path)
