"""How an argument of a call is compared with the gold one; chosen per "tool.argument" in Expected.comparators.

exact        equal JSON (what is not chosen)      ignore_case   texts, without case and outer punctuation
number       equal numbers, "12" too              number:0.5    within 0.5          number:1%   within 1 % of gold
date         the same day, or the same instant where both name a time
unordered    lists with the same members, each as often             set        lists with the same members
subset       every member (or key and value) of gold is there        any        whatever it is, also absent
regex        the gold text is a pattern (RE2) that matches the whole argument as text
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final

import re2

from core.errors import InvalidInput
from evaluators.records import ToolCall
from evaluators.rules.values import canonical, normalised, number_of, same

Comparator = Callable[[Any, Any], bool]  # (gold, found)
_DATE_FORMATS: Final = ("%Y/%m/%d", "%B %d, %Y", "%b %d, %Y", "%B %d %Y", "%b %d %Y", "%d %B %Y", "%d %b %Y")


def comparator(name: str) -> Comparator:
    """The comparator that is called so. Raises InvalidInput for another name or tolerance, saying which there are."""
    word, colon, tolerance = str(name).partition(":")
    if word == "number":
        return _number(tolerance if colon else "0", name)
    found = _PLAIN.get(word)
    if found is None or colon:
        raise InvalidInput(
            f"there is no comparator {str(name)[:60]!r}; there are {', '.join(COMPARATORS)}", field="comparators"
        )
    return found


def arguments_equal(gold: ToolCall, found: ToolCall, comparators: Mapping[str, str]) -> bool:
    """Whether two calls are of one tool with matching arguments. An argument that gold does not name does not match,
    unless it is null or compared as `any`. Raises InvalidInput as `comparator`."""
    return gold.name == found.name and all(arguments_matched(gold, found, comparators).values())


def arguments_matched(gold: ToolCall, found: ToolCall, comparators: Mapping[str, str]) -> dict[str, bool]:
    """Whether each argument that either of two calls of one tool names matches. Raises InvalidInput as `comparator`."""
    names = [name for name, value in gold.arguments.items() if value is not None]
    names += [name for name, value in found.arguments.items() if value is not None and name not in names]
    return {
        str(name): _matches(
            gold.arguments.get(name), found.arguments.get(name), _chosen(gold.name, str(name), comparators)
        )
        for name in names
    }


def check(comparators: Mapping[str, str]) -> None:
    """Raises InvalidInput for the first comparator that does not exist."""
    for name in comparators.values():
        comparator(name)


def compares(tool: str, comparators: Mapping[str, str]) -> bool:
    """Whether any comparator may be chosen for an argument of this tool."""
    return any("." not in name or name.startswith(f"{tool}.") for name in comparators)


def _chosen(tool: str, argument: str, comparators: Mapping[str, str]) -> Comparator:
    name = comparators.get(f"{tool}.{argument}") or comparators.get(argument) or "exact"
    return comparator(name)


def _matches(gold: Any, found: Any, compared: Comparator) -> bool:
    if compared is _any:
        return True
    if gold is None or found is None:
        return gold is found
    return compared(gold, found)


def _any(_gold: Any, _found: Any) -> bool:
    return True


def _ignore_case(gold: Any, found: Any) -> bool:
    if isinstance(gold, str) and isinstance(found, str):
        return normalised(gold) == normalised(found)
    return same(gold, found)


def _number(tolerance: str, name: str) -> Comparator:
    share = tolerance.endswith("%")
    amount = number_of(tolerance.removesuffix("%"))
    if amount is None or amount < 0:
        raise InvalidInput(
            f"{str(name)[:60]!r}: a tolerance is a number from 0 on, as number:0.5 or number:1%", "comparators"
        )

    def compared(gold: Any, found: Any) -> bool:
        wanted, given = number_of(gold), number_of(found)
        if wanted is None or given is None:
            return False
        allowed = abs(wanted) * amount / 100 if share else amount
        return abs(wanted - given) <= Decimal(allowed)

    return compared


def _date(gold: Any, found: Any) -> bool:
    wanted, given = _moment(gold), _moment(found)
    if wanted is None or given is None:
        return False
    if isinstance(wanted, datetime) and isinstance(given, datetime):
        return wanted == given
    return _day(wanted) == _day(given)


def _moment(value: Any) -> date | datetime | None:
    """A datetime in UTC (one without a zone is taken as UTC) or a date; None for what is neither."""
    if not isinstance(value, str) or len(value) > 60:
        return None
    text = value.strip()
    try:
        if len(text) == 10:
            return date.fromisoformat(text)
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return _worded(text)


def _worded(text: str) -> date | None:
    for form in _DATE_FORMATS:
        try:
            return datetime.strptime(text, form).date()
        except ValueError:
            continue
    return None


def _day(moment: date | datetime) -> date:
    return moment.date() if isinstance(moment, datetime) else moment


def _unordered(gold: Any, found: Any) -> bool:
    if not isinstance(gold, list | tuple) or not isinstance(found, list | tuple):
        return same(gold, found)
    return Counter(map(canonical, gold)) == Counter(map(canonical, found))


def _set(gold: Any, found: Any) -> bool:
    return set(map(canonical, _listed(gold))) == set(map(canonical, _listed(found)))


def _subset(gold: Any, found: Any) -> bool:
    if isinstance(gold, Mapping) and isinstance(found, Mapping):
        return all(name in found and same(value, found[name]) for name, value in gold.items())
    return set(map(canonical, _listed(gold))) <= set(map(canonical, _listed(found)))


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def _regex(gold: Any, found: Any) -> bool:
    if not isinstance(gold, str):
        raise InvalidInput("a gold argument that is compared as regex is a text", field="comparators")
    text = found if isinstance(found, str) else str(found)
    return bool(pattern(gold).fullmatch(text.encode("utf-8", "replace").decode()))


@lru_cache(maxsize=256)
def pattern(text: str) -> Any:
    """The pattern for RE2, which takes time linear in the text. Raises InvalidInput for what is not its syntax."""
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(text, options)
    except (re2.error, UnicodeEncodeError) as error:
        raise InvalidInput(f"{text[:60]!r} is no pattern of RE2 (no look-around, no back-references)") from error


_PLAIN: Final[Mapping[str, Comparator]] = {
    "exact": same,
    "ignore_case": _ignore_case,
    "date": _date,
    "unordered": _unordered,
    "set": _set,
    "subset": _subset,
    "any": _any,
    "regex": _regex,
}
COMPARATORS: Final = (*_PLAIN, "number")
