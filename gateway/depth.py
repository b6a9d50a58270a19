"""How deep lists and objects are in each other: what is read up to 1,024 levels can be written up to 254 only."""

from __future__ import annotations

from typing import Any, Final

MOST_DEPTH: Final = 200


def is_too_deep(given: dict[str, Any], raw: bytes) -> bool:
    """Whether an object that was read from `raw` has more than 200 levels."""
    if raw.count(b"[") + raw.count(b"{") <= MOST_DEPTH:
        return False
    level: list[Any] = [given]
    for _ in range(MOST_DEPTH):
        parts = [each.values() if isinstance(each, dict) else each for each in level]
        level = [each for part in parts for each in part if isinstance(each, dict | list)]
        if not level:
            return False
    return True
