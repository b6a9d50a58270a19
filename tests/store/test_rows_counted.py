"""The doctor compares what the ledger counts as stored with the rows of the lake and those that left it."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.ids import TenantId
from core.records import Counts
from store import doctor, retention
from store.compaction import MIN_FILES, upkeep
from store.control.control import Control
from store.delta_log import COUNTS_REMOVED, REMOVED
from store.lake import Lake
from store.repair import find_damage, plan, repair
from tests.store.build import T0, agent_trace, spans_table

DAY_NS = 86_400_000_000_000
N = MIN_FILES


def stored(data: Path, tenants: tuple[str, ...] = ("acme", "other")) -> Lake:
    """A data folder in which each tenant has stored N traces of 4 spans, on two days, and the ledger counts them."""
    lake = Lake(data / "lake")
    control = Control.open(f"sqlite:///{data / 'control.db'}", pepper=bytes(32))
    for position in range(1, N + 1):
        rows = [span for t in tenants for span in agent_trace(position, tenant=t, at_s=position % 2 * 86_400)]
        lake.append("spans", spans_table(rows), txn=("journal-7", position))
        counts = {(TenantId(t), "spans"): Counts(received=4, stored=4) for t in tenants}
        control.settle(7, position, counts)
    control.close()
    return lake


def said(data: Path) -> dict[str, tuple[str, str]]:
    found = [check for check in doctor.examine(data, scrub=False) if check.name.startswith("rows: ")]
    return {check.name.removeprefix("rows: spans of "): (check.status, check.detail) for check in found}


def test_rows_that_retention_and_repair_took_are_counted_by_tenant(tmp_path: Path) -> None:
    lake = stored(tmp_path)
    whole = f"{4 * N} stored = {4 * N} in the lake + 0 removed"
    assert said(tmp_path) == {"acme": ("ok", whole), "other": ("ok", whole)}
    retention.enforce(lake, {"acme": 1}, T0 + 2 * DAY_NS)
    half = f"{4 * N} stored = {2 * N} in the lake + {2 * N} removed"
    assert said(tmp_path) == {"acme": ("ok", half), "other": ("ok", whole)}
    upkeep(lake, grace_s=-60)
    lake.checkpoint("spans")
    for file in lake.snapshot("spans").select("other")[:2]:
        Path(file.path).write_bytes(b"x")
    repair(lake, plan(lake, find_damage(lake)))
    left = sum(file.n_rows for file in lake.snapshot("spans").select("other"))
    assert left < 4 * N
    assert said(tmp_path)["other"] == ("ok", f"{4 * N} stored = {left} in the lake + {4 * N - left} removed")
    assert said(tmp_path)["acme"] == ("ok", half)


def test_two_processes_that_remove_at_once_lose_no_count(tmp_path: Path) -> None:
    one = stored(tmp_path)
    two = Lake(tmp_path / "lake")
    first, second = one.snapshot("spans").select("acme")[:2]
    two.snapshot("spans")
    one.remove("spans", [first])
    rows = two.read(second)
    two.replace("spans", [second], rows.slice(0, 1), operation="DELETE", same_rows=False)
    assert one.txn_version("spans", REMOVED + "acme") == 4 + 3


def test_rows_that_are_missing_or_too_many_fail(tmp_path: Path) -> None:
    lake = stored(tmp_path)
    entry = sorted((tmp_path / "lake" / "spans" / "_delta_log").glob("*.json"))[-1]
    content = entry.read_bytes()
    entry.unlink()
    lost = ("fail", f"{4 * N} stored is not {4 * N - 4} in the lake + 0 removed: 4 are missing")
    assert said(tmp_path) == {"acme": lost, "other": lost}
    entry.write_bytes(content)
    lake.append("spans", spans_table(agent_trace(99)))
    more = ("fail", f"{4 * N} stored is not {4 * N + 4} in the lake + 0 removed: 4 too many")
    assert said(tmp_path)["acme"] == more
    lake.append("spans", spans_table([]), txn=("journal-7", N + 1))
    assert said(tmp_path)["acme"][0] == "ok", "a batch that the ledger has not counted yet is no surplus"


def test_a_table_of_an_earlier_release_may_have_lost_rows_to_retention(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("store.delta_log.COUNTS_REMOVED", "nothing")
    lake = stored(tmp_path, ("acme",))
    assert lake.txn_version("spans", COUNTS_REMOVED) is None
    (tmp_path / "lake" / "spans" / "_delta_log" / f"{N:020}.json").unlink()
    assert said(tmp_path)["acme"][0] == "warn"
