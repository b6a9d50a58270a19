"""Weeks of traffic in minutes: sessions as traces, without the agent between.

The same plan, scenarios, personas and faults as full sessions. The first session of each task, persona and set of
faults is played in full and kept as a template; every further one is a copy of it with ids and times of its own, so its
spans have the shape, the tokens and the costs of a full session. What it says is what the first one said.
"""

from __future__ import annotations

import asyncio
import math
from bisect import bisect
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import accumulate, count, islice
from time import monotonic
from typing import Final, TypeVar

import httpx
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor

from agent_runtime.errors import BackendUnavailable, InvalidInput
from agent_runtime.records import Release
from agent_runtime.simulation.full import Played, Stage
from agent_runtime.simulation.plans import Cast, Plan, cast, played_otherwise, write_plan
from agent_runtime.simulation.templates import Template, template_of
from agent_runtime.simulation.traffic import Traffic
from agent_runtime.simulation.truth import Ended, post_due, record_many, was_played
from agent_runtime.simulation.world import World

_PER_REQUEST: Final = 64  # sessions in one OTLP request
_PATIENCE_S: Final = 60.0  # with a collector that takes nothing
_WAIT_S: Final = 1.0  # before a request that was put off is sent again
_LATER: Final = (408, 429, 502, 503, 504)
_MOST_WEEKS: Final = 520.0
# Share of a day's traffic by hour and of a week's by day, Monday first: quiet nights and Sundays.
_HOURS: Final = tuple(1.0 + 0.8 * math.sin((hour - 9) / 24 * 2 * math.pi) for hour in range(24))
_DAYS: Final = (1.1, 1.15, 1.1, 1.05, 1.0, 0.7, 0.6)


_Key = tuple[str, str, str, tuple[str, ...]]  # release, scenario, persona, faults
_T = TypeVar("_T")


class Recorder(SpanProcessor):
    """Keeps the spans of each session until they are taken."""

    def __init__(self) -> None:
        self._spans: dict[str, list[ReadableSpan]] = defaultdict(list)

    def on_end(self, span: ReadableSpan) -> None:
        """Called by the SDK."""
        self._spans[str((span.attributes or {}).get("session.id"))].append(span)

    def take(self, played: Played) -> list[ReadableSpan]:
        """The spans of a session's turns."""
        traces = {int(result.trace_id, 16) for result in played.results}
        found = self._spans.pop(played.chosen.session_id, [])
        return [span for span in found if span.context is not None and span.context.trace_id in traces]


def starts(n: int, end: datetime, weeks: float) -> Iterator[datetime]:
    """When `n` sessions begin in the weeks before `end`, in order: by the shape of day and week on its clock."""
    first = end - timedelta(weeks=weeks)
    hours = max(1, math.ceil(weeks * 7 * 24))
    piece = (end - first) / hours
    times = [first + number * piece for number in range(hours)]
    sums = list(accumulate(_HOURS[time.hour] * _DAYS[time.weekday()] for time in times))
    for number in range(n):
        share = (number + 0.5) / n * sums[-1]
        hour = min(bisect(sums, share), hours - 1)
        before = sums[hour - 1] if hour else 0.0
        yield times[hour] + (share - before) / (sums[hour] - before) * piece


@dataclass(kw_only=True)
class FastRun:
    """A run of traffic as traces. `stage` records templates (its spans go nowhere else); `world` gets the truth.

    `collector` and `assay` are clients of the OTLP door and of the API; None tells nobody. With `filling` only what
    lies outside of `known`, a span of time that has sessions, is made, the newest first.
    """

    stage: Stage
    world: World
    traffic: Traffic
    weeks: float
    end: datetime
    collector: httpx.AsyncClient | None = None
    assay: httpx.AsyncClient | None = None
    filling: bool = False
    known: tuple[datetime, datetime] | None = None
    ended: Callable[[Played], None] = lambda played: None
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    n_spans: int = 0
    n_lost: int = 0  # spans that the collector refused
    n_posted: int = 0
    n_known: int = 0  # sessions that were played before
    n_otherwise: int = 0  # of these, with other users or faults than they would have now
    n_broken: int = 0  # a session that cannot be recorded ends the run, so none

    def __post_init__(self) -> None:
        checked(self.traffic.sessions, self.weeks)
        self._recorder = Recorder()
        self.stage.telemetry.provider.add_span_processor(self._recorder)
        self._templates: dict[_Key, Template] = {}

    async def play(self) -> None:
        """Makes and sends every session that was not played before, in order of time; all have ended by `end`.

        Raises BackendUnavailable: the collector or Assay takes nothing; what was sent before has its truth.
        """
        plans = self.traffic.plans()
        for plan in plans.values():
            write_plan(self.world, plan)
        try:
            for batch in _batches(self._unplayed(plans), _PER_REQUEST):
                if self.stop.is_set():
                    break
                await self._make(
                    [(release, cast(plans[release.name], session), at) for session, release, at in batch], plans
                )
        finally:
            await self._post()

    def interrupt(self) -> None:
        """Ends after the sessions that are being made."""
        self.stop.set()

    break_off = interrupt

    def _unplayed(self, plans: dict[str, Plan]) -> Iterator[tuple[str, Release, datetime]]:
        times = starts(self.traffic.sessions, self.end, self.weeks)
        numbered: Iterable[tuple[tuple[str, Release], datetime]] = zip(self.traffic.numbered(), times, strict=True)
        if self.filling:
            numbered = reversed([each for each in numbered if not self._has(each[1])])
        for (session, release), at in numbered:
            if was_played(self.world, session):
                self.n_known += 1
                self.n_otherwise += played_otherwise(self.world, cast(plans[release.name], session))
            else:
                yield session, release, at

    def _has(self, at: datetime) -> bool:
        return self.known is not None and self.known[0] <= at <= self.known[1]

    async def _make(self, chosen: Sequence[tuple[Release, Cast, datetime]], plans: dict[str, Plan]) -> None:
        await self.record([(release, each) for release, each, _ in chosen], plans)
        chosen = [(release, each, self._begin(release, each, at)) for release, each, at in chosen]
        await self._send(b"".join(self.instance(release, each, at) for release, each, at in chosen))
        record_many(self.world, [self._truth(release, each, at) for release, each, at in chosen])
        for release, each, _ in chosen:
            template = self.template(release, each)
            self.n_spans += template.n_spans
            self.ended(template.played)

    def _begin(self, release: Release, chosen: Cast, at: datetime) -> datetime:
        return min(at, self.end - timedelta(seconds=self.template(release, chosen).seconds))

    async def _post(self) -> None:
        if self.assay is not None:
            self.n_posted += await post_due(self.world, self.assay, datetime.now(UTC), self.traffic.plays)

    def template(self, release: Release, chosen: Cast) -> Template:
        """The template of such a session; it was recorded."""
        return self._templates[_key(release, chosen)]

    def instance(self, release: Release, chosen: Cast, at: datetime) -> bytes:
        """A session as OTLP."""
        return self.template(release, chosen).instance(chosen.session_id, int(at.timestamp() * 1_000_000) * 1000)

    async def record(self, chosen: Sequence[tuple[Release, Cast]], plans: dict[str, Plan]) -> None:
        """Plays in full what has no template yet."""
        missing = {_key(release, each): (release, each) for release, each in chosen}
        room = asyncio.Semaphore(self.traffic.at_once)

        async def one(number: int, key: _Key, release: Release, each: Cast) -> None:
            async with room:
                own = replace(each, session_id=_recorded_id(each.session_id, number))
                played = await self.stage.play(release, plans[release.name], own)
                self._templates[key] = template_of(played, self._recorder.take(played), self.traffic.seed)

        new = {key: each for key, each in missing.items() if key not in self._templates}
        numbers = count(len(self._templates))
        await asyncio.gather(*(one(next(numbers), key, *each) for key, each in new.items()))

    def _truth(self, release: Release, chosen: Cast, at: datetime) -> Ended:
        template = self.template(release, chosen)
        ended = at + timedelta(seconds=template.seconds)
        return Ended(
            chosen=chosen,
            release=release.name,
            seed=self.traffic.seed,
            outcome=template.played.outcome,
            began=at,
            ended=ended,
            due=ended + self.traffic.outcome_delay,
        )

    async def _send(self, body: bytes) -> None:
        """Sends a request until it is taken; equal bytes that arrive twice are stored once."""
        if self.collector is None:
            return
        until = monotonic() + _PATIENCE_S
        while True:
            try:
                answer = await self.collector.post("/v1/traces", content=body)
            except httpx.TransportError as error:
                said = repr(error)
            else:
                if answer.status_code == httpx.codes.OK:
                    self.n_lost += ExportTraceServiceResponse.FromString(answer.content).partial_success.rejected_spans
                    return
                said = f"{answer.status_code}: {answer.text[:300]}"
                until = until if answer.status_code in _LATER else 0.0
            if monotonic() > until or self.stop.is_set():
                raise BackendUnavailable(f"the collector takes no traces: {said}")
            await asyncio.sleep(_WAIT_S)


def checked(sessions: int, weeks: float) -> None:
    """Raises InvalidInput where traces cannot be that many or of so long a time."""
    if not 0 < sessions <= 1_000_000 or not 0 <= weeks <= _MOST_WEEKS:
        raise InvalidInput(f"traces are made for 1 to 1,000,000 sessions and up to {_MOST_WEEKS:.0f} weeks")


def _key(release: Release, chosen: Cast) -> _Key:
    return release.name, chosen.scenario.scenario_id, chosen.persona.name, chosen.faults


def _recorded_id(session_id: str, number: int) -> str:
    """As long as the ids of the copies, and none of them. Two recordings never share one: they would share a user."""
    return f"{session_id[:-6]}t{number:05d}"


def _batches(items: Iterable[_T], n: int) -> Iterator[list[_T]]:
    """Few at first, so that something is there soon; then `n` at a time."""
    left, size = iter(items), min(4, n)
    while batch := list(islice(left, size)):
        yield batch
        size = min(n, 2 * size)
