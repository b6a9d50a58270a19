"""gzip bodies: every member, no more than the limit, and nothing of a bomb in memory."""

from __future__ import annotations

import gzip
import random
import tracemalloc

import pytest

from collector.inflate import MOST_MEMBERS, declared_size, gunzip
from core.errors import TooLarge, Undecodable

LIMIT = 8 << 20
BOMB = gzip.compress(bytes(LIMIT + 1))


def refusal_of_and_peak(body: bytes) -> tuple[str, int]:
    """What a body is refused with, and the most that was held meanwhile, in bytes."""
    tracemalloc.start()
    try:
        with pytest.raises((TooLarge, Undecodable)) as refused:
            gunzip(body, LIMIT)
        return str(refused.value), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("size", [0, 1, (32 << 10) + 1, 64 << 10, (256 << 10) - 1, 256 << 10, (1 << 20) + 7])
def test_what_was_packed_comes_out_whatever_the_pieces(size: int) -> None:
    rng = random.Random(size)
    noise, regular = rng.randbytes(size), (b"a regular text " * (size // 15 + 1))[:size]
    members = [noise, regular, b"", noise[: size // 2], regular]
    for plain in (noise, regular):
        assert gunzip(gzip.compress(plain), LIMIT) == plain
    assert gunzip(b"".join(gzip.compress(each, rng.randrange(10)) for each in members), LIMIT) == b"".join(members)
    assert gunzip(gzip.compress(noise), max(1, size)) == noise, "the limit itself is not too much"


def test_a_bomb_that_says_its_size_is_refused_and_never_held() -> None:
    said, peak = refusal_of_and_peak(BOMB)
    assert "larger than 8388608 bytes after decompression" in said
    assert peak < LIMIT // 16


def test_a_bomb_that_says_it_is_small_is_refused_as_well() -> None:
    liar = BOMB + gzip.compress(b"x")
    assert declared_size(liar) == 1
    assert "larger than 8388608 bytes after decompression" in refusal_of_and_peak(liar)[0]


@pytest.mark.parametrize("end", [b"\xff\xff\xff\xff", b"trailing", b"\x1f\x8b"])
def test_what_says_too_much_and_is_broken_is_called_broken(end: bytes) -> None:
    plain = gzip.compress(b"x" * 1000)
    broken = plain[:-4] + end if len(end) == 4 else plain + end
    with pytest.raises(Undecodable, match=r"broken|cut short"):
        gunzip(broken, 2_000)
    with pytest.raises(Undecodable, match="cut short"):
        gunzip(gzip.compress(random.Random(1).randbytes(5_000))[:-100], 6_000)


def test_members_are_bounded() -> None:
    empty = gzip.compress(b"")
    assert gunzip(empty * MOST_MEMBERS, LIMIT) == b""
    with pytest.raises(TooLarge, match="members"):
        gunzip(empty * (MOST_MEMBERS + 1), LIMIT)
