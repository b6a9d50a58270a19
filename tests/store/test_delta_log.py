"""The transaction log: checkpoints, cleaning, reopening, and processes that fall behind."""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from core.clock import NS_PER_S
from core.errors import Conflict, Corrupt, StorageFailed
from store.doctor import Place, examine
from store.lake import Lake
from store.schema import TABLES
from tests.store.build import agent_trace, fill, row, spans_table


def append(lake: Lake, number: int) -> None:
    """One commit of one row, as the journal would do it."""
    lake.append("spans", spans_table([row(span_id=number)]), txn=("journal-1", number))


def age(log: Path) -> None:
    """Makes every log entry three days old: as entry times, which deltalake goes by, and as file times."""
    for path in log.glob("*.json"):
        lines = []
        for line in path.read_text().splitlines():
            action = json.loads(line)
            if "commitInfo" in action:
                action["commitInfo"]["timestamp"] -= 3 * 86_400_000
            lines.append(json.dumps(action))
        path.write_text("\n".join(lines))
        os.utime(path, (path.stat().st_atime, path.stat().st_mtime - 3 * 86_400))


def entries(log: Path) -> list[str]:
    """Names of the log entries."""
    return sorted(path.name for path in log.glob("*.json"))


def test_checkpoint_cleaning_and_reopening(tmp_path: Path) -> None:
    lake, behind = Lake(tmp_path), Lake(tmp_path)
    for number in range(1, 11):
        append(lake, number)
    log = tmp_path / "spans" / "_delta_log"
    age(log)
    before = entries(log)
    lake.checkpoint("spans")
    assert len(entries(log)) < len(before), "old entries are dropped"
    assert (log / f"{10:020}.checkpoint.parquet").exists()
    append(lake, 11)
    for reader in (lake, behind, Lake(tmp_path)):
        assert reader.snapshot("spans").version == 11
        assert len(reader.snapshot("spans").files) == 11
        assert reader.txn_version("spans", "journal-1") == 11
        assert {file.min_seq for file in reader.snapshot("spans").files} == set(range(1, 12))
        with pytest.raises(Conflict):
            append(reader, 11)
    append(behind, 12)
    assert lake.snapshot("spans").version == 12
    assert DeltaTable(str(tmp_path / "spans")).version() == 12


def test_removed_files_stay_removed_across_a_checkpoint(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    for number in range(1, 5):
        append(lake, number)
    files = list(lake.snapshot("spans").files)
    lake.replace("spans", files[:3], spans_table([row(span_id=n) for n in (1, 2, 3)]), operation="OPTIMIZE")
    lake.remove("spans", files[3:])
    lake.checkpoint("spans")
    again = Lake(tmp_path).snapshot("spans")
    assert [file.n_rows for file in again.files] == [3]
    assert DeltaTable(str(tmp_path / "spans")).to_pyarrow_table().num_rows == 3


def test_a_checkpoint_forgets_files_that_left_over_an_hour_ago(tmp_path: Path) -> None:
    named = {}
    for hours in (0, 2):
        began = time.time_ns() - hours * 3600 * NS_PER_S
        lake = Lake(tmp_path / str(hours), clock=partial(int, began))
        for number in range(1, 5):
            append(lake, number)
        rows = spans_table([row(span_id=n) for n in range(1, 5)])
        lake.replace("spans", list(lake.snapshot("spans").files), rows, operation="OPTIMIZE")
        lake.checkpoint("spans")
        (path,) = (tmp_path / str(hours) / "spans" / "_delta_log").glob("*.checkpoint.parquet")
        named[hours] = sum(action is not None for action in pq.read_table(path).column("remove").to_pylist())
        assert [file.n_rows for file in Lake(tmp_path / str(hours)).snapshot("spans").files] == [4]
    assert named == {0: 4, 2: 0}


def test_a_missing_checkpoint_is_named(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    append(lake, 1)
    lake.checkpoint("spans")
    log = tmp_path / "spans" / "_delta_log"
    next(log.glob("*.checkpoint.parquet")).unlink()
    with pytest.raises(Corrupt, match="checkpoint"):
        Lake(tmp_path).snapshot("spans")


@pytest.mark.parametrize(
    "hint", [b"", b"{", b"[1]", b"\xff\xfe", b'{"version":null}', b'{"version":3,"size":9}', b'{"version":99,"size":9}']
)
def test_a_damaged_hint_at_the_newest_checkpoint_is_not_believed(tmp_path: Path, hint: bytes) -> None:
    lake, behind = Lake(tmp_path), Lake(tmp_path)
    for number in range(1, 6):
        append(lake, number)
    log = tmp_path / "spans" / "_delta_log"
    age(log)
    lake.checkpoint("spans")
    append(lake, 6)
    assert f"{0:020}.json" not in entries(log), "the checkpoint is needed"
    (log / "_last_checkpoint").write_bytes(hint)
    for number, reader in enumerate((lake, behind, Lake(tmp_path)), 7):
        append(reader, number)
        assert (reader.snapshot("spans").version, reader.txn_version("spans", "journal-1")) == (number, number)
        assert {file.min_seq for file in reader.snapshot("spans").files} == set(range(1, number + 1))
    assert Lake(tmp_path).snapshot("spans").version == 9
    lake.checkpoint("spans")
    assert json.loads((log / "_last_checkpoint").read_bytes())["version"] == 9
    assert DeltaTable(str(tmp_path / "spans")).version() == 9


def test_a_damaged_hint_does_not_hide_a_hole_in_the_log(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    for number in range(1, 4):
        append(lake, number)
    log = tmp_path / "spans" / "_delta_log"
    (log / "_last_checkpoint").write_bytes(b"{")
    assert Lake(tmp_path).snapshot("spans").version == 3, "there is no checkpoint, and none is needed"
    (log / f"{2:020}.json").unlink()
    with pytest.raises(Corrupt, match="is missing"):
        Lake(tmp_path).snapshot("spans")


def test_threads_of_one_process_all_land(tmp_path: Path) -> None:
    lake = Lake(tmp_path)

    def write(first: int) -> None:
        for number in range(first, first + 10):
            lake.append("spans", spans_table([row(span_id=number)]))

    threads = [threading.Thread(target=write, args=(first,)) for first in (100, 200, 300)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(lake.snapshot("spans").files) == 30
    assert lake.snapshot("spans").version == 30


def test_a_snapshot_does_not_change(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    append(lake, 1)
    before = lake.snapshot("spans")
    append(lake, 2)
    assert len(before.files) == 1
    assert len(lake.snapshot("spans").files) == 2


def test_a_commit_that_cannot_be_written_is_not_visible(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lake = Lake(tmp_path)
    append(lake, 1)
    with monkeypatch.context() as patch:
        patch.setattr(os, "link", _no_space)
        with pytest.raises(StorageFailed, match="commit"):
            append(lake, 2)
    assert lake.snapshot("spans").version == 1
    assert not list((tmp_path / "spans" / "_delta_log").glob(".*"))
    append(lake, 2)
    assert len(Lake(tmp_path).snapshot("spans").files) == 2


def _no_space(*_: object) -> None:
    raise OSError(28, os.strerror(28))


@pytest.mark.parametrize("gone", ["turns", "turns/_delta_log", "scores/_delta_log", "spans"])
def test_a_table_that_is_gone_is_not_made_anew_and_the_others_answer(tmp_path: Path, gone: str) -> None:
    lake = Lake(tmp_path)
    fill(lake, agent_trace(1))
    shutil.rmtree(tmp_path / gone)
    table = gone.partition("/")[0]
    for again in (Lake(tmp_path), Lake(tmp_path)):
        assert set(again.unreadable()) == {table}
        with pytest.raises(Corrupt, match="is gone, while other tables"):
            again.snapshot(table)
        assert [f.n_rows for f in again.snapshot("rollups").files]
    assert not (tmp_path / table / "_delta_log").exists()
    place = Place(data=tmp_path, lake=str(tmp_path), control_url=f"sqlite:///{tmp_path}/control.db")
    (found,) = [check for check in examine(place) if check.status == "fail"]
    assert (found.name, table in found.detail) == ("lake log", True)


def test_a_first_start_that_was_killed_between_two_tables_is_gone_on_with(tmp_path: Path) -> None:
    Lake(tmp_path)
    shutil.rmtree(tmp_path / "turns")
    assert Lake(tmp_path).unreadable() == {}


def test_a_lake_of_an_earlier_format_gets_the_tables_it_lacks_also_after_a_kill_between_them(tmp_path: Path) -> None:
    fill(Lake(tmp_path), agent_trace(1))
    for gone in (("embeddings", "memberships"), ("memberships",), ("embeddings",)):
        for table in gone:
            shutil.rmtree(tmp_path / table)
        lake = Lake(tmp_path)
        assert lake.unreadable() == {}
        assert {table: lake.snapshot(table).files for table in gone} == dict.fromkeys(gone, ())
        assert [f.n_rows for f in lake.snapshot("spans").files] == [4]


@pytest.mark.parametrize(("written", "gone"), [("embeddings", "memberships"), ("memberships", "embeddings")])
def test_an_added_table_that_is_gone_is_lost_once_the_other_was_written_to(
    tmp_path: Path, written: str, gone: str
) -> None:
    rows = pa.Table.from_pylist([{"tenant": "a", "date": "2026-09-21", "seq": 1}], schema=TABLES[written])
    Lake(tmp_path).append(written, rows)
    shutil.rmtree(tmp_path / gone)
    assert set(Lake(tmp_path).unreadable()) == {gone}
