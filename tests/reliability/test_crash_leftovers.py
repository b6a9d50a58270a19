"""What a kill between two steps leaves behind is taken for what it is: a leftover, no damage and no loss."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from collector import journal as journal_module
from collector.journal import Journal
from collector.seal import MasterKey
from core.errors import Corrupt, StorageFailed
from store import delta_log
from store.durable import make_folder, replace_durably
from store.lake import Lake
from tests.store.build import row, spans_table

MASTER = MasterKey(bytes(range(32)))


class Died(BaseException):
    """Stands for SIGKILL: no `except Exception` sees it."""


def dies(*_: object) -> None:
    """Instead of the step at which the process is killed."""
    raise Died


def kept(folder: Path) -> Journal:
    """A journal with one closed segment of one entry."""
    journal = Journal(folder, MASTER)
    journal.start()
    journal.append(kind=1, tenant="acme", received_at_us=7, body=b"x" * 99).result(10)
    journal.stop()
    return journal


def test_a_kill_while_a_segment_is_given_up_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = kept(tmp_path / "journal")
    with monkeypatch.context() as patch:
        patch.setattr(journal_module, "destroy", dies)
        with pytest.raises(Died):
            journal.committed(1)
    journal.release()
    assert [path.suffix for path in journal.folder.iterdir() if path.suffix in (".seg", ".key")] == [".key"]
    again = Journal(journal.folder, MASTER)
    assert not [found for found in again.replay() if isinstance(found, Corrupt)]
    again.committed(1)
    assert not list(journal.folder.glob("*.key")), "the key of a segment that is gone is destroyed"
    again.release()


def test_a_disk_that_refuses_to_destroy_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = kept(tmp_path / "journal")
    with monkeypatch.context() as patch:
        patch.setattr(journal_module, "sync_folder", full)
        with pytest.raises(OSError, match="left"):
            journal.committed(1)
    assert journal.committed(1) == []
    assert not list(journal.folder.glob("*.key"))
    journal.release()


def full(*_: object) -> None:
    """A disk that is full."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_checkpoint_is_written_where_the_last_ones_maker_was_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = Lake(tmp_path)
    lake.append("spans", spans_table([row(span_id=1)]), txn=("journal-1", 1))
    replaced: list[str] = []

    def dies_before_the_marker(path: Path, content: bytes) -> None:
        if path.name == delta_log.LAST:
            raise Died
        replaced.append(path.name)
        replace_durably(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(delta_log, "replace_durably", dies_before_the_marker)
        with pytest.raises(Died):
            lake.checkpoint("spans")
    assert len(replaced) == 2, "the checkpoint and its seal"
    again = Lake(tmp_path)
    assert again.txn_version("spans", "journal-1") == 1
    again.checkpoint("spans")
    assert (tmp_path / "spans" / "_delta_log" / delta_log.LAST).exists()
    assert Lake(tmp_path).snapshot("spans").version == 1


def test_nobody_builds_on_a_commit_whose_sync_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lake = Lake(tmp_path)
    lake.append("spans", spans_table([row(span_id=1)]), txn=("journal-1", 1))
    with monkeypatch.context() as patch:
        patch.setattr(delta_log, "sync_folder", full)
        with pytest.raises(StorageFailed):
            lake.append("spans", spans_table([row(span_id=2)]), txn=("journal-1", 2))
        with pytest.raises(StorageFailed):
            lake.txn_version("spans", "journal-1")  # it can be seen, and may be gone tomorrow
    assert lake.txn_version("spans", "journal-1") == 2
    assert lake.snapshot("spans").version == 2


def test_a_folder_is_made_with_all_names_above_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[Path] = []
    monkeypatch.setattr("store.durable.sync_folder", synced.append)
    make_folder(tmp_path / "a" / "b")
    assert synced == [tmp_path / "a", tmp_path]
    synced.clear()
    make_folder(tmp_path / "a" / "b", below=tmp_path)
    assert synced == [tmp_path / "a", tmp_path], "that it was there says nothing about its name"
