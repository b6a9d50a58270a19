"""Partial rows: worked numbers, and that cutting or shuffling batches changes nothing."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from store import sketch
from store.schema import ROLLUPS, SESSIONS, TURNS
from tests.store import derive_slowly
from tests.store.build import T0, agent_trace, derived, row, span, spans_table, trace
from tests.store.merging import merged_rollups, merged_turns


def turns(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = derived(spans_table(rows))["turns"].to_pylist()
    return found


def rollups(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = derived(spans_table(rows))["rollups"].to_pylist()
    return found


def test_a_whole_trace_is_one_partial() -> None:
    (found,) = turns(agent_trace(1))
    assert found == {
        "tenant": "acme",
        "date": "2026-09-21",
        "seq": 13,
        "trace_id": trace(1),
        "session_id": None,
        "user_id": None,
        "app": "airline",
        "release": "r1",
        "variant": None,
        "environment": None,
        "start_ns": T0,
        "end_ns": T0 + 10**9,
        "root_span_id": span(10),
        "name": "agent",
        "root_status": 1,
        "root_duration_ns": 10**9,
        "n_spans": 4,
        "n_errors": 1,
        "n_model_calls": 2,
        "n_tool_calls": 1,
        "input_tokens": 200,
        "output_tokens": 20,
        "cost_usd": Decimal("0.002"),
        "models": "gpt-4o",
        "input": "question 1",
        "output": "answer 1",
    }


def test_a_trace_without_root_has_no_root_fields() -> None:
    (found,) = turns(agent_trace(1)[1:])
    assert (found["root_span_id"], found["name"], found["root_status"]) == (None, None, None)
    assert found["n_spans"] == 3


def test_a_root_that_says_less_than_its_spans_speaks_alone() -> None:
    rows = agent_trace(1)
    rows[1]["session_id"] = "s1"
    root, rest = sorted(turns(rows), key=lambda r: r["root_span_id"] is None)
    assert (root["n_spans"], root["session_id"], root["root_span_id"]) == (1, None, span(10))
    assert (rest["n_spans"], rest["session_id"], rest["root_span_id"]) == (3, "s1", None)


def test_tokens_and_cost_are_null_where_nobody_knew_them() -> None:
    (found,) = turns([row(input_tokens=5, cost_usd=Decimal(1))])
    assert (found["input_tokens"], found["cost_usd"]) == (None, None)


def test_a_thousand_absurd_costs_end_at_what_the_column_holds() -> None:
    absurd = {"usage_counted": True, "kind": "LLM", "cost_usd": Decimal(999_999)}
    rows = [row(**absurd, span_id=1), *[row(**absurd, span_id=n, parent=1) for n in range(2, 1_201)]]
    most = Decimal("999999999.999999999")
    (turn,) = turns(rows)
    assert turn["cost_usd"] == most
    assert {cell["cost_usd"] for cell in rollups(rows)} == {most}


def test_amounts_that_cannot_be_are_not_counted() -> None:
    absurd = {"usage_counted": True, "kind": "LLM"}
    rows = [
        row(**absurd, span_id=1, input_tokens=-1, output_tokens=10**18, cost_usd=Decimal("-1")),
        row(**absurd, span_id=2, parent=1, input_tokens=7, output_tokens=8, cost_usd=Decimal("0.5")),
    ]
    (found,) = turns(rows)
    assert (found["input_tokens"], found["output_tokens"], found["cost_usd"]) == (7, 8, Decimal("0.5"))


def test_times_that_cannot_be_do_not_stretch_a_turn() -> None:
    rows = [row(span_id=1), row(span_id=2, parent=1, start_ns=0, date="2026-09-21", duration_ns=None, end_ns=-1)]
    for found in turns(rows):
        assert found["start_ns"] in (T0, 0)
    (merged,) = merged_turns([spans_table(rows)])
    assert (merged["start_ns"], merged["end_ns"]) == (T0, T0 + 10**7)


def test_a_test_clock_of_1970_keeps_its_times() -> None:
    (found,) = turns([row(start_ns=1000, ms=1)])
    assert (found["start_ns"], found["end_ns"]) == (1000, 1000 + 10**6)


def test_sessions_sum_the_spans_that_name_them() -> None:
    rows = agent_trace(1, session_id="s1") + agent_trace(2, session_id="s1", at_s=5) + agent_trace(3)
    (found,) = derived(spans_table(rows))["sessions"].to_pylist()
    assert (found["session_id"], found["n_turns"], found["n_spans"], found["n_errors"]) == ("s1", 2, 8, 2)
    assert (found["start_ns"], found["end_ns"]) == (T0, T0 + 6 * 10**9)


def test_rollups_have_a_level_for_turns_and_one_for_each_kind() -> None:
    found = rollups(agent_trace(1))
    by_level = {cell["level"]: cell for cell in found}
    assert set(by_level) == {"turn", "AGENT", "LLM", "TOOL"}
    assert (by_level["turn"]["n"], by_level["turn"]["input_tokens"], by_level["turn"]["model"]) == (1, 200, None)
    assert (by_level["LLM"]["n"], by_level["LLM"]["model"], by_level["LLM"]["cost_usd"]) == (
        2,
        "gpt-4o",
        Decimal("0.002"),
    )
    assert (by_level["TOOL"]["n_errors"], by_level["TOOL"]["input_tokens"]) == (1, None)
    buckets = dict(by_level["LLM"]["latency_sketch"])
    assert buckets == {265: 1, 300: 1}  # ceil(ln 200 / ln gamma) = 265, ceil(ln 400 / ln gamma) = 300
    assert by_level["LLM"]["minute_ns"] == T0 // (60 * 10**9) * 60 * 10**9


def test_a_model_call_that_an_agent_and_a_gateway_report_is_one_call() -> None:
    agents = row(span_id=1, ms=90, kind="LLM", model_request="m", usage_counted=False, status_code=2)
    gateways = row(span_id=2, parent=1, ms=80, kind="LLM", model_request="m", usage_counted=True, status_code=2)
    (cell,) = (each for each in rollups([agents, gateways]) if each["level"] == "LLM")
    assert (cell["n"], cell["n_errors"], sum(dict(cell["latency_sketch"]).values())) == (1, 1, 1)


def test_what_is_no_measurement_reaches_no_sketch() -> None:
    rows = [
        row(span_id=1, duration_ns=None, ttft_ms=float("nan")),
        row(span_id=2, ms=5, ttft_ms=float("inf")),
        row(span_id=3, ms=5, ttft_ms=-1.0),
    ]
    rows = [{**each, "kind": "LLM", "usage_counted": True} for each in rows]
    cell = next(c for c in rollups(rows) if c["level"] == "LLM")
    assert cell["n"] == 3
    assert sum(dict(cell["latency_sketch"]).values()) == 2
    assert cell["ttft_sketch"] == []


def test_tables_have_exactly_the_schemas() -> None:
    tables = derived(spans_table(agent_trace(1, session_id="s")))
    assert tables["turns"].schema == TURNS
    assert tables["sessions"].schema == SESSIONS
    assert tables["rollups"].schema == ROLLUPS
    assert derived(spans_table([]))["turns"].num_rows == 0


def test_two_tenants_and_two_days_never_share_a_partial() -> None:
    rows = [row(tenant="a"), row(tenant="b"), row(tenant="a", date="2026-09-22")]
    assert len(turns(rows)) == 3


odd_spans = st.lists(
    st.fixed_dictionaries(
        {
            "trace_id": st.integers(1, 3),
            "span_id": st.integers(1, 6),
            "parent": st.one_of(st.none(), st.integers(1, 6)),
            "at_s": st.integers(0, 200),
            "ms": st.integers(0, 5000),
            "app": st.sampled_from([None, "a", "b"]),
            "session_id": st.sampled_from([None, "s1", "s2"]),
            "kind": st.sampled_from(["LLM", "TOOL", "AGENT"]),
            "status_code": st.integers(0, 2),
            "usage_counted": st.booleans(),
            "input_tokens": st.one_of(st.none(), st.integers(0, 100)),
            "model_request": st.sampled_from([None, "m1", "m2"]),
            "name": st.sampled_from(["x", "y"]),
        }
    ),
    min_size=1,
    max_size=12,
    # Two versions of one span that start at the same nanosecond: either may speak for the turn (docs/lake.md).
    unique_by=lambda span: (span["trace_id"], span["span_id"], span["at_s"]),
)


@settings(max_examples=40, deadline=None)
@given(odd_spans, st.randoms(use_true_random=False), st.integers(1, 4))
def test_cutting_and_shuffling_batches_changes_nothing(spans: list[dict[str, Any]], random: Any, n_parts: int) -> None:
    rows = [row(**one, seq=i) for i, one in enumerate(spans)]
    together = [spans_table(rows)]
    random.shuffle(rows)
    apart = [spans_table(rows[i::n_parts]) for i in range(n_parts) if rows[i::n_parts]]
    assert merged_turns(apart) == merged_turns(together)
    assert merged_rollups(apart) == merged_rollups(together)


def test_a_sketch_of_many_values_keeps_its_count() -> None:
    values = [row(span_id=n, ms=n % 50 + 1, kind="LLM", usage_counted=True) for n in range(1, 200)]
    cell = next(c for c in rollups(values) if c["level"] == "LLM")
    merged = dict(cell["latency_sketch"])
    assert sum(merged.values()) == 199
    assert sketch.quantile(merged, 0.5) == pytest.approx(25, rel=0.05)


def _any_of(*values: Any) -> st.SearchStrategy[Any]:
    return st.sampled_from(values)


# Everything a decoded row can say, sound or not, with few values so that groups meet.
any_spans = st.lists(
    st.fixed_dictionaries(
        {
            "tenant": _any_of("a", "b"),
            "date": _any_of("2026-09-21", "2026-09-22"),
            "seq": st.integers(1, 99),
            "trace_id": st.integers(1, 4),
            "span_id": st.integers(1, 9),
            "parent": _any_of(None, None, 1, 2),
            "start_ns": st.one_of(st.integers(T0, T0 + 2 * 10**11), _any_of(-5, 0, 8 * 10**18)),
            "duration_ns": st.one_of(st.none(), st.integers(0, 10**11), _any_of(2**53 + 1)),
            "kind": _any_of("LLM", "TOOL", "AGENT", "EMBEDDING", "CHAIN"),
            "status_code": _any_of(0, 1, 2, None),
            "usage_counted": st.booleans(),
            "input_tokens": _any_of(None, -1, 0, 5, 10**12, 10**12 + 1),
            "output_tokens": _any_of(None, 7),
            "cost_usd": _any_of(None, Decimal(-1), Decimal("1.123456789"), Decimal(10**6), Decimal(10**6 + 1)),
            "ttft_ms": _any_of(None, 0.0, 1e-9, 5.5, -1.0, float("nan"), float("inf")),
            **{name: _any_of(None, "é", "z") for name in (*derive_slowly.DIMS, "model_request", "model_response")},
            "name": _any_of("x", None),
            "input": _any_of(None, "", "é" * 501),
        }
    ),
    min_size=1,
    max_size=24,
)


@settings(max_examples=60, deadline=None)
@given(any_spans)
def test_the_derivations_are_those_of_plain_python(rows: list[dict[str, Any]]) -> None:
    spans = spans_table([row(**one) for one in rows])
    plain = spans.to_pylist()
    slowly = {"turns": derive_slowly.turns, "sessions": derive_slowly.sessions, "rollups": derive_slowly.rollups}
    for table, found in derived(spans).items():
        found.validate(full=True)
        wanted = [{name: one[name] for name in found.column_names} for one in slowly[table](plain)]
        assert sorted(found.to_pylist(), key=repr) == sorted(wanted, key=repr), table
