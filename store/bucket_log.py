"""The logs of a lake in an object store, looked at there and not in the mirror of a machine."""

from __future__ import annotations

from typing import Final

import xxhash

from core.errors import Corrupt
from store import schema
from store.log_seal import check
from store.objects import Objects

_CHECKPOINT: Final = ".checkpoint.parquet"


def tables_there(objects: Objects) -> set[str]:
    """The tables that have a log. Raises StorageFailed."""
    return {table for table in schema.TABLES if objects.list(f"{table}/_delta_log")}


def tables_without_log(objects: Objects) -> list[str]:
    """Tables with files and no log: who opens the lake would make them anew, and empty. Raises StorageFailed."""
    found = tables_there(objects)
    return [table for table in schema.TABLES if table not in found and objects.list(table)]


def damage_of(objects: Objects, table: str) -> Corrupt | None:
    """What is wrong with the newest checkpoint of a table's log or an entry after it. Raises StorageFailed."""
    where = f"{table}/_delta_log"
    names = sorted(found.path.rpartition("/")[2] for found in objects.list(where))
    checkpoints = [name for name in names if name.endswith(_CHECKPOINT)]
    last = int(checkpoints[-1][:20]) if checkpoints else -1
    entries = [name for name in names if name.endswith(".json") and name[:20].isdigit() and int(name[:20]) > last]
    expected = [f"{last + 1 + n:020}.json" for n in range(len(entries))]
    missing = next((name for name, found in zip(expected, entries, strict=True) if name != found), None)
    try:
        if missing is not None:
            raise Corrupt(f"{table}: {objects.url}/{where}/{missing} is missing, or a checkpoint is")
        for name in checkpoints[-1:]:
            _check_checkpoint(objects, f"{where}/{name}")
        for name in entries:
            content = objects.get(f"{where}/{name}")
            if content is not None:  # else put into a checkpoint and cleaned away meanwhile
                check(content, f"{table}: {objects.url}/{where}/{name}")
    except Corrupt as error:
        return error
    return None


def _check_checkpoint(objects: Objects, path: str) -> None:
    content = objects.get(path)
    seal = objects.get(path.removesuffix(".parquet") + ".xxh3")
    if content is not None and seal is not None and xxhash.xxh3_128_hexdigest(content).encode() != seal:
        raise Corrupt(f"{objects.url}/{path} was altered: its content does not hash to what its seal says")
