"""Retention takes a tenant's old days and nothing else."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from core.clock import NS_PER_S
from store import schema
from store.lake import Lake, partition_date
from store.leftover import vacuum
from store.retention import UNDATED, enforce
from tests.killing import killed_at, n_changes
from tests.store import build

DAY = 86_400 * NS_PER_S
NOW = 1_790_000_000 * NS_PER_S


def spans(tenant: str, start_ns: int, n: int = 3, seq: int = 1) -> pa.Table:
    """Rows of one day."""
    columns = {field.name: pa.nulls(n, field.type) for field in schema.SPANS}
    columns |= {
        "tenant": pa.array([tenant] * n),
        "date": pa.array([partition_date(start_ns)] * n),
        "seq": pa.array([seq] * n, pa.int64()),
        "ingested_at": pa.array([start_ns // 1000] * n, schema.AT),
        "start_ns": pa.array([start_ns] * n, pa.int64()),
    }
    return pa.table(columns, schema=schema.SPANS)


def counts(lake: Lake) -> dict[tuple[str, str], int]:
    """Rows by tenant and date."""
    return {(f.tenant, f.date): f.n_rows for f in lake.snapshot("spans").files}


def test_only_the_tenants_own_days_before_the_horizon_go(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    for tenant in ("a", "b"):
        for age in (1, 6, 7, 8, 40):
            lake.append("spans", spans(tenant, NOW - age * DAY))
    before = counts(lake)
    foreseen = enforce(lake, {"a": 7}, NOW, dry_run=True)
    assert counts(lake) == before, "a dry run removed something"
    done = enforce(lake, {"a": 7}, NOW)
    assert done == foreseen
    assert [(e.tenant, e.table, e.n_files, e.n_rows) for e in done] == [("a", "spans", 2, 6)]
    gone = set(before) - set(counts(lake))
    assert gone == {("a", partition_date(NOW - 8 * DAY)), ("a", partition_date(NOW - 40 * DAY))}
    assert enforce(lake, {"a": 7}, NOW) == []


def test_rows_with_broken_clocks_go_by_the_day_they_came(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    old, new = spans("a", 5), spans("a", 5, seq=2)
    place = old.schema.get_field_index("ingested_at")
    for rows, age in ((old, 30), (new, 1)):
        came = pa.array([(NOW - age * DAY) // 1000] * rows.num_rows, schema.AT)
        lake.append("spans", rows.set_column(place, rows.schema.field(place), came))
    enforce(lake, {"a": 7}, NOW)
    assert [file.max_seq for file in lake.snapshot("spans").files] == [2]


@pytest.mark.parametrize("start_ns", [5, 8 * 10**18], ids=["1970", "2223"])
def test_what_is_derived_of_broken_clocks_stays_and_goes_with_its_spans(tmp_path: Path, start_ns: int) -> None:
    lake = Lake(tmp_path)
    for n, age in ((1, 30), (2, 1)):
        came = datetime.fromtimestamp((NOW - age * DAY) // NS_PER_S, UTC)
        given = {"trace_id": n, "span_id": n, "start_ns": start_ns, "date": UNDATED, "tenant": "a"}
        build.fill(lake, [build.row(**given, ingested_at=came)])
    assert {f.date for t in ("turns", "rollups") for f in lake.snapshot(t).files} == {UNDATED}
    foreseen = enforce(lake, {"a": 7}, NOW, dry_run=True)
    assert enforce(lake, {"a": 7}, NOW) == foreseen
    left = {table: [file.max_seq for file in lake.snapshot(table).files] for table in ("spans", "turns", "rollups")}
    assert left == {"spans": [2], "turns": [2], "rollups": [2]}
    enforce(lake, {"a": 7}, NOW + 30 * DAY)
    assert [file for table in lake.tables() for file in lake.snapshot(table).files] == []


def test_the_bytes_go_with_the_next_vacuum(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    lake.append("spans", spans("a", NOW - 40 * DAY))
    (file,) = lake.snapshot("spans").files
    enforce(lake, {"a": 7}, NOW)
    assert Path(file.path).exists()
    assert [str(path) for path in vacuum(lake, "spans", older_than_ms=2**60)] == [file.path]
    assert not Path(file.path).exists()


def everything(lake: Lake, tenant: str) -> dict[str, bytes]:
    """All bytes of a tenant's live files, of every table."""
    files = [(table, file) for table in lake.tables() for file in lake.snapshot(table).select(tenant)]
    return {f"{table}/{file.relative}": Path(file.path).read_bytes() for table, file in files}


@pytest.mark.timeout(900)
def test_a_kill_in_the_middle_is_gone_on_with_and_never_touches_another_tenant(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    lake = Lake(whole)
    for tenant in ("a", "b", "a2"):  # one name is the beginning of another
        for age in (1, 8, 9, 40):
            seconds = -age * 86_400 + (build.T0 - NOW) // NS_PER_S
            build.fill(lake, build.agent_trace(age, at_s=seconds, tenant=tenant))
    others = {tenant: everything(lake, tenant) for tenant in ("b", "a2")}
    kept = {name for name in everything(lake, "a") if f"date={partition_date(NOW - DAY)}" in name}
    command = ("tests.store.retention_killed", str(tmp_path / "data"), "a", "7", str(NOW))

    def copy() -> Path:
        shutil.rmtree(tmp_path / "data", ignore_errors=True)
        return Path(shutil.copytree(whole, tmp_path / "data"))

    n = n_changes(copy(), *command)
    assert n > 20
    for at in range(1, n, max(1, n // 4)):
        data = copy()
        assert killed_at(at, data, *command)
        for tenant, before in others.items():
            assert everything(Lake(data), tenant) == before, (at, tenant)
        assert kept <= set(everything(Lake(data), "a"))
        n_changes(data, *command)
        assert set(everything(Lake(data), "a")) == kept
        assert {tenant: everything(Lake(data), tenant) for tenant in others} == others
        on_disk = {str(path.relative_to(data)) for path in data.rglob("part-*")}
        assert on_disk == kept | {name for each in others.values() for name in each}
