"""The same span is stored once, however it is sent again; nothing new is ever taken for a duplicate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from collector.dedup import Dedup
from collector.fingerprints import FULL, GENERATIONS, Fingerprints
from store.lake import Lake
from tests.store.build import row, spans_table


def rows(*spans: int, **given: Any) -> Any:
    """Rows of spans by number; the content hash follows from the number."""
    return spans_table([row(span_id=n, **({"content_hash": n * 7919} | given)) for n in spans])


def test_what_was_never_seen_is_fresh(tmp_path: Path) -> None:
    fresh, duplicates = Dedup(Lake(tmp_path)).fresh(rows(1, 2, 3))
    assert fresh.num_rows == 3
    assert duplicates == {}


def test_twice_in_one_batch_is_once(tmp_path: Path) -> None:
    fresh, duplicates = Dedup(Lake(tmp_path)).fresh(rows(1, 2, 1, 1))
    assert fresh.column("span_id").to_pylist() == [f"{1:016x}", f"{2:016x}"]
    assert duplicates == {"acme": 2}


def test_what_the_lake_holds_is_a_duplicate_also_for_a_new_process(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    first = Dedup(lake)
    fresh, _ = first.fresh(rows(1, 2))
    lake.append("spans", fresh)
    for dedup in (first, Dedup(Lake(tmp_path))):
        fresh, duplicates = dedup.fresh(rows(2, 3))
        assert fresh.column("span_id").to_pylist() == [f"{3:016x}"]
        assert duplicates == {"acme": 1}


def test_what_was_seen_but_never_stored_is_fresh(tmp_path: Path) -> None:
    dedup = Dedup(Lake(tmp_path))
    for _ in range(3):
        assert dedup.fresh(rows(1, 2))[0].num_rows == 2


def test_the_same_ids_with_other_content_are_fresh(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    dedup = Dedup(lake)
    lake.append("spans", dedup.fresh(rows(1))[0])
    assert dedup.fresh(rows(1, content_hash=5))[0].num_rows == 1


def test_the_same_content_hash_with_other_ids_is_fresh(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    dedup = Dedup(lake)
    lake.append("spans", dedup.fresh(rows(1, content_hash=5))[0])
    fresh, duplicates = dedup.fresh(rows(2, 3, content_hash=5))
    assert fresh.num_rows == 2
    assert duplicates == {}


def test_tenants_do_not_see_each_other(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    dedup = Dedup(lake)
    lake.append("spans", dedup.fresh(rows(1))[0])
    both = spans_table([row(span_id=1, content_hash=7919, tenant=tenant) for tenant in ("acme", "other")])
    fresh, duplicates = dedup.fresh(both)
    assert fresh.column("tenant").to_pylist() == ["other"]
    assert duplicates == {"acme": 1}


def test_no_fingerprint_is_missed_and_few_are_wrong() -> None:
    rng = np.random.default_rng(1)
    hashes = rng.integers(-(2**63), 2**63 - 1, 200_000)
    known = Fingerprints()
    assert np.count_nonzero(known.add(hashes)) < 40
    assert known.add(hashes).all()


def test_fingerprints_forget_the_oldest_and_stay_bounded() -> None:
    known = Fingerprints()
    rng = np.random.default_rng(2)
    first = rng.integers(-(2**63), 2**63 - 1, 1_000)
    known.add(first)
    for _ in range(3):
        known.add(rng.integers(-(2**63), 2**63 - 1, FULL))
    assert known.nbytes <= GENERATIONS << 22
    assert known.add(first).all(), "three generations are remembered"


def test_a_damaged_file_stops_nothing_and_its_spans_can_be_sent_again(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    first = Dedup(lake)
    for span in (1, 2):
        lake.append("spans", first.fresh(rows(span))[0])
    victim = next(file for file in lake.snapshot("spans").files if file.min_seq == 1)
    content = bytearray(Path(victim.path).read_bytes())
    content[50] ^= 1
    Path(victim.path).write_bytes(content)
    for dedup in (first, Dedup(Lake(tmp_path))):
        fresh, duplicates = dedup.fresh(rows(1, 2, 3))
        assert fresh.column("span_id").to_pylist() == [f"{1:016x}", f"{3:016x}"]
        assert duplicates == {"acme": 1}
