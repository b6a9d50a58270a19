"""Sessions as traces have the shape, tokens and costs of full sessions, ids of their own, and the seasons' times."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from agent_runtime.errors import InvalidInput
from agent_runtime.records import Release
from agent_runtime.settings import Settings
from agent_runtime.simulation.fast import FastRun, Recorder, starts
from agent_runtime.simulation.faults.table import FAULTS
from agent_runtime.simulation.full import open_stage
from agent_runtime.simulation.loading import all_scenarios
from agent_runtime.simulation.plans import Cast, cast
from agent_runtime.simulation.templates import Template
from agent_runtime.simulation.traffic import Traffic
from agent_runtime.simulation.truth import truths
from agent_runtime.simulation.users import PERSONAS
from agent_runtime.simulation.world import World

END = datetime(2026, 3, 2, 12, tzinfo=UTC)  # a Monday
RELEASE = Release(name="v2", faults={"drop_confirmation": 0.5, "latency_spike": 0.3})
N = 12


def _spans(body: bytes) -> list[Any]:
    request = ExportTraceServiceRequest.FromString(body)
    return [span for each in request.resource_spans for scope in each.scope_spans for span in scope.spans]


def _shape(spans: list[Any]) -> Counter[Any]:
    """Every span as its path of names, its attribute keys, and the numbers that a bill would be made of."""
    by_id = {span.span_id: span for span in spans}

    def path(span: Any) -> tuple[str, ...]:
        parent = by_id.get(span.parent_span_id)
        return (*(path(parent) if parent is not None else ()), span.name)

    def numbers(span: Any) -> tuple[Any, ...]:
        said = {each.key: each.value for each in span.attributes}
        tokens = [said[k].int_value for k in sorted(said) if k.startswith("gen_ai.usage.")]
        return (*tokens, said["operation.cost"].double_value if "operation.cost" in said else None)

    return Counter(
        (path(s), s.kind, tuple(sorted(a.key for a in s.attributes)), numbers(s), s.status.code) for s in spans
    )


def _of_every_fault() -> list[Cast]:
    """A session of each fault, alone."""
    found = []
    for number, (name, fault) in enumerate(sorted(FAULTS.items())):
        scenario = [each for each in all_scenarios() if fault.applies(each)][-1]
        persona = PERSONAS[number % len(PERSONAS)]
        found.append(Cast(session_id=f"v2-7-{900 + number:06d}", scenario=scenario, persona=persona, faults=(name,)))
    return found


async def _recorded(folder: Path) -> tuple[FastRun, list[Template], list[list[Any]]]:
    """Templates, and the spans of the same sessions played in full on another stage."""
    settings = Settings().model_copy(update={"data": folder / "one", "otlp_endpoint": ""})
    again = settings.model_copy(update={"data": folder / "two"})
    traffic = Traffic(releases=(RELEASE,), sessions=N, seed=7, at_once=4)
    plans = traffic.plans()
    async with (
        open_stage(settings, folder / "one.db", 7, None) as stage,
        open_stage(again, folder / "two.db", 7, None) as other,
    ):
        run = FastRun(stage=stage, world=other.world, traffic=traffic, weeks=1, end=END)
        await run.play()
        chosen = [cast(plans["v2"], session) for session, _ in traffic.numbered()] + _of_every_fault()
        await run.record([(RELEASE, each) for each in chosen], plans)
        templates = [run.template(RELEASE, each) for each in chosen]
        recorder = Recorder()
        other.telemetry.provider.add_span_processor(recorder)
        full = []
        for template in templates:
            played = await other.play(RELEASE, plans["v2"], template.played.chosen)
            assert played.outcome == template.played.outcome
            full.append(_spans(encode_spans(recorder.take(played)).SerializeToString()))
        return run, templates, full


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Template], list[list[Any]], list[Any]]:
    folder = Path(tmp_path_factory.mktemp("fast"))

    async def all_of_it() -> Any:
        _, templates, full = await _recorded(folder)
        return templates, full

    templates, full = asyncio.run(all_of_it())

    world = World.open(folder / "two.db")
    known = [row for row in truths(world, "v2") if row.session_id[-6].isdigit()]
    world.close()
    return templates, full, known


def test_the_shape_tokens_and_costs_are_those_of_full_sessions(recorded: Any) -> None:
    """With every fault, and without any."""
    templates, full, _ = recorded
    assert {template.played.chosen.faults for template in templates} >= {(), *((name,) for name in FAULTS)}
    for template, spans in zip(templates, full, strict=True):
        assert _shape(_spans(template.instance("v2-7-000001", 10**18))) == _shape(spans)


def test_a_copy_has_ids_and_times_of_its_own(recorded: Any) -> None:
    for template in recorded[0]:
        own = template.played.chosen.session_id
        copy, other = (template.instance(f"v2-7-00000{n}", 10**18) for n in (1, 2))
        names = template.played.prepared.names
        for text in (own, names["tag"], *(v for k, v in names.items() if v.startswith("LK-"))):
            assert text.encode() not in copy
        assert copy == template.instance("v2-7-000001", 10**18)
        spans = {span.span_id: span for span in _spans(copy)}
        assert len(spans) == template.n_spans == len(_spans(copy))
        assert not spans.keys() & {span.span_id for span in _spans(other)}
        for span in spans.values():
            parent = spans.get(span.parent_span_id)
            assert (parent is None) is (span.parent_span_id == b"")
            assert 10**18 <= span.start_time_unix_nano <= span.end_time_unix_nano
            if parent is not None:
                assert parent.trace_id == span.trace_id
                assert parent.start_time_unix_nano <= span.start_time_unix_nano
                assert span.end_time_unix_nano <= parent.end_time_unix_nano
        last = max(span.end_time_unix_nano for span in spans.values())
        assert abs((last - 10**18) / 1e9 - template.seconds) < 0.001


def test_the_truth_of_every_session_is_written_down(recorded: Any) -> None:
    known = recorded[2]
    assert len(known) == N
    assert all(row.passed is not row.expected_fail for row in known)


def test_times_follow_the_day_and_the_week() -> None:
    times = list(starts(20_000, END, 4))
    assert times == sorted(times)
    assert END - timedelta(weeks=4) <= times[0]
    assert times[-1] <= END
    by_hour, by_day = Counter(t.hour for t in times), Counter(t.weekday() for t in times)
    assert by_hour[15] > 4 * by_hour[3]
    assert by_day[1] > 1.5 * by_day[6]


def test_too_many_sessions_or_no_time_are_refused(tmp_path: Path) -> None:
    async def refused() -> None:
        settings = Settings().model_copy(update={"data": tmp_path, "otlp_endpoint": ""})
        async with open_stage(settings, tmp_path / "world.db", 7, None) as stage:
            traffic = Traffic(releases=(RELEASE,), sessions=0, seed=7)
            with pytest.raises(InvalidInput, match="1 to 1,000,000"):
                FastRun(stage=stage, world=stage.world, traffic=traffic, weeks=1, end=END)

    asyncio.run(refused())
