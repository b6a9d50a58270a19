"""Lists of traces over partial rows: walks, pages, late roots, shapes of trees that are wrong."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.clock import NS_PER_S
from core.errors import NotFound
from core.windows import Window
from store import spans, traces
from store.asked import Asked
from store.delta_log import LakeFile
from store.filters import Filters, Status
from store.slices import slices
from store.tenant import TenantStore
from tests.store.build import T0, agent_trace, fill, row, span, spans_table, trace
from tests.store.places import WINDOW, store_at

pytestmark = pytest.mark.usefixtures("each_engine")


def walked(tenant: TenantStore, limit: int, **filters: Any) -> list[str]:
    """All trace ids, page by page."""
    seen: list[str] = []
    after = None
    while True:
        page = traces.list_traces(tenant, Asked(window=WINDOW, limit=limit, after=after, filters=Filters(**filters)))
        seen += page["trace_id"].to_list()
        if page.height < limit:
            return seen
        after = (page["start_ns"][-1], page["trace_id"][-1])


@pytest.mark.parametrize("filters", [{}, {"kind": "LLM"}, {"app": "airline"}, {"attr": (("k", "v"),)}])
def test_pages_show_every_trace_once_newest_first(tmp_path: Path, filters: dict[str, Any]) -> None:
    lake, store = store_at(tmp_path)
    rows = [one for n in range(1, 38) for one in agent_trace(n, at_s=(n // 3) * 7, attributes={"k": "v"})]
    fill(lake, rows, batches=5)
    found = walked(store.tenant("acme"), 5, **filters)
    assert found == [trace(n) for n in sorted(range(1, 38), key=lambda n: (n // 3, trace(n)), reverse=True)]


def test_a_root_that_comes_in_a_later_commit_completes_its_trace(tmp_path: Path) -> None:
    lake, store = store_at(tmp_path)
    rows = agent_trace(1, session_id="s")
    fill(lake, rows[1:])
    (before,) = traces.list_traces(store.tenant("acme"), Asked(window=WINDOW)).to_dicts()
    assert (before["root_missing"], before["name"], before["status"], before["n_spans"]) == (True, None, "error", 3)
    fill(lake, rows[:1])
    (after,) = traces.list_traces(store.tenant("acme"), Asked(window=WINDOW)).to_dicts()
    assert (after["root_missing"], after["name"], after["status"], after["n_spans"]) == (False, "agent", "ok", 4)
    assert after["cost_usd"] == 0.002


def test_a_trace_over_midnight_and_two_commits_is_one_row(tmp_path: Path) -> None:
    lake, store = store_at(tmp_path)
    midnight_s = 86_400 - (T0 // NS_PER_S) % 86_400
    rows = agent_trace(1, at_s=midnight_s - 0.2)
    assert {one["date"] for one in rows} == {"2026-09-21", "2026-09-22"}
    fill(lake, rows, batches=2)
    (found,) = traces.list_traces(store.tenant("acme"), Asked(window=WINDOW)).to_dicts()
    assert (found["n_spans"], found["n_model_calls"]) == (4, 2)
    second_day = Window(start_ns=T0 + int(midnight_s * NS_PER_S), end_ns=WINDOW.end_ns)
    assert traces.list_traces(store.tenant("acme"), Asked(window=second_day)).height == 0


def test_a_filter_on_spans_lists_the_trace_at_its_own_start(tmp_path: Path) -> None:
    lake, store = store_at(tmp_path)
    long = [
        row(trace_id=1, span_id=1, at_s=0, ms=100_000),
        row(trace_id=1, span_id=2, parent=1, at_s=90, name="x", kind="TOOL"),
    ]
    fill(lake, [*long, row(trace_id=2, span_id=3, at_s=50, kind="TOOL")])
    tenant = store.tenant("acme")
    assert walked(tenant, 1, kind="TOOL") == [trace(2), trace(1)]
    early = Window(start_ns=T0, end_ns=T0 + 10 * NS_PER_S)
    found = traces.list_traces(tenant, Asked(window=early, filters=Filters(kind="TOOL")))
    assert found["trace_id"].to_list() == [trace(1)]


@pytest.mark.parametrize(
    ("filters", "wanted"),
    [
        ({"status": Status.ERROR}, [2]),
        ({"status": Status.OK}, [1]),
        ({"min_duration_ms": 5000.0}, [2]),
        ({"max_duration_ms": 5000.0}, [1]),
        ({"name": "agent"}, [1]),
        ({"user_id": "u"}, [2]),
        ({"q": "QUESTION"}, [1]),
        ({"model": "gpt-4o"}, [1]),
        ({"app": "nosuch"}, []),
    ],
)
def test_every_filter(tmp_path: Path, filters: dict[str, Any], wanted: list[int]) -> None:
    lake, store = store_at(tmp_path)
    fill(lake, [*agent_trace(1), row(trace_id=2, span_id=2, ms=9000, status_code=2, name="slow", user_id="u")])
    assert walked(store.tenant("acme"), 50, **filters) == [trace(n) for n in wanted]


def test_o41_wrong_trees_are_shown_as_they_came(tmp_path: Path) -> None:
    lake, store = store_at(tmp_path)
    cycle = [row(trace_id=1, span_id=n, parent=n % 3 + 1) for n in (1, 2, 3)]
    itself = [row(trace_id=2, span_id=3, parent=3)]
    orphan = [row(trace_id=3, span_id=4, parent=999)]
    chain = [row(trace_id=4, span_id=100 + n, parent=99 + n if n else None) for n in range(10_000)]
    fill(lake, cycle + itself + orphan + chain)
    tenant = store.tenant("acme")
    found = {t["trace_id"]: t for t in traces.list_traces(tenant, Asked(window=WINDOW)).to_dicts()}
    assert [found[trace(n)]["n_spans"] for n in (1, 2, 3, 4)] == [3, 1, 1, 10_000]
    assert [found[trace(n)]["root_missing"] for n in (1, 2, 3, 4)] == [True, True, True, False]


def test_a_span_id_used_twice_is_shown_twice_and_said_so(tmp_path: Path) -> None:
    lake, store = store_at(tmp_path)
    fill(lake, [row(span_id=1, seq=1, name="a"), row(span_id=1, seq=2, name="b"), row(span_id=2, parent=1)])
    found = spans.spans_of_trace(store.tenant("acme"), trace(1), within=None, limit=10)
    assert found["name"].to_list() == ["a", "b", "agent"]
    assert found["issues"].to_list() == [["id_reused"], ["id_reused"], []]
    whole = spans.whole_span(store.tenant("acme"), trace(1), span(1), within=None)
    assert (whole["name"], whole["n_same"]) == ("b", 2)


def test_versions_of_a_span_that_came_in_one_request_are_all_on_the_pages(tmp_path: Path) -> None:
    lake, store = store_at(tmp_path)
    versions = [row(span_id=1, seq=5, content_hash=(-1) ** n * (n + 1) * 10**17, name=f"v{n}") for n in range(20)]
    fill(lake, [*versions, row(span_id=2, seq=5), row(trace_id=2, span_id=1, seq=6)])
    tenant = store.tenant("acme")
    whole = spans.whole_span(tenant, trace(1), span(1), within=None)
    for limit in (1, 7, 20):
        seen: list[str] = []
        after = None
        for _ in range(23):
            page = spans.spans_of_trace(tenant, trace(1), within=None, limit=limit, after=after)
            if not page.height:
                break
            seen += page["name"].to_list()
            after = (page["start_ns"][-1], page["row_id"][-1])
        assert sorted(seen) == sorted(["agent", *(f"v{n}" for n in range(20))])
        seen, after = [], None
        for _ in range(23):
            page = spans.list_spans(tenant, Asked(window=WINDOW, limit=limit, after=after))
            if not page.height:
                break
            seen += page["row_id"].to_list()
            after = (page["start_ns"][-1], page["row_id"][-1])
        assert (len(seen), len(set(seen))) == (22, 22)
        assert spans.whole_span(tenant, trace(1), span(1), within=None) == whole


def test_a_large_trace_comes_in_pages(tmp_path: Path) -> None:
    lake, store = store_at(tmp_path)
    rows = [row(span_id=n, seq=n, parent=1 if n > 1 else None, at_s=(n // 7) * 0.001) for n in range(1, 3301)]
    fill(lake, rows, batches=3)
    tenant, after, seen = store.tenant("acme"), None, []
    for _ in range(4):
        page = spans.spans_of_trace(tenant, trace(1), within=None, limit=1000, after=after)
        seen += page["span_id"].to_list()
        after = (page["start_ns"][-1], page["row_id"][-1])
    assert sorted(seen) == [span(n) for n in range(1, 3301)]
    assert traces.trace(tenant, trace(1))["n_spans"][0] == 3300


def test_a_trace_whose_partials_are_not_there_yet_is_derived(tmp_path: Path) -> None:
    lake, store = store_at(tmp_path)
    lake.append("spans", spans_table(agent_trace(1)))
    (found,) = traces.trace(store.tenant("acme"), trace(1)).to_dicts()
    assert (found["n_spans"], found["cost_usd_exact"]) == (4, "0.002000000")
    assert traces.trace(store.tenant("acme"), trace(2)).height == 0
    with pytest.raises(NotFound):
        spans.whole_span(store.tenant("acme"), trace(1), span(99), within=None)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 500), st.integers(1, 1000)), max_size=8),
    st.integers(1, 500),
)
def test_slices_cover_the_window_without_gap_or_overlap(files: list[tuple[int, int, int]], first: int) -> None:
    made = [
        LakeFile(
            folder="f",
            relative="p",
            tenant="t",
            date="d",
            n_rows=n,
            size=1,
            min_ns=low,
            max_ns=low + length,
            min_seq=0,
            max_seq=0,
        )
        for low, length, n in files
    ]
    window = Window(start_ns=0, end_ns=2000)
    found = list(slices(made, window, first))
    assert found[0].end_ns == 2000
    assert found[-1].start_ns == 0
    assert all(a.start_ns == b.end_ns for a, b in itertools.pairwise(found))
