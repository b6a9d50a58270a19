"""Searches a data folder for byte strings, in files as they lie there and in what they hold when decoded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq


def mentions(
    data: Path, pieces: list[bytes], opened: Callable[[bytes], bytes] | None = None, *, raw: bool = True
) -> list[str]:
    """Where one of `pieces` stands: "file: piece", and "file, column: piece" inside Parquet files.

    `opened` unseals quarantined payloads before they are searched.
    """
    found = []
    for path in sorted(data.rglob("*")):
        if not path.is_file():
            continue
        content = path.read_bytes()
        found += [f"{path.relative_to(data)}: {piece!r}" for piece in pieces if raw and piece in content]
        if content[:4] == b"PAR1" and content[-4:] == b"PAR1":
            try:
                rows = pq.read_table(path, partitioning=None)
            except (OSError, pa.ArrowException):  # damaged: nobody can decode it
                found.append(f"{path.relative_to(data)}: cannot be decoded, may hold anything")
                continue
            for name in rows.column_names:
                text = _text(rows.column(name), opened if name == "payload" else None)
                found += [f"{path.relative_to(data)}, {name}: {piece!r}" for piece in pieces if piece in text]
    return found


def _text(column: pa.ChunkedArray, opened: Callable[[bytes], bytes] | None) -> bytes:
    values = [value for value in column.to_pylist() if value is not None]
    if opened is not None:
        values = [opened(value) for value in values]
    return b"\n".join(value if isinstance(value, bytes) else repr(value).encode() for value in values)
