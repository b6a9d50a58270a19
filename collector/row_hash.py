"""One 64-bit hash per row, by which rows are remembered: rows that say the same have the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from collector.arrow_text import frozen
from collector.native import kernel
from collector.wire import content_hash

_NULL: Final = 0x2545F4914F6CDD1D


@kernel
def _take_in(data, offsets, null, hashes):  # type: ignore[no-untyped-def]
    """Makes the text of each row part of its hash."""
    for i in range(hashes.size):
        seed = hashes[i] ^ np.int64(_NULL) if null[i] else hashes[i]
        hashes[i] = content_hash(data, offsets[i], offsets[i + 1], seed)


def row_hashes(rows: pa.Table, names: Sequence[str]) -> npt.NDArray[np.int64]:
    """The hash of what each row says in these columns, texts or whole numbers. Null is a value of its own."""
    hashes = np.zeros(rows.num_rows, np.int64)
    for name in names if rows.num_rows else ():
        column = rows.column(name).cast(pa.string()).combine_chunks()
        _, offsets, data = column.buffers()
        ends = np.frombuffer(offsets, np.int32)[column.offset :][: len(column) + 1].astype(np.int64)
        texts = np.frombuffer(data or b"", np.uint8)
        _take_in(frozen(texts), ends, np.array(column.is_null()), hashes)
    return hashes
