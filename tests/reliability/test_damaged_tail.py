"""Damage found by a collector that starts: what it had not settled yet is damaged, and it goes on, honestly."""

from __future__ import annotations

from pathlib import Path

import pytest

from store.control.control import Control
from store.derive import DERIVED
from store.doctor import examine
from store.lake import Lake
from store.repair import find_damage, plan, repair, underived
from tests.collector.inside import Inside
from tests.collector.test_recovery import LOG_RECORDS, SPANS, CrashingLake, Died, check, first_life
from tests.first_start import begun
from tests.store.test_damage import flip


def _dies(*_: object) -> None:
    raise Died


def damaged(data: Path, table: str) -> Path:
    (file,) = Lake(data / "lake").snapshot(table).files
    flip(Path(file.path), file.size // 2)
    return Path(file.path)


@pytest.mark.parametrize("table", ["spans", "quarantine"])
def test_an_uncounted_file_is_counted_from_the_log_of_its_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: str
) -> None:
    life, rows, last = first_life(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(Control, "settle", _dies)
        with pytest.raises(Died):
            life.committer.commit(rows, last)
    life.release()
    path = damaged(tmp_path, table)
    again = Inside(tmp_path)
    assert again.recover() == last
    assert again.counts("spans") == SPANS
    assert again.counts("log_records") == LOG_RECORDS
    assert [damage.table for damage in again.lake.damaged()] == [table]
    again.release()
    flip(path, path.stat().st_size // 2)
    third = Inside(tmp_path)
    third.recover()
    assert third.counts("spans") == SPANS
    third.release()


def test_it_starts_when_spans_that_nothing_was_derived_from_yet_are_damaged(tmp_path: Path) -> None:
    lake = CrashingLake(begun(tmp_path) / "lake")
    life, rows, last = first_life(tmp_path, lake)
    lake.left = 4  # quarantine, events, scores, spans; no turns
    with pytest.raises(Died):
        life.committer.commit(rows, last)
    life.release()
    path = damaged(tmp_path, "spans")
    again = Inside(tmp_path)
    assert again.recover() == last
    assert again.counts("spans") == SPANS
    assert again.stored("turns").height == 0
    assert "derived" in {check.name for check in examine(tmp_path) if check.status == "fail"}
    again.release()
    flip(path, path.stat().st_size // 2)
    fresh = Lake(tmp_path / "lake")
    repairs = plan(fresh, find_damage(fresh))
    assert {(each.act, each.damage.table) for each in repairs} == {("rebuild", table) for table in DERIVED}
    assert len(repair(fresh, repairs)) == len(repairs)
    third = Inside(tmp_path)
    assert third.recover() == last
    check(third)
    assert underived(fresh) == []
    third.release()
