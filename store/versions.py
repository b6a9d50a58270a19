"""The format of a data folder: which Assay may open it.

`format.json` says the number of the format and the release that wrote it. A folder without one is of a release before
there was one (format 0). A release opens its own format and every earlier one, and brings those up at the first open;
a later one it refuses before it has touched anything. The number grows with every change that an earlier release would
answer wrongly about: a column more in a table of the lake, another kind of entry in the journal, a file that must be
read to know what is true. Steps of the control database have their own numbers (store/control/migrate.py).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from core.errors import Corrupt, InvalidInput, StorageFailed
from store.durable import replace_durably

# 2: rollups that are packed by the minute and by the hour (store/hours.py). 3: the tables embeddings and memberships,
# which an earlier release would leave out of an erasure, of retention and of a backup.
FORMAT: Final = 3
FILE: Final = "format.json"


class NewerData(InvalidInput):
    """The data folder was written by a later release; nothing was touched."""

    code = "newer_data"


def format_of(data: Path) -> int:
    """The format of a data folder, 0 for one without a number. Raises Corrupt when the file says nothing."""
    return _found(data)[0]


def require_format(data: Path) -> None:
    """Raises NewerData when a later release wrote the folder, Corrupt when its number cannot be read."""
    number, release = _found(data)
    if number > FORMAT:
        raise NewerData(
            f"{data} has format {number}, written by Assay {release}; this Assay knows formats up to {FORMAT}: "
            f"run Assay {release} or later, or restore a backup from before the upgrade into another folder"
        )


def note_format(data: Path, release: str) -> None:
    """Says that the folder has this release's format; call it when everything in it does. Raises StorageFailed."""
    if _found(data)[0] == FORMAT:
        return
    content = json.dumps({"format": FORMAT, "release": release}) + "\n"
    try:
        replace_durably(data / FILE, content.encode())
    except OSError as error:
        raise StorageFailed(f"{data / FILE} could not be written: {error.strerror}") from error


def _found(data: Path) -> tuple[int, str]:
    try:
        said = json.loads((data / FILE).read_bytes())
        return int(said["format"]), str(said["release"])[:40]
    except (FileNotFoundError, NotADirectoryError):
        return 0, "0"
    except (ValueError, KeyError, TypeError) as error:
        raise Corrupt(
            f"{data / FILE} cannot be read: {error}; restore it from a backup, or see docs/backup.md"
        ) from error
    except OSError as error:
        raise StorageFailed(f"{data / FILE} cannot be read: {error.strerror}") from error
