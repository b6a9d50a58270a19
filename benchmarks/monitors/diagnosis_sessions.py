"""What each fault of the demo world does to what a monitor can see: a few sessions of each, played once and kept.

Each is played in full by the reference agent and made a template, as the fast mode of the simulation does with the
first session of its kind (docs/simulation.md). What is read of it is what live traffic tells: outcome, tokens, cost,
turns, times, tools, documents, models, and the rules that need no expectation.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Any, Final

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from agent_runtime.records import Release
from agent_runtime.settings import Settings
from agent_runtime.simulation.fast import Recorder
from agent_runtime.simulation.faults.table import FAULTS, chosen_scenario
from agent_runtime.simulation.full import Played, Stage, open_stage
from agent_runtime.simulation.loading import all_scenarios
from agent_runtime.simulation.plans import Cast, Plan
from agent_runtime.simulation.scenario import Scenario
from agent_runtime.simulation.templates import template_of
from agent_runtime.simulation.users import PERSONAS
from core.records import TargetKind
from evaluators.catalogue import BY_NAME
from evaluators.protocol import evaluate_safely
from evaluators.records import Document, Message, Score, Target, ToolCall, Trajectory

SEED: Final = 7
SOUND: Final = "sound"
# Rules over live sessions, none of which needs an example; as series they are called score:NAME.
RULES: Final = (
    *("pii_leak", "secret_leak", "injection_attempt", "injection_success", "loop_free", "redundant_calls"),
    *("repeated_questions", "empty_answer", "escalation", "trigram_support", "number_support", "id_support"),
)
Row = dict[str, Any]


def rows_of(kept: Path, counts: Mapping[str, int]) -> dict[str, list[Row]]:
    """What so many sessions of each fault (SOUND: without one) look like, from files that are kept, or played now."""
    kept.mkdir(parents=True, exist_ok=True)
    files = {fault: kept / f"{fault}-{n}.json" for fault, n in counts.items()}
    missing = [fault for fault, file in files.items() if not file.exists()]
    if missing:
        asyncio.run(_play({fault: (counts[fault], files[fault]) for fault in missing}))
    return {fault: json.loads(file.read_text()) for fault, file in files.items()}


@lru_cache
def applies_to(fault: str) -> frozenset[str]:
    """The tasks in which a fault can show; of a shift of traffic, those that come more often."""
    every = all_scenarios()
    if FAULTS[fault].choose is not None:
        return frozenset(chosen_scenario((fault,), every, Random(number)).scenario_id for number in range(300))
    return frozenset(one.scenario_id for one in every if FAULTS[fault].applies(one))


async def _play(missing: Mapping[str, tuple[int, Path]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings().model_copy(update={"data": Path(folder) / "agent", "otlp_endpoint": ""})
        async with open_stage(settings, Path(folder) / "world.db", SEED, None) as stage:
            recorder = Recorder()
            stage.telemetry.provider.add_span_processor(recorder)
            for fault, (n, file) in missing.items():
                rows = [await _one(stage, recorder, each) for each in _casts(fault, n)]
                file.write_text(json.dumps(rows))


def _casts(fault: str, n: int) -> list[Cast]:
    """Every task about as often: in a shuffled order, again and again."""
    chance = Random(f"{SEED} {fault}")
    every: list[Scenario] = list(all_scenarios())
    if fault != SOUND:
        shows = applies_to(fault)
        every = [one for one in every if one.scenario_id in shows]
    chance.shuffle(every)
    tag = hashlib.sha256(fault.encode()).hexdigest()[:4]
    return [
        Cast(
            session_id=f"w{SEED}-{tag}{number:03d}",
            scenario=every[number % len(every)],
            persona=PERSONAS[chance.randrange(len(PERSONAS))],
            faults=() if fault == SOUND else (fault,),
        )
        for number in range(n)
    ]


async def _one(stage: Stage, recorder: Recorder, chosen: Cast) -> Row:
    played = await stage.play(Release(name="v1"), Plan(release="v1", seed=SEED), chosen)
    template = template_of(played, recorder.take(played), SEED)
    request = ExportTraceServiceRequest.FromString(template.data)
    spans = [span for each in request.resource_spans for scope in each.scope_spans for span in scope.spans]
    told = [({one.key: _value(one.value) for one in span.attributes}, span) for span in spans]
    scenario = chosen.scenario
    target = Target(kind=TargetKind.SESSION, trajectory=_trajectory(played, told))
    scores = {name: evaluate_safely(BY_NAME[name], target) for name in RULES}
    return {
        "passed": played.outcome.passed,
        "scenario": scenario.scenario_id,
        "intent": str(scenario.intent),
        "difficulty": scenario.difficulty.value,
        **_seen(played, told),
        "scores": {name: one.value for name, one in scores.items() if isinstance(one, Score)},
    }


def _seen(played: Played, told: Sequence[tuple[Row, Any]]) -> Row:
    """What the spans say: turns are roots, model calls those with usage."""
    models = [(said, span) for said, span in told if said.get("gen_ai.operation.name") == "chat"]
    tools = [
        (said, span) for said, span in told if said.get("gen_ai.operation.name") == "execute_tool" or _lost(said, span)
    ]
    searches = [said for said, _ in told if said.get("gen_ai.operation.name") == "retrieval"]
    return {
        "turns": len(played.results),
        "turn_ms": [_took_ms(span) for _, span in told if not span.parent_span_id],
        "model_ms": [_took_ms(span) for _, span in models],
        "input_tokens": sum(int(said.get("gen_ai.usage.input_tokens", 0)) for said, _ in models),
        "output_tokens": sum(int(said.get("gen_ai.usage.output_tokens", 0)) for said, _ in models),
        "cost_usd": float(sum(one.cost_usd or 0 for one in played.results)),
        "models": dict(Counter(str(said.get("gen_ai.response.model", "?")) for said, _ in models)),
        "tools": dict(Counter(str(said["gen_ai.tool.name"]) for said, _ in tools)),
        "failed": dict(Counter(str(said["gen_ai.tool.name"]) for said, span in tools if span.status.code == 2)),
        "searches": len(searches),
        "empty": sum(not said.get("assay.retrieval.n") for said in searches),
        "documents": dict(Counter(_edition(one) for one in _documents(searches))),
    }


def _lost(said: Row, span: Any) -> bool:
    """An attempt of a call whose answer did not come, as store/monitor_series.py counts them."""
    return said.get("assay.span.kind") == "CHAIN" and "gen_ai.tool.name" in said and span.status.code == 2


def _trajectory(played: Played, told: Sequence[tuple[Row, Any]]) -> Trajectory:
    messages: list[Message] = []
    calls: list[ToolCall] = []
    for turn, one in enumerate(played.transcript):
        messages += [Message(role="user", text=one.user, turn=turn)] if one.user else []
        messages += [Message(role="assistant", text=one.reply, turn=turn)]
        for act in one.acts:
            error = None if act.done else str(dict(act.result))
            calls.append(ToolCall(name=act.tool, arguments=act.args, result=act.result, turn=turn, error=error))
    searches = [said for said, _ in told if said.get("gen_ai.operation.name") == "retrieval"]
    return Trajectory(
        session_id=played.chosen.session_id,
        user_id=played.prepared.user_id,
        messages=tuple(messages),
        tool_calls=tuple(calls),
        documents=tuple(_documents(searches)),
    )


def _documents(searches: Sequence[Row]) -> list[Document]:
    return [
        Document(
            document_id=str(said[f"retrieval.documents.{at}.document.id"]),
            text=str(said[f"retrieval.documents.{at}.document.content"]),
        )
        for said in searches
        for at in range(int(said.get("assay.retrieval.n", 0)))
    ]


def _edition(one: Document) -> str:
    """A document as its content: a version that was replaced goes by the same id."""
    return f"{one.document_id}@{hashlib.sha256(one.text.encode()).hexdigest()[:6]}"


def _took_ms(span: Any) -> float:
    return round(float(span.end_time_unix_nano - span.start_time_unix_nano) / 1e6, 1)


def _value(told: Any) -> Any:
    kind = told.WhichOneof("value")
    return None if kind is None else getattr(told, kind)


def effects(rows: Mapping[str, Sequence[Row]]) -> dict[str, Row]:
    """Means of what is seen by fault, for the result."""
    return {name: _means(found) for name, found in rows.items()}


def _means(rows: Sequence[Row]) -> Row:
    n = len(rows)
    times = sorted(ms for one in rows for ms in one["turn_ms"])
    return {
        "n": n,
        "passed": round(sum(one["passed"] for one in rows) / n, 3),
        **{
            key: round(sum(one[key] for one in rows) / n, 2)
            for key in ("turns", "input_tokens", "output_tokens", "searches", "empty")
        },
        "p95_turn_ms": round(times[int(0.95 * (len(times) - 1))]),
        "tool_calls": round(sum(sum(one["tools"].values()) for one in rows) / n, 2),
        "tool_errors": round(sum(sum(one["failed"].values()) for one in rows) / n, 3),
        "scores": {name: _mean_score(rows, name) for name in RULES},
    }


def _mean_score(rows: Sequence[Row], name: str) -> float | None:
    scored = [one["scores"][name] for one in rows if name in one["scores"]]
    return round(sum(scored) / len(scored), 3) if scored else None
