"""Checkpoints of a table's log: which is the newest, and a log as deltalake can read it.

`_last_checkpoint` is only a hint of deltalake's at the newest checkpoint. One that is damaged is not believed: the
folder itself says which checkpoints there are.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import pyarrow.parquet as pq

from core.errors import Corrupt

LAST: Final = "_last_checkpoint"


def path_of(log: Path, version: int) -> Path:
    """Where the checkpoint of a version lies."""
    return log / f"{version:020}.checkpoint.parquet"


def newest(log: Path) -> int | None:
    """The version of the newest checkpoint in the folder, None where there is none."""
    stems = [path.name.split(".")[0] for path in log.glob("*.checkpoint.parquet")]
    return max((int(stem) for stem in stems if stem.isdigit()), default=None)


def hinted(log: Path) -> int | None:
    """The version that the hint names, None where there is no hint or a damaged one.

    Raises Corrupt when it is the checkpoint that is missing, as its seal tells.
    """
    try:
        said = json.loads((log / LAST).read_bytes())
        version = int(said["version"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
    if path_of(log, version).exists():
        return version
    if path_of(log, version).with_suffix(".xxh3").exists():
        raise Corrupt(f"{path_of(log, version)} is named by {log / LAST} but is missing; run assay doctor")
    return None


@contextmanager
def readable(folder: Path) -> Iterator[str]:
    """The folder of a table as deltalake can open it: itself, or where its hint is damaged a copy of its log with a
    sound one, which is gone afterwards. Raises Corrupt, OSError."""
    log = folder / "_delta_log"
    agrees = hinted(log) is not None if (log / LAST).exists() else newest(log) is None
    if agrees:
        yield str(folder)
        return
    with TemporaryDirectory(prefix="assay-log-") as scratch:
        copy(log, Path(scratch) / "_delta_log")
        yield scratch


def copy(log: Path, target: Path) -> None:
    """Copies what a reader of the log needs, with a hint of our own. Raises Corrupt when an entry is missing."""
    version = newest(log)
    later = sorted(path for path in log.glob("*.json") if path.stem.isdigit())
    if version is not None:
        later = [path for path in later if int(path.stem) > version]
    first = 0 if version is None else version + 1
    for expected, path in enumerate(later, first):
        if int(path.stem) != expected:
            raise Corrupt(f"{log / f'{expected:020}.json'} is missing, or a checkpoint is; run assay doctor")
    target.mkdir()
    for path in later:
        (target / path.name).write_bytes(path.read_bytes())
    if version is not None:
        made = path_of(target, version)
        made.write_bytes(path_of(log, version).read_bytes())
        hint = {"version": version, "size": pq.ParquetFile(made).metadata.num_rows}
        (target / LAST).write_text(json.dumps(hint))


def transactions(log: Path, upto: int) -> dict[str, int]:
    """All application transactions: those in the newest checkpoint, then those in log entries up to version `upto`."""
    found: dict[str, int] = {}
    version = newest(log)
    if version is not None:
        for row in pq.read_table(path_of(log, version), columns=["txn"]).column("txn").to_pylist():
            if row and row.get("appId"):
                found[row["appId"]] = row["version"]
    for number in range(0 if version is None else version + 1, upto + 1):
        for line in (log / f"{number:020}.json").read_bytes().splitlines():
            if txn := json.loads(line).get("txn"):
                found[txn["appId"]] = txn["version"]
    return found
