"""Numbers in texts, as values that can be compared: 1,234.50 and 1234.5 are one number, 19:00 and 7 PM one hour."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from typing import Final

_NUMBER: Final = re.compile(
    r"(?<![\w.,#])(?P<sign>[$€£]\s?)?(?P<digits>\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?)(?P<unit>\s?%)?"
)
_ANY: Final = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?")
_CLOCK: Final = re.compile(r"\b([01]?\d|2[0-3]):([0-5]\d)")
_LIST_MARK: Final = re.compile(r"^[ \t>*-]*\d{1,3}[.)](?=\s)", re.MULTILINE)
_ID_AFTER: Final = re.compile(r"[A-Za-z_]*[A-Za-z]{4,}|_")
_SMALL: Final = Decimal(10)
_LONGEST: Final = 40


def number(text: str) -> Decimal | None:
    """The value of digits with commas and a point; None for what is too long to be a figure."""
    if len(text) > _LONGEST:
        return None
    try:
        return Decimal(text.replace(",", "")).normalize()
    except InvalidOperation:
        return None


def numbers_of(text: str) -> Iterator[Decimal]:
    """Every number of a source, those inside of identifiers and dates too, and hours of a twelve-hour clock."""
    for one in _ANY.finditer(text):
        value = number(one[0])
        if value is not None:
            yield value
        if "," in one[0]:
            yield from (Decimal(part).normalize() for part in re.findall(r"\d{1,9}", one[0]))
    for clock in _CLOCK.finditer(text):
        yield Decimal((int(clock[1]) + 11) % 12 + 1).normalize()


def numbers_said(text: str) -> Iterator[tuple[str, Decimal]]:
    """The figures of an answer as (text, value): not the marks of a list, not parts of identifiers, and no plain whole
    number up to 10, which mostly counts what is there."""
    for one in _NUMBER.finditer(_LIST_MARK.sub(" ", text)):
        value = number(one["digits"])
        rest = one.string[one.end() : one.end() + 12]
        if value is None or _ID_AFTER.match(rest):
            continue
        if one["sign"] or one["unit"] or value > _SMALL or value != value.to_integral_value():
            yield one[0].strip(), value
