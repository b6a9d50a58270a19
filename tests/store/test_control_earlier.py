"""A control database of an earlier release, with rows in every table it had, opens in this one and says the same."""

from __future__ import annotations

import json
import tarfile
from contextlib import closing
from pathlib import Path
from typing import Final

import pyarrow as pa
import pytest
from sqlalchemy import create_engine

from core.ids import TenantId
from store.control import seals
from store.control.control import Control
from store.control.tables import METADATA
from tests.store.control_earlier import GOLDEN, rows_of
from tests.store.databases import PEPPER, closing_engine

ACME: Final = TenantId("acme")
# What an upgrade writes anew: seals, which are over all columns, and the number of the schema.
OWN: Final = {"seal", "version_num"}


@pytest.mark.parametrize("archive", sorted(GOLDEN.glob("control-*.tar.zst")), ids=lambda path: path.name.split(".")[0])
def test_every_row_is_read_as_it_was_written(archive: Path, tmp_path: Path) -> None:
    with (
        pa.input_stream(str(archive), compression="zstd") as stream,
        tarfile.open(fileobj=stream, mode="r|") as tar,
    ):
        tar.extractall(tmp_path, filter="data")
    before = json.loads((tmp_path / "rows.json").read_text())
    url = f"sqlite:///{tmp_path / 'control.db'}"
    with closing(Control.open(url, pepper=PEPPER)) as control:
        assert control.verify(ACME).ok
        assert len(control.list_keys(ACME)) == sum(row["tenant"] == str(ACME) for row in before["api_keys"])
    engine = create_engine(url)
    with closing_engine(engine), engine.begin() as connection:
        for table in METADATA.tables.values():
            if "seal" in table.c:
                assert len(seals.rows(connection, table)) >= len(before.get(table.name, ()))  # each is believed
    tables = {name: sorted(set(rows[0]) - OWN) for name, rows in before.items() if set(rows[0]) - OWN}
    assert len(tables) >= 59  # of a first release with this test
    expected = {
        name: sorted(
            ({column: row[column] for column in columns} for row in before[name]),
            key=lambda row: json.dumps(row, sort_keys=True),
        )
        for name, columns in tables.items()
    }
    assert rows_of(url, tables) == expected
