"""Bytes that no table needs go; what a writer may still commit stays, however long it takes."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pyarrow as pa
import pytest

from store import lake as lake_module
from store import leftover
from store.delta_log import DeltaLog
from store.lake import Lake
from store.leftover import vacuum
from store.objects import Objects
from tests.store.build import agent_trace, spans_table

NEVER_TOO_YOUNG = 1 << 62


class SlowWriter:
    """Appends in a thread of its own and stops between writing its file and committing it, until `go`."""

    def __init__(self, lake: Lake, rows: pa.Table, monkeypatch: pytest.MonkeyPatch) -> None:
        self.written, self.go = threading.Event(), threading.Event()
        commit = DeltaLog.commit

        def slow(log: DeltaLog, **asked: object) -> int:
            if threading.current_thread() is self.thread:
                self.written.set()
                assert self.go.wait(60)
            return commit(log, **asked)  # type: ignore[arg-type]

        monkeypatch.setattr(DeltaLog, "commit", slow)
        self.thread = threading.Thread(target=lambda: lake.append("spans", rows))
        self.thread.start()
        assert self.written.wait(30)

    def finish(self) -> None:
        self.go.set()
        self.thread.join(30)


def test_what_an_unfinished_writer_has_written_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lake = Lake(tmp_path)
    writer = SlowWriter(lake, spans_table(agent_trace(1)), monkeypatch)
    (unfinished,) = (tmp_path / "spans").rglob("part-*.parquet")
    os.utime(unfinished, (1, 1))
    dead = unfinished.with_name("part-dead-00.parquet")
    dead.touch()
    monkeypatch.setattr(leftover, "PATIENCE_S", 0.05)
    assert vacuum(Lake(tmp_path), "spans", older_than_ms=NEVER_TOO_YOUNG) == []
    writer.finish()
    assert vacuum(Lake(tmp_path), "spans", older_than_ms=NEVER_TOO_YOUNG) == [dead]
    (file,) = lake.snapshot("spans").files
    assert file.path == str(unfinished)
    assert lake.read(file, verify=True).num_rows == 4


def test_a_vacuum_waits_for_a_writer_that_is_about_to_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lake = Lake(tmp_path)
    writer = SlowWriter(lake, spans_table(agent_trace(1)), monkeypatch)
    gone: list[Path] = []
    tidier = threading.Thread(target=lambda: gone.extend(vacuum(lake, "spans", older_than_ms=NEVER_TOO_YOUNG)))
    tidier.start()
    writer.finish()
    tidier.join(30)
    assert gone == []
    assert lake.read(lake.snapshot("spans").files[0], verify=True).num_rows == 4


def test_a_commit_that_took_long_sends_its_objects_again(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = Lake(bucket, cache=tmp_path / "here"), Lake(bucket, cache=tmp_path / "there")
    monkeypatch.setattr(lake_module, "YOUNG_S", 0.0)
    writer = SlowWriter(here, spans_table(agent_trace(1)), monkeypatch)
    assert len(vacuum(there, "spans", older_than_ms=NEVER_TOO_YOUNG)) == 1, "no lock reaches another machine"
    writer.finish()
    (file,) = there.snapshot("spans").files
    assert there.read(file, verify=True).num_rows == 4


def test_objects_that_somebody_holds_stay(bucket: str, tmp_path: Path) -> None:
    here, there = Lake(bucket, cache=tmp_path / "here"), Lake(bucket, cache=tmp_path / "there")
    here.append("spans", spans_table(agent_trace(1)))
    assert here.mirror is not None
    with here.mirror.held() as renew:
        renew()
        here.remove("spans", list(here.snapshot("spans").files))
        assert vacuum(there, "spans", older_than_ms=NEVER_TOO_YOUNG) == []
    assert len(vacuum(there, "spans", older_than_ms=NEVER_TOO_YOUNG)) == 1
    assert Objects(bucket).list("_holds") == []
