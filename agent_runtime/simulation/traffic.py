"""Many sessions: a bounded number at once, in the order of their numbers; Assay is told outcomes as they come due.

The session numbered n of a run has the id `RELEASE-SEED-n` (with the run's mark before n, if it has one): an equal seed
plays the same tasks, in the same words, with the same faults. Releases take turns. A session that the world knows to
have been played is not played again: Assay would hold it twice.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Final

import httpx

from agent_runtime.errors import BackendUnavailable, InvalidInput
from agent_runtime.records import Release
from agent_runtime.simulation.door import DoorStage
from agent_runtime.simulation.full import Played, Stage
from agent_runtime.simulation.plans import Plan, cast, plan_of, played_otherwise, write_plan
from agent_runtime.simulation.truth import post_due, was_played
from agent_runtime.simulation.users import PERSONAS
from agent_runtime.simulation.world import World
from agent_runtime.telemetry import Telemetry

_log = logging.getLogger(__name__)
_POST_EVERY_S: Final = 2.0
_FLUSH_EVERY: Final = 16  # sessions; the exporter's queue never overflows
_PATIENCE_S: Final = 120.0  # at the end, for outcomes that come due


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """What is played. `sessions` 0 means for ever; `mark` keeps two runs of one seed apart in Assay."""

    releases: tuple[Release, ...]
    sessions: int
    seed: int
    mark: str = ""
    at_once: int = 8
    per_minute: float | None = None
    outcome_delay: timedelta = timedelta()
    personas: int = len(PERSONAS)  # manners of users that a task is played with

    def __post_init__(self) -> None:
        if not self.releases or len({each.name for each in self.releases}) != len(self.releases):
            raise InvalidInput("name at least one release, and each once")
        if self.sessions < 0 or self.at_once < 1 or (self.per_minute is not None and self.per_minute <= 0):
            raise InvalidInput("sessions cannot be negative; at once and per minute have to be above 0")
        if not 1 <= self.personas <= len(PERSONAS):
            raise InvalidInput(f"personas are 1 to {len(PERSONAS)}")

    def plans(self) -> dict[str, Plan]:
        """The plan of each release. Raises InvalidInput: an unknown fault, a rate outside 0..1."""
        return {each.name: plan_of(each, self.seed, self.personas) for each in self.releases}

    def plays(self, session_id: str) -> bool:
        """Whether a session of this id is of this traffic, and not of another run in the same world."""
        starts = (f"{each.name}-{self.seed}-{self.mark}" for each in self.releases)
        return any(session_id.startswith(start) and session_id[len(start) :].isdecimal() for start in starts)

    def numbered(self) -> Iterator[tuple[str, Release]]:
        """The id and release of every session."""
        for number in range(self.sessions) if self.sessions else count():
            release = self.releases[number % len(self.releases)]
            yield f"{release.name}-{self.seed}-{self.mark}{number:06d}", release


@dataclass(kw_only=True)
class Run:
    """A run of traffic on a stage. `assay` is a client of Assay's API with a key; None tells nobody."""

    stage: Stage | DoorStage
    traffic: Traffic
    assay: httpx.AsyncClient | None = None
    ended: Callable[[Played], None] = lambda played: None
    stop: asyncio.Event = field(default_factory=asyncio.Event)  # no more sessions begin
    broken_off: asyncio.Event = field(default_factory=asyncio.Event)  # those that are open are left where they are
    n_posted: int = 0  # outcomes of this traffic's sessions; those of other runs are posted too, and not counted
    n_ended: int = 0
    n_known: int = 0  # were played before, and are not played again
    n_otherwise: int = 0  # of these, with other users or faults than they would have now
    n_broken: int = 0

    @property
    def world(self) -> World:
        """Where the truth is written."""
        return self.stage.world

    @property
    def n_lost(self) -> int:
        """Spans that the collector did not take."""
        return self.stage.exporter.n_lost if self.stage.exporter else 0

    def interrupt(self) -> None:
        """Lets the open sessions end and begins no more; called again, it breaks them off."""
        if self.stop.is_set():
            self.break_off()
        self.stop.set()

    def break_off(self) -> None:
        """Ends at once."""
        self.stop.set()
        self.broken_off.set()
        if self.stage.exporter:
            self.stage.exporter.hurry()

    async def play(self) -> None:
        """Plays every session that was not played before, or until it is interrupted. Raises BackendUnavailable."""
        plans = self.traffic.plans()
        for plan in plans.values():
            write_plan(self.stage.world, plan)
        posting = asyncio.create_task(self._post_for_ever()) if self.assay else None
        try:
            await self._play_all(plans)
        finally:
            if posting is not None:
                posting.cancel()
                await asyncio.gather(posting, return_exceptions=True)
            await _flush(self.stage.telemetry)
        await self._post_rest()

    async def _play_all(self, plans: dict[str, Plan]) -> None:
        room = asyncio.Semaphore(self.traffic.at_once)
        playing: set[asyncio.Task[None]] = set()
        for session_id, release in self.traffic.numbered():
            if was_played(self.stage.world, session_id):
                self.n_known += 1
                self.n_otherwise += played_otherwise(self.stage.world, cast(plans[release.name], session_id))
                continue
            await self._pause()
            if not await self._room(room):
                break
            task = asyncio.create_task(self._one(session_id, release, plans[release.name], room))
            playing.add(task)
            task.add_done_callback(playing.discard)
        breaking = asyncio.create_task(self.broken_off.wait())
        while playing and not self.broken_off.is_set():
            await asyncio.wait([breaking, *playing], return_when=asyncio.FIRST_COMPLETED)
        for unfinished in (breaking, *playing):
            unfinished.cancel()
        await asyncio.gather(breaking, *playing, return_exceptions=True)

    async def _pause(self) -> None:
        """Keeps the pace."""
        if self.traffic.per_minute is None:
            return
        with suppress(TimeoutError):
            await asyncio.wait_for(self.stop.wait(), 60.0 / self.traffic.per_minute)

    async def _room(self, room: asyncio.Semaphore) -> bool:
        """Waits for room for one more session; False when the run is stopped before there is any."""
        waiting = asyncio.create_task(room.acquire())
        stopping = asyncio.create_task(self.stop.wait())
        await asyncio.wait([waiting, stopping], return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not waiting.done():
            waiting.cancel()
        return not self.stop.is_set()

    async def _one(self, session_id: str, release: Release, plan: Plan, room: asyncio.Semaphore) -> None:
        try:
            chosen = cast(plan, session_id)
            self.ended(await self.stage.play(release, plan, chosen, self.traffic.outcome_delay))
        except BackendUnavailable as error:  # what does not answer is told without a traceback
            self.n_broken += 1
            _log.error("session %s broke off: %s", session_id, error)
            return
        except Exception:  # a session that breaks is told, and the others go on
            self.n_broken += 1
            _log.exception("session %s broke off", session_id)
            return
        finally:
            room.release()
        self.n_ended += 1
        if self.n_ended % _FLUSH_EVERY == 0:
            await _flush(self.stage.telemetry)

    async def _post_for_ever(self) -> None:
        while True:
            await asyncio.sleep(_POST_EVERY_S)
            try:
                await self._post()
            except BackendUnavailable as error:
                _log.warning("%s", error)

    async def _post(self) -> None:
        if self.assay is not None:
            self.n_posted += await post_due(self.stage.world, self.assay, datetime.now(UTC), self.traffic.plays)

    async def _post_rest(self) -> None:
        """The last outcomes, waited for where they come due soon. Raises BackendUnavailable."""
        await self._post()
        delay = self.traffic.outcome_delay.total_seconds()
        if self.assay is not None and self.n_ended and 0 < delay <= _PATIENCE_S:
            with suppress(TimeoutError):
                await asyncio.wait_for(self.broken_off.wait(), delay)
            await self._post()


async def _flush(telemetry: Telemetry) -> None:
    await asyncio.to_thread(telemetry.provider.force_flush)
