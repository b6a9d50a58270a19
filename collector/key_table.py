"""collector.dialects as flat arrays, so that the compiled decoder finds what an attribute key feeds in one probe.

Columns are numbered: the text columns of `schema.DIALECT_TEXT` first, then `schema.DIALECT_TOKENS`, then COST, TTFT.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt

from collector import dialects
from collector.wire import content_hash
from core.records import SpanKind
from store.schema import DIALECT_TEXT, DIALECT_TOKENS

N_TEXT: Final = len(DIALECT_TEXT)
N_TOKENS: Final = len(DIALECT_TOKENS)
COST: Final = N_TEXT + N_TOKENS
TTFT: Final = COST + 1
N_COLUMNS: Final = TTFT + 1

SLOTS: Final = 2048
KEY_SEED: Final = 1
VALUE_SEED: Final = 2

KINDS: Final = list(SpanKind)
NO_KIND: Final = KINDS.index(SpanKind.SPAN)
MOVED_BY_COLUMN: Final = np.array(
    [int(name in dialects.MOVED) for name in DIALECT_TEXT] + [0] * (N_COLUMNS - N_TEXT), np.int64
)

# Bits of KeyTable.marks
FLAG: Final = 1


@dataclass(frozen=True, kw_only=True)
class KeyTable:
    """Every known key by its hash; all arrays are int64 unless said otherwise.

    `slot_hash`, `slot_key` (SLOTS,): open addressing, key -1 where free. Key k feeds actions
    `first[k]:first[k+1]`, each a (column, rank). `kind_rank[k]` is its place among the kind rules, -1 if none.
    Kind values: `value_rank`, `value_hash`, `value_kind`; prefixes: `prefix_rank`, `prefix_kind`, `prefix_first` into
    the uint8 array `prefix_text`; `present_kind[k]` is -1 or a kind. Families: `family_first` into `family_text`.
    """

    keys: tuple[str, ...]
    slot_hash: npt.NDArray[np.int64]
    slot_key: npt.NDArray[np.int64]
    first: npt.NDArray[np.int64]
    action_column: npt.NDArray[np.int64]
    action_rank: npt.NDArray[np.int64]
    ttft_factor: npt.NDArray[np.float64]
    marks: npt.NDArray[np.int64]
    kind_rank: npt.NDArray[np.int64]
    present_kind: npt.NDArray[np.int64]
    value_rank: npt.NDArray[np.int64]
    value_hash: npt.NDArray[np.int64]
    value_kind: npt.NDArray[np.int64]
    prefix_rank: npt.NDArray[np.int64]
    prefix_kind: npt.NDArray[np.int64]
    prefix_first: npt.NDArray[np.int64]
    prefix_text: npt.NDArray[np.uint8]
    family_first: npt.NDArray[np.int64]
    family_text: npt.NDArray[np.uint8]


def hash_text(text: str, seed: int) -> int:
    """The kernel's hash of a text."""
    raw = np.frombuffer(text.encode(), np.uint8)
    raw.flags.writeable = False
    return int(content_hash(raw, 0, raw.size, seed))


def _ranked() -> dict[str, list[tuple[int, int]]]:
    """key -> [(column, rank)] over all columns, resource keys left out."""
    found: dict[str, list[tuple[int, int]]] = {}
    columns: list[tuple[int, tuple[str, ...]]] = [(i, dialects.TEXT[name]) for i, name in enumerate(DIALECT_TEXT)]
    columns += [(N_TEXT + i, dialects.TOKENS[name]) for i, name in enumerate(DIALECT_TOKENS)]
    columns += [(COST, dialects.COST), (TTFT, tuple(key for key, _ in dialects.TTFT))]
    for column, keys in columns:
        for rank, key in enumerate(keys):
            if not key.startswith(dialects.RESOURCE) and key not in dialects.NEVER:
                found.setdefault(key, []).append((column, rank))
    return found


def resource_keys() -> dict[str, tuple[str, ...]]:
    """Text column -> the resource attributes that fill it when no span attribute does, in order."""
    found = {}
    for name in DIALECT_TEXT:
        keys = tuple(k.removeprefix(dialects.RESOURCE) for k in dialects.TEXT[name] if k.startswith(dialects.RESOURCE))
        if keys:
            found[name] = keys
    return found


@cache
def key_table() -> KeyTable:
    """The table for collector.dialects as it stands."""
    ranked = _ranked()
    rules = {rule.key: rank for rank, rule in enumerate(dialects.KIND)}
    keys = tuple(dict.fromkeys([*ranked, *rules, *dialects.FLAG_KEYS]))
    slot_hash, slot_key = _slots(keys)
    first, columns, ranks = [0], [], []
    for key in keys:
        for column, rank in ranked.get(key, []):
            columns.append(column)
            ranks.append(rank)
        first.append(len(columns))
    values = [(r, v, k) for r, rule in enumerate(dialects.KIND) for v, k in rule.exact.items()]
    prefixes = [(r, p, k) for r, rule in enumerate(dialects.KIND) for p, k in rule.prefixes]
    prefix_first, prefix_text = _texts([p for _, p, _ in prefixes])
    family_first, family_text = _texts([f.prefix for f in dialects.FAMILIES])
    factor = dict(dialects.TTFT)
    present = {rule.key: rule.present for rule in dialects.KIND}
    ints: Callable[[list[int]], npt.NDArray[np.int64]] = lambda items: np.array(items, np.int64)  # noqa: E731
    return KeyTable(
        keys=keys,
        slot_hash=slot_hash,
        slot_key=slot_key,
        first=ints(first),
        action_column=ints(columns),
        action_rank=ints(ranks),
        ttft_factor=np.array([factor.get(key, 1.0) for key in keys]),
        marks=ints([FLAG if key in dialects.FLAG_KEYS else 0 for key in keys]),
        kind_rank=ints([rules.get(key, -1) for key in keys]),
        present_kind=ints([_kind(present.get(key)) for key in keys]),
        value_rank=ints([r for r, _, _ in values]),
        value_hash=ints([hash_text(v.lower(), VALUE_SEED) for _, v, _ in values]),
        value_kind=ints([_kind(k) for _, _, k in values]),
        prefix_rank=ints([r for r, _, _ in prefixes]),
        prefix_kind=ints([_kind(k) for _, _, k in prefixes]),
        prefix_first=prefix_first,
        prefix_text=prefix_text,
        family_first=family_first,
        family_text=family_text,
    )


def _kind(kind: SpanKind | None) -> int:
    return -1 if kind is None else KINDS.index(kind)


def _slots(keys: tuple[str, ...]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    slot_hash, slot_key = np.zeros(SLOTS, np.int64), np.full(SLOTS, -1, np.int64)
    for number, key in enumerate(keys):
        value = hash_text(key, KEY_SEED)
        at = value & (SLOTS - 1)
        while slot_key[at] >= 0:
            at = (at + 1) & (SLOTS - 1)
        slot_hash[at], slot_key[at] = value, number
    return slot_hash, slot_key


def _texts(texts: list[str]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
    raw = [text.encode() for text in texts]
    first = np.cumsum([0, *[len(r) for r in raw]]).astype(np.int64)
    return first, np.frombuffer(b"".join(raw), np.uint8)
