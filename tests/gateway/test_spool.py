"""The spool: nothing is lost by a killed process, nothing is readable on disk, and it has an end."""

from __future__ import annotations

import os
import resource
import secrets
from pathlib import Path

import pytest

from core.errors import Conflict
from gateway.spool import MOST_REFUSED, Spool

KEY = bytes(range(32))


def opened(folder: Path, **settings: int) -> Spool:
    return Spool(folder / "spool", KEY, **settings)


def drained(spool: Spool, tenant: str = "default", *, most: int = 7) -> list[bytes]:
    """Everything that waits of a tenant, taken."""
    found: list[bytes] = []
    while (batch := spool.peek(tenant, most=most, most_bytes=1 << 20)) is not None:
        found.extend(batch.contents)
        spool.done(batch)
    return found


def files(folder: Path) -> list[Path]:
    return sorted(path for path in (folder / "spool").rglob("*") if path.is_file() and path.name != "lock")


def records(count: int, size: int = 100) -> list[bytes]:
    return [b"%06d" % n + b"x" * size for n in range(count)]


def test_first_in_first_out_and_nothing_is_left(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    wanted = records(50)
    for record in wanted:
        spool.append("default", record)
    assert (spool.n_queued, spool.tenants()) == (50, ["default"])
    assert drained(spool) == wanted
    assert (spool.n_queued, spool.n_bytes, spool.tenants(), files(tmp_path)) == (0, 0, [], [])


def test_what_was_not_taken_is_there_after_a_start(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    for record in records(10):
        spool.append("default", record)
        spool.append("other", b"o" + record)
    spool.close()
    again = opened(tmp_path)
    assert again.n_queued == 20
    again.append("default", b"new")
    assert drained(again) == [*records(10), b"new"]
    assert drained(again, "other") == [b"o" + record for record in records(10)]


def test_nothing_is_readable_and_nobody_else_may_read(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    for _ in range(3):
        spool.append("default", b"a very private thing")
    spool.set_aside("default", b"a very private thing")
    for path in files(tmp_path):
        assert b"private" not in path.read_bytes()
        assert path.stat().st_mode & 0o077 == 0
    assert (tmp_path / "spool").stat().st_mode & 0o077 == 0


def test_one_process_has_it(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    with pytest.raises(Conflict, match="in use by another gateway"):
        opened(tmp_path)
    spool.close()
    opened(tmp_path).close()


def test_the_oldest_of_the_tenant_with_most_is_dropped_and_counted(tmp_path: Path) -> None:
    spool = opened(tmp_path, most_bytes=1 << 20, segment_bytes=1 << 16)
    spool.append("small", b"mine")
    for record in records(2_000, 1_000):
        spool.append("default", record)
    assert spool.n_bytes <= 1 << 20
    assert spool.n_dropped > 900
    assert spool.n_dropped + spool.n_queued == 2_001
    assert sum(path.stat().st_size for path in files(tmp_path)) < (1 << 20) + 100_000
    left = drained(spool)
    assert left == records(2_000, 1_000)[-len(left) :]
    assert drained(spool, "small") == [b"mine"]


def test_a_batch_that_was_dropped_while_it_was_sent_is_not_counted_as_lost(tmp_path: Path) -> None:
    spool = opened(tmp_path, most_bytes=1 << 20, segment_bytes=1 << 16)
    for record in records(100, 1_000):
        spool.append("default", record)
    batch = spool.peek("default", most=5, most_bytes=1 << 20)
    assert batch is not None
    for record in records(1_000, 1_000):
        spool.append("default", record)
    dropped = spool.n_dropped
    spool.done(batch)
    assert spool.n_dropped == dropped - 5


@pytest.mark.parametrize("lost", [1, 3, 40, 119])
def test_a_torn_end_costs_the_torn_record_alone(tmp_path: Path, lost: int) -> None:
    spool = opened(tmp_path)
    for record in records(5):
        spool.append("default", record)
    spool.close()
    (path,) = files(tmp_path)
    os.truncate(path, path.stat().st_size - lost)
    again = opened(tmp_path)
    assert (again.n_queued, again.n_damaged) == (4, 1)
    assert drained(again) == records(4)
    assert files(tmp_path) == []


def test_an_altered_record_costs_that_record_alone(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    for record in records(5):
        spool.append("default", record)
    spool.close()
    (path,) = files(tmp_path)
    raw = bytearray(path.read_bytes())
    raw[24 + 126 + 50] ^= 1  # in the second record
    path.write_bytes(raw)
    again = opened(tmp_path)
    assert drained(again) == [record for n, record in enumerate(records(5)) if n != 1]
    assert (again.n_damaged, again.n_queued) == (1, 0)


def test_a_file_moved_to_another_tenant_is_not_readable_there(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    spool.append("default", b"mine")
    spool.close()
    (path,) = files(tmp_path)
    (tmp_path / "spool" / "other").mkdir()
    path.rename(tmp_path / "spool" / "other" / path.name)
    again = opened(tmp_path)
    assert drained(again, "other") == []
    assert again.n_damaged == 1


@pytest.mark.parametrize("content", [b"", b"short", b"assaysp1" + bytes(16), secrets.token_bytes(400)])
def test_files_that_hold_no_spans_do_no_harm(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "spool" / "default").mkdir(parents=True)
    (tmp_path / "spool" / "default" / f"{9:015}.spans").write_bytes(content)
    spool = opened(tmp_path)
    spool.append("default", b"one")
    assert drained(spool) == [b"one"]


def test_large_records_come_one_at_a_time(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    large = [bytes([n]) * 700_000 for n in range(5)]
    for record in large:
        spool.append("default", record)
    first = spool.peek("default", most=100, most_bytes=1 << 20)
    assert first is not None
    assert first.n_records == 1
    small = spool.peek("default", most=100, most_bytes=1_000)
    assert small is not None
    assert small.contents == (large[0],)
    assert drained(spool) == large


def test_a_write_that_fails_is_told_and_the_rest_is_kept(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    spool.append("default", b"one")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60, before[1]))  # of every file: a full disk
    try:
        for tenant in ("default", "default", "other"):
            with pytest.raises(OSError, match=r"File too large|only"):
                spool.append(tenant, b"x" * 100)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    spool.append("default", b"two")
    assert spool.n_queued == 2
    assert drained(spool) == [b"one", b"two"]
    assert drained(spool, "other") == []
    assert files(tmp_path) == []


def test_what_is_set_aside_is_bounded(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    for _ in range(40):
        spool.set_aside("default", secrets.token_bytes(1 << 20))
    assert (tmp_path / "spool" / "default" / "refused").stat().st_size <= MOST_REFUSED
