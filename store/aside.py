"""What a repair took out of a lake: the bytes of damaged files, and notes of what they were, below `_damaged`.

Of a lake in an object store both are objects, so that every machine knows of them; the notes are copied into the mirror
when a lake is opened.
"""

from __future__ import annotations

from pathlib import Path

from core.errors import StorageFailed
from store.delta_log import LakeFile
from store.lake import Lake
from store.trust import Damage


def note(lake: Lake, damage: Damage, file: LakeFile) -> None:
    """Puts the note on record before the file leaves its table, in an object store with the bytes. Raises
    StorageFailed."""
    lake.trust.note(damage)
    if lake.mirror is None:
        return
    path = lake.trust.note_path(damage.table, file.path)
    content = lake.mirror.objects.get(damage.file)
    try:
        if content is not None:
            lake.mirror.objects.put(_object(lake, path.with_suffix(".parquet")), content)
        lake.mirror.objects.put(_object(lake, path), path.read_bytes())
    except OSError as error:
        raise StorageFailed(f"{path} could not be read: {error}; nothing left the table") from error


def move(lake: Lake, damage: Damage, file: LakeFile) -> None:
    """Moves the bytes of a file that has left its table beside the note. Raises StorageFailed."""
    path = Path(file.path)
    if lake.mirror is not None:
        path.unlink(missing_ok=True)
        return
    target = lake.trust.note_path(damage.table, file.path).with_suffix(".parquet")
    try:
        path.replace(target)
    except FileNotFoundError:  # the file was what is missing
        return
    except OSError as error:
        raise StorageFailed(f"{path} is out of its table but could not be moved to {target}: {error}") from error


def bytes_of(lake: Lake, damage: Damage) -> bytes | None:
    """The bytes of a file that was taken out, None where they are gone. Raises StorageFailed."""
    path = lake.trust.note_path(damage.table, damage.file).with_suffix(".parquet")
    if lake.mirror is not None:
        return lake.mirror.objects.get(_object(lake, path))
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageFailed(f"{path} cannot be read: {error}") from error


def destroy(lake: Lake, damage: Damage) -> None:
    """Deletes these bytes; the note stays. Raises StorageFailed."""
    path = lake.trust.note_path(damage.table, damage.file).with_suffix(".parquet")
    if lake.mirror is not None:
        lake.mirror.objects.delete(_object(lake, path))
    path.unlink(missing_ok=True)


def _object(lake: Lake, path: Path) -> str:
    return path.relative_to(lake.root).as_posix()
