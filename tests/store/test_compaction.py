"""Upkeep while queries run: every row stays, files become few, and nobody's query breaks."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from core.errors import Corrupt
from store import compaction, schema
from store.compaction import MIN_FILES, MIN_FILES_OF_A_FULL_PACK, pack, plan, upkeep, z_order
from store.lake import Lake
from tests.store.build import agent_trace, fill, row, spans_table
from tests.store.places import WINDOW, store_at

N = 20


def many(lake: Lake, n: int = N, **given: object) -> None:
    """So many commits of one trace each."""
    for number in range(1, n + 1):
        fill(lake, agent_trace(number, at_s=number * 7 % n, session_id=f"s{number % 3}", **given))


def content(lake: Lake, table: str) -> list[tuple[object, ...]]:
    """Every row, in an order of its own."""
    found = []
    for file in lake.snapshot(table).files:
        frame = pl.from_arrow(lake.read(file, verify=True).select(schema.TABLES[table].names))
        assert isinstance(frame, pl.DataFrame)
        found += frame.rows()
    return sorted(found, key=str)


def test_upkeep_keeps_every_row_of_every_table(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    many(lake)
    for n in range(MIN_FILES):
        for table in ("scores", "events", "quarantine", "embeddings", "memberships"):
            columns = {"tenant": "acme", "date": "2026-09-21", "seq": n + 1}
            lake.append(table, pa.Table.from_pylist([columns], schema=schema.TABLES[table]))
    before = {table: content(lake, table) for table in lake.tables()}
    done = upkeep(lake)
    assert done["spans"] == {"packed": N, "made": 1, "deleted": 0}
    for table in lake.tables():
        assert done[table]["packed"], table
        if table != "rollups":  # they are added up: tests/store/test_hours.py
            assert content(lake, table) == before[table], table
            assert content(Lake(tmp_path), table) == before[table], table
    assert upkeep(lake)["spans"] == {"packed": 0, "made": 0, "deleted": 0}
    assert upkeep(lake, grace_s=-60)["spans"]["deleted"] == N
    assert content(lake, "spans") == before["spans"]


def test_partitions_are_packed_apart(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    many(lake, MIN_FILES, tenant="a")
    many(lake, MIN_FILES, tenant="b")
    many(lake, MIN_FILES - 1, tenant="c")
    groups = plan(lake, "spans")
    assert sorted({file.tenant for file in group}.pop() for group in groups) == ["a", "b"]
    upkeep(lake)
    assert sorted((file.tenant, file.n_rows) for file in lake.snapshot("spans").files if file.tenant != "c") == [
        ("a", MIN_FILES * 4),
        ("b", MIN_FILES * 4),
    ]


def test_a_pack_that_is_full_waits_for_no_more_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At 25,000 spans a second and 10,000 in a file, packs of 65,536 were full at six files, and most were not made."""
    lake = Lake(tmp_path)
    rows, files = 4, MIN_FILES_OF_A_FULL_PACK
    monkeypatch.setitem(compaction.MOST_ROWS, "spans", rows * (files + 1) - 1)
    many(lake, 3 * files - 1)
    assert [len(group) for group in plan(lake, "spans")] == [files, files], "the rest may still be added to"
    upkeep(lake)
    packed = sorted(file.n_rows for file in lake.snapshot("spans").files)
    assert packed == [rows] * (files - 1) + [rows * files] * 2
    monkeypatch.setitem(compaction.MOST_ROWS, "spans", 3 * rows)
    assert not plan(lake, "spans"), "of fewer, each is nearly full by itself"


def test_packed_rows_lie_in_z_order(tmp_path: Path) -> None:
    side = 16
    grid = [(time_, trace) for time_ in range(side) for trace in range(side)]
    order = z_order(
        pa.chunked_array([[time_ for time_, _ in grid]]), pa.chunked_array([[f"{t:02}" for _, t in grid]])
    ).to_numpy()
    assert sorted(order) == list(range(side * side))
    quarter = np.array(grid)[order[: side * side // 4]]
    assert quarter.max(axis=0).tolist() == [side // 2 - 1, side // 2 - 1], "a quarter of the rows is a quarter square"


def test_a_damaged_file_is_not_copied_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lake = Lake(tmp_path)
    many(lake, MIN_FILES)
    victim = Path(lake.snapshot("spans").files[0].path)
    raw = bytearray(victim.read_bytes())
    raw[100] ^= 1
    victim.write_bytes(raw)
    with pytest.raises(Corrupt):
        pack(lake, "spans", list(lake.snapshot("spans").files))
    done = upkeep(lake)
    assert done["spans"]["packed"] == 0
    assert done["turns"]["packed"] == MIN_FILES
    assert victim.name in capsys.readouterr().err
    assert len(lake.snapshot("spans").files) == MIN_FILES


def test_the_log_is_checkpointed_when_it_is_long(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    for number in range(1, 52):
        lake.append("spans", spans_table([row(span_id=number)]), txn=("journal-1", number))
    upkeep(lake)
    assert (tmp_path / "spans" / "_delta_log" / "_last_checkpoint").exists()
    again = Lake(tmp_path)
    assert again.txn_version("spans", "journal-1") == 51
    assert sum(file.n_rows for file in again.snapshot("spans").files) == 51


def test_queries_during_compaction_see_all_rows(tmp_path: Path) -> None:
    lake, store = store_at(tmp_path)
    many(lake)
    tenant = store.tenant("acme")
    expression = tenant.table("spans").select("span_id")
    done = threading.Event()
    seen: list[int] = []

    def ask() -> None:
        while not done.is_set():
            seen.append(tenant.frame(expression, window=WINDOW).height)

    thread = threading.Thread(target=ask)
    thread.start()
    deadline = time.monotonic() + 60
    for first in range(N + 1, N + 4 * MIN_FILES, MIN_FILES):
        other = Lake(tmp_path / "lake")
        for file in other.snapshot("spans").files:
            Path(file.path).touch()
        upkeep(other)
        assert time.monotonic() < deadline
        replaced = len(seen)
        while len(seen) < replaced + 2 and thread.is_alive():
            done.wait(0.01)
        for number in range(first, first + MIN_FILES):
            lake.append("spans", spans_table([row(span_id=number * 1000, at_s=1)]))
    done.set()
    thread.join(30)
    assert len(seen) >= 6
    assert seen[0] == N * 4
    assert seen == sorted(seen), "no query saw fewer rows than an earlier one"
