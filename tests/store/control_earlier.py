"""A control database with rows in every table, and its rows as text, for a later release to open and compare.

    python -m tests.store.control_earlier NAME

writes tests/store/golden/NAME.tar.zst (control.db and rows.json) with the release that is checked out.
"""

from __future__ import annotations

import io
import json
import sys
import tarfile
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import pyarrow as pa
from sqlalchemy import create_engine, inspect, text

from tests.store.databases import ControlDatabase, closing_engine
from tests.store.test_control_dump import filled

GOLDEN: Final = Path(__file__).parent / "golden"


def rows_of(url: str, tables: dict[str, list[str]] | None = None) -> dict[str, list[dict[str, Any]]]:
    """Every row of every table, or of the `tables` and columns that are asked for, in the order of its text."""
    engine = create_engine(url)
    found = {}
    with closing_engine(engine), engine.begin() as connection:
        there = inspect(connection)
        for table in sorted(tables if tables is not None else there.get_table_names()):
            columns = tables[table] if tables is not None else [one["name"] for one in there.get_columns(table)]
            names = ", ".join(f'"{name}"' for name in columns)
            rows = connection.execute(text(f'SELECT {names} FROM "{table}"')).mappings()
            plain = [{name: _plain(value) for name, value in row.items()} for row in rows]
            found[table] = sorted(plain, key=lambda row: json.dumps(row, sort_keys=True))
    return found


def _plain(value: Any) -> Any:
    return f"0x{bytes(value).hex()}" if isinstance(value, bytes | memoryview) else value


def main(name: str) -> None:
    """Writes the archive."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "control.db"
        database = ControlDatabase(kind="sqlite", url=f"sqlite:///{path}")
        with closing(filled(database)):
            pass
        content = {"control.db": path.read_bytes(), "rows.json": json.dumps(rows_of(database.url)).encode()}
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        for file, said in content.items():
            entry = tarfile.TarInfo(file)
            entry.size = len(said)
            tar.addfile(entry, io.BytesIO(said))
    with pa.output_stream(str(GOLDEN / f"{name}.tar.zst"), compression="zstd") as stream:
        stream.write(raw.getvalue())


if __name__ == "__main__":
    main(sys.argv[1])
