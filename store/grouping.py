"""Rows of an Arrow table that say the same in some columns, as numbers. Null is a value like any other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Ints = npt.NDArray[np.int64]


def groups_of(rows: pa.Table, keys: Sequence[str]) -> Ints:
    """The number of each row's group, 0, 1, ... in the order in which groups appear."""
    groups = np.zeros(rows.num_rows, np.int64)
    for name in keys if rows.num_rows else ():
        coded = rows.column(name).combine_chunks().dictionary_encode("encode")
        groups = renumbered(groups * len(coded.dictionary) + coded.indices.to_numpy())
    return groups


def renumbered(numbers: Ints) -> Ints:
    """The numbers as 0, 1, ... in the order in which they appear."""
    return np.asarray(pa.array(numbers).dictionary_encode().indices.to_numpy().astype(np.int64))


def is_first(groups: Ints) -> npt.NDArray[np.bool_]:
    """Where a group appears first; `groups` as `groups_of` numbers them."""
    return np.diff(np.maximum.accumulate(groups), prepend=-1) > 0


def is_among(rows: pa.Table, others: pa.Table, names: Sequence[str]) -> npt.NDArray[np.bool_]:
    """Which rows say in these columns what one of `others` says."""
    groups = groups_of(pa.concat_tables([rows.select(names), others.select(names)]), names)
    return np.isin(groups[: rows.num_rows], groups[rows.num_rows :])
