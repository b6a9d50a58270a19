"""Flipped bits in the log of a table: every one is found, whoever reads it first; old logs are read as they are."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from deltalake import DeltaTable

from core.errors import Corrupt
from store.lake import Lake
from tests.store.build import row, spans_table
from tests.thorough import often


def filled(folder: Path, n_commits: int) -> tuple[Lake, Path]:
    lake = Lake(folder)
    for number in range(1, n_commits + 1):
        lake.append("spans", spans_table([row(span_id=number, at_s=number)]), txn=("journal-1", number))
    return lake, folder / "spans" / "_delta_log"


def flipped(path: Path, chance: random.Random) -> Callable[[], None]:
    """Flips one bit; gives back what undoes it."""
    sound = path.read_bytes()
    content = bytearray(sound)
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    path.write_bytes(content)
    return lambda: void(path.write_bytes(sound))


def void(_: object) -> None:
    return None


def test_of_many_flips_in_entries_all_are_found_by_old_and_new_readers(tmp_path: Path) -> None:
    lake, log = filled(tmp_path, 4)
    behind = [Lake(tmp_path) for _ in range(3)]
    lake.append("spans", spans_table([row(span_id=9)]), txn=("journal-1", 9))
    chance = random.Random(3)
    entries = sorted(log.glob("*.json"))
    for number in range(often(300, 60)):
        undo = flipped(entries[-1] if number % 2 else chance.choice(entries), chance)
        if number % 2:
            with pytest.raises(Corrupt):
                behind[number % 3].snapshot("spans")
        assert "spans" in Lake(tmp_path).unreadable()
        undo()
    for reader in (*behind, Lake(tmp_path)):
        assert len(reader.snapshot("spans").files) == 5
        assert reader.txn_version("spans", "journal-1") == 9


def test_flips_in_a_checkpoint_are_found(tmp_path: Path) -> None:
    lake, log = filled(tmp_path, 3)
    lake.checkpoint("spans")
    chance = random.Random(4)
    (checkpoint,) = log.glob("*.checkpoint.parquet")
    for _ in range(40):
        undo = flipped(checkpoint, chance)
        assert "spans" in Lake(tmp_path).unreadable()
        undo()
    assert len(Lake(tmp_path).snapshot("spans").files) == 3


def test_no_checkpoint_is_made_of_an_altered_entry(tmp_path: Path) -> None:
    lake, log = filled(tmp_path, 3)
    flipped(sorted(log.glob("*.json"))[2], random.Random(5))
    with pytest.raises(Corrupt):
        lake.checkpoint("spans")
    assert not list(log.glob("*.checkpoint.parquet"))


def test_flips_in_the_entry_that_makes_a_table_are_found(tmp_path: Path) -> None:
    _, log = filled(tmp_path, 0)
    chance = random.Random(6)
    for _ in range(often(200, 40)):
        undo = flipped(log / f"{0:020}.json", chance)
        assert "spans" in Lake(tmp_path).unreadable()
        undo()
    assert Lake(tmp_path).unreadable() == {}


def test_entries_from_before_there_were_seals_are_read(tmp_path: Path) -> None:
    _, log = filled(tmp_path, 3)
    first = log / f"{0:020}.json"
    _, *actions = first.read_bytes().splitlines()
    theirs = b'{"commitInfo":{"timestamp":1,"operation":"CREATE TABLE","engineInfo":"delta-rs:py-1.6.6"}}'
    first.write_bytes(b"\n".join([theirs, *actions]))
    for path in sorted(log.glob("*.json"))[1:]:
        path.write_bytes(re.sub(rb',"seal":"[0-9a-f]{32}"', b"", path.read_bytes()))
    assert len(Lake(tmp_path).snapshot("spans").files) == 3


def test_other_delta_readers_read_sealed_entries(tmp_path: Path) -> None:
    lake, log = filled(tmp_path, 3)
    assert DeltaTable(str(log.parent)).to_pyarrow_table().num_rows == 3
    lake.checkpoint("spans")
    assert DeltaTable(str(log.parent)).to_pyarrow_table().num_rows == 3
