"""Sessions of the reference agent, played without a network, read back from its own spans."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from agent_runtime.records import APP, Release
from agent_runtime.settings import Settings
from agent_runtime.simulation.full import Played, open_stage
from agent_runtime.simulation.loading import all_scenarios
from agent_runtime.simulation.plans import Cast, Plan
from agent_runtime.simulation.users import PERSONAS
from evaluators.reading import trajectories
from evaluators.records import Trajectory
from tests.evaluators.reading.stored import store_of
from tests.evaluators.reading.test_session_frame import assert_says_the_same

N = 6


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Played, Trajectory]]:
    """Scenarios as they were played, beside what is read of them."""
    folder = Path(tmp_path_factory.mktemp("stage"))
    settings = Settings().model_copy(update={"data": folder / "agent", "otlp_endpoint": ""})
    scenarios = all_scenarios()
    chosen = [
        Cast(session_id=f"play-{n}", scenario=scenarios[n * len(scenarios) // N], persona=PERSONAS[0], faults=())
        for n in range(N)
    ]
    spans = InMemorySpanExporter()
    with asyncio.Runner() as runner:
        opened = AsyncExitStack()
        stage = runner.run(opened.enter_async_context(open_stage(settings, folder / "world.db", 7, None)))
        stage.telemetry.provider.add_span_processor(SimpleSpanProcessor(spans))
        plan = Plan(release="v1", seed=7)
        done = [runner.run(stage.play(Release(name="v1"), plan, each)) for each in chosen]
        runner.run(opened.aclose())
    store = store_of(folder, encode_spans(spans.get_finished_spans()).SerializeToString())
    ids = [each.session_id for each in chosen]
    assert_says_the_same(store, ids)
    read = trajectories(store, session_ids=ids)
    return [(one, read[one.chosen.session_id]) for one in done]


def test_what_was_said_called_and_spent(played: list[tuple[Played, Trajectory]]) -> None:
    for one, found in played:
        said = [message.text for message in found.messages if message.role == "assistant"]
        assert said == [result.reply for result in one.results]
        assert (found.app, found.release) == (APP, "v1")
        tokens = sum(call.input_tokens or 0 for call in found.model_calls)
        assert tokens == sum(result.input_tokens for result in one.results)
    assert sum(len(found.tool_calls) for _, found in played) >= N
    assert all(isinstance(call.result, dict) for _, found in played for call in found.tool_calls if call.error is None)
    assert any(found.documents and found.documents[0].text for _, found in played)
