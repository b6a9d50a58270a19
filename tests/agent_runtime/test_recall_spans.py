"""What the span of a recall shows: the memories themselves, with where they are from, their score and their age."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from agent_runtime.compose import open_runtime
from agent_runtime.records import TurnInput
from agent_runtime.settings import Settings


def test_a_recall_shows_what_was_recalled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_BASE_URL", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    spans = InMemorySpanExporter()

    async def two_sessions() -> None:
        async with open_runtime(Settings(data=tmp_path)) as running:
            running.runtime._parts.telemetry.provider.add_span_processor(SimpleSpanProcessor(spans))
            for session, text in (
                ("s1", "My name is Ada and my size is M. What is your return policy?"),
                ("s2", "What is your return policy for size M?"),
            ):
                given = TurnInput(session_id=session, user_id=running.demo_user, text=text, message_id=session)
                await running.runtime.turn(given)

    asyncio.run(two_sessions())
    first, second = (dict(s.attributes or {}) for s in spans.get_finished_spans() if s.name == "memory recall")
    assert first["assay.memory.recalled"] == ()
    shown = [json.loads(str(each)) for each in second["assay.memory.recalled"]]  # type: ignore[union-attr]
    assert [each["id"] for each in shown] == list(second["assay.memory.pieces"])  # type: ignore[arg-type]
    (fact,) = [each for each in shown if each["horizon"] == "profile" and "M" in each["text"].split()[-1]]
    (session,) = [each for each in shown if each["horizon"] == "session"]
    assert "return policy" in session["text"]
    assert all(0 < each["score"] <= 1 and each["age_days"] == 0 for each in (fact, session))
