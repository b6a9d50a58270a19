"""The lake: what is committed is read back, by deltalake too; writers in two processes; altered bytes are noticed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from deltalake import DeltaTable

from core.clock import NS_PER_S
from core.errors import Conflict, Corrupt, InvalidInput, StorageFailed
from core.windows import Window
from store import lake as lake_module
from store.lake import Lake, partition_date
from store.leftover import vacuum
from tests.stack import REPOSITORY
from tests.store.build import T0, agent_trace, fill, row, spans_table

DAY_NS = 86_400 * NS_PER_S


def all_rows(lake: Lake, table: str = "spans") -> pl.DataFrame:
    """Every row of a table."""
    frame = pl.from_arrow(pa.concat_tables([lake.read(file, verify=True) for file in lake.snapshot(table).files]))
    assert isinstance(frame, pl.DataFrame)
    return frame


def test_deltalake_reads_what_is_committed(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    rows = [each for n in range(5) for each in agent_trace(n + 1, at_s=n * 40_000, tenant=f"t{n % 2}")]
    fill(lake, rows, batches=3)
    for table in ("spans", "turns", "rollups"):
        read = pl.from_arrow(DeltaTable(str(tmp_path / table)).to_pyarrow_table())
        assert isinstance(read, pl.DataFrame)
        own = all_rows(lake, table)
        assert read.height == own.height > 0
        keys = ["tenant", "date", "seq"]
        assert sorted(read.select(keys).rows()) == sorted(own.select(keys).rows())
    spans = DeltaTable(str(tmp_path / "spans"))
    assert spans.protocol().min_reader_version == 1
    assert len(spans.history()) == 4


def test_a_new_process_sees_the_same_snapshot(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    fill(lake, agent_trace(1) + agent_trace(2, at_s=90_000), batches=2)
    lake.append("spans", spans_table([]), txn=("journal-7", 5))
    again = Lake(tmp_path)
    for table in lake.tables():
        one, other = lake.snapshot(table), again.snapshot(table)
        assert one.version == other.version
        assert sorted(one.files, key=lambda f: f.path) == sorted(other.files, key=lambda f: f.path)
    assert again.txn_version("spans", "journal-7") == 5
    assert again.txn_version("spans", "journal-8") is None


def test_a_window_selects_files_by_their_times(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    for day in range(4):
        lake.append("spans", spans_table([row(span_id=day + 1, start_ns=T0 + day * DAY_NS)]))
    snapshot = lake.snapshot("spans")
    found = snapshot.select("acme", Window(start_ns=T0 + DAY_NS, end_ns=T0 + 3 * DAY_NS))
    assert [file.min_ns for file in found] == [T0 + 2 * DAY_NS, T0 + DAY_NS], "newest first, the end excluded"
    assert len(snapshot.select("acme")) == 4
    assert snapshot.select("nobody") == []


def test_hostile_dates_share_one_partition(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    absurd = [0, 1, -1, -(2**63), 2**63 - 1, 1_700_000_000, 8_000_000_000_000_000_000]
    assert {partition_date(start) for start in absurd} == {"1970-01-01"}
    assert partition_date(T0) == "2026-09-21"
    rows = [row(span_id=n + 1, start_ns=s, ms=0, date=partition_date(s)) for n, s in enumerate(absurd)]
    lake.append("spans", spans_table(rows))
    [file] = lake.snapshot("spans").files
    assert (file.date, file.n_rows) == ("1970-01-01", len(absurd))
    assert (file.min_ns, file.max_ns) == (-(2**63), 2**63 - 1)
    assert Lake(tmp_path).snapshot("spans").files == (file,)


def test_a_transaction_commits_once(tmp_path: Path) -> None:
    lake, other = Lake(tmp_path), Lake(tmp_path)
    lake.append("spans", spans_table(agent_trace(1)), txn=("journal-1", 10))
    for late in (lake, other):
        for version in (9, 10):
            with pytest.raises(Conflict, match="committed 10 already"):
                late.append("spans", spans_table(agent_trace(2)), txn=("journal-1", version))
    other.append("spans", spans_table(agent_trace(3)), txn=("journal-2", 1))
    assert lake.txn_version("spans", "journal-2") == 1
    assert all_rows(lake).height == 8


def test_only_one_of_two_replacements_wins(tmp_path: Path) -> None:
    lake, other = Lake(tmp_path), Lake(tmp_path)
    fill(lake, agent_trace(1))
    old = list(other.snapshot("spans").files)
    rows = lake.read(old[0])
    lake.replace("spans", old, rows, operation="OPTIMIZE")
    with pytest.raises(Conflict, match="no longer part"):
        other.replace("spans", old, rows, operation="OPTIMIZE")
    assert all_rows(other).height == 4


WRITER = """
import sys
from store.lake import Lake
from tests.store.build import row, spans_table
lake, first = Lake(sys.argv[1]), int(sys.argv[2])
print("ready", flush=True)
sys.stdin.readline()
for n in range(40):
    lake.append("spans", spans_table([row(span_id=first + n)]), txn=(f"writer-{first}", n + 1))
"""


def test_two_processes_append_at_once_and_both_land(tmp_path: Path) -> None:
    Lake(tmp_path)
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path), str(first)],
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for first in (1000, 2000)
    ]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        writer.communicate("go\n", timeout=60)
        assert writer.returncode == 0
    lake = Lake(tmp_path)
    assert sorted(int(span, 16) for span in all_rows(lake)["span_id"]) == [*range(1000, 1040), *range(2000, 2040)]
    assert lake.snapshot("spans").version == 80
    assert not list((tmp_path / "spans" / "_delta_log").glob(".*.tmp"))


@pytest.mark.parametrize("harm", ["flip", "cut", "empty", "gone", "other"])
def test_altered_bytes_are_noticed(tmp_path: Path, harm: str) -> None:
    lake = Lake(tmp_path)
    fill(lake, agent_trace(1))
    fill(lake, agent_trace(2))
    file, other = lake.snapshot("spans").files
    path = Path(file.path)
    raw = bytearray(path.read_bytes())
    match harm:
        case "flip":
            raw[len(raw) // 2] ^= 4
            path.write_bytes(raw)
        case "cut":
            path.write_bytes(raw[:-1])
        case "empty":
            path.write_bytes(b"")
        case "gone":
            path.unlink()
        case _:
            path.write_bytes(Path(other.path).read_bytes())
    with pytest.raises(Corrupt, match=path.name):
        lake.verify(file)
    with pytest.raises(Corrupt):
        lake.read(file, verify=True)
    assert lake.read(other, verify=True).num_rows == 4, "its sibling is served"


def test_a_disk_that_refuses_leaves_nothing_visible(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lake = Lake(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(lake_module, "write_durably", _full)
        with pytest.raises(StorageFailed, match="spans"):
            lake.append("spans", spans_table(agent_trace(1)), txn=("journal-1", 1))
    assert lake.snapshot("spans").files == ()
    assert lake.txn_version("spans", "journal-1") is None
    lake.append("spans", spans_table(agent_trace(1)), txn=("journal-1", 1))
    assert all_rows(lake).height == 4


def _full(*_: object) -> None:
    raise OSError(28, os.strerror(28))


def test_vacuum_deletes_what_nobody_names_and_keeps_what_is_live(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    fill(lake, agent_trace(1))
    [file] = lake.snapshot("spans").files
    folder = Path(file.path).parent
    orphan, unfinished, young = (
        folder / "part-dead-00.parquet",
        folder / "part-dead-01.tmp",
        folder / "part-new.parquet",
    )
    for path in (orphan, unfinished, young, Path(file.path)):
        path.touch()
        if path != young:
            os.utime(path, (1, 1))
    now_ms = int(time.time() * 1000)
    assert sorted(vacuum(lake, "spans", older_than_ms=now_ms - 60_000)) == sorted([orphan, unfinished])
    assert young.exists()
    assert lake.read(file, verify=True).num_rows == 4


def test_a_replaced_file_is_as_old_as_its_replacement(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    fill(lake, agent_trace(1))
    old = list(lake.snapshot("spans").files)
    os.utime(old[0].path, (1, 1))
    lake.replace("spans", old, lake.read(old[0]), operation="OPTIMIZE")
    now_ms = int(time.time() * 1000)
    assert vacuum(lake, "spans", older_than_ms=now_ms - 60_000) == [], "queries on the earlier snapshot may read it"
    assert lake.read(old[0]).num_rows == 4
    assert vacuum(lake, "spans", older_than_ms=now_ms + 60_000) == [Path(old[0].path)]


def test_other_roots_are_refused() -> None:
    with pytest.raises(InvalidInput, match="s3://"):
        Lake("gs://bucket/lake")
