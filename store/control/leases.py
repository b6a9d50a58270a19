"""Leases: who works on something holds it until a moment, and begins anew before that; then it is another's to take."""

from __future__ import annotations

from collections.abc import Callable

Gone = Callable[[str], bool]  # whether the process of this name is no more


def is_free(holder: str | None, until_ns: int | None, owner: str, now_ns: int, gone: Gone) -> bool:
    """Whether `owner` may work at `now_ns` on what `holder` holds until then: it is nobody's, its own, or was left."""
    return holder is None or holder == owner or (until_ns or 0) <= now_ns or gone(holder)
