"""Seals of rows: SQLite keeps no checksum of a page, and a flipped bit in a role or a count reads like any other value.

Every row that an answer depends on carries the XXH3-128 of its columns in `seal` (the audit log has its chain instead).
A row that does not fit its seal is not believed: if exactly one flipped bit explains it, the seal proves which, and the
row is read as it was written; else it is Corrupt. A flipped bit in an index, or in the pages that lead to a row, can
hide it: so nothing is said to be absent, and no list to be complete, before index and table were both asked.

PostgreSQL keeps checksums of its pages itself; there the seals are written and checked, and the index alone is asked.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, Final

import xxhash
from sqlalchemy import Connection, Row, Select, Table, insert, select, update

from core.errors import Corrupt

SEAL: Final = "seal"
_WIDTHS: Final = (1, 2, 3, 4, 6, 8)  # bytes of an integer in SQLite's record format
_MOST_BYTES: Final = 4096  # a longer value is not searched for its flipped bit
_LOG: Final = logging.getLogger("assay.control")

Values = Mapping[str, object]


def seal_of(table: str, columns: tuple[str, ...], values: Values) -> bytes:
    """16 bytes over the table's name and the values of `columns`, with their types and lengths."""
    hasher = xxhash.xxh3_128(table.encode())
    for name in columns:
        kind, content = _stored(values.get(name))
        hasher.update(b"%b%d:%b" % (kind, len(content), content))
    return hasher.digest()


def sealed(table: Table, values: Values) -> dict[str, object]:
    """The values of a whole row with their seal."""
    return {**values, SEAL: seal_of(table.name, columns_of(table), values)}


def columns_of(table: Table) -> tuple[str, ...]:
    """The columns that a seal covers: all others."""
    return tuple(column.name for column in table.columns if column.name != SEAL)


def is_sound(table: Table, values: Mapping[str, Any]) -> bool:
    """Whether a row is as it was written. A column may be missing: a flipped bit of the schema has renamed it."""
    return bool(values.get(SEAL) == seal_of(table.name, columns_of(table), values))


def mended(table: Table, values: Values) -> dict[str, object] | None:
    """The row as it was written, where one flipped bit is all that happened to it; else None."""
    columns = columns_of(table)
    found = values.get(SEAL)
    if not isinstance(found, bytes) or not values.keys() >= set(columns):
        return None
    expected = seal_of(table.name, columns, values)
    if (int.from_bytes(found, "big") ^ int.from_bytes(expected, "big")).bit_count() <= 1:
        return {**values, SEAL: expected}
    for name in columns:
        for candidate in _one_bit_away(values[name]):
            row = {**values, name: candidate}
            if seal_of(table.name, columns, row) == found:
                return row
    return None


def one(connection: Connection, table: Table, key: Values) -> Any | None:
    """The row with these key columns, or None. Raises Corrupt when it, or what leads to it, was altered."""
    found = _asked(connection, table, key, hint=None)
    if not found and connection.dialect.name == "sqlite":
        found = _asked(connection, table, key, hint="NOT INDEXED")
    return found[0] if found else None


def rows(connection: Connection, table: Table, key: Values | None = None) -> list[Any]:
    """All rows with these values, in no order. Raises Corrupt when one of them was altered."""
    key = key or {}
    if connection.dialect.name != "sqlite":
        return _asked(connection, table, key, hint=None)
    index = f"INDEXED BY sqlite_autoindex_{table.name}_1" if not key else None
    union = {}
    for row in [*_asked(connection, table, key, hint=index), *_scanned(connection, table, key)]:
        union[tuple(getattr(row, column.name) for column in table.primary_key)] = row
    return list(union.values())


def by_index(connection: Connection, table: Table, key: Values) -> list[Any]:
    """The rows with these values that the index leads to, for who knows how many there must be. Raises Corrupt."""
    return _asked(connection, table, key, hint=None)


def found(connection: Connection, table: Table, statement: Select[Any]) -> list[Any]:
    """The rows of the table that a statement over its columns finds, each as it was written. Those that an altered
    index or value hides are not among them: for who looks at all rows too, now and then. Raises Corrupt."""
    return [_checked(table, row) for row in connection.execute(statement)]


def add(connection: Connection, table: Table, values: Values) -> None:
    """Inserts a row with its seal."""
    connection.execute(insert(table).values(**sealed(table, values)))


def change(connection: Connection, table: Table, row: Any, **changes: object) -> None:
    """Writes a row that `one` or `rows` gave, with some changes, under a new seal. Raises Corrupt if it is gone."""
    values = {name: getattr(row, name) for name in columns_of(table)}
    written = {**changes, SEAL: seal_of(table.name, columns_of(table), {**values, **changes})}
    statement = update(table).where(*[column == values[column.name] for column in table.primary_key]).values(**written)
    if connection.execute(statement).rowcount == 1:
        return
    if connection.dialect.name == "sqlite" and _change_unindexed(connection, table, values, written) == 1:
        return
    raise Corrupt(f"{_named(table, values)} cannot be found by its key; run assay doctor --repair")


def _change_unindexed(connection: Connection, table: Table, values: Values, written: Values) -> int:
    key = {column.name: values[column.name] for column in table.primary_key}
    sets, wheres = ", ".join(f'"{name}" = ?' for name in written), " AND ".join(f'"{name}" = ?' for name in key)
    statement = f'UPDATE "{table.name}" NOT INDEXED SET {sets} WHERE {wheres}'
    return connection.exec_driver_sql(statement, (*written.values(), *key.values())).rowcount


def _scanned(connection: Connection, table: Table, key: Values) -> list[Any]:
    """The rows of a whole table that have these values, whatever stands in them now."""
    found = []
    for row in _hinted(connection, table, {}, "NOT INDEXED"):
        try:
            right = _checked(table, row)
        except Corrupt:
            if all(row._mapping[name] == value for name, value in key.items()):
                raise
            continue
        if all(getattr(right, name) == value for name, value in key.items()):
            found.append(right)
    return found


def _asked(connection: Connection, table: Table, key: Values, *, hint: str | None) -> list[Any]:
    if hint is None:
        found = connection.execute(select(table).where(*[table.c[name] == value for name, value in key.items()])).all()
    else:
        found = _hinted(connection, table, key, hint)
    checked = (_checked(table, row) for row in found)
    # An index can lead to a row of another key.
    return [row for row in checked if all(getattr(row, name) == value for name, value in key.items())]


def _hinted(connection: Connection, table: Table, key: Values, hint: str) -> Sequence[Row[Any]]:
    """Rows by the way that `hint` tells SQLite to take (https://www.sqlite.org/lang_indexedby.html)."""
    names = ", ".join(f'"{column.name}"' for column in table.columns)
    where = " WHERE " + " AND ".join(f'"{name}" = ?' for name in key) if key else ""
    return connection.exec_driver_sql(f'SELECT {names} FROM "{table.name}" {hint}{where}', tuple(key.values())).all()


def _checked(table: Table, row: Row[Any]) -> Any:
    values = dict(row._mapping)
    if not is_sound(table, values):
        right = mended(table, values)
        if right is None:
            raise Corrupt(f"{_named(table, values)} was altered; run assay doctor")
        _LOG.error("%s had one flipped bit and is read as it was written; run assay doctor", _named(table, right))
        values = right
    return SimpleNamespace(**values)


def _named(table: Table, values: Values) -> str:
    key = ", ".join(f"{column.name} {str(values.get(column.name))[:80]!r}" for column in table.primary_key)
    return f"the row of {table.name} with {key} in the control database"


def _stored(value: object) -> tuple[bytes, bytes]:
    match value:
        case None:
            return b"n", b""
        case bool() | int():
            return b"i", str(int(value)).encode()
        case str():
            return b"s", value.encode("utf-8", "surrogateescape")
        case bytes() | memoryview():
            return b"b", bytes(value)
        case _:
            return b"?", repr(value).encode()


def _one_bit_away(value: object) -> Iterator[object]:
    """What the value can have been before one of its stored bits flipped."""
    if isinstance(value, int):
        yield from (value ^ (1 << bit) for bit in range(63))
        yield from (value ^ (-1 << (8 * width - 1)) for width in _WIDTHS)
    elif isinstance(value, str | bytes):
        raw = _stored(value)[1]
        for at in range(len(raw) if len(raw) <= _MOST_BYTES else 0):
            for bit in range(8):
                flipped = bytearray(raw)
                flipped[at] ^= 1 << bit
                whole = bytes(flipped)
                yield whole.decode("utf-8", "surrogateescape") if isinstance(value, str) else whole
