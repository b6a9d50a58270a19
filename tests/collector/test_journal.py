"""The journal: what was acknowledged comes back, what was altered is named, a failing disk stops nothing for good."""

from __future__ import annotations

import errno
import os
import random
import shutil
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from collector import segment
from collector.journal import GROUP_BYTES, LARGE_BYTES, Entry, Journal, Place
from collector.seal import MasterKey, SegmentKey
from collector.segment import HEADER, SECTOR, TAG
from core.errors import Conflict, Corrupt, StorageFailed
from store.doctor import examine
from tests.waiting import wait_until

MASTER = MasterKey(bytes(range(32)))
BODIES = [f"request {i}".encode() * (i + 1) for i in range(5)]


def append(journal: Journal, body: bytes) -> tuple[int, Place]:
    """Keeps one body and waits for it."""
    return journal.append(kind=1, tenant="acme", received_at_us=7, body=body).result(60)


def written(folder: Path, bodies: list[bytes]) -> Path:
    """A journal folder with one segment that holds `bodies`; returns the segment."""
    journal = Journal(folder, MASTER)
    journal.start()
    for body in bodies:
        append(journal, body)
    journal.stop()
    journal.release()
    return next(folder.glob("*.seg"))


def replayed(folder: Path) -> tuple[list[Entry], list[Corrupt]]:
    """What a new process would find."""
    journal = Journal(folder, MASTER)
    found = list(journal.replay())
    journal.release()
    return [e for e in found if isinstance(e, Entry)], [e for e in found if isinstance(e, Corrupt)]


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """An empty journal that runs."""
    made = Journal(tmp_path / "journal", MASTER, segment_bytes=2_000)
    made.start()
    yield made
    made.stop()
    made.release()


def test_what_is_appended_is_replayed(tmp_path: Path) -> None:
    written(tmp_path, BODIES)
    entries, damage = replayed(tmp_path)
    assert not damage
    assert [entry.body for entry in entries] == BODIES
    assert [entry.position for entry in entries] == [1, 2, 3, 4, 5]
    assert {(entry.kind, entry.tenant, entry.received_at_us) for entry in entries} == {(1, "acme", 7)}


def test_an_entry_is_read_again_from_its_place(journal: Journal) -> None:
    _, place = append(journal, b"first")
    append(journal, b"second")
    assert journal.read(place).body == b"first"


@pytest.mark.parametrize("size", [0, 1, (512 << 10) - 1, 512 << 10, (512 << 10) + 1, (1 << 20) + 3])
def test_a_content_sealed_in_slices_is_what_the_library_seals_at_once(size: int) -> None:
    key, nonce, content = bytes(range(32)), b"n" * 12, random.Random(size).randbytes(size)
    sealed = b"".join(SegmentKey(key).seal(nonce, content, b"header"))
    assert sealed == AESGCM(key).encrypt(nonce, content, b"header")
    assert SegmentKey(key).unseal(nonce, sealed, b"header") == content
    altered = sealed[:-17] + bytes([sealed[-17] ^ 1]) + sealed[-16:] if size else sealed[:-1] + b"?"
    for wrong, header in ((altered, b"header"), (sealed, b"another")):
        with pytest.raises(InvalidTag):
            SegmentKey(key).unseal(nonce, wrong, header)


def test_large_entries_come_back(tmp_path: Path) -> None:
    bodies = [random.Random(i).randbytes(i * LARGE_BYTES + 5) for i in range(4)]
    written(tmp_path, bodies)
    entries, damage = replayed(tmp_path)
    assert not damage
    assert [entry.body for entry in entries] == bodies


def test_a_small_entry_waits_for_no_large_one_that_came_before_it_nor_these_for_all_small_ones(tmp_path: Path) -> None:
    journal = Journal(tmp_path, MASTER)
    bodies = [*[bytes(LARGE_BYTES + 1)] * 3, *[bytes(LARGE_BYTES)] * (GROUP_BYTES // LARGE_BYTES + 1)]
    waiting = [journal.append(kind=1, tenant="t", received_at_us=1, body=body) for body in bodies]
    journal.start()
    journal.stop()
    places = [each.result(60)[1].record for each in waiting]
    journal.release()
    large, small = [each.position for each in places[:3]], [each.position for each in places[3:]]
    assert [*small[:8], large[0], small[8], *large[1:]] == list(range(1, len(bodies) + 1))
    entries, damage = replayed(tmp_path)
    assert (len(entries), damage) == (len(bodies), [])


def test_nothing_readable_is_on_disk(journal: Journal, tmp_path: Path) -> None:
    append(journal, b"write to jane.doe@example.org " * 20)
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert b"jane.doe" not in path.read_bytes(), path
            assert b"acme" not in path.read_bytes(), path


def test_a_torn_tail_at_every_byte_leaves_the_acknowledged_entries(tmp_path: Path) -> None:
    segment = written(tmp_path / "whole", BODIES)
    raw = segment.read_bytes()
    last = len(raw) - HEADER.size - TAG - len(BODIES[-1]) - _meta_bytes()
    for cut in range(last, len(raw)):
        folder = tmp_path / f"cut{cut}"
        shutil.copytree(tmp_path / "whole", folder)
        (folder / segment.name).write_bytes(raw[:cut])
        entries, damage = replayed(folder)
        assert [entry.body for entry in entries] == BODIES[:-1], f"cut at {cut} of {len(raw)}"
        assert not damage, "a write that was cut short was never acknowledged"
        shutil.rmtree(folder)


def _meta_bytes() -> int:
    return 4 + len(b'{"tenant": "acme", "at_us": 7}')


def test_a_tail_of_zeros_is_no_damage(tmp_path: Path) -> None:
    segment = written(tmp_path, BODIES)
    segment.write_bytes(segment.read_bytes() + bytes(500))
    entries, damage = replayed(tmp_path)
    assert len(entries) == 5
    assert not damage


def in_one_write(journal: Journal, bodies: list[bytes]) -> None:
    """Lets the journal's writer find `bodies` waiting together when it starts."""
    waiting = [journal.append(kind=1, tenant="acme", received_at_us=7, body=body) for body in bodies]
    journal.start()
    for one in waiting:
        one.result(60)


LARGE = [bytes([n]) * size for n, size in ((1, 900), (2, 3000), (3, 100), (4, 2000))]


def without_sectors(segment: Path, begin: int, end: int, choose: random.Random) -> None:
    """The file as a power loss may leave it: some of its sectors from `begin` to `end` were never written."""
    raw = bytearray(segment.read_bytes())
    sectors = [(max(at, begin), min(at + SECTOR, end)) for at in range(begin // SECTOR * SECTOR, end, SECTOR)]
    sectors = [(a, b) for a, b in sectors if b - a >= TAG]  # fewer zeros may stand in sealed content by chance
    for a, b in choose.sample(sectors, choose.randint(1, len(sectors))):
        raw[a:b] = bytes(b - a)
    segment.write_bytes(raw)


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("last", [LARGE, [b"one alone" * 500]], ids=["several", "one"])
def test_a_last_write_that_lacks_sectors_is_no_damage(tmp_path: Path, seed: int, last: list[bytes]) -> None:
    journal = Journal(tmp_path, MASTER)
    begin = 0
    if len(last) == 1:  # after another write
        in_one_write(journal, BODIES)
        begin = next(tmp_path.glob("*.seg")).stat().st_size
        append(journal, last[0])
    else:
        in_one_write(journal, last)
    journal.stop()
    journal.release()
    (path,) = tmp_path.glob("*.seg")
    without_sectors(path, begin, path.stat().st_size, random.Random(seed))
    entries, damage = replayed(tmp_path)
    assert not damage
    found = [entry.body for entry in entries]
    assert found == BODIES if begin else set(found) < set(last)


@pytest.mark.parametrize("seed", range(20))
def test_a_write_that_lacks_sectors_before_another_is_damage(tmp_path: Path, seed: int) -> None:
    journal = Journal(tmp_path, MASTER)
    in_one_write(journal, LARGE)
    (path,) = tmp_path.glob("*.seg")
    end = path.stat().st_size
    append(journal, b"the next write begins when this one is synced")
    journal.stop()
    journal.release()
    without_sectors(path, 0, end, random.Random(seed))
    entries, damage = replayed(tmp_path)
    assert damage
    assert entries[-1].position == len(LARGE) + 1


def test_a_flipped_bit_anywhere_is_reported_and_all_other_entries_are_replayed(tmp_path: Path) -> None:
    segment = written(tmp_path / "whole", BODIES)
    raw = segment.read_bytes()
    first = HEADER.size + TAG + len(BODIES[0]) + _meta_bytes()
    for at in range(first, len(raw), 3):
        folder = tmp_path / f"flip{at}"
        shutil.copytree(tmp_path / "whole", folder)
        flipped = bytearray(raw)
        flipped[at] ^= 0x10
        (folder / segment.name).write_bytes(flipped)
        entries, damage = replayed(folder)
        lost = set(BODIES) - {entry.body for entry in entries}
        assert len(entries) == 4, f"flipped at {at}"
        assert len(lost) == 1
        assert len(damage) == 1
        shutil.rmtree(folder)


def test_an_altered_last_entry_is_reported(tmp_path: Path) -> None:
    segment = written(tmp_path, BODIES)
    raw = bytearray(segment.read_bytes())
    raw[-1] ^= 1
    segment.write_bytes(raw)
    entries, damage = replayed(tmp_path)
    assert len(entries) == 4
    assert len(damage) == 1
    assert "altered" in str(damage[0])


def test_a_huge_length_is_not_believed(tmp_path: Path) -> None:
    segment = written(tmp_path, BODIES)
    raw = bytearray(segment.read_bytes())
    raw[4:8] = b"\xff\xff\xff\x7f"
    segment.write_bytes(raw)
    entries, damage = replayed(tmp_path)
    assert [entry.body for entry in entries] == BODIES[1:]
    assert len(damage) == 1


def test_a_missing_key_is_reported_and_the_segment_kept(tmp_path: Path) -> None:
    segment = written(tmp_path, BODIES)
    segment.with_suffix(".key").unlink()
    journal = Journal(tmp_path, MASTER)
    found = list(journal.replay())
    assert len(found) == 1
    assert isinstance(found[0], Corrupt)
    assert ".key" in str(found[0])
    journal.start(6)
    append(journal, b"later")
    assert journal.committed(6) == []
    assert segment.exists(), "the key may still be in a backup"
    journal.stop()
    journal.release()


def test_another_master_key_reads_nothing(tmp_path: Path) -> None:
    written(tmp_path, BODIES)
    journal = Journal(tmp_path, MasterKey(bytes(32)))
    assert [type(found) for found in journal.replay()] == [Corrupt]
    journal.release()


def test_positions_never_repeat(tmp_path: Path) -> None:
    seen: list[int] = []
    for _ in range(3):
        journal = Journal(tmp_path, MASTER)
        assert all(isinstance(entry, Entry) for entry in journal.replay())
        journal.start()
        seen += [append(journal, body)[0] for body in BODIES]
        journal.stop()
        journal.release()
    assert seen == list(range(1, 16))
    journal = Journal(tmp_path, MASTER)
    journal.start(100)
    assert append(journal, b"after what the lake knows")[0] == 100
    journal.stop()
    journal.release()


def test_the_number_of_a_journal_is_drawn_once(tmp_path: Path) -> None:
    written(tmp_path, BODIES)
    journal = Journal(tmp_path, MASTER)
    journal.release()
    again = Journal(tmp_path, MASTER)
    again.release()
    assert journal.number == again.number
    assert 1 <= journal.number <= 32_767
    (tmp_path / "journal.json").unlink()
    with pytest.raises(Corrupt, match=r"journal\.json is gone, and what it numbers is here; restore it"):
        Journal(tmp_path, MASTER)


def test_one_process_holds_a_journal(journal: Journal) -> None:
    with pytest.raises(Conflict, match="another collector"):
        Journal(journal.folder, MASTER)


def test_committed_segments_are_destroyed_with_their_keys(journal: Journal) -> None:
    positions = [append(journal, bytes(900))[0] for _ in range(9)]
    before = sorted(journal.folder.glob("*.seg"))
    assert len(before) >= 3
    gone = journal.committed(positions[-1])
    assert gone == before[:-1], "all but the one that is written to"
    left = sorted(path.name for path in journal.folder.iterdir())
    assert left == sorted(["journal.json", "lock", before[-1].name, before[-1].with_suffix(".key").name])
    journal.roll()
    append(journal, b"next")
    assert before[-1] in journal.committed(positions[-1])


def test_a_segment_with_an_uncommitted_entry_stays(journal: Journal) -> None:
    for _ in range(9):
        append(journal, bytes(900))
    segments = sorted(journal.folder.glob("*.seg"))
    second = int(segments[1].name.split("-")[0])
    assert journal.committed(second - 2) == []
    assert journal.committed(second - 1) == segments[:1]


def test_segments_outlive_their_commit_when_asked(journal: Journal) -> None:
    for _ in range(9):
        append(journal, bytes(900))
    assert journal.committed(9, keep_s=3600) == []


@pytest.mark.parametrize(
    ("call", "number"), [("fdatasync", errno.EIO), ("writev", errno.ENOSPC), ("fdatasync", errno.ENOSPC)]
)
def test_a_failing_disk_refuses_and_recovers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int
) -> None:
    journal = Journal(tmp_path, MASTER)
    journal.start()
    append(journal, b"before")
    failing = True
    real = getattr(os, call)

    def faulty(*arguments: object) -> object:
        if failing:
            raise OSError(number, os.strerror(number))
        return real(*arguments)

    monkeypatch.setattr(os, call, faulty)
    for _ in range(3):
        with pytest.raises(StorageFailed, match="could not keep"):
            append(journal, b"refused")
    failing = False
    position, place = append(journal, b"after")
    assert place.path != sorted(tmp_path.glob("*.seg"))[0], "a segment that failed is left for good"
    journal.stop()
    journal.release()
    entries, damage = replayed(tmp_path)
    assert not damage
    bodies = [entry.body for entry in entries]
    assert bodies[0] == b"before"
    assert bodies[-1] == b"after"
    assert entries[-1].position == position
    assert len({entry.position for entry in entries}) == len(entries)


def test_a_segment_that_was_never_begun_goes_once_the_disk_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(tmp_path, MASTER)
    journal.start()
    real = os.fsync

    def faulty(descriptor: int) -> None:
        if list(tmp_path.glob("*.seg")):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", faulty)
        with pytest.raises(StorageFailed, match="could not keep"):
            append(journal, b"refused")
        assert [path.stat().st_size for path in tmp_path.glob("*.seg")] == [0], "the folder's sync failed"
    assert journal.committed(0) == []
    assert not [*tmp_path.glob("*.seg"), *tmp_path.glob("*.key")]
    position, _ = append(journal, b"after")
    journal.stop()
    assert len(journal.committed(position)) == 1
    journal.release()


def test_a_write_that_the_kernel_cuts_is_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.writev
    monkeypatch.setattr(os, "writev", lambda fd, buffers: real(fd, [bytes(buffers[0][:7])]))
    written(tmp_path, BODIES)
    monkeypatch.undo()
    assert [entry.body for entry in replayed(tmp_path)[0]] == BODIES


def test_an_unforeseen_fault_does_not_end_the_writer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(tmp_path, MASTER)
    journal.start()
    with monkeypatch.context() as patch:
        patch.setattr(segment, "seal", _memory_error)
        with pytest.raises(StorageFailed):
            append(journal, b"one")
    assert append(journal, b"two")[0] > 0
    journal.stop()
    journal.release()


def _memory_error(*_: object) -> list[bytes]:
    raise MemoryError("not enough memory")


def test_who_gave_up_waiting_does_not_end_the_writer(tmp_path: Path) -> None:
    journal = Journal(tmp_path, MASTER)
    gone: list[Future[tuple[int, Place]]] = [
        journal.append(kind=1, tenant="acme", received_at_us=1, body=b"gone") for _ in range(3)
    ]
    kept = journal.append(kind=1, tenant="acme", received_at_us=1, body=b"kept")
    assert all(future.cancel() for future in gone)
    journal.start()
    assert kept.result(60)[0] == 1
    journal.stop()
    journal.release()
    assert [entry.body for entry in replayed(tmp_path)[0]] == [b"kept"]


def test_requests_that_wait_together_share_a_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    syncs = 0
    real = os.fdatasync

    def counted(descriptor: int) -> None:
        nonlocal syncs
        syncs += 1
        real(descriptor)

    monkeypatch.setattr(os, "fdatasync", counted)
    journal = Journal(tmp_path, MASTER)
    waiting = [journal.append(kind=1, tenant="acme", received_at_us=i, body=b"x" * 100) for i in range(200)]
    journal.start()
    assert [future.result(60)[0] for future in waiting] == list(range(1, 201))
    assert syncs == 1
    journal.stop()
    journal.release()


def test_an_acknowledgement_comes_after_the_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(tmp_path, MASTER)
    done: list[Future[tuple[int, Place]]] = []
    early: list[bool] = []
    real = os.fdatasync

    def watched(descriptor: int) -> None:
        early.append(any(future.done() for future in done))
        real(descriptor)

    monkeypatch.setattr(os, "fdatasync", watched)
    done.append(journal.append(kind=1, tenant="acme", received_at_us=1, body=b"x"))
    journal.start()
    wait_until(lambda: done[0].done(), 10, "the acknowledgement")
    assert early == [False]
    journal.stop()
    journal.release()


def test_damage_is_what_the_doctor_fails_on(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal", MASTER)
    journal.note_damage("segment 7: 40 bytes at offset 9 were altered")
    (check,) = [c for c in examine(tmp_path) if c.name == "journal damage"]
    assert check.status == "fail"
    assert "segment 7" in check.detail
    assert "send again" in check.remedy
