"""What a piece of work that is done by the clock is: when, for whom, and how it says what it did."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar

from core.clock import NS_PER_S
from core.errors import AssayError
from core.ids import TenantId

HOUR_S: Final = 3_600.0
DAY_S: Final = 86_400.0
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """When a job is begun: at whole multiples of `every_s`; with `hour`, once a day at that hour, UTC."""

    every_s: float
    hour: int | None = None

    @property
    def words(self) -> str:
        """Such as "every 10 s"."""
        if self.hour is not None:
            return f"every day at {self.hour:02}:00 UTC"
        for size, unit in ((HOUR_S, "h"), (60.0, "min")):
            if self.every_s % size == 0:
                n = round(self.every_s / size)
                return f"every {n} {unit}" if n > 1 else {"h": "every hour", "min": "every minute"}[unit]
        return f"every {self.every_s:g} s"

    def next_ns(self, now_ns: int) -> int:
        """The first moment after `now_ns`."""
        if self.hour is None:
            every = max(1, round(self.every_s * NS_PER_S))
            return now_ns // every * every + every
        now = datetime.fromtimestamp(now_ns / NS_PER_S, UTC)
        at = now.replace(hour=self.hour, minute=0, second=0, microsecond=0)
        return round((at if at > now else at + timedelta(days=1)).timestamp()) * NS_PER_S


@dataclass(frozen=True, kw_only=True)
class Done:
    """What a run did. `trouble`: why a part of it could not be done; `again_s`: it is not over, and goes on then."""

    told: Mapping[str, Any] = field(default_factory=dict)
    trouble: str | None = None
    again_s: float | None = None


def _never(_: TenantId) -> bool:
    return False


def _nothing() -> None:
    return


@dataclass(frozen=True, kw_only=True)
class Work:
    """One piece of work. `tenants`: those that have something to do for it. `run`: does a tenant's, until the event is
    set, and raises AssayError; it is never called twice at once. `is_idle`: whether a run would find nothing to do.
    `close`: ends what runs left behind."""

    name: str
    schedule: Schedule
    tenants: Callable[[], Collection[TenantId]]
    run: Callable[[TenantId, threading.Event], Done]
    is_idle: Callable[[TenantId], bool] = _never
    close: Callable[[], None] = _nothing


class Parts:
    """The parts of a run that do not depend on each other: what fails keeps no other one waiting."""

    def __init__(self) -> None:
        self._failed: list[tuple[str, AssayError]] = []
        self._n_done = 0

    def tried(self, name: str, do: Callable[[], T]) -> T | None:
        """What a part says; None where it failed."""
        try:
            found = do()
        except AssayError as error:
            self._failed.append((name, error))
            return None
        self._n_done += 1
        return found

    def done(self, told: Mapping[str, Any], trouble: str | None = None) -> Done:
        """How the run went. Raises the first error where no part was done."""
        if self._failed and not self._n_done:
            raise self._failed[0][1]
        said = [f"{name}: {error}" for name, error in self._failed]
        return Done(told=told, trouble="; ".join([*said, *([trouble] if trouble else [])]) or None)
