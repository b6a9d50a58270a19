"""Sessions as columns say what their trajectories say."""

from __future__ import annotations

import itertools
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from core.clock import NS_PER_S
from core.errors import InvalidInput
from core.records import EvaluatorKind, TargetKind
from core.windows import Window
from evaluators import sessions, spoken
from evaluators.reading import trajectories
from evaluators.records import Trajectory
from evaluators.sessions import SESSION_COLUMNS, session_frame
from server.importers import tau2, tau_bench
from store.engine import DuckDBEngine
from store.lake import Lake
from store.scores import NewScore, append_scores
from store.tenant import Store, TenantStore
from tests.evaluators.reading.stored import TENANT, of_conversations, of_sample, store_of
from tests.first_start import begun
from tests.importers.recorded import OTEL_SAMPLES, TAU_BENCH, good, needs_recordings, tau2_files
from tests.store.build import T0, agent_trace, fill, row

DAY = 86_400


def stored(folder: Path, rows: list[dict[str, Any]], batches: int = 1) -> TenantStore:
    lake = Lake(begun(folder) / "lake")
    fill(lake, rows, batches=batches)
    return Store(lake, DuckDBEngine(lake.root), lambda: T0).tenant(TENANT)


def said_of(one: Trajectory) -> dict[str, Any]:
    """The columns that a trajectory answers, computed from it one by one."""
    calls, models, ttfts = (
        one.tool_calls,
        one.model_calls,
        [m.ttft_ms for m in one.model_calls if m.ttft_ms is not None],
    )
    same = [(call.name, spoken.json_text(call.arguments)) for call in calls]
    runs = [len(list(group)) for _, group in itertools.groupby(same)]
    user, agent = ([m.text for m in one.messages if m.role == role] for role in ("user", "assistant"))
    costs = [m.cost_usd for m in models if m.cost_usd is not None]
    tokens = [m.input_tokens for m in models if m.input_tokens is not None]
    return {
        "app": one.app,
        "release": one.release,
        "user_id": one.user_id,
        "start_ns": one.start_ns,
        "end_ns": one.end_ns,
        "duration_ms": one.duration_ms,
        "n_turns": len(one.trace_ids),
        "n_spans": one.n_spans,
        "n_model_calls": len(models),
        "n_model_errors": sum(m.error is not None for m in models),
        "n_tool_calls": len(calls),
        "n_tool_errors": sum(call.error is not None for call in calls),
        "n_tools": len({call.name for call in calls}),
        "max_same_tool_calls": max((same.count(each) for each in same), default=0),
        "max_same_tool_run": max(runs, default=0),
        "n_documents": len(one.documents),
        "input_tokens": sum(tokens) if tokens else None,
        "n_tokens_unknown": sum(m.input_tokens is None or m.output_tokens is None for m in models),
        "cost_usd": pytest.approx(sum(costs)) if costs else None,
        "n_cost_unknown": len(models) - len(costs),
        "ttft_first_ms": ttfts[0] if ttfts else None,
        "ttft_max_ms": max(ttfts, default=None),
        "n_user_messages": len(user),
        "n_agent_messages": len(agent),
        "user_chars": sum(map(len, user)),
        "agent_chars": sum(map(len, agent)),
        "first_user_text": user[0] if user else None,
        "last_user_text": user[-1] if user else None,
        "first_agent_text": agent[0] if agent else None,
        "last_agent_text": one.answer,
    }


def assert_says_the_same(store: TenantStore, ids: list[str]) -> pl.DataFrame:
    frame, read = session_frame(store, session_ids=ids), trajectories(store, session_ids=ids)
    assert frame["session_id"].to_list() == sorted(read)
    for found in frame.iter_rows(named=True):
        said = said_of(read[found["session_id"]])
        assert {name: found[name] for name in said} == said
    return frame


@needs_recordings
@pytest.mark.parametrize("source", ["tau-bench", "tau2"])
def test_columns_equal_trajectories_on_recorded_sessions(tmp_path: Path, source: str) -> None:
    read = (
        tau_bench.conversations(TAU_BENCH, app=None, release=None)
        if source == "tau-bench"
        else tau2.conversations(tau2_files()[0], app=None, release=None)
    )
    known = [good(one) for one in itertools.islice(read, 12)]
    store = store_of(tmp_path, *of_conversations(known))
    frame = assert_says_the_same(store, [one.session_id for one in known])
    assert frame.height == 12
    assert frame["n_tool_calls"].sum() > 0


@needs_recordings
@pytest.mark.parametrize(
    "name", ["openai__test_responses_api", "openai_agents_mcp__test_mcp", "google_genai__test_instrument_google_genai"]
)
def test_columns_equal_trajectories_of_other_dialects(tmp_path: Path, name: str) -> None:
    store = store_of(tmp_path, of_sample(OTEL_SAMPLES / "logfire_tests" / f"{name}.json", session="s"))
    assert assert_says_the_same(store, ["s"])["n_tool_calls"].to_list() == [1]


def looping(number: int, n: int, **given: Any) -> list[dict[str, Any]]:
    """A trace whose tool is called `n` times with arguments that are equal as JSON, then once with others."""
    root = row(trace_id=number, span_id=number * 100, kind="AGENT", input="go", output="done", ms=9000, **given)
    texts = ['{"a": 1, "b": [2]}', '{"b": [2], "a": 1}']
    calls = [
        row(trace_id=number, span_id=number * 100 + i, parent=number * 100, at_s=i, kind="TOOL", tool_name="look")
        | {"input": texts[i % 2] if i <= n else '{"a": 2}'}
        for i in range(1, n + 2)
    ]
    return [root, *calls]


def test_loops_compare_arguments_as_values(tmp_path: Path) -> None:
    rows = looping(1, 3, session_id="s") + looping(2, 2, session_id="s") + agent_trace(3, session_id="t")
    frame = assert_says_the_same(stored(tmp_path, rows, batches=2), ["s", "t", "unknown"])
    assert frame.select("max_same_tool_calls", "max_same_tool_run", "n_tools").rows() == [(5, 3, 1), (1, 1, 1)]


def test_what_nobody_knows_is_null_and_not_zero(tmp_path: Path) -> None:
    store = stored(tmp_path, [row(span_id=1, session_id="s", kind="AGENT"), row(span_id=2, parent=1, kind="LLM")])
    (found,) = session_frame(store, session_ids=["s"]).to_dicts()
    assert dict.fromkeys(["input_tokens", "cost_usd", "ttft_first_ms", "outcome", "last_agent_text", "tool_ms"]) == {
        name: found[name]
        for name in ("input_tokens", "cost_usd", "ttft_first_ms", "outcome", "last_agent_text", "tool_ms")
    }
    assert (found["n_tool_calls"], found["n_user_messages"], found["max_same_tool_calls"]) == (0, 0, 0)


def test_a_window_takes_the_sessions_that_begin_in_it_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        *agent_trace(1, session_id="before"),
        *agent_trace(2, session_id="before", at_s=7200),  # it goes on in the window
        *agent_trace(3, session_id="inside", at_s=7100, app="other"),
        *agent_trace(4, session_id="inside", at_s=90_000, app="other"),  # and beyond it
        *agent_trace(5, session_id="also", at_s=7300),
    ]
    store = stored(tmp_path, rows)
    window = Window(start_ns=T0 + 7000 * NS_PER_S, end_ns=T0 + 9000 * NS_PER_S)
    monkeypatch.setattr(sessions, "AT_ONCE", 1)
    found = session_frame(store, window)
    assert found.select("session_id", "n_turns").rows() == [("also", 1), ("inside", 2)]
    assert found.schema == pl.Schema(SESSION_COLUMNS)
    assert session_frame(store, window, app="other")["session_id"].to_list() == ["inside"]
    nothing = session_frame(store, Window(start_ns=0, end_ns=1))
    assert (nothing.height, nothing.schema) == (0, pl.Schema(SESSION_COLUMNS))
    with pytest.raises(InvalidInput, match="a window or the ids"):
        session_frame(store)


def outcome(value: float, *, at_ns: int, kind: EvaluatorKind = EvaluatorKind.OUTCOME, **given: Any) -> NewScore:
    return NewScore(
        evaluator="refund_kept",
        evaluator_kind=kind,
        target=TargetKind.SESSION,
        session_id=given.pop("session_id", "s"),
        value=value,
        at_ns=at_ns,
        **given,
    )


def test_an_outcome_that_arrives_days_later_is_the_sessions(tmp_path: Path) -> None:
    store = stored(tmp_path, agent_trace(1, session_id="s") + agent_trace(2, session_id="t"))
    frame = session_frame(store, session_ids=["s", "t"])
    assert frame["outcome"].to_list() == [None, None]
    event = outcome(0.5, at_ns=T0 + 9 * DAY * NS_PER_S, kind=EvaluatorKind.EVENT, label="maybe")
    append_scores(store, [event], ids=["score_0"], author="k", now_ns=T0)
    assert session_frame(store, session_ids=["s"])["outcome_label"].to_list() == ["maybe"]
    late = [outcome(0.0, at_ns=T0 + 3 * DAY * NS_PER_S), outcome(1.0, at_ns=T0 + 5 * DAY * NS_PER_S, label="pass")]
    rule = outcome(7.0, at_ns=T0 + 99 * DAY * NS_PER_S, kind=EvaluatorKind.RULE)
    append_scores(store, [*late, rule], ids=["score_1", "score_2", "score_3"], author="k", now_ns=T0)
    frame = session_frame(store, session_ids=["s", "t"])
    assert frame.select("outcome", "outcome_label", "outcome_evaluator").rows() == [
        (1.0, "pass", "refund_kept"),
        (None, None, None),
    ]


def test_costs_of_wrappers_are_not_added(tmp_path: Path) -> None:
    usage = {"kind": "LLM", "input_tokens": 5, "output_tokens": 1, "cost_usd": Decimal("0.5"), "usage_counted": True}
    rows = [
        row(span_id=1, session_id="s", kind="AGENT"),
        row(span_id=2, parent=1, **usage),
        row(span_id=3, parent=2, **usage),
    ]
    frame = assert_says_the_same(stored(tmp_path, rows, batches=3), ["s"])
    assert frame["cost_usd"].to_list() == [0.5]
