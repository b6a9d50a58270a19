"""Spend summed from the spans of calls, on every engine: each call once, whoever wrapped it, and what resolved sessions
cost."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest

from core.errors import InvalidInput
from core.windows import Window
from store.lake import Lake
from store.schema import SCORES
from store.spend import KEYS, SpendAsked, spend
from tests.store.build import T0, fill, row
from tests.store.places import WINDOW, store_at
from tests.store.test_gateway_calls import FREE, NONE, call

pytestmark = pytest.mark.usefixtures("each_engine")


def outcome(lake: Lake, session: str, value: float | None, *, at_s: int = 0, **given: Any) -> None:
    """A session's outcome; None is unscored."""
    one = {
        "tenant": "acme", "date": "2026-09-21", "seq": at_s, "score_id": f"{session}{at_s}", "at_ns": T0 + at_s * 10**9,
        "evaluator": "task_success", "evaluator_kind": "outcome", "target": "session", "session_id": session,
        "value": value, "unscored": "nobody asked" if value is None else None,
    }  # fmt: skip
    lake.append("scores", pa.Table.from_pylist([one | given], schema=SCORES))


def rows_of(folder: Path, rows: list[dict[str, Any]], *by: str, **asked: Any) -> list[dict[str, Any]]:
    lake, store = store_at(folder)
    fill(lake, rows, batches=2)
    return spend(store.tenant("acme"), SpendAsked(window=asked.pop("window", WINDOW), by=by, **asked)).to_dicts()


def test_nothing_is_no_row(tmp_path: Path) -> None:
    assert rows_of(tmp_path, [row()]) == []
    assert rows_of(tmp_path / "by", [row()], "app", "day") == []


def test_every_key_groups_and_the_sums_agree(tmp_path: Path) -> None:
    said = {"team": "support", "key_id": "k1", "upstream": "east"}
    rows = [
        call(1, said=said, release="v1", variant="control", user_id="ann", model_response="sim-1"),
        call(2, said=said, app="else", release="v2", user_id="bob", model_request="sim-2", cost_usd=Decimal("0.004")),
        call(3, said={"team": "sales", "key_id": "k2", "upstream": "west"}, at_s=86_000),
        call(4, tenant="other"),
    ]
    lake, store = store_at(tmp_path)
    fill(lake, rows)
    tenant = store.tenant("acme")
    (whole,) = spend(tenant, SpendAsked(window=WINDOW)).to_dicts()
    assert (whole["n_calls"], whole["cost_usd"], whole["input_tokens"]) == (3, Decimal("0.006"), 300)
    for key in KEYS:
        told = spend(tenant, SpendAsked(window=WINDOW, by=(key,)))
        assert told["cost_usd"].sum() == Decimal("0.006")
        assert told["n_calls"].sum() == 3
        assert told.columns[0] == key
    by_team = spend(tenant, SpendAsked(window=WINDOW, by=("team",)))
    assert by_team.select("team", "n_calls").rows() == [("support", 2), ("sales", 1)]
    days = spend(tenant, SpendAsked(window=WINDOW, by=("day", "app"))).sort("day", "app")
    assert days.select("app", "day").rows() == [("desk", "2026-09-21"), ("else", "2026-09-21"), ("desk", "2026-09-22")]
    (only,) = spend(tenant, SpendAsked(window=WINDOW, by=("app",), app="else")).to_dicts()
    assert (only["app"], only["n_calls"]) == ("else", 1)
    with pytest.raises(InvalidInput, match="not one of team, app"):
        SpendAsked(window=WINDOW, by=("colour",))


def test_a_call_inside_another_span_counts_once_whichever_came_first(tmp_path: Path) -> None:
    agent: dict[str, Any] = {"kind": "LLM", "usage_counted": True, "app": "desk", "cost_usd": Decimal("0.002")}
    tokens = {"input_tokens": 100, "output_tokens": 10}
    rows = [
        row(**agent, **tokens, trace_id=1, span_id=1),  # repeats what the call inside it says
        call(1, parent=1, at_s=0.1),
        row(**agent | {"cost_usd": None}, trace_id=2, span_id=2),  # a failed call around one that answered
        call(2, parent=2, at_s=0.1),
        row(**agent, **tokens, trace_id=3, span_id=3),  # measured, around one that was refused
        call(3, parent=3, at_s=0.1, **NONE),
        row(**agent, **tokens, trace_id=4, span_id=4),  # the same parent's id in another trace
        call(5, parent=4, at_s=0.1),
    ]
    (told,) = rows_of(tmp_path, rows)
    assert (told["n_calls"], told["cost_usd"]) == (6, Decimal("0.007"))


def test_a_wrapper_whose_call_begins_in_the_next_window_is_in_neither(tmp_path: Path) -> None:
    agent: dict[str, Any] = {"kind": "LLM", "usage_counted": True, "input_tokens": 1, "cost_usd": Decimal("0.002")}
    lake, store = store_at(tmp_path)
    fill(lake, [row(**agent, trace_id=1, span_id=1, at_s=9), call(1, parent=1, at_s=11)])
    edges = [T0, T0 + 10 * 10**9, T0 + 20 * 10**9]
    windows = [Window(start_ns=a, end_ns=b) for a, b in pairwise(edges)]
    found = [spend(store.tenant("acme"), SpendAsked(window=window)) for window in windows]
    assert [frame["n_calls"].to_list() for frame in found] == [[], [1]]


def test_unpriced_calls_and_cache_hits_are_counted_apart(tmp_path: Path) -> None:
    rows = [
        call(1),
        call(2, cost_usd=Decimal("0.003")),
        call(3, cost_usd=None),
        call(4, **NONE, said={"refused": "budget"}),
        call(5, **FREE, said={"cache": "exact", "upstream": None}, app="else"),
        call(6, **FREE, said={"cache": "semantic", "virtual_model": "slow"}),
    ]
    by_app = {one["app"]: one for one in rows_of(tmp_path, rows, "app")}
    desk, other = by_app["desk"], by_app["else"]
    assert (desk["n_calls"], desk["n_unpriced"], desk["n_cache_hits"]) == (5, 1, 1)
    assert (desk["saved_usd"], other["saved_usd"]) == (None, pytest.approx(0.002))
    assert (other["n_cache_hits"], other["cost_usd"]) == (1, 0)


def test_absurd_counts_of_one_call_leave_the_others_readable(tmp_path: Path) -> None:
    most: dict[str, Any] = {"input_tokens": 2**63 - 1, "output_tokens": 2**63 - 1, "cache_read_tokens": -5}
    dear: dict[str, Any] = {"cost_usd": Decimal("999999999.999999999")}
    (told,) = rows_of(tmp_path, [*(call(n, **most, **dear) for n in range(1, 4)), call(4)])
    assert (told["input_tokens"], told["cache_read_tokens"]) == (3 * 10**12 + 100, 0)
    assert told["cost_usd"] == Decimal("2999999999.999999997") + Decimal("0.001")


def test_cost_per_resolved_session(tmp_path: Path) -> None:
    lake, store = store_at(tmp_path)
    rows = [call(n, session_id=f"s{n}", release="v1" if n < 5 else "v2") for n in range(1, 7)]
    fill(lake, [*rows, call(7, session_id="s1", release="v1"), call(8, session_id=None)])
    outcome(lake, "s1", 1.0)
    outcome(lake, "s2", 0.0)
    outcome(lake, "s3", None)
    outcome(lake, "s5", 0.0)
    outcome(lake, "s4", 1.0, evaluator="polite")
    outcome(lake, "s1", 1.0, tenant="other", at_s=99)
    tenant = store.tenant("acme")
    (whole,) = spend(tenant, SpendAsked(window=WINDOW)).to_dicts()
    assert [whole[f"n_{name}"] for name in ("sessions", "resolved", "unresolved", "unscored")] == [6, 1, 2, 3]
    assert (whole["n_calls"], whole["scored_cost_usd"]) == (8, Decimal("0.004"))
    assert whole["cost_per_resolved_usd"] == pytest.approx(0.004)
    first, second = spend(tenant, SpendAsked(window=WINDOW, by=("release",))).drop_nulls("release").to_dicts()
    assert (first["release"], first["n_resolved"], first["cost_per_resolved_usd"]) == ("v1", 1, pytest.approx(0.003))
    assert (second["n_resolved"], second["n_unscored"], second["cost_per_resolved_usd"]) == (0, 1, None)
    (other,) = spend(tenant, SpendAsked(window=WINDOW, outcome="polite")).to_dicts()
    assert (other["n_resolved"], other["n_unscored"]) == (1, 5)


def test_the_latest_outcome_of_a_session_holds(tmp_path: Path) -> None:
    lake, store = store_at(tmp_path)
    fill(lake, [call(1, session_id="s1"), call(2, session_id="s2")])
    for session, first, last in (("s1", 0.0, 1.0), ("s2", 1.0, None)):
        outcome(lake, session, last, at_s=50_000)
        outcome(lake, session, first, at_s=10)
    (told,) = spend(store.tenant("acme"), SpendAsked(window=WINDOW)).to_dicts()
    assert (told["n_resolved"], told["n_unresolved"], told["n_unscored"]) == (1, 0, 1)


def test_frames_have_one_shape(tmp_path: Path) -> None:
    lake, store = store_at(tmp_path)
    empty = spend(store.tenant("acme"), SpendAsked(window=WINDOW, by=("team", "day")))
    fill(lake, [call(1)])
    filled = spend(store.tenant("acme"), SpendAsked(window=WINDOW, by=("team", "day")))
    assert empty.columns == filled.columns
    assert filled.schema["cost_usd"] == pl.Decimal(38, 9)
