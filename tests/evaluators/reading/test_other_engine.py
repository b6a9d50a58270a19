"""Trajectories, session frames and online evaluation ask what ClickHouse answers as DuckDB does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from core.ids import tenant_id
from core.records import EvaluatorKind, TargetKind
from evaluators.online.service import Memory, last_seqs, look
from evaluators.reading import trajectories
from evaluators.sessions import session_frame
from store.control.online import OnlineChoice, OnlineMark
from store.scores import NewScore, append_scores
from tests.engines import CHOSEN
from tests.store.build import T0, agent_trace, fill, row
from tests.store.places import WINDOW, store_at


def test_every_query_gives_the_same_rows_on_clickhouse(tmp_path: Path) -> None:
    pytest.importorskip("chdb", reason="ClickHouse's engine for tests comes with chdb (make setup)")
    token = CHOSEN.set("clickhouse")  # each answer is compared with DuckDB's
    try:
        lake, whole = store_at(tmp_path)
        call = {"type": "tool_call", "id": "c", "name": "look", "arguments": {}}
        said = json.dumps([{"role": "assistant", "parts": [call]}])
        silent = [
            row(trace_id=9, span_id=90, session_id="t", kind="CHAIN", seq=90),
            row(trace_id=9, span_id=91, parent=90, kind="LLM", input="hm?", output=said, seq=91),
        ]
        fill(lake, agent_trace(1, session_id="s") + agent_trace(2, session_id="s", at_s=9) + silent, batches=2)
        store = whole.tenant("acme")
        outcome = NewScore(
            evaluator="kept",
            evaluator_kind=EvaluatorKind.OUTCOME,
            target=TargetKind.SESSION,
            session_id="s",
            value=1.0,
            at_ns=T0,
        )
        append_scores(store, [outcome], ids=["score_1"], author="k", now_ns=T0)
        found = trajectories(store, session_ids=["s", "t"], trace_ids=[f"{1:032x}"])
        assert [len(one.tool_calls) for one in found.values()] == [2, 1, 1]
        assert session_frame(store, WINDOW)["outcome"].to_list() == [1.0, None]
        assert last_seqs(store) == {0: 90}  # of spans that name their session
        acme = tenant_id("acme")
        choice = OnlineChoice(tenant=acme, app="airline", evaluators=("tokens",))
        mark = OnlineMark(tenant=acme, marks={0: 10})
        assert [one.session.session_id for one in look(store, mark, [choice], Memory(), T0).waiting] == ["s"]
    finally:
        CHOSEN.reset(token)
