"""Hostile files: every fault is one line that names the file and the place."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest

from server.importers import reading
from server.importers.reading import BadLine

FOUR = b'{"a":1}\n\n{"b":2}\r\n{"c":3}\n{"d":4}'


def numbered(path: Path) -> list[tuple[int, bytes]]:
    return [(line.number, line.content) for line in reading.lines(path)]


@pytest.mark.parametrize("packed", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_lines_keep_their_numbers_and_blank_ones_are_left_out(tmp_path: Path, packed: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "whatever.dat"
    path.write_bytes(packed(b"\xef\xbb\xbf" + FOUR))
    assert numbered(path) == [(1, b'{"a":1}'), (3, b'{"b":2}'), (4, b'{"c":3}'), (5, b'{"d":4}')]


def test_two_gzip_members_are_one_file(tmp_path: Path) -> None:
    path = tmp_path / "two.gz"
    path.write_bytes(gzip.compress(b"one\n") + gzip.compress(b"two\n"))
    assert numbered(path) == [(1, b"one"), (2, b"two")]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"\x7fELF\x02\x01\x01\x00\x00", "not a text file"),
        (b"\xff\xfe{\x00}\x00", "UTF-16"),
        (b'{"a": "\xff"}', "not UTF-8 text (byte 7 of the line is 0xff)"),
        (gzip.compress(b"{}\n" * 10_000)[:-20], "ends early"),
        (gzip.compress(b"{}\n" * 10_000)[:60] + b"\xff" * 40, "damaged"),
        (b"\x1f\x8b\x08\x00", "ends early"),
        (b"\x1f\x8bnot gzip at all", "damaged"),
    ],
    ids=["empty", "binary", "utf16", "latin1", "cut gzip", "broken gzip", "gzip head", "false gzip"],
)
def test_a_bad_file_says_what_is_wrong(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_bytes(content)
    with pytest.raises(BadLine) as caught:
        numbered(path)
    assert said in str(caught.value)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_lines_before_the_cut_of_a_gzip_file_are_given(tmp_path: Path) -> None:
    path = tmp_path / "cut.jsonl.gz"
    path.write_bytes(gzip.compress(b"".join(b"%d\n" % n for n in range(100_000)))[:-100])
    seen: list[int] = []
    with pytest.raises(BadLine, match="ends early") as caught:
        seen.extend(line.number for line in reading.lines(path))
    assert len(seen) > 90_000
    assert caught.value.line == seen[-1] + 1


def test_missing_files_folders_and_odd_names(tmp_path: Path) -> None:
    for path, said in (
        (tmp_path / "none", "no such file"),
        (tmp_path, "is a folder"),
        (Path("a\0b"), "cannot be opened"),
    ):
        with pytest.raises(BadLine, match=said):
            numbered(path)


def test_a_line_without_end_is_refused_before_it_fills_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "LONGEST_LINE", 1000)
    path = tmp_path / "long.jsonl"
    path.write_bytes(b"{}\n" + b"x" * 5000)
    with pytest.raises(BadLine, match="longer than") as caught:
        numbered(path)
    assert caught.value.line == 2


def test_whole_reads_one_piece_and_names_an_empty_one(tmp_path: Path) -> None:
    path = tmp_path / "one.json.gz"
    path.write_bytes(gzip.compress(b"{}"))
    assert reading.whole(path) == b"{}"
    path.write_bytes(b"")
    with pytest.raises(BadLine, match="is empty"):
        reading.whole(path)
