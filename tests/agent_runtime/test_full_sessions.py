"""Whole sessions through the real runtime and the provider's wire: everything passes unless a fault was planted."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from agent_runtime.records import Release
from agent_runtime.settings import Settings
from agent_runtime.simulation.faults.silent_model_change import OTHER_MODEL
from agent_runtime.simulation.faults.table import FAULTS
from agent_runtime.simulation.full import Played, Stage, open_stage
from agent_runtime.simulation.loading import all_scenarios
from agent_runtime.simulation.plans import Cast, Plan, cast, plan_of
from agent_runtime.simulation.tally import wilson
from agent_runtime.simulation.truth import truths
from agent_runtime.simulation.users import PERSONAS
from tests.thorough import often

SEED = 7
N = often(24, 12)
Z999 = 3.2905
RATE = 0.4
NAMES = sorted(FAULTS)
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Theatre:
    """A stage and the loop it lives in; `spans` sees every span."""

    runner: asyncio.Runner
    stage: Stage
    spans: InMemorySpanExporter

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs in the stage's loop."""
        return self.runner.run(work)

    def play(self, release: Release, plan: Plan, chosen: list[Cast]) -> list[Played]:
        """Plays them, six at once."""

        async def all_of_them() -> list[Played]:
            room = asyncio.Semaphore(6)

            async def one(each: Cast) -> Played:
                async with room:
                    return await self.stage.play(release, plan, each)

            return await asyncio.gather(*(one(each) for each in chosen))

        return self.run(all_of_them())


@pytest.fixture(scope="module")
def theatre(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Theatre]:
    folder = Path(tmp_path_factory.mktemp("stage"))
    settings = Settings().model_copy(update={"data": folder / "agent", "otlp_endpoint": ""})
    with asyncio.Runner() as runner:
        opened = AsyncExitStack()
        stage = runner.run(opened.enter_async_context(open_stage(settings, folder / "world.db", SEED, None)))
        spans = InMemorySpanExporter()
        stage.telemetry.provider.add_span_processor(SimpleSpanProcessor(spans))
        yield Theatre(runner=runner, stage=stage, spans=spans)
        runner.run(opened.aclose())


def _reasons(played: list[Played]) -> dict[str, tuple[str, ...]]:
    return {f"{p.chosen.session_id} {p.chosen.persona.name}": p.outcome.reasons for p in played if p.outcome.reasons}


def test_without_a_fault_every_task_passes(theatre: Theatre) -> None:
    plan = Plan(release="v1", seed=SEED)
    chosen = [
        Cast(session_id=f"v1-{each.scenario_id}", scenario=each, persona=PERSONAS[n % len(PERSONAS)], faults=())
        for n, each in enumerate(all_scenarios())
    ]
    played = theatre.play(Release(name="v1"), plan, chosen)
    assert _reasons(played) == {}
    assert sum(p.outcome.passed for p in played) == len(all_scenarios())


@pytest.mark.parametrize("name", NAMES)
def test_a_fault_lowers_success_by_its_rate_or_leaves_it(theatre: Theatre, name: str) -> None:
    """Exactly the sessions in which it was planted fail, and they are as many as the rate says: within the interval of
    99.9 %, which is so narrow that none planted, or all, would be seen."""
    release = Release(name=f"with-{name}", faults={name: RATE})
    plan = plan_of(release, SEED)
    scenarios = [each for each in all_scenarios() if FAULTS[name].applies(each)]
    chosen = [cast(plan, f"{name}-{number}", scenarios) for number in range(N)]
    played = theatre.play(release, plan, chosen)

    planted = {each.session_id for each in chosen if each.faults}
    failed = {p.chosen.session_id for p in played if not p.outcome.passed}
    assert failed == (planted if FAULTS[name].fails_task else set()), _reasons(played)
    for n_hit in (len(planted), len(failed) if FAULTS[name].fails_task else len(planted)):
        low, high = wilson(n_hit, N, Z999)
        assert 0 < low <= RATE <= high < 1
    for row in truths(theatre.stage.world, release.name):
        assert row.passed is not row.expected_fail
        assert (row.fault == name) is (row.session_id in planted)


def test_other_facts_that_faults_change(theatre: Theatre) -> None:
    """A model that changed without a word is named by the response only; padding costs tokens."""
    names = ("silent_model_change", "verbose_padding")
    scenario = all_scenarios()[0]
    chosen = {
        name: Cast(session_id=f"fact-{name}", scenario=scenario, persona=PERSONAS[0], faults=(name,) if name else ())
        for name in ("", *names)
    }
    plan = Plan(release="facts", seed=SEED)
    played = {name: theatre.play(Release(name="facts"), plan, [each])[0] for name, each in chosen.items()}
    spent = {name: sum(each.output_tokens for each in p.results) for name, p in played.items()}
    assert spent["verbose_padding"] > spent[""] + FAULTS["verbose_padding"].lowers.change
    asked = {
        (span.attributes["session.id"], span.attributes["gen_ai.request.model"], span.attributes[key])
        for span in theatre.spans.get_finished_spans()
        if span.attributes and (key := "gen_ai.response.model") in span.attributes
    }
    assert ("fact-silent_model_change", "sim-1", OTHER_MODEL) in asked
    assert {model for session, _, model in asked if session == "fact-"} == {"sim-1"}
