"""Examples from a file: JSONL, a JSON list, CSV or Parquet, plain or gzip; every problem is named with its line.

A file is read line by line and nothing of it is kept before all of it was looked at: what is wrong in one line ends
the reading, or with `skip_bad` leaves that one out.
"""

from __future__ import annotations

import csv
import gzip
import json
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Final

from core.errors import InvalidInput, TooLarge, Undecodable
from evaluators.datasets.records import MOST_LINE, Example, line_of
from evaluators.datasets.shapes import example_from
from evaluators.datasets.tabular import example_of_row, rows_of_parquet, unguarded
from store.control.datasets import MOST_BYTES, MOST_EXAMPLES

FORMATS: Final = ("jsonl", "csv", "parquet")
MOST_SKIPPED: Final = 1000  # that are listed; all are counted
_LIST_BYTES: Final = 64 << 20
_NEXT: Final = "convert it with: iconv -f {} -t UTF-8 FILE > NEW"
_STARTS: Final = (
    (b"\xff\xfe", "the file is UTF-16; " + _NEXT.format("UTF-16")),
    (b"\xfe\xff", "the file is UTF-16; " + _NEXT.format("UTF-16")),
    (b"PK\x03\x04", "the file is a zip archive or a spreadsheet; unpack it, or save it as CSV"),
    (b"\x89PNG", "the file is a picture"),
    (b"%PDF", "the file is a PDF"),
)
_GZIP, _PARQUET, _BOM = b"\x1f\x8b", b"PAR1", b"\xef\xbb\xbf"

Progress = Callable[[int], None]


@dataclass(frozen=True, kw_only=True)
class Skipped:
    """A line that was left out, counted from 1, and why."""

    line: int
    why: str


@dataclass(kw_only=True)
class Imported:
    """What a file holds. `skipped` lists the first of the `n_skipped` lines that were left out."""

    examples: list[Example] = field(default_factory=list)
    n_skipped: int = 0
    skipped: list[Skipped] = field(default_factory=list)


def format_of(name: str) -> str:
    """The format of a file by its name. Raises InvalidInput."""
    short = name.lower().removesuffix(".gz").removesuffix(".gzip")
    for ending, found in ((".jsonl", "jsonl"), (".ndjson", "jsonl"), (".json", "jsonl"), (".csv", "csv")):
        if short.endswith(ending):
            return found
    if short.endswith((".parquet", ".pq")):
        return "parquet"
    raise InvalidInput(f"the name {name[-60:]!r} does not say a format; name it: {', '.join(FORMATS)}", field="format")


def read_examples(
    stream: BinaryIO, format_: str, *, skip_bad: bool = False, progress: Progress = lambda _: None
) -> Imported:
    """All examples of a file that can be sought in, in its order. `progress` is told how many there are so far.

    Raises InvalidInput, TooLarge or Undecodable naming the line, also for an id that two lines have, for an empty file
    and for one in which no line is right.
    """
    found, lines_of_ids, size = Imported(), dict[str, int](), 0
    for number, read in _each(_unpacked(stream), format_):
        try:
            one = read()
            line = line_of(one)
            first = lines_of_ids.setdefault(one.example_id, number)
            if first != number:
                raise _twice(one.example_id, first)
        except InvalidInput as error:
            if not skip_bad:
                raise _at(number, error) from error
            found.n_skipped += 1
            if len(found.skipped) < MOST_SKIPPED:
                found.skipped.append(Skipped(line=number, why=str(error)[:500]))
            continue
        size += len(line)
        if size > MOST_BYTES or len(found.examples) >= MOST_EXAMPLES:
            raise TooLarge(f"the file has more than {MOST_EXAMPLES:,} examples or {MOST_BYTES >> 20} MiB of them")
        found.examples.append(one)
        if len(found.examples) % 500 == 0:
            progress(len(found.examples))
    if not found.examples:
        raise _empty(found)
    return found


def _twice(example_id: str, first: int) -> InvalidInput:
    if example_id.startswith("ex_"):
        return InvalidInput(f"it has the id {example_id!r} of line {first:,}: the same is asked", field="example_id")
    return InvalidInput(f"example_id {example_id!r} stands on line {first:,} already", field="example_id")


def _empty(found: Imported) -> InvalidInput:
    if not found.n_skipped:
        return InvalidInput("the file is empty")
    first = found.skipped[0]
    return InvalidInput(f"none of {found.n_skipped:,} lines is an example; line {first.line}: {first.why}")


def _at(number: int, error: InvalidInput) -> InvalidInput:
    return type(error)(f"line {number:,}: {error}", error.field)


def _unpacked(stream: BinaryIO) -> BinaryIO:
    """The stream from its first byte on, unpacked if it is gzip. Raises Undecodable for what is no text at all."""
    head = stream.read(8)
    stream.seek(0)
    if head.startswith(_GZIP):
        return gzip.GzipFile(fileobj=stream)  # type: ignore[return-value]
    for start, why in _STARTS:
        if head.startswith(start):
            raise Undecodable(why)
    return stream


def _each(stream: BinaryIO, format_: str) -> Iterator[tuple[int, Callable[[], Example]]]:
    """The number of each line, and how the example on it is read, which may raise."""
    try:
        match format_:
            case "jsonl":
                yield from _json_lines(stream)
            case "csv":
                yield from _csv_rows(stream)
            case "parquet":
                yield from _parquet_rows(stream)
            case _:
                raise InvalidInput(f"there is no format {format_[:40]!r}; there are {', '.join(FORMATS)}", "format")
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise Undecodable("the file's gzip is damaged or cut short") from error


def _lines(stream: BinaryIO) -> Iterator[tuple[int, bytes | None]]:
    """The lines with their numbers, None for one over the limit, of which no more than that is held."""
    number = 0
    while line := stream.readline(MOST_LINE + 1):
        number += 1
        if len(line) > MOST_LINE and not line.endswith(b"\n"):
            while line and not line.endswith(b"\n"):
                line = stream.readline(MOST_LINE + 1)
            yield number, None
            continue
        yield number, line.removeprefix(_BOM) if number == 1 else line


def _text(line: bytes | None) -> str:
    if line is None:
        raise TooLarge(f"it has more than {MOST_LINE >> 20} MiB")
    if b"\0" in line:
        raise Undecodable(f"it has a NUL byte, number {line.index(0) + 1}: it is no text, or not UTF-8")
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        byte = f"byte {error.start + 1} (0x{line[error.start]:02x})"
        raise Undecodable(f"{byte} is not UTF-8; if it is Latin-1 or Windows-1252, {_NEXT.format('CP1252')}") from error


def _json_lines(stream: BinaryIO) -> Iterator[tuple[int, Callable[[], Example]]]:
    lines = _lines(stream)
    for number, line in lines:
        if number == 1 and line is not None and line.lstrip().startswith(b"["):
            yield from _json_list(line, stream)
            return
        if line is not None and not line.strip():
            continue
        yield number, lambda line=line: example_from(_json(_text(line).strip()))  # type: ignore[misc]


def _json_list(first: bytes, stream: BinaryIO) -> Iterator[tuple[int, Callable[[], Example]]]:
    """A file that is one JSON list: its items stand for lines."""
    rest = stream.read(_LIST_BYTES + 1)
    if len(rest) > _LIST_BYTES:
        raise TooLarge(f"a JSON list has at most {_LIST_BYTES >> 20} MiB; write one object on each line (JSONL)")
    for number, one in enumerate(_json(_text_of_all(first + rest)), 1):
        yield number, lambda one=one: example_from(one)  # type: ignore[misc]


def _text_of_all(content: bytes) -> str:
    for number, line in enumerate(content.split(b"\n"), 1):
        try:
            _text(line)
        except InvalidInput as error:
            raise _at(number, error) from error
    return content.decode()


def _json(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_constant, object_pairs_hook=_once)
    except json.JSONDecodeError as error:
        raise Undecodable(f"it is no JSON: {error.msg} at character {error.pos + 1}") from error
    except RecursionError as error:
        raise Undecodable("it is nested too deeply") from error
    except InvalidInput:
        raise
    except ValueError as error:
        raise Undecodable(f"it is no JSON that can be kept: {str(error)[:100]}") from error


def _constant(name: str) -> Any:
    raise InvalidInput(f"{name} is no JSON; leave it out or write null")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise InvalidInput(f"the name {twice[:60]!r} stands twice in one object", field=twice[:60])
    return found


def _csv_rows(stream: BinaryIO) -> Iterator[tuple[int, Callable[[], Example]]]:
    lines = _CsvLines(stream)
    reader = csv.reader(lines, strict=True)
    csv.field_size_limit(MOST_LINE)
    header: list[str] | None = None
    while True:
        number = lines.number + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except (csv.Error, InvalidInput) as error:
            told = _csv_error(error)
            if header is None:
                raise _at(number, told) from error
            yield number, lambda told=told: _raise(told)  # type: ignore[misc]
            continue
        if header is None:
            header = _header(row)
        elif row:
            yield number, lambda row=row, header=header: example_of_row(_named(header, row))  # type: ignore[misc]


class _CsvLines:
    """The lines of a CSV file for csv.reader, which goes on after one that raises."""

    def __init__(self, stream: BinaryIO) -> None:
        self._lines = _lines(stream)
        self.number = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        self.number, line = next(self._lines)
        return _text(line)


def _csv_error(error: Exception) -> InvalidInput:
    said = str(error)
    if "field larger than" in said:
        return TooLarge(f"a cell has more than {MOST_LINE >> 20} MiB; or a quote is not closed")
    if "unexpected end" in said:
        return InvalidInput("a quote is opened here and not closed before the file ends")
    return error if isinstance(error, InvalidInput) else InvalidInput(f"it is no CSV: {said[:200]}")


def _header(row: list[str]) -> list[str] | None:
    """The names of the columns; None for a line without any."""
    header = [name.strip() for name in row]
    twice = next((name for name in header if name and header.count(name) > 1), None)
    if twice is not None:
        raise InvalidInput(f"line 1: the column {twice[:60]!r} stands twice", field=twice[:60])
    return header if any(header) else None


def _named(header: list[str], row: list[str]) -> dict[str, Any]:
    if len(row) != len(header):
        raise InvalidInput(f"it has {len(row)} cells, and the first line names {len(header)} columns")
    return dict(zip(header, map(unguarded, row), strict=True))


def _raise(error: InvalidInput) -> Example:
    raise error


def _parquet_rows(stream: BinaryIO) -> Iterator[tuple[int, Callable[[], Example]]]:
    raw = stream.read(MOST_BYTES + 1)
    if not raw:
        return
    if len(raw) > MOST_BYTES:
        raise TooLarge(f"the file has more than {MOST_BYTES >> 20} MiB")
    if not raw.startswith(_PARQUET):
        raise Undecodable("the file is not Parquet")
    for number, row in enumerate(rows_of_parquet(raw), 1):
        yield number, lambda row=row: example_of_row(row)  # type: ignore[misc]
