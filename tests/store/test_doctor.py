"""The doctor compares the lake with the ledger: a log whose newest entries are gone is whole, and too short."""

from __future__ import annotations

from pathlib import Path

from core.ids import TenantId
from store import doctor
from store.control.control import Control
from store.lake import Lake
from tests.store.build import agent_trace, fill, row, spans_table


def stored(data: Path, positions: range) -> Lake:
    """A data folder whose journal 7 was stored and settled up to the last of the positions."""
    lake = Lake(data / "lake")
    control = Control.open(f"sqlite:///{data / 'control.db'}", pepper=bytes(32))
    for position in positions:
        lake.append("spans", spans_table([row(span_id=position)]), txn=("journal-7", position))
        control.settle(7, position, {})
    control.close()
    return lake


def lake_end(data: Path) -> list[tuple[str, str, str]]:
    """What the doctor says of it."""
    found = [check for check in doctor.examine(data, scrub=False) if check.name == "lake end"]
    return [(check.status, check.detail, check.remedy) for check in found]


def test_entries_that_are_gone_from_the_end_of_the_log_are_missed(tmp_path: Path) -> None:
    lake = stored(tmp_path, range(1, 6))
    assert lake_end(tmp_path) == [("ok", "the table spans reaches as far as the ledger", "")]
    lake.append("spans", spans_table([row(span_id=9)]), txn=("journal-7", 9))
    assert lake_end(tmp_path)[0][0] == "ok", "what is stored and not yet settled is no loss"
    for entry in sorted((tmp_path / "lake" / "spans" / "_delta_log").glob("*.json"))[-3:]:
        entry.unlink()
    ((status, detail, remedy),) = lake_end(tmp_path)
    assert status == "fail"
    assert detail == "of journal 7 the table spans ends at position 3, the ledger at 5"
    assert "restore a backup" in remedy


def test_nothing_is_said_without_a_ledger_or_with_a_log_that_cannot_be_read(tmp_path: Path) -> None:
    fill(Lake(tmp_path / "lake"), agent_trace(1))
    assert lake_end(tmp_path) == []
    data = tmp_path / "other"
    data.mkdir()
    stored(data, range(1, 3))
    entry = sorted((data / "lake" / "spans" / "_delta_log").glob("*.json"))[-1]
    entry.write_bytes(entry.read_bytes()[:-20])
    assert lake_end(data) == []


def test_one_tenants_rows_and_files_are_its_own(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    fill(lake, agent_trace(1, tenant="a") + agent_trace(2, tenant="b") + agent_trace(3, tenant="b"))
    (victim,) = lake.snapshot("spans").select("b")
    Path(victim.path).write_bytes(b"x")
    found = doctor.examine(tmp_path, tenant=TenantId("a"))
    said = {check.name: check for check in found}
    assert "spans 4 rows in 1 files" in said["lake"].detail
    assert (said["integrity"].status, said["integrity"].detail) == ("fail", "1 damaged files of other tenants")
    assert not any("tenant=b" in check.detail or "tenant b" in check.detail for check in found)
    assert "spans 12 rows in 2 files" in {check.name: check for check in doctor.examine(tmp_path)}["lake"].detail
