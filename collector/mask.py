"""Personal information leaves every text-bearing column before rows reach the lake."""

from __future__ import annotations

from typing import Final, Protocol

import pyarrow as pa

from collector.mask_attributes import masked_map


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
# The column that holds the types of a map's entries.
TYPES: Final = {"attributes": "attribute_types"}
# Made by ourselves, closed vocabularies, or hexadecimal: no free text can be in them.
OURS: Final = frozenset(
    {
        *("tenant", "date", "trace_id", "span_id", "parent_span_id", "kind", "attribute_types", "issues"),
        *("score_id", "evaluator_kind", "target", "signal", "reason", "author"),
    }
)


def masked(rows: pa.Table, redactor: ColumnRedactor) -> tuple[pa.Table, int]:
    """`rows` with every text and map column redacted, and how many cells were changed.

    A number in a map that is replaced becomes text, and its type with it.
    """
    changed = 0
    for number, field in enumerate(rows.schema):
        if field.name in OURS:
            continue
        if pa.types.is_string(field.type):
            careful = redactor.sparing_ips if field.name in VERSIONS else redactor
            column, n = careful.column(rows.column(number), identifier=field.name in IDENTIFIERS)
            if n:
                rows = rows.set_column(number, field, column)
        elif pa.types.is_map(field.type) and pa.types.is_string(field.type.item_type):
            rows, n = _with_map(rows, number, redactor)
        else:
            continue
        changed += n
    return rows, changed


def _with_map(rows: pa.Table, number: int, redactor: ColumnRedactor) -> tuple[pa.Table, int]:
    field = rows.schema.field(number)
    place = rows.schema.get_field_index(TYPES.get(field.name, ""))
    types = _flat(rows.column(place)) if place >= 0 else None
    found = masked_map(_flat(rows.column(number)), types, redactor)
    if found.n_changed:
        rows = rows.set_column(number, field, found.entries)
    if found.types is not None:
        rows = rows.set_column(place, rows.schema.field(place), found.types)
    return rows, found.n_changed


def _flat(column: pa.ChunkedArray) -> pa.Array:
    chunk = column.combine_chunks()
    if isinstance(chunk, pa.ChunkedArray):
        chunk = pa.concat_arrays(chunk.chunks) if chunk.num_chunks else pa.array([], chunk.type)
    return chunk
