"""What monitors and diagnoses read, on both engines: worked numbers of tools, searches, models, sessions, documents."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from core.clock import NS_PER_S
from store import monitor_series as read
from store.memberships import write_memberships
from store.monitor_groups import document_buckets, session_shapes
from store.monitor_series import BucketsAsked
from store.tenant import TenantStore
from tests.store.build import T0, agent_trace, fill, row
from tests.store.places import WINDOW, store_at
from tests.store.test_memberships import rows as membership_rows

pytestmark = pytest.mark.usefixtures("each_engine")
HOUR = BucketsAsked(window=WINDOW, step_s=3600, by="release")


def called(number: int, tool: str, *, session: str, failed: bool = False, **more: Any) -> dict[str, Any]:
    return row(
        trace_id=number, span_id=number, app="airline", release="r1", session_id=session, tool_name=tool,
        status_code=2 if failed else 1, **{"kind": "TOOL"} | more,
    )  # fmt: skip


def filled(folder: Path, spans: list[dict[str, Any]]) -> TenantStore:
    lake, store = store_at(folder)
    fill(lake, spans, batches=2)
    return store.tenant("acme")


def test_tools_count_calls_and_the_sessions_in_which_one_failed(tmp_path: Path) -> None:
    loops = [called(n, "search", session="s1", failed=True) for n in range(1, 31)]
    others = [called(n, "search", session=f"s{n}") for n in range(40, 46)]
    found = read.tool_buckets(filled(tmp_path, [*loops, *others]), HOUR)
    told = found.select("app", "split", "tool", "n", "n_errors", "n_sessions", "n_failed").row(0)
    assert told == ("airline", "r1", "search", 36.0, 30.0, 7.0, 1.0)


def test_an_attempt_whose_answer_was_lost_is_a_failed_call_of_its_tool(tmp_path: Path) -> None:
    ends_well = called(1, "refund", session="s1")
    lost = called(2, "refund", session="s1", failed=True, kind="CHAIN")
    checked = called(3, "refund", session="s1", failed=True, kind="GUARDRAIL")  # names the tool, and is no call of it
    found = read.tool_buckets(filled(tmp_path, [ends_well, lost, checked]), HOUR)
    assert found.select("tool", "n", "n_errors").rows() == [("refund", 2.0, 1.0)]


def test_turns_models_and_sessions_of_an_hour(tmp_path: Path) -> None:
    store = filled(tmp_path, [one for n in range(1, 5) for one in agent_trace(n, session_id=f"s{n % 2}")])
    turns, models, sessions = (
        one(store, HOUR) for one in (read.turn_buckets, read.model_buckets, read.session_buckets)
    )
    assert turns.select("app", "split", "n", "p50").rows() == [("airline", "r1", 4, pytest.approx(1000, rel=0.02))]
    assert models.select("app", "n").rows() == [("airline", 8)]
    assert sessions.select("split", "n", "n_turns").rows() == [("r1", 2.0, 2.0)]


def test_searches_that_find_nothing(tmp_path: Path) -> None:
    def searched(number: int, documents: str | None, status: int = 1) -> dict[str, Any]:
        return row(
            trace_id=number, span_id=number, app="airline", kind="RETRIEVER", documents=documents, status_code=status
        )

    spans = [searched(1, "[]"), searched(2, None), searched(3, '[{"id": "a"}]'), searched(4, None, 2)]
    found = read.retrieval_buckets(filled(tmp_path, spans), HOUR)
    assert found.select("n", "n_empty").rows() == [(3.0, 2.0)]  # the one that failed is no search


def test_a_document_is_its_id_with_its_text_and_counts_once_a_session(tmp_path: Path) -> None:
    def found_by(number: int, session: str, text: str) -> dict[str, Any]:
        listed = json.dumps([{"id": "returns", "content": text}, {"id": "other", "content": "x"}])
        return row(
            trace_id=number, span_id=number, app="airline", kind="RETRIEVER", session_id=session, documents=listed
        )

    spans = [found_by(n, "s1", 'within "30" days') for n in range(1, 9)]
    spans += [found_by(9, "s2", 'within "30" days'), found_by(10, "s3", 'within "14" days')]
    found = document_buckets(filled(tmp_path, spans), "airline", WINDOW, 3600).sort("n")
    assert found["n"].to_list() == [1.0, 2.0]
    assert found["split"].str.starts_with("returns@").all()
    assert found["split"].n_unique() == 2


def test_sessions_by_their_turns_and_calls_in_their_clusters(tmp_path: Path) -> None:
    spans = [one for n in range(1, 4) for one in agent_trace(n, session_id="s1", at_s=n)]
    spans += agent_trace(4, session_id="s2", at_s=100) + agent_trace(5, session_id="s3", at_s=200)
    spans += agent_trace(6, session_id="s4", at_s=300, app="retail")
    store = filled(tmp_path, spans)
    placed = [{"session_id": name, "cluster_id": "C-1", "x": 1.0, "y": 1.0} for name in ("s1", "s3")]
    write_memberships(store, membership_rows(*placed), now_ns=T0 + 1)
    found = session_shapes(store, "airline", WINDOW, T0 + 150 * NS_PER_S)
    told = found.sort("since", pl.col("split").fill_null("")).select("since", "split", "n_turns", "n_calls", "n").rows()
    assert told == [(False, None, 1.0, 1.0, 1.0), (False, "C-1", 3.0, 3.0, 1.0), (True, "C-1", 1.0, 1.0, 1.0)]
