"""Redaction of the map of attributes: keys, values, and the values whose key says what they are.

A list is read element by element, and bytes that are text as that text. A number of which something is replaced
becomes text, and its letter in `attribute_types` says so.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from collector.arrow_text import string_array
from collector.pii_keys import labels
from collector.redact import text_buffers

_STRING, _BYTES = ord("s"), ord("y")
_NARROW: Final = np.isin(np.arange(256), [ord(letter) for letter in "idbyn"])  # letters of values that hold no mark
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
# A JSON list without objects in it, and its elements.
_LIST: Final = re.compile(r'\s*+\[(?:[][\s,0-9.eE+-]|true|false|null|"(?:[^"\\]|\\.)*+")*+\Z', re.DOTALL)
_ELEMENT: Final = re.compile(r'"((?:[^"\\]|\\.)*+)"|-?[0-9][0-9.eE+-]*+', re.DOTALL)
_SHORTEST: Final = 6  # characters of an element that can be anything

Letters = npt.NDArray[np.uint8]


class TextRedactor(Protocol):
    """What is needed of collector.redact.Redactor."""

    def column(self, values: pa.Array | pa.ChunkedArray) -> tuple[pa.Array | pa.ChunkedArray, int]:
        """The column with personal information replaced, and the number of rows changed."""


@dataclass(frozen=True, kw_only=True)
class MaskedMap:
    """The entries, their types where those changed (else None), and how many cells were changed.

    A cell that is changed both for what it holds and for what its key says counts twice.
    """

    entries: pa.MapArray
    types: pa.StringArray | None
    n_changed: int


def masked_map(entries: pa.MapArray, types: pa.StringArray | None, redactor: TextRedactor) -> MaskedMap:
    """A map of strings redacted; `types` has one letter per entry, as `attribute_types`."""
    if not len(entries):
        return MaskedMap(entries=entries, types=None, n_changed=0)
    bounds = entries.offsets
    first, size = bounds[0].as_py(), bounds[-1].as_py() - bounds[0].as_py()
    keys, before = entries.keys.slice(first, size), entries.items.slice(first, size)
    letters = _letters(types, size)
    coded = pc.dictionary_encode(keys)
    words, n_keys = redactor.column(coded)
    items, n_items = redactor.column(before)
    items, n_told, still_bytes = _read(_flat(items), _labelled(coded), letters, redactor)
    if not n_keys + n_items + n_told:
        return MaskedMap(entries=entries, types=None, n_changed=0)
    keys = _flat(words).cast(keys.type) if n_keys else keys
    return MaskedMap(
        entries=pa.MapArray.from_arrays(pc.subtract(bounds, bounds[0]), keys, items),
        types=_retyped(types, letters, before, items, still_bytes) if n_items + n_told else None,
        n_changed=n_keys + n_items + n_told,
    )


def _letters(types: pa.StringArray | None, size: int) -> Letters | None:
    """The letters of all entries end to end; None where they are not one each."""
    if types is None or types.null_count:
        return None
    data, bounds = text_buffers(types)
    return data[bounds[0] : bounds[-1]] if bounds[-1] - bounds[0] == size else None


def _labelled(coded: pa.DictionaryArray) -> tuple[npt.NDArray[np.intp], list[str]]:
    """The places of the entries whose key says what they are, in order, and their labels."""
    said = labels(coded.dictionary) if len(coded) else {}
    if not said:
        return np.zeros(0, np.intp), []
    told = np.zeros(len(coded.dictionary), bool)
    told[list(said)] = True
    codes = coded.indices.to_numpy(zero_copy_only=False)
    places = np.flatnonzero(told[codes])
    return places, [said[code] for code in codes[places].tolist()]


def _read(
    items: pa.StringArray,
    labelled: tuple[npt.NDArray[np.intp], list[str]],
    letters: Letters | None,
    redactor: TextRedactor,
) -> tuple[pa.StringArray, int, npt.NDArray[np.intp]]:
    """(items, number changed, places of the bytes among those), after reading values under their labels, and bytes."""
    label_at = dict(zip(labelled[0].tolist(), labelled[1], strict=True))
    binary = np.zeros(0, np.intp) if letters is None else np.flatnonzero(letters == _BYTES)
    places = np.union1d(labelled[0], binary)
    if not len(places):
        return items, 0, binary
    texts = items.take(pa.array(places)).to_pylist()
    as_bytes = np.isin(places, binary)
    readings = [
        _Reading.of(text or "", label_at.get(place, ""), binary=is_bytes)
        for text, place, is_bytes in zip(texts, places.tolist(), as_bytes.tolist(), strict=True)
    ]
    after = _after(readings, redactor)
    changed = np.array([text is not None for text in after], bool)
    if not changed.any():
        return items, 0, binary[:0]
    mask = np.zeros(len(items), bool)
    mask[places[changed]] = True
    replacements = pa.array([text for text in after if text is not None], items.type)
    return pc.replace_with_mask(items, pa.array(mask), replacements), int(changed.sum()), places[changed & as_bytes]


@dataclass(frozen=True, slots=True)
class _Reading:
    """A value as text, the ranges of it that are read each by itself between `before` and `after`, and whether it was
    bytes."""

    text: str
    before: str
    after: str
    ranges: Sequence[tuple[int, int]]
    binary: bool

    @classmethod
    def of(cls, text: str, label: str, *, binary: bool) -> _Reading:
        plain = _decoded(text) if binary else text
        if plain is None:
            return cls(text, "", "", (), binary)
        whole = ((0, len(plain)),)
        if not label:
            return cls(plain, "", "", whole, binary)
        if _LIST.match(plain):
            spans = [found.span(1) if found[1] is not None else found.span() for found in _ELEMENT.finditer(plain)]
            return cls(plain, f'{label}: "', '"', [(a, b) for a, b in spans if b - a >= _SHORTEST], binary)
        if plain.lstrip()[:1] in ("[", "{"):  # read as JSON, so that it stays JSON
            return cls(plain, f'{{"{label}": ', "}", whole, binary)
        return cls(plain, f'{label}: "', '"', whole, binary)

    def spelled(self) -> list[str]:
        """What the redactor is to read."""
        return [self.before + self.text[start:end] + self.after for start, end in self.ranges]

    def rebuilt(self, pieces: Sequence[str]) -> str:
        """The value with other texts in its ranges, `pieces` being `spelled` redacted."""
        parts, done = [], 0
        for (start, end), piece in zip(self.ranges, pieces, strict=True):
            new = piece.removeprefix(self.before).removesuffix(self.after)
            bare = start > 0 and self.text[start - 1] != '"' and new != self.text[start:end]
            parts += [self.text[done:start], f'"{new}"' if bare else new]
            done = end
        text = "".join([*parts, self.text[done:]])
        return base64.b64encode(text.encode()).decode() if self.binary else text


def _decoded(text: str) -> str | None:
    """The text that bytes, written as base64, are; None when they are none."""
    try:
        plain = base64.b64decode(text, validate=True).decode()
    except ValueError:
        return None
    return None if _CONTROL.search(plain) else plain


def _after(readings: Sequence[_Reading], redactor: TextRedactor) -> list[str | None]:
    """What each value becomes, None where it stays."""
    spelled = [reading.spelled() for reading in readings]
    column = pa.array([text for texts in spelled for text in texts], pa.string())
    after = redactor.column(column.dictionary_encode())[0].to_pylist()  # spans of one program repeat their credentials
    found: list[str | None] = []
    at = 0
    for reading, texts in zip(readings, spelled, strict=True):
        new = after[at : at + len(texts)]
        found.append(None if new == texts else reading.rebuilt(new))
        at += len(texts)
    return found


def _retyped(
    types: pa.StringArray | None,
    letters: Letters | None,
    before: pa.StringArray,
    after: pa.StringArray,
    still_bytes: npt.NDArray[np.intp],
) -> pa.StringArray | None:
    """The types with `s` for what became text; None when they stay."""
    if types is None or letters is None:
        return None
    narrow = np.flatnonzero(_NARROW[letters])
    if not len(narrow):
        return None
    rows = pa.array(narrow)
    differs = pc.not_equal(before.take(rows), after.take(rows)).to_numpy(zero_copy_only=False)
    became = np.setdiff1d(narrow[differs.astype(bool)], still_bytes)
    if not len(became):
        return None
    new = letters.copy()
    new[became] = _STRING
    bounds = text_buffers(types)[1].astype(np.int64)
    return string_array(bounds - bounds[0], new)


def _flat(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
