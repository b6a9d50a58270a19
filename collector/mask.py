"""Personal information leaves every text-bearing column before rows reach the lake."""

from __future__ import annotations

from typing import Final, Protocol

import pyarrow as pa


class ColumnRedactor(Protocol):
    """What collector.redact.Redactor offers."""

    def column(
        self, values: pa.Array | pa.ChunkedArray, *, identifier: bool = False
    ) -> tuple[pa.Array | pa.ChunkedArray, int]:
        """The column with personal information replaced, and the number of rows changed."""

    @property
    def sparing_ips(self) -> ColumnRedactor:
        """The same, but IP addresses stay."""


# Ids stay joinable: what would be redacted there is hashed instead.
IDENTIFIERS: Final = frozenset({"session_id", "user_id"})
# 1.4.2.0 is a version there, not an IP address.
VERSIONS: Final = frozenset({"release", "service_version", "agent_version", "scope_version", "prompt_version"})
# Made by ourselves, closed vocabularies, or hexadecimal: no free text can be in them.
OURS: Final = frozenset(
    {
        *("tenant", "date", "trace_id", "span_id", "parent_span_id", "kind", "attribute_types", "issues"),
        *("score_id", "evaluator_kind", "target", "signal", "reason", "author"),
    }
)


def masked(rows: pa.Table, redactor: ColumnRedactor) -> tuple[pa.Table, int]:
    """`rows` with every text and map column redacted, and how many cells were changed."""
    changed = 0
    for number, field in enumerate(rows.schema):
        if field.name in OURS:
            continue
        if pa.types.is_string(field.type):
            careful = redactor.sparing_ips if field.name in VERSIONS else redactor
            column, n = careful.column(rows.column(number), identifier=field.name in IDENTIFIERS)
        elif pa.types.is_map(field.type) and pa.types.is_string(field.type.item_type):
            column, n = _masked_map(rows.column(number).combine_chunks(), redactor)
        else:
            continue
        if n:
            rows = rows.set_column(number, field, column)
            changed += n
    return rows, changed


def _masked_map(entries: pa.MapArray, redactor: ColumnRedactor) -> tuple[pa.MapArray, int]:
    if isinstance(entries, pa.ChunkedArray):
        entries = pa.concat_arrays(entries.chunks) if entries.num_chunks else pa.array([], entries.type)
    keys, n_keys = redactor.column(entries.keys)
    items, n_items = redactor.column(entries.items)
    if not n_keys + n_items:
        return entries, 0
    return pa.MapArray.from_arrays(entries.offsets, _flat(keys), _flat(items)), n_keys + n_items


def _flat(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
