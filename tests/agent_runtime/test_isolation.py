"""Turns at once do not share a context: each has a trace of its own, and its own user and session on every span."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from pathlib import Path
from typing import Any

from tests.agent_runtime.scripted import calls, results, says, stand, thinking

N = 12


def test_turns_at_once_have_their_own_trace_session_and_user(tmp_path: Path) -> None:
    def brain(who: str, messages: list[Any], info: Any) -> Any:
        return says("It came.") if results(messages) else calls("get_order", order_id="LK-12345")

    made = stand(tmp_path, thinking(brain))

    async def slow(tool: str) -> None:  # every turn is in the middle of its tool call while the others begin
        for _ in range(20):
            await asyncio.sleep(0)

    made.shop.before = slow

    async def go() -> list[Any]:
        try:
            turns = (made.say("where is LK-12345?", f"m{n}", session=f"s{n}", user=f"u{n}") for n in range(N))
            return await asyncio.gather(*turns)
        finally:
            await made.runtime.close()

    traces = {turn.trace_id: n for n, turn in enumerate(asyncio.run(go()))}
    assert len(traces) == N
    spans = defaultdict(list)
    for span in made.spans.get_finished_spans():
        assert span.context is not None
        spans[f"{span.context.trace_id:032x}"].append(span)
    assert spans.keys() == traces.keys()
    for trace, own in spans.items():
        said = {((s.attributes or {})["session.id"], (s.attributes or {})["user.id"]) for s in own}
        assert said == {(f"s{traces[trace]}", f"u{traces[trace]}")}
        ids = {s.context.span_id for s in own if s.context}
        assert [s.name for s in own if s.parent is None] == ["invoke_agent support"]
        assert all(s.parent is None or s.parent.span_id in ids for s in own)
