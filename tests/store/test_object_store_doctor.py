"""assay doctor and its repair on a lake in an object store: what lies there is looked at, not the copies here."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from server.cli.main import main
from store import doctor
from store.aside import bytes_of
from store.control.control import Control
from store.doctor import Place
from store.lake import Lake
from store.objects import Objects
from store.repair import find_damage, plan, repair, taken_out
from store.scrub import Scrubber
from tests.store.build import T0, agent_trace, fill

CREATED = f"{0:020}.json"


def filled(bucket: str, data: Path) -> Lake:
    """A lake of one tenant, 6 traces in 3 commits, with its mirror where a data folder keeps it."""
    lake = Lake(bucket, cache=data / "lake-cache")
    fill(lake, [span for n in range(6) for span in agent_trace(n + 1, at_s=n)], batches=3)
    return lake


def checks(bucket: str, data: Path, *, scrub: bool = True) -> list[doctor.Check]:
    return doctor.examine(Place(data=data, lake=bucket, control_url=f"sqlite:///{data}/control.db"), scrub=scrub)


def named(found: list[doctor.Check], name: str) -> list[tuple[str, str]]:
    return [(check.status, check.detail) for check in found if check.name == name]


def flip(objects: Objects, path: str) -> None:
    content = bytearray(objects.get(path) or b"")
    content[len(content) // 2] ^= 4
    objects.put(path, bytes(content))


def test_altered_and_missing_objects_are_named_whatever_the_mirror_holds(bucket: str, tmp_path: Path) -> None:
    lake = filled(bucket, tmp_path)
    assert named(checks(bucket, tmp_path), "integrity")[0][0] == "ok"
    first, second, _ = lake.snapshot("spans").files
    objects = Objects(bucket)
    flip(objects, f"spans/{first.relative}")
    objects.delete(f"spans/{second.relative}")
    Path(second.path).unlink(missing_ok=True)
    found = named(checks(bucket, tmp_path), "integrity")
    assert [status for status, _ in found] == ["fail", "fail"]
    assert any(first.relative in detail and "was altered" in detail for _, detail in found)
    assert any(second.relative in detail and "is missing" in detail for _, detail in found)


@pytest.mark.parametrize("which", ["created", "checkpoint", "entry"])
def test_altered_logs_there_are_found_beside_a_sound_copy_here(bucket: str, tmp_path: Path, which: str) -> None:
    lake = filled(bucket, tmp_path)
    objects = Objects(bucket)
    if which == "checkpoint":
        lake.checkpoint("spans")
    names = [found.path for found in objects.list("spans/_delta_log")]
    ends = {"created": CREATED, "checkpoint": ".checkpoint.parquet", "entry": f"{2:020}.json"}
    (victim,) = [name for name in names if name.endswith(ends[which])]
    flip(objects, victim)
    ((status, detail),) = named(checks(bucket, tmp_path, scrub=False), "lake log")
    assert status == "fail"
    assert victim in detail
    if which == "entry":
        objects.delete(victim)
        ((_, detail),) = named(checks(bucket, tmp_path, scrub=False), "lake log")
        assert "is missing" in detail


def test_a_log_that_is_gone_is_told_and_not_made_anew(bucket: str, tmp_path: Path) -> None:
    assert named(checks(bucket, tmp_path), "lake") == [("warn", f"there is none at {bucket} yet")]
    assert Objects(bucket).list("spans") == []
    filled(bucket, tmp_path)
    objects = Objects(bucket)
    for found in objects.list("turns/_delta_log"):
        objects.delete(found.path)
    ((status, detail),) = named(checks(bucket, tmp_path), "lake")
    assert (status, "turns" in detail) == ("fail", True)
    assert objects.list("turns/_delta_log") == []


def test_a_log_whose_copy_here_was_altered_is_fetched_again(bucket: str, tmp_path: Path) -> None:
    lake = filled(bucket, tmp_path)
    entry = lake.root / "spans" / "_delta_log" / f"{2:020}.json"
    entry.write_bytes(entry.read_bytes()[:-9])
    again = Lake(bucket, cache=tmp_path / "lake-cache")
    assert again.unreadable() == {}
    assert len(again.snapshot("spans").files) == 3


def test_the_scrubber_reads_there_what_the_mirror_never_held(bucket: str, tmp_path: Path) -> None:
    lake = filled(bucket, tmp_path / "one")
    other = Lake(bucket, cache=tmp_path / "other")
    scrubber = Scrubber(other)
    assert scrubber.some(1 << 30) == []
    victim = lake.snapshot("turns").files[1]
    flip(Objects(bucket), f"turns/{victim.relative}")
    found = [line for _ in range(2) for line in scrubber.some(1 << 30)]
    assert any(victim.relative in line for line in found)


def test_repair_sends_a_sound_copy_and_takes_out_on_a_record_that_every_machine_reads(
    bucket: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = filled(bucket, tmp_path)
    Control.open(f"sqlite:///{tmp_path}/control.db", pepper=bytes(32)).close()
    objects = Objects(bucket)
    kept, lost, derived = *lake.snapshot("spans").files[:2], lake.snapshot("rollups").files[0]
    for table, file in (("spans", kept), ("spans", lost), ("rollups", derived)):
        flip(objects, f"{table}/{file.relative}")
        if file is not kept:
            Path(file.path).unlink()
    monkeypatch.setenv("ASSAY_LAKE", bucket)
    words = ["doctor", "--repair", "--json", "--data", str(tmp_path)]
    assert main(words) == 1
    planned = {row["file"]: row["act"] for row in json.loads(capsys.readouterr().out)["planned"]}
    expected = {f"spans/{kept.relative}": "send", f"spans/{lost.relative}": "take_out"}
    assert {file: planned[file] for file in expected} == expected
    altered = objects.get(f"spans/{lost.relative}")
    assert main([*words, "--yes"]) == 0
    for folder in ("one more", "another"):
        machine = Lake(bucket, cache=tmp_path / folder)
        assert find_damage(machine) == []
        (damage,) = [d for d in taken_out(machine) if d.table == "spans"]
        assert damage.file == f"spans/{lost.relative}"
        assert bytes_of(machine, damage) == altered
        shutil.rmtree(tmp_path / folder)
    assert sum(file.n_rows for file in lake.snapshot("spans").files) == 24 - lost.n_rows
    states = {check.name: check.status for check in checks(bucket, tmp_path)}
    assert (states["integrity"], states["repaired"]) == ("ok", "warn")
    for found in objects.list("_damaged"):
        objects.delete(found.path)
    assert "repaired" not in {check.name for check in checks(bucket, tmp_path)}


def test_what_is_derived_is_made_anew_from_its_spans(bucket: str, tmp_path: Path) -> None:
    lake = filled(bucket, tmp_path)
    victim = lake.snapshot("turns").files[0]
    flip(Objects(bucket), f"turns/{victim.relative}")
    Path(victim.path).unlink()
    done = repair(lake, plan(lake, find_damage(lake)), lambda: T0)
    assert [each.act for each in done] == ["rebuild"]
    assert find_damage(Lake(bucket, cache=tmp_path / "two")) == []
    assert sum(file.n_rows for file in lake.snapshot("turns").files) == 6
