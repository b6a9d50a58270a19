"""Rows as Parquet files: one per (tenant, date), with dictionaries and bloom filters where they pay."""

from __future__ import annotations

from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from store import schema

ROWS_PER_GROUP: Final = 16_384
# A packed day of rollups begins with its hours: few rows, which are read without the minutes behind them.
ROLLUPS_PER_GROUP: Final = 2_048
COMPRESSION_LEVEL: Final = 1


def encoded(table: str, rows: pa.Table) -> bytes:
    """The rows of one partition, without its columns, as one Parquet file."""
    sink = pa.BufferOutputStream()
    dictionary = [f.name for f in rows.schema if f.name not in schema.PLAIN_COLUMNS and not pa.types.is_map(f.type)]
    dictionary += [f"{f.name}.key_value.key" for f in rows.schema if pa.types.is_map(f.type)]
    pq.write_table(
        rows,
        sink,
        compression="zstd",
        compression_level=COMPRESSION_LEVEL,
        use_dictionary=dictionary,
        row_group_size=ROLLUPS_PER_GROUP if table == "rollups" else ROWS_PER_GROUP,
        bloom_filter_options={
            name: {"ndv": min(rows.num_rows, ROWS_PER_GROUP), "fpp": 0.01}
            for name in schema.BLOOM_COLUMNS.get(table, ())
        }
        or None,
    )
    return bytes(sink.getvalue())


def bounds(rows: pa.Table, column: str) -> tuple[int | None, int | None]:
    """The least and the greatest value of an integer column; None where it has none."""
    found = pc.min_max(rows.column(column)).as_py()
    return found["min"], found["max"]


def partitions(rows: pa.Table) -> list[pa.Table]:
    """`rows` split by (tenant, date); a single partition is passed through without a copy."""
    if rows.num_rows == 0:
        return []
    codes = []
    for name in ("tenant", "date"):
        column = rows.column(name).combine_chunks()
        encoded = column if pa.types.is_dictionary(column.type) else pc.dictionary_encode(column)
        encoded = encoded.combine_chunks() if isinstance(encoded, pa.ChunkedArray) else encoded
        codes.append(encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64))
    key = codes[0] * (int(codes[1].max()) + 1) + codes[1]
    if (key == key[0]).all():
        return [rows]
    return [rows.filter(pa.array(key == value)) for value in np.unique(key)]
