"""The scrubber finds what was altered, whichever file it is, and forgets it once the file has left the table."""

from __future__ import annotations

from pathlib import Path

from core.clock import NS_PER_S
from store.lake import Lake
from store.scrub import Scrubber
from tests.store.test_retention import spans

NOW = 1_790_000_000 * NS_PER_S
DAY = 86_400 * NS_PER_S


def test_one_flipped_bit_is_found_within_a_round_of_small_steps(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    for age in range(5):
        lake.append("spans", spans("a", NOW - age * DAY))
    files = lake.snapshot("spans").files
    scrubber = Scrubber(lake)
    found = [text for _ in range(5) for text in scrubber.some(1)]
    assert (found, scrubber.rounds) == ([], 1)
    victim = Path(files[2].path)
    content = bytearray(victim.read_bytes())
    content[len(content) // 2] ^= 1
    victim.write_bytes(content)
    found = [text for _ in range(5) for text in scrubber.some(1)]
    assert len(found) == 1
    assert files[2].relative in found[0]
    assert scrubber.damaged == found
    lake.remove("spans", [files[2]])
    for _ in range(5):
        scrubber.some(1)
    assert scrubber.damaged == []


def test_an_empty_lake_has_nothing_to_scrub(tmp_path: Path) -> None:
    assert Scrubber(Lake(tmp_path)).some(1 << 20) == []
