"""Columns of Python values as an Arrow table, for grids.

`pyarrow.table` and `pyarrow.array` import pandas to ask whether a list might be one of its series: two seconds and
50 MB for a dashboard that has no other use for it. The JSON reader builds the same table without.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa


def table(columns: Mapping[str, Sequence[object]]) -> pa.Table:
    """The columns as a table. Values are text, numbers, lists of text or of numbers, or times without a zone; None is
    null.

    A column takes the type of its first value that is known, and is text when it has none.
    """
    import io

    import pyarrow as pa
    from pyarrow import json as reader

    types = {name: _type(values) for name, values in columns.items()}
    arrow = {
        "text": pa.string(),
        "number": pa.float64(),
        "list": pa.list_(pa.string()),
        "numbers": pa.list_(pa.float64()),
        "time": pa.timestamp("ms"),
    }
    schema = pa.schema([pa.field(name, arrow[kind]) for name, kind in types.items()])
    names = list(columns)
    rows = zip(*columns.values(), strict=True)
    lines = [json.dumps({name: _plain(value) for name, value in zip(names, row, strict=True)}) for row in rows]
    if not lines:
        return schema.empty_table()
    text = "\n".join(lines).encode()
    reading = reader.ReadOptions(block_size=len(text) + 1, use_threads=False)
    parsing = reader.ParseOptions(explicit_schema=schema, unexpected_field_behavior="error")
    return reader.read_json(io.BytesIO(text), read_options=reading, parse_options=parsing)


def _type(values: Sequence[object]) -> str:
    first = next((value for value in values if value is not None), None)
    if isinstance(first, (int, float)):
        return "number"
    if isinstance(first, list):
        is_text = any(isinstance(one, str) for value in values if isinstance(value, list) for one in value)
        is_empty = not any(value for value in values)
        return "list" if is_text or is_empty else "numbers"
    return "time" if isinstance(first, datetime) else "text"


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.replace(tzinfo=None).isoformat(sep=" ", timespec="milliseconds")
    return value
