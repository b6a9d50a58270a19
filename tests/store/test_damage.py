"""Damaged files of the lake: always found, never answered from, and nothing else is lost. No part is replaced here:
real files are flipped, cut, deleted and put back."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import polars as pl
import pytest

from core.clock import NS_PER_S
from core.errors import Corrupt
from core.windows import Window
from store import doctor, trust
from store.compaction import MIN_FILES, pack, plan, upkeep
from store.delta_log import LakeFile
from store.engine import DuckDBEngine
from store.lake import Lake
from store.repair import find_damage, repair, taken_out
from store.repair import plan as plan_repairs
from store.retention import enforce
from store.tenant import Store
from store.traces import list_traces
from tests.store.build import T0, agent_trace, fill
from tests.store.places import WINDOW, store_at
from tests.thorough import often
from tests.waiting import wait_until

DAYS = 3
DAY_S = 86_400
EVERY = Window(start_ns=T0 - 2 * DAY_S * NS_PER_S, end_ns=T0 + 10 * DAY_S * NS_PER_S)


def filled(folder: Path) -> tuple[Lake, Store]:
    """A lake with three days of two tenants, two files each."""
    lake, store = store_at(folder)
    for number in range(1, 1 + 2 * DAYS):
        for tenant in ("acme", "other"):
            fill(lake, agent_trace(number, at_s=(number // 2) * DAY_S + number, tenant=tenant, session_id=f"s{number}"))
    return lake, store


def test_what_is_known_of_a_file_is_given_up_when_it_holds_no_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trust, "KEPT", 4)
    lake, _ = filled(tmp_path)
    files = lake.snapshot("spans").files

    def known() -> int:
        assert [lake.trust.compare("spans", file) for file in files] == [None] * len(files)
        return len(lake.trust._verified)

    wait_until(lambda: known() == len(files) > 8, 10, "the files to be old enough to be believed")
    monkeypatch.setattr(trust, "REVERIFY_S", 0.0)
    lake.trust._too_many = 4  # as in a process in which nothing was known before
    assert known() < 4


def test_what_is_known_of_files_that_are_gone_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lake, _ = filled(tmp_path)
    first, *packed = lake.snapshot("spans").files

    def known(*files: LakeFile) -> set[str]:
        assert [lake.trust.compare("spans", file) for file in files] == [None] * len(files)
        return set(lake.trust._verified)

    wait_until(
        lambda: len(known(first, *packed)) == 1 + len(packed) > 8, 10, "the files to be old enough to be believed"
    )
    for file in packed:  # as upkeep does once nobody reads them any more
        Path(file.path).unlink()
    monkeypatch.setattr(trust, "KEPT", 4)
    lake.trust._too_many = 4
    assert known(first) == {first.relative}


def flip(path: Path, at: int, bit: int = 0) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1 << bit
    path.write_bytes(content)


def rows_of(store: Store, table: str, tenant: str = "acme") -> tuple[pl.DataFrame, list[str]]:
    """All rows of a table in a fixed order, and the files that were left out."""
    own = store.tenant(tenant)
    frame = own.frame(own.table(table), EVERY)
    return frame.sort(["seq", *frame.select(pl.selectors.string()).columns]), [d.file for d in own.left_out]


def settled(file: LakeFile) -> None:
    """Waits until the file's times are older than the file system's clock can blur."""
    seen = trust.fingerprint(file.path)
    assert seen is not None
    wait_until(lambda: time.time_ns() - max(seen[1], seen[2]) > trust.TICK_NS, 5, "the tick is over")


def test_of_many_flips_none_is_answered_wrongly_and_the_rest_is_served(tmp_path: Path) -> None:
    lake, store = filled(tmp_path)
    chance = random.Random(20261121)
    whole = {table: rows_of(store, table)[0] for table in ("spans", "turns", "sessions", "rollups")}
    files = [(table, file) for table in whole for file in lake.snapshot(table).select("acme")]
    for _ in range(often(200, 50)):
        table, file = chance.choice(files)
        path = Path(file.path)
        sound = path.read_bytes()
        flip(path, chance.randrange(len(sound)), chance.randrange(8))
        served, left_out = rows_of(store, table)
        assert left_out == [f"{table}/{file.relative}"]
        lost = lake_rows(sound, tmp_path)
        assert served.height == whole[table].height - lost
        assert served.join(whole[table], on=served.columns[:6], how="anti", nulls_equal=True).height == 0
        path.write_bytes(sound)
    for table, rows in whole.items():
        again, left_out = rows_of(store, table)
        assert left_out == []
        assert again.equals(rows)
    assert lake.damaged() == []


def lake_rows(content: bytes, folder: Path) -> int:
    import pyarrow.parquet as pq

    path = folder / "sound.parquet"
    path.write_bytes(content)
    return int(pq.ParquetFile(path).metadata.num_rows)


def _cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _footer(path: Path) -> None:
    flip(path, path.stat().st_size - 6, 7)


def _unreadable(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("harm", [Path.unlink, _cut, _footer, _unreadable, lambda path: flip(path, 40)])
def test_a_file_that_was_believed_is_found_whatever_happens_to_it(tmp_path: Path, harm: object) -> None:
    lake, store = filled(tmp_path)
    victim = lake.snapshot("spans").select("acme")[2]
    settled(victim)
    whole, _ = rows_of(store, "spans")
    assert lake.trust.believed(victim)
    harm(Path(victim.path))  # type: ignore[operator]
    served, left_out = rows_of(store, "spans")
    assert left_out == [f"spans/{victim.relative}"]
    assert served.height == whole.height - victim.n_rows
    assert rows_of(store, "spans", "other")[1] == []


def test_times_put_back_do_not_hide_a_flip(tmp_path: Path) -> None:
    lake, store = filled(tmp_path)
    victim = lake.snapshot("spans").select("acme")[0]
    settled(victim)
    rows_of(store, "spans")
    before = Path(victim.path).stat()
    flip(Path(victim.path), 60)
    os.utime(victim.path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert rows_of(store, "spans")[1] == [f"spans/{victim.relative}"]


def test_what_was_compared_long_ago_is_compared_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lake, store = filled(tmp_path)
    file = lake.snapshot("spans").select("acme")[0]
    settled(file)
    rows_of(store, "spans")
    assert lake.trust.believed(file)
    monkeypatch.setattr(trust, "REVERIFY_S", 0.0)
    assert not lake.trust.believed(file)


def test_only_answers_that_need_the_file_say_so(tmp_path: Path) -> None:
    lake, store = filled(tmp_path)
    oldest = lake.snapshot("spans").select("acme")[-1]
    flip(Path(oldest.path), 100)
    own = store.tenant("acme")
    later = Window(start_ns=(oldest.max_ns or 0) + 1, end_ns=EVERY.end_ns)
    assert own.frame(own.table("spans"), later).height > 0
    assert not own.left_out
    own.frame(own.table("spans"), EVERY)
    assert [damage.n_rows for damage in own.left_out] == [oldest.n_rows]


def test_other_processes_and_restarts_know_it_and_a_restored_file_is_read_again(tmp_path: Path) -> None:
    lake, _ = filled(tmp_path)
    victim = lake.snapshot("spans").select("acme")[0]
    sound = Path(victim.path).read_bytes()
    Path(victim.path).unlink()
    with pytest.raises(Corrupt, match=r"tenant acme, 2026-.*, 4 rows.* is missing"):
        lake.verify(victim)
    again = Lake(lake.root)
    assert [damage.file for damage in again.damaged()] == [f"spans/{victim.relative}"]
    store = Store(again, DuckDBEngine(again.root), lambda: T0)
    assert rows_of(store, "spans")[1] == [f"spans/{victim.relative}"]
    Path(victim.path).write_bytes(sound)
    frame, left_out = rows_of(store, "spans")
    assert (left_out, frame.height) == ([], 4 * 2 * DAYS)
    assert lake.damaged() == again.damaged() == []


def test_a_note_that_was_altered_itself_misleads_nobody(tmp_path: Path) -> None:
    lake, store = filled(tmp_path)
    victim = lake.snapshot("spans").select("acme")[0]
    flip(Path(victim.path), 100)
    assert rows_of(store, "spans")[1]
    (note,) = (lake.root / trust.FOLDER).glob("*.json")
    note.write_text("{")
    assert rows_of(store, "spans")[1] == [f"spans/{victim.relative}"]


def test_packing_leaves_a_damaged_file_and_packs_the_others(tmp_path: Path) -> None:
    lake, store = store_at(tmp_path)
    for number in range(1, MIN_FILES + 2):
        fill(lake, agent_trace(number, at_s=number))
    victim = lake.snapshot("spans").files[0]
    sound = Path(victim.path).read_bytes()
    flip(Path(victim.path), 200)
    upkeep(lake)
    assert f"spans/{victim.relative}" in {damage.file for damage in lake.damaged()}
    assert [file.relative for group in plan(lake, "spans") for file in group].count(victim.relative) == 0
    upkeep(lake)
    assert {f.relative for f in lake.snapshot("spans").files} > {victim.relative}
    assert len(lake.snapshot("spans").files) == 2
    Path(victim.path).write_bytes(sound)
    assert rows_of(store, "spans")[0].height == 4 * (MIN_FILES + 1)


def test_bytes_that_change_while_a_pack_reads_them_are_not_packed(tmp_path: Path) -> None:
    lake, _ = store_at(tmp_path)
    for number in range(1, MIN_FILES + 1):
        fill(lake, agent_trace(number, at_s=number))
    files = list(lake.snapshot("spans").files)
    for file in files:
        assert lake.trust.compare("spans", file) is None
    flip(Path(files[3].path), 300)
    with pytest.raises(Corrupt):
        pack(lake, "spans", files)
    assert len(lake.snapshot("spans").files) == MIN_FILES


def test_retention_goes_by_the_day_and_leaves_an_undated_file_that_cannot_say_its_own(tmp_path: Path) -> None:
    lake, _ = filled(tmp_path)
    fill(lake, agent_trace(99, date="1970-01-01"))
    undated = next(f for f in lake.snapshot("spans").files if f.date == "1970-01-01")
    flip(Path(undated.path), 100)
    dated = lake.snapshot("spans").select("acme")[-1]
    Path(dated.path).unlink(missing_ok=True)
    enforce(lake, {"acme": 1}, T0 + 400 * DAY_S * NS_PER_S)
    assert {file.date for file in lake.snapshot("spans").select("acme")} == {"1970-01-01"}


def test_repair_rebuilds_what_is_derived_and_takes_out_spans_on_the_record(tmp_path: Path) -> None:
    lake, store = filled(tmp_path)
    turns = list_of_traces(store)
    for table in ("turns", "rollups"):
        flip(Path(lake.snapshot(table).select("acme")[1].path), 80)
    for damage in (planned := plan_repairs(lake, find_damage(lake))):
        assert damage.act == "rebuild"
    assert len(planned) == 2
    repair(lake, planned)
    assert lake.damaged() == taken_out(lake) == []
    assert list_of_traces(store).equals(turns)

    victim = lake.snapshot("spans").select("acme")[0]
    raw = Path(victim.path).read_bytes()
    flip(Path(victim.path), 90)
    done = repair(lake, plan_repairs(lake, find_damage(lake)), lambda: T0)
    assert [(each.act, each.damage.n_rows) for each in done] == [("take_out", victim.n_rows)]
    frame, left_out = rows_of(store, "spans")
    assert (frame.height, left_out) == (4 * 2 * DAYS - victim.n_rows, [])
    (kept,) = (lake.root / trust.FOLDER).glob("*.parquet")
    assert len(kept.read_bytes()) == len(raw)
    assert [damage.file for damage in taken_out(Lake(lake.root))] == [f"spans/{victim.relative}"]
    find_damage(lake)
    assert taken_out(lake)


def test_a_day_that_has_lost_spans_keeps_the_turns_that_are_left(tmp_path: Path) -> None:
    lake, store = filled(tmp_path)
    for number in (30, 31, 32):
        fill(lake, agent_trace(number))
    day = [file for file in lake.snapshot("spans").select("acme") if file.date == "2026-09-21"]
    flip(Path(day[0].path), 90)
    repair(lake, plan_repairs(lake, find_damage(lake)))
    turns = list_of_traces(store).height
    victim = next(f for f in lake.snapshot("turns").select("acme") if f.date == "2026-09-21")
    flip(Path(victim.path), 90)
    planned = plan_repairs(lake, find_damage(lake))
    assert [each.act for each in planned] == ["take_out"]
    repair(lake, planned)
    assert list_of_traces(store).height == turns - victim.n_rows


def list_of_traces(store: Store) -> pl.DataFrame:
    from store.asked import Asked
    from store.filters import Filters

    return list_traces(store.tenant("acme"), Asked(window=EVERY, filters=Filters(), limit=100))


def test_a_file_restored_before_the_repair_stays(tmp_path: Path) -> None:
    lake, store = filled(tmp_path)
    victim = Path(lake.snapshot("spans").select("acme")[0].path)
    flip(victim, 90)
    planned = plan_repairs(lake, find_damage(lake))
    flip(victim, 90)
    assert repair(lake, planned) == []
    assert rows_of(store, "spans")[0].height == 4 * 2 * DAYS


def test_the_doctor_names_file_tenant_day_rows_and_remedy(tmp_path: Path) -> None:
    lake, _ = filled(tmp_path)
    victim = lake.snapshot("spans").select("acme")[0]
    flip(Path(victim.path), 90)
    (found,) = [check for check in doctor.examine(tmp_path) if check.name == "integrity"]
    assert found.status == "fail"
    for word in (victim.relative, "acme", victim.date, "4 rows", "spans"):
        assert word in found.detail
    assert "backup" in found.remedy
    assert "--repair" in found.remedy
    (known,) = [check for check in doctor.examine(tmp_path, scrub=False) if check.name == "integrity"]
    assert known.status == "fail"
    repair(lake, plan_repairs(lake, find_damage(lake)))
    states = {check.name: check.status for check in doctor.examine(tmp_path)}
    assert (states["integrity"], states["repaired"]) == ("ok", "warn")


def test_a_log_entry_that_cannot_be_read_is_corrupt_and_other_tables_answer(tmp_path: Path) -> None:
    lake, _ = filled(tmp_path)
    again = Lake(lake.root)
    fill(lake, agent_trace(50))
    entry = sorted((lake.root / "spans" / "_delta_log").glob("*.json"))[-1]
    os.truncate(entry, entry.stat().st_size - 20)
    with pytest.raises(Corrupt, match=r"spans.* was altered"):
        again.snapshot("spans")
    assert set(again.unreadable()) == {"spans"}
    assert again.snapshot("turns").files
    restarted = Lake(lake.root)
    store = Store(restarted, DuckDBEngine(restarted.root), lambda: T0)
    assert store.tenant("acme").frame(store.tenant("acme").table("turns"), WINDOW).height > 0
    with pytest.raises(Corrupt):
        rows_of(store, "spans")
    states = {check.name: check.status for check in doctor.examine(tmp_path)}
    assert (states["lake log"], states["lake"], states["integrity"]) == ("fail", "ok", "ok")
