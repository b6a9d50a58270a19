"""What waits to be stored is handed out in order, whole or read from the journal, and takes little of a process."""

from __future__ import annotations

import gc
import sys
import tracemalloc
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.intake import Acknowledged
from collector.journal import Place
from collector.kinds import EntryKind
from collector.segment import Sealed
from collector.waiting import WaitingEntries
from core.ids import tenant_id

FOLDER = Path("/data/journal")
U63 = st.integers(min_value=0, max_value=2**63 - 1)


@st.composite
def entries(draw: st.DrawFn) -> Acknowledged:
    position, kind = draw(U63), draw(st.sampled_from(EntryKind))
    record = Sealed(
        position=position, kind=kind, offset=draw(U63), length=draw(U63), n_before=draw(st.integers(0, 65_535))
    )
    return Acknowledged(
        position=position,
        kind=kind,
        tenant=tenant_id(draw(st.from_regex(r"[a-z0-9][a-z0-9_-]{0,62}", fullmatch=True))),
        received_at_us=draw(U63),
        size=draw(st.integers(0, 1_000)),
        body=b"whole",
        place=Place(path=FOLDER / f"{position:020}-0a1b2c3d.seg", record=record),
    )


@given(st.lists(st.tuples(entries(), st.booleans()), max_size=20), st.integers(1, 3_000))
def test_entries_come_out_as_they_came_in(given_entries: list[tuple[Acknowledged, bool]], most_bytes: int) -> None:
    waiting = WaitingEntries(FOLDER)
    for entry, whole in given_entries:
        assert waiting.append(entry, whole=whole) is whole
    assert len(waiting) == len(given_entries)
    out: list[Acknowledged] = []
    while waiting:
        taken, size = waiting.take(most_bytes)
        assert size == sum(entry.size for entry in taken)
        assert size <= most_bytes or len(taken) == 1
        if waiting:
            assert size + given_entries[len(out) + len(taken)][0].size > most_bytes, "as many as have room"
        out += taken
    assert out == [entry if whole else replace(entry, body=None) for entry, whole in given_entries]
    assert waiting.take(most_bytes) == ([], 0)


def test_an_entry_that_is_nowhere_else_stays_whole() -> None:
    waiting = WaitingEntries(FOLDER)
    entry = Acknowledged(
        position=1,
        kind=EntryKind.SPANS_JSON,
        tenant=tenant_id("acme"),
        received_at_us=1,
        size=5,
        body=b"whole",
        place=None,
    )
    assert waiting.append(entry, whole=False)
    assert waiting.take(1) == ([entry], 5)


@pytest.mark.skipif(sys.implementation.name != "cpython", reason="the sizes are those of CPython's objects")
def test_a_hundred_thousand_that_wait_on_disk_take_thirteen_megabytes_and_no_look_of_the_garbage_collector() -> None:
    waiting = WaitingEntries(FOLDER)
    n = 100_000
    tracemalloc.start()
    try:
        watched = len(gc.get_objects())
        for position in range(n):
            record = Sealed(position=position, kind=1, offset=position * 1_000, length=900)
            place = Place(path=FOLDER / f"{position - position % 1_000:020}-0a1b2c3d.seg", record=record)
            entry = Acknowledged(
                position=position,
                kind=EntryKind.SPANS_PROTOBUF,
                tenant=tenant_id("acme"),
                received_at_us=1_800_000_000_000_000 + position,
                size=900,
                body=bytes(900),
                place=place,
            )
            assert not waiting.append(entry, whole=False)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 130 * n
    assert len(gc.get_objects()) - watched < n // 100
