"""Held rows: bounded, exact, decoded once."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from store.delta_log import LakeFile
from store.held import COLUMN_BYTES, MOST_ROWS, HeldRows, packed, worth_holding
from store.lake import Lake
from store.schema import TABLES
from tests.store.build import fill, row


def _file(name: str, n_rows: int = 10) -> LakeFile:
    return LakeFile(
        folder="/lake",
        relative=name,
        tenant="acme",
        date="2026-11-21",
        n_rows=n_rows,
        size=1,
        min_ns=None,
        max_ns=None,
        min_seq=0,
        max_seq=0,
    )


def _rows(n: int) -> pa.Table:
    return pa.table({"n": pa.array(range(n), pa.int64())})


def _turns(n: int) -> pa.Table:
    schema = TABLES["turns"]
    columns = [pa.nulls(n, field.type) if field.name != "name" else pa.array(["turn"] * n) for field in schema]
    return pa.table(columns, schema=schema)


def test_a_file_is_decoded_once() -> None:
    held, decoded = HeldRows(), []

    def decode(file: LakeFile) -> pa.Table:
        decoded.append(file.path)
        return _rows(10)

    for _ in range(3):
        assert held.rows(_file("a"), decode).num_rows == 10
    assert decoded == ["/lake/a"]


def test_the_least_recently_used_goes_first_and_the_bound_holds() -> None:
    _, one = packed(_rows(10))
    held, decoded = HeldRows(most_bytes=2 * one), []

    def decode(file: LakeFile) -> pa.Table:
        decoded.append(file.relative)
        return _rows(10)

    for name in ("a", "b", "a", "c", "a", "b"):
        held.rows(_file(name), decode)
        assert held.n_bytes <= 2 * one
    assert decoded == ["a", "b", "c", "b"]


def test_rows_over_the_bound_are_answered_and_not_kept() -> None:
    held = HeldRows(most_bytes=200)
    assert held.rows(_file("a"), lambda _: _rows(1000)).num_rows == 1000
    assert held.n_bytes == 0


def test_only_few_rows_of_short_tables_are_worth_it() -> None:
    assert worth_holding("turns", (_file("a"), _file("b")))
    assert not worth_holding("spans", (_file("a"),))
    assert not worth_holding("turns", (_file("a", MOST_ROWS), _file("b")))
    assert not worth_holding("turns", ())


def test_rows_of_files_that_are_gone_are_given_up_when_the_next_file_is_decoded(tmp_path: Path) -> None:
    held = HeldRows()
    lake = Lake(tmp_path)
    fill(lake, [row(span_id=1)])
    (gone,) = lake.snapshot("turns").files
    held.rows(gone, lake.read)
    lake.remove("turns", [gone])
    Path(gone.path).unlink()
    fill(lake, [row(span_id=2)])
    (new,) = lake.snapshot("turns").files
    rows = held.rows(new, lake.read)
    assert held.n_bytes == packed(rows)[1]


def test_what_is_kept_lies_in_one_piece_and_is_counted_whole() -> None:
    held = HeldRows()
    roomy = pa.concat_tables([TABLES["turns"].empty_table(), _turns(50)])  # pieces of memory by the dozen
    rows = held.rows(_file("a"), lambda _: roomy)
    assert rows == roomy
    buffers = [buffer for column in rows.columns for chunk in column.chunks for buffer in chunk.buffers() if buffer]
    first, last = min(b.address for b in buffers), max(b.address + b.size for b in buffers)
    assert last - first <= held.n_bytes - COLUMN_BYTES * rows.num_columns
    assert not {b.address for b in buffers} & {
        b.address for column in roomy.columns for chunk in column.chunks for b in chunk.buffers() if b
    }


def test_many_files_of_one_row_are_within_the_bound_too() -> None:
    held = HeldRows(most_bytes=1 << 20)
    decoded: list[str] = []

    def decode(file: LakeFile) -> pa.Table:
        decoded.append(file.relative)
        return _turns(1)

    for _ in range(2):
        for n in range(100):
            held.rows(_file(str(n)), decode)
    assert len(decoded) == 200  # 26 columns each: far fewer than a hundred are kept, though their rows are 20 KB
