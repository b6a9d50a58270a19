"""Sessions: totals over turns, lists by pages, filters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from store import said, sessions, traces
from store.asked import Asked
from store.filters import Filters, Status
from tests.store.build import agent_trace, fill, row, trace
from tests.store.places import WINDOW, store_at

pytestmark = pytest.mark.usefixtures("each_engine")


def listed(folder: Path, rows: list[dict[str, Any]], **filters: Any) -> list[str]:
    lake, store = store_at(folder)
    fill(lake, rows, batches=2)
    found = sessions.list_sessions(store.tenant("acme"), Asked(window=WINDOW, filters=Filters(**filters)))
    return list(found["session_id"])


def test_a_session_sums_its_turns_even_where_spans_do_not_name_it(tmp_path: Path) -> None:
    lake, store = store_at(tmp_path)
    first, second = agent_trace(1), agent_trace(2, at_s=10, session_id="s", user_id="u", variant="b")
    first[1]["session_id"] = "s"  # one span of the first trace says so; the whole trace belongs
    fill(lake, first + second + agent_trace(3, at_s=20, session_id="other"), batches=3)
    (found,) = sessions.session(store.tenant("acme"), "s").to_dicts()
    assert (found["n_turns"], found["n_spans"], found["n_errors"]) == (2, 8, 2)
    assert (found["input_tokens"], found["cost_usd_exact"]) == (400, "0.004000000")
    assert (found["first_input"], found["variant"]) == ("question 1", None)
    assert found["duration_ms"] == 11_000.0
    assert sessions.session(store.tenant("acme"), "none").height == 0


def test_turns_of_a_session_carry_whole_texts(tmp_path: Path) -> None:
    lake, store = store_at(tmp_path)
    long = "x" * 2000
    fill(lake, [row(trace_id=1, session_id="s", input=long), row(trace_id=2, span_id=2, at_s=1, session_id="s")])
    found = sessions.turns_of_session(store.tenant("acme"), "s", limit=10)
    assert found["input"].to_list() == [long, None]
    assert found["gap_ms"].to_list() == [None, 990.0]


def test_pages_of_sessions_show_each_once(tmp_path: Path) -> None:
    lake, store = store_at(tmp_path)
    rows = [one for n in range(1, 24) for one in agent_trace(n, at_s=n * 5, session_id=f"s{n // 2}")]
    fill(lake, rows, batches=4)
    seen: list[str] = []
    after = None
    for _ in range(4):
        page = sessions.list_sessions(store.tenant("acme"), Asked(window=WINDOW, limit=3, after=after))
        seen += page["session_id"].to_list()
        after = (page["listed_ns"][-1], page["session_id"][-1])
    assert seen == [f"s{n}" for n in range(11, -1, -1)]


@pytest.mark.parametrize(
    ("filters", "wanted"),
    [
        ({"app": "airline"}, ["s1"]),
        ({"status": Status.ERROR}, ["s1"]),
        ({"status": Status.OK}, ["s2"]),
        ({"model": "gpt-4o"}, ["s1"]),
        ({"session_id": "s2"}, ["s2"]),
        ({"q": "QUESTION"}, ["s1"]),
        ({"name": "lonely"}, ["s2"]),
        ({"min_duration_ms": 900.0}, ["s1"]),
        ({}, ["s2", "s1"]),
    ],
)
def test_filters(tmp_path: Path, filters: dict[str, Any], wanted: list[str]) -> None:
    rows = [*agent_trace(1, session_id="s1"), row(trace_id=2, span_id=99, at_s=5, session_id="s2", name="lonely")]
    assert listed(tmp_path, rows, **filters) == wanted


def test_a_turn_is_listed_in_order_of_start(tmp_path: Path) -> None:
    lake, store = store_at(tmp_path)
    fill(lake, agent_trace(2, at_s=9, session_id="s") + agent_trace(1, at_s=3, session_id="s"))
    found = sessions.turns_of_session(store.tenant("acme"), "s", limit=10)
    assert found["trace_id"].to_list() == [trace(1), trace(2)]


def test_a_root_without_text_says_what_its_children_say(tmp_path: Path) -> None:
    lake, store = store_at(tmp_path)
    spans = [
        row(span_id=1, session_id="s", ms=100),
        row(span_id=2, parent=1, at_s=0.01, ms=50, kind="CHAIN", input="asked", output="half"),
        row(span_id=3, parent=2, at_s=0.02, ms=60, input="deeper", output="of a grandchild"),
        row(span_id=4, parent=1, at_s=0.03, ms=20, input="later", output=None),
        row(span_id=5, parent=1, at_s=0.04, ms=40, kind="LLM", output="answered"),
        row(span_id=6, parent=1, at_s=0.05, ms=90, kind="TOOL", output="of a tool"),
        row(trace_id=2, span_id=1, at_s=5, session_id="s", input="own", output=None),
        row(trace_id=2, span_id=2, parent=1, at_s=5, kind="AGENT", input="other", output="told"),
        row(trace_id=3, span_id=1, at_s=9, session_id="s"),
        row(trace_id=3, span_id=2, parent=1, at_s=9, kind="TOOL", input="arguments", output="rows"),
    ]
    fill(lake, spans, batches=3)
    found = sessions.turns_of_session(store.tenant("acme"), "s", limit=10)
    assert found["input"].to_list() == ["asked", "own", None]
    assert found["output"].to_list() == ["answered", "told", None]
    asked = Asked(window=WINDOW)
    listing = traces.list_traces(store.tenant("acme"), asked)
    assert listing["input"].to_list() == [None, "own", "asked"]
    assert listing["output"].to_list() == [None, "told", "answered"]
    assert sessions.list_sessions(store.tenant("acme"), asked)["first_input"].to_list() == ["asked"]


def test_far_turns_of_a_large_lake_are_listed_without_what_their_children_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake, store = store_at(tmp_path)
    fill(lake, [row(span_id=1, session_id="s"), row(span_id=2, parent=1, kind="LLM", input="asked" * 200)])
    asked = Asked(window=WINDOW)
    assert traces.list_traces(store.tenant("acme"), asked)["input"].to_list() == ["asked" * 100]
    monkeypatch.setattr(said, "MOST_ROWS", 1)
    assert traces.list_traces(store.tenant("acme"), asked)["input"].to_list() == [None]
    assert sessions.list_sessions(store.tenant("acme"), asked)["first_input"].to_list() == [None]
    assert sessions.turns_of_session(store.tenant("acme"), "s", limit=1)["input"].to_list() == ["asked" * 200]


def test_a_failed_turn_says_its_error_and_never_a_tools_output(tmp_path: Path) -> None:
    lake, store = store_at(tmp_path)
    spans = [
        row(trace_id=1, span_id=1, session_id="s", status_code=2, status_message="rate limit", error_type="429"),
        row(trace_id=1, span_id=2, parent=1, kind="TOOL", input="{}", output="rows of orders"),
        row(trace_id=2, span_id=3, at_s=5, session_id="s", status_code=2, status_message="", error_type="timeout"),
        row(trace_id=3, span_id=4, at_s=9, session_id="s", status_code=2),
        row(trace_id=4, span_id=5, at_s=12, session_id="s", output="well", status_message="ignored"),
    ]
    fill(lake, spans)
    found = sessions.turns_of_session(store.tenant("acme"), "s", limit=10)
    assert found["error"].to_list() == ["rate limit", "timeout", None, None]
    assert found["output"].to_list() == [None, None, None, "well"]
