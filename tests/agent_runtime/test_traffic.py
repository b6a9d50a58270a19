"""Runs of traffic: interrupted, gone on with, and what is left when the collector or Assay takes nothing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

from agent_runtime.errors import BackendUnavailable, InvalidInput
from agent_runtime.records import Release
from agent_runtime.settings import Settings
from agent_runtime.simulation import fast
from agent_runtime.simulation.cli import _remarks
from agent_runtime.simulation.fast import FastRun
from agent_runtime.simulation.full import Played, Stage, open_stage
from agent_runtime.simulation.patient import PatientExporter
from agent_runtime.simulation.plans import cast
from agent_runtime.simulation.seed import open_world
from agent_runtime.simulation.traffic import Run, Traffic
from agent_runtime.simulation.truth import truths, waiting

RELEASE = Release(name="v2", faults={"drop_confirmation": 0.4})
END = datetime(2026, 3, 2, 12, tzinfo=UTC)


@asynccontextmanager
async def _stage(folder: Path, *, waiting: float | None = None) -> AsyncIterator[Stage]:
    settings = Settings().model_copy(update={"data": folder / "agent", "otlp_endpoint": ""})
    async with open_stage(settings, folder / "world.db", 7, waiting) as stage:
        yield stage


def _traffic(sessions: int, at_once: int = 4) -> Traffic:
    return Traffic(releases=(RELEASE,), sessions=sessions, seed=7, at_once=at_once)


async def _played(stage: Stage, traffic: Traffic, interrupt_after: int = 0) -> tuple[Run, list[str]]:
    ended: list[str] = []
    run = Run(stage=stage, traffic=traffic)

    def count(played: Played) -> None:
        ended.append(played.chosen.session_id)
        if len(ended) == interrupt_after:
            run.interrupt()

    run.ended = count
    await run.play()
    return run, ended


def test_an_interrupted_run_goes_on_where_it_was_and_plays_nothing_twice(tmp_path: Path) -> None:
    async def both() -> None:
        async with _stage(tmp_path) as stage:
            _, first = await _played(stage, _traffic(16), interrupt_after=3)
            assert 3 <= len(first) <= 3 + 4, "those that were open have ended, and no more began"
            assert all(row.passed is not None for row in truths(stage.world))
            turns = stage.world.rows("SELECT * FROM turns ORDER BY session_id, number")
            run, second = await _played(stage, _traffic(16))
            assert run.n_known == len(first)
            assert sorted(first + second) == [session for session, _ in _traffic(16).numbered()]
            assert [row for row in stage.world.rows("SELECT * FROM turns ORDER BY session_id, number") if row in turns]
            again, third = await _played(stage, _traffic(16))
            assert (again.n_known, third) == (16, [])

    asyncio.run(both())


def test_a_session_that_was_broken_off_is_left_as_it_is(tmp_path: Path) -> None:
    """At the speed of a real model, so that none has ended when the run is stopped after somebody's first turn."""

    async def broken() -> None:
        async with _stage(tmp_path, waiting=1.0) as stage:
            run = Run(stage=stage, traffic=_traffic(20, at_once=20))
            playing = asyncio.create_task(run.play())
            while not stage.world.rows("SELECT 1 FROM turns JOIN truth USING (session_id) WHERE passed IS NULL"):
                await asyncio.sleep(0.01)
            run.interrupt()
            run.interrupt()
            await playing
            open_ = {row.session_id for row in truths(stage.world) if row.passed is None}
            told = {row["session_id"] for row in stage.world.rows("SELECT session_id FROM turns")}
            assert open_ & told
        async with _stage(tmp_path) as stage:
            _, ended = await _played(stage, _traffic(20))
            assert set(ended) == {f"v2-7-{number:06d}" for number in range(20)} - told

    asyncio.run(broken())


class _Away(SpanExporter):
    """A collector that takes nothing for some requests; the far side is scripted because it fails."""

    def __init__(self, n_refused: int) -> None:
        self.n_refused = n_refused
        self.taken: list[str] = []

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Refuses, then takes."""
        self.n_refused -= 1
        if self.n_refused >= 0:
            return SpanExportResult.FAILURE
        self.taken += [span.name for span in spans]
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        """Nothing to close."""


def _exported(exporter: PatientExporter, *names: str) -> None:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    for name in names:
        provider.get_tracer("test").start_span(name).end()


def test_spans_wait_for_a_collector_that_comes_back() -> None:
    away = _Away(2)
    patient = PatientExporter(away)
    _exported(patient, "one", "two")
    assert (away.taken, patient.n_lost) == (["one", "two"], 0)


def test_spans_that_nobody_takes_are_counted_and_waited_for_once() -> None:
    away = _Away(1000)
    patient = PatientExporter(away, patience_s=0.0)
    _exported(patient, "one", "two")
    assert (patient.n_lost, away.n_refused) == (2, 998)
    patient.hurry()
    _exported(patient, "three")
    assert (patient.n_lost, away.n_refused) == (3, 998), "a run that is broken off tries no more"
    away.n_refused = 0
    calm = PatientExporter(away, patience_s=0.0)
    _exported(calm, "four")
    assert (away.taken, calm.n_lost) == (["four"], 0)


def _answers(*statuses: int | None) -> tuple[httpx.MockTransport, list[bytes]]:
    """A collector that answers so, None being no connection, and then 200; what it took."""
    left, taken = list(statuses), list[bytes]()

    def answer(request: httpx.Request) -> httpx.Response:
        status = left.pop(0) if left else 200
        if status is None:
            raise httpx.ConnectError("nobody listens", request=request)
        if status == httpx.codes.OK:
            taken.append(request.content)
        return httpx.Response(status, text="" if status == httpx.codes.OK else "not now")

    return httpx.MockTransport(answer), taken


async def _traces(
    folder: Path, transport: httpx.MockTransport, sessions: int = 12, *, interrupted: bool = False
) -> FastRun:
    world = open_world(folder / "truth.db")
    async with (
        _stage(folder / str(sessions) / str(len(_known(folder)))) as stage,
        httpx.AsyncClient(transport=transport, base_url="http://collector") as collector,
    ):
        run = FastRun(stage=stage, world=world, traffic=_traffic(sessions), weeks=1, end=END, collector=collector)
        playing = asyncio.create_task(run.play())
        try:
            if interrupted:
                await asyncio.sleep(0)  # it has begun
                run.interrupt()
            await playing
        finally:
            world.close()
        return run


def _known(folder: Path) -> list[str]:
    world = open_world(folder / "truth.db")
    found = [row.session_id for row in truths(world)]
    world.close()
    return found


def test_traces_wait_for_a_collector_that_comes_back(tmp_path: Path) -> None:
    transport, taken = _answers(None, 503)
    run = asyncio.run(_traces(tmp_path, transport, sessions=8))
    assert (len(taken), len(_known(tmp_path)), run.n_lost) == (2, 8, 0)


def test_traces_that_are_being_made_when_the_run_is_interrupted_are_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fast, "_PER_REQUEST", 4)
    transport, taken = _answers()
    asyncio.run(_traces(tmp_path, transport, interrupted=True))
    assert (len(taken), len(_known(tmp_path))) == (1, 4)


def test_traces_that_a_collector_refuses_have_no_truth_and_are_made_by_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fast, "_PER_REQUEST", 4)
    transport, taken = _answers(200, 401)
    with pytest.raises(BackendUnavailable, match="takes no traces: 401: not now"):
        asyncio.run(_traces(tmp_path, transport))
    assert len(_known(tmp_path)) == 4, "the first request's"
    transport, rest = _answers()
    run = asyncio.run(_traces(tmp_path, transport))
    assert (run.n_known, len(_known(tmp_path))) == (4, 12)
    for session in (session for session, _ in _traffic(12).numbered()):
        assert sum(session.encode() in body for body in taken + rest) == 1


def test_a_runtime_that_has_answered_a_recording_before_is_refused(tmp_path: Path) -> None:
    """It answers from its memory and leaves no spans; a run of traces has a runtime of its own."""

    async def twice() -> None:
        async with _stage(tmp_path) as stage:
            await FastRun(stage=stage, world=stage.world, traffic=_traffic(1), weeks=1, end=END).play()
            more = FastRun(stage=stage, world=stage.world, traffic=_traffic(2), weeks=1, end=END)
            with pytest.raises(InvalidInput, match="left no spans"):
                await more.record([(RELEASE, cast(_traffic(1).plans()["v2"], "v2-7-000000"))], _traffic(1).plans())

    asyncio.run(twice())


def test_recordings_never_share_an_id(tmp_path: Path) -> None:
    """They would share a customer, and the runtime would answer the second as it answered the first."""

    async def recorded() -> None:
        async with _stage(tmp_path) as stage:
            run = FastRun(stage=stage, world=stage.world, traffic=_traffic(30), weeks=1, end=END)
            await run.play()
            ids = [template.played.chosen.session_id for template in run._templates.values()]
            assert len(set(ids)) == len(ids) > 20
            assert not set(ids) & {session for session, _ in _traffic(30).numbered()}

    asyncio.run(recorded())


def test_outcomes_that_nobody_takes_end_the_run_and_stay_due(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)

    async def refused() -> None:
        transport = httpx.MockTransport(lambda request: httpx.Response(503, text="away"))
        async with (
            _stage(tmp_path) as stage,
            httpx.AsyncClient(transport=transport, base_url="http://assay") as assay,
        ):
            run = Run(stage=stage, traffic=_traffic(2), assay=assay)
            with pytest.raises(BackendUnavailable, match="503 to the scores: away"):
                await run.play()
            assert run.n_ended == 2
            assert len(stage.world.rows("SELECT 1 FROM truth WHERE posted_at IS NULL")) == 2

    asyncio.run(refused())


def test_a_batch_of_outcomes_that_was_begun_is_sent_again_as_it_was(tmp_path: Path) -> None:
    """Assay took the first batch but its answer was lost, and meanwhile more came due."""
    bodies: list[tuple[str | None, bytes]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        bodies.append((request.headers.get("idempotency-key"), request.content))
        if len(bodies) == 1:
            raise httpx.ReadError("the answer was lost", request=request)
        return httpx.Response(201, json={"score_ids": []})

    async def lost() -> None:
        async with (
            _stage(tmp_path) as stage,
            httpx.AsyncClient(transport=httpx.MockTransport(answer), base_url="http://assay") as assay,
        ):
            with pytest.raises(BackendUnavailable, match="could not be reached"):
                await Run(stage=stage, traffic=_traffic(2), assay=assay).play()
            run = Run(stage=stage, traffic=_traffic(5), assay=assay)
            await run.play()
            assert run.n_posted == 5
            assert bodies[0] == bodies[1]
            assert [body.count(b'"task_success"') for _, body in bodies] == [2, 2, 3]

    asyncio.run(lost())


def test_a_pace_and_an_outcome_that_comes_later(tmp_path: Path) -> None:
    """The delay lies in the outcome's own time, and a run does not wait for days."""

    async def paced() -> None:
        transport = httpx.MockTransport(lambda _: httpx.Response(201, json={"score_ids": []}))
        async with (
            _stage(tmp_path) as stage,
            httpx.AsyncClient(transport=transport, base_url="http://assay") as assay,
        ):
            delay = timedelta(days=3)
            traffic = Traffic(releases=(RELEASE,), sessions=2, seed=7, per_minute=60_000, outcome_delay=delay)
            run = Run(stage=stage, traffic=traffic, assay=assay)
            await run.play()
            assert run.n_posted == 0
            for row in stage.world.rows("SELECT ended_at, due_at FROM truth"):
                ended, due = (datetime.fromisoformat(row[name]) for name in ("ended_at", "due_at"))
                assert due - ended == delay
            other = replace(traffic, mark="b-")
            await Run(stage=stage, traffic=other, assay=assay).play()
            left = waiting(stage.world)
            assert (len(left), sum(map(traffic.plays, left)), sum(map(other.plays, left))) == (4, 2, 2)
            run = Run(stage=stage, traffic=replace(traffic, mark="c-", outcome_delay=timedelta()), assay=assay)
            stage.world.change("UPDATE truth SET due_at = ended_at")
            await run.play()
            assert (run.n_posted, waiting(stage.world)) == (2, []), "all were posted, its own are counted"
            said = _remarks(run, [*left, "v2-7-c-000000"])
            assert said.startswith("outcomes still to be posted: 1 of this run and 4 of others in this world; ")

    asyncio.run(paced())
