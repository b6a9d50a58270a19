"""Examples as rows of a table, in CSV and Parquet, and back.

A cell that a spreadsheet would take for a formula is written behind a single quote, which reading takes away again.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from core.errors import InvalidInput, TooLarge, Undecodable
from evaluators.datasets.expected import Json, expected_json
from evaluators.datasets.records import MOST_LINE, Example, example_json
from evaluators.datasets.shapes import example_from

COLUMNS: Final = (
    *("example_id", "input", "turns", "expected", "split", "metadata"),
    *("trace_id", "session_id", "user_id"),
)
_JSON: Final = ("turns", "expected", "metadata")
_SOURCE: Final = ("trace_id", "session_id", "user_id")
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_BATCH: Final = 64
MOST_UNPACKED: Final = 256 << 20  # bytes of a Parquet file
_SCHEMA: Final = pa.schema([pa.field(name, pa.string()) for name in COLUMNS])


def row_of(example: Example) -> dict[str, str]:
    """An example as a row of COLUMNS: `input` is the only turn, `turns` a JSON list where there are more."""
    one = len(example.turns) == 1
    source = {name: getattr(example.source, name) or "" for name in _SOURCE}
    return {
        "example_id": example.example_id,
        "input": example.turns[0] if one else "",
        "turns": "" if one else _json(list(example.turns)),
        "expected": _json(expected_json(example.expected)),
        "split": example.split,
        "metadata": _json(dict(example.metadata)),
        **source,
    }


def example_of_row(row: dict[str, Any]) -> Example:
    """The example of a row; columns that are not ours are metadata, or a foreign shape. Raises InvalidInput."""
    cells = {name: _cell(value, name) for name, value in row.items() if name and value not in (None, "")}
    if "input" not in cells and "turns" not in cells:
        return example_from(cells)
    given: Json = {name: cells.pop(name) for name in ("example_id", "split") if name in cells}
    given["input"] = {"turns": cells.pop("turns")} if "turns" in cells else cells.pop("input")
    cells.pop("input", None)
    said = cells.pop("expected", {})
    metadata = cells.pop("metadata", {})
    source = {name: cells.pop(name) for name in _SOURCE if name in cells}
    if not isinstance(metadata, dict):
        raise InvalidInput("metadata is a JSON object", field="metadata")
    expected = {"answer": said} if isinstance(said, str) else said
    for name in ("expected_output", "expectedOutput", "answer", "output"):
        if name in cells and not expected:
            expected = {"answer": str(cells.pop(name))}
    return example_from({**given, "expected": expected, "metadata": metadata | cells, "source": source})


def rows_of_parquet(raw: bytes) -> Iterator[dict[str, Any]]:
    """The rows of a Parquet file. Raises Undecodable, TooLarge."""
    try:
        file = pq.ParquetFile(pa.BufferReader(raw))
        size = sum(file.metadata.row_group(n).total_byte_size for n in range(file.metadata.num_row_groups))
        if size > MOST_UNPACKED:  # a cell is unpacked whole before anybody can look at it
            raise TooLarge(f"the file has {size >> 20:,} MiB unpacked; at most {MOST_UNPACKED >> 20}")
        for batch in file.iter_batches(batch_size=_BATCH):
            if batch.nbytes > _BATCH * MOST_LINE:
                raise TooLarge(f"rows of the file have more than {MOST_LINE >> 20} MiB each")
            yield from batch.to_pylist()
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise Undecodable(f"the file is not Parquet, or damaged: {str(error).splitlines()[0][:200]}") from error


def csv_of(examples: Iterable[Example]) -> Iterator[bytes]:
    """A CSV file, piece by piece."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    for example in examples:
        writer.writerow([guarded(value) for value in row_of(example).values()])
        if text.tell() > 1 << 18:
            yield text.getvalue().encode()
            text.seek(0)
            text.truncate()
    yield text.getvalue().encode()


def parquet_of(examples: Iterable[Example]) -> bytes:
    """A Parquet file."""
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([row_of(one) for one in examples], schema=_SCHEMA), sink, compression="zstd")
    return sink.getvalue()


def jsonl_of(examples: Iterable[Example]) -> Iterator[bytes]:
    """A JSONL file, line by line."""
    for example in examples:
        yield json.dumps(example_json(example), ensure_ascii=False, allow_nan=False).encode() + b"\n"


def guarded(cell: str) -> str:
    """The cell behind a single quote when a spreadsheet would take it for a formula."""
    return f"'{cell}" if cell.lstrip("'").startswith(_FORMULA) else cell


def unguarded(cell: str) -> str:
    """The cell before `guarded`."""
    return cell[1:] if cell.startswith("'") and cell.lstrip("'").startswith(_FORMULA) else cell


def _cell(value: Any, name: str) -> Any:
    if isinstance(value, bytes):
        raise InvalidInput(f"the column {name[:60]!r} holds bytes, not text", field=name[:60])
    if not isinstance(value, str):
        return value if isinstance(value, bool | int | float | list | dict) else str(value)
    if name in _JSON or (name in ("messages", "inputs", "outputs") and value[:1] in "[{"):
        try:
            return json.loads(value, parse_constant=_constant)
        except ValueError:
            if name != "expected" or value.lstrip()[:1] in ("{", "["):
                raise InvalidInput(f"the column {name!r} is no JSON", field=name) from None
        except RecursionError:
            raise InvalidInput(f"the column {name!r} is nested too deeply", field=name) from None
    return value


def _constant(name: str) -> Any:
    raise InvalidInput(f"{name} is no JSON; leave it out or write null")


def _json(value: object) -> str:
    return "" if value in ({}, []) else json.dumps(value, ensure_ascii=False, sort_keys=True, allow_nan=False)
