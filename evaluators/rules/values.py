"""When two JSON values are the same, and what a text says once case, spacing and punctuation are set aside."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Hashable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from core.errors import TooLarge
from evaluators.records import ToolCall

MOST_DEPTH: Final = 64
MOST_DIGITS: Final = 60
# 1,234.50 or 1234.5 or 1e3 with a sign, a currency before it and a percent sign after it.
_NUMBER: Final = re.compile(
    r"(?<![\w.])[-+−]?\s?[$€£¥]?\s?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:[eE][-+]?\d{1,3})?(?!\w)\s?%?"
)
_EDGES: Final = " \t\r\n\"'“”‘’`.,;:!?()[]{}<>*_"


def canonical(value: Any, depth: int = 0) -> Hashable:
    """A hashable value that is equal for equal JSON: 1 and 1.0 are, 1 and true are not, nor are 1 and "1"; NaN is equal
    to itself, and the order of keys says nothing. Raises TooLarge for what is nested deeper than MOST_DEPTH."""
    if depth > MOST_DEPTH:
        raise TooLarge(f"a value is nested more than {MOST_DEPTH} deep")
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return ("bool", value)
    if isinstance(value, int | float):
        return ("number", "nan") if math.isnan(value) else ("number", value)
    if isinstance(value, Mapping):
        return ("object", frozenset((str(key), canonical(one, depth + 1)) for key, one in value.items()))
    if isinstance(value, list | tuple):
        return ("array", tuple(canonical(one, depth + 1) for one in value))
    return ("other", type(value).__qualname__, str(value)[:1000])


def same(one: Any, other: Any) -> bool:
    """Whether two JSON values are equal as `canonical` means it."""
    return canonical(one) == canonical(other)


def call_key(call: ToolCall) -> Hashable:
    """Equal for calls of one tool with equal arguments; an argument that is null is as one that is not given."""
    return (call.name, canonical({name: value for name, value in call.arguments.items() if value is not None}))


def finite(value: Any) -> bool:
    """Whether a value is a number, no truth value, that a float can hold."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return value.bit_length() < 1000 if isinstance(value, int) else math.isfinite(value)


def normalised(text: str) -> str:
    """In NFKC and without case, with single spaces and nothing but words at the edges."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split()).strip(_EDGES)


def number_of(value: Any) -> Decimal | None:
    """The number that a value is, or that a text is and nothing else: '$1,234.50', '12 %' (12). Else None."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return Decimal(str(value)) if finite(value) else None
    if not isinstance(value, str) or len(value) > MOST_DIGITS:
        return None
    text = value.strip().strip("\"'`.")
    return _parsed(text) if _NUMBER.fullmatch(text) else None


def numbers_in(text: str) -> list[Decimal]:
    """The numbers that a text says, in order. Comma groups thousands, the dot is decimal."""
    found = (_parsed(one.group()) for one in _NUMBER.finditer(text) if one.end() - one.start() <= MOST_DIGITS)
    return [one for one in found if one is not None]


def _parsed(text: str) -> Decimal | None:
    bare = re.sub(r"[\s$€£¥,%]", "", text.replace("−", "-"))
    try:
        number = Decimal(bare)
    except InvalidOperation:
        return None
    return number if abs(number.adjusted()) < 300 else None
