"""Searches a data folder for byte strings, in files as they lie there and in what they hold when decoded: columns of
Parquet files, what is compressed in rows of an SQLite database, and what waits in the spool of a gateway."""

from __future__ import annotations

import gzip
import shutil
import sqlite3
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from gateway.spool_erasing import records

_SQLITE = b"SQLite format 3\0"
_ZSTD, _GZIP = b"\x28\xb5\x2f\xfd", b"\x1f\x8b"
CLOSED = "cannot be decoded, may hold anything"


def mentions(
    data: Path, pieces: list[bytes], opened: Callable[[bytes], bytes] | None = None, *, raw: bool = True
) -> list[str]:
    """Where one of `pieces` stands: "file: piece", and "file, part: piece" inside what is decoded.

    `opened` unseals quarantined payloads before they are searched.
    """
    found = []
    for path in sorted(data.rglob("*")):
        if not path.is_file():
            continue
        name, content = path.relative_to(data), path.read_bytes()
        found += [f"{name}: {piece!r}" for piece in pieces if raw and piece in content]
        for part, text in _decoded(path, content, opened):
            if text is None:
                found.append(f"{name}{part}: {CLOSED}")
            else:
                found += [f"{name}{part}: {piece!r}" for piece in pieces if piece in text]
    return found + [f"{name}: {piece!r}" for name, text in _spooled(data) for piece in pieces if piece in text]


def _decoded(path: Path, content: bytes, opened: Callable[[bytes], bytes] | None) -> Iterator[tuple[str, bytes | None]]:
    """The parts of a file that are not readable as they lie there; None for one that nobody can decode."""
    if content[:4] == b"PAR1" and content[-4:] == b"PAR1":
        try:
            rows = pq.read_table(path, partitioning=None)
        except (OSError, pa.ArrowException):  # damaged
            yield "", None
            return
        for name in rows.column_names:
            yield f", {name}", _text(rows.column(name), opened if name == "payload" else None)
    elif content.startswith(_SQLITE):
        try:
            yield from list(_cells(path))
        except sqlite3.DatabaseError:  # damaged
            yield "", None
    elif (text := unpacked(content)) != content:
        yield ", unpacked", text


def _cells(path: Path) -> Iterator[tuple[str, bytes]]:
    """Every value of a database, unpacked. Of a copy: nothing is changed where another process has it open."""
    with tempfile.TemporaryDirectory() as folder:
        for one in (path, path.with_name(f"{path.name}-wal")):
            if one.exists():
                shutil.copy(one, folder)
        with closing(sqlite3.connect(Path(folder) / path.name)) as database:
            database.text_factory = bytes
            tables = database.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
            for table in (name.decode() for (name,) in tables):
                rows = database.execute(f'SELECT * FROM "{table}"')
                columns = [one[0] for one in rows.description]
                for row in rows:
                    for column, value in zip(columns, row, strict=True):
                        if isinstance(value, bytes):
                            yield f", {table}.{column}", unpacked(value)


def unpacked(value: bytes) -> bytes:
    """What is compressed by its first bytes, and the value itself where nothing is."""
    try:
        if value.startswith(_ZSTD):
            return bytes(pa.CompressedInputStream(pa.BufferReader(value), "zstd").read())
        if value.startswith(_GZIP):
            return gzip.decompress(value)
    except (OSError, EOFError, zlib.error, pa.ArrowException):
        pass
    return value


def _spooled(data: Path) -> Iterator[tuple[str, bytes]]:
    """What a gateway's spool holds of all tenants, opened."""
    secret = data / "secrets" / "gateway-spool"
    for tenant in sorted((data / "gateway" / "spool").glob("*/")) if secret.exists() else []:
        for one in records(tenant.parent, bytes.fromhex(secret.read_text()), tenant.name):
            yield f"{one.path.relative_to(data)}, tenant={tenant.name}", one.content or CLOSED.encode()


def _text(column: pa.ChunkedArray, opened: Callable[[bytes], bytes] | None) -> bytes:
    values = [value for value in column.to_pylist() if value is not None]
    if opened is not None:
        values = [opened(value) for value in values]
    return b"\n".join(value if isinstance(value, bytes) else repr(value).encode() for value in values)
