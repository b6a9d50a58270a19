"""The reading routes over a real lake: shapes, golden numbers, windows, filters, isolation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from core.clock import NS_PER_S
from core.records import Role, SpanKind
from tests.server.shell import AIRLINE, SHOP, Shell, running_shell
from tests.store.build import T0, agent_trace, fill, row, span, trace

WINDOW: dict[str, Any] = {"start": str(T0 - 3600 * NS_PER_S), "end": str(T0 + 3600 * NS_PER_S)}


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    with running_shell(tmp_path_factory.mktemp("reading")) as running:
        rows = []
        for n in range(1, 4):
            rows += agent_trace(n, at_s=n * 10, tenant=AIRLINE, session_id="s/1", user_id="u1")
        rows += agent_trace(9, at_s=100, tenant=AIRLINE, session_id="s2", variant="b", attributes={"k": "v=1"})
        rows.append(
            row(
                tenant=AIRLINE,
                trace_id=20,
                span_id=200,
                at_s=200,
                input='[{"role":"user","content":"<script>alert(1)</script>"}]',
                kind="TOOL",
                attributes={"n": "5", "f": "NaN", "ok": "true", "list": "[1,2]"},
                attribute_types="idba",
                moved_attributes="input.value=input",
                events='[{"name":"e","time_ns":1790000000000000000,"attributes":{}}]',
                resource='{"service.name":"x"}',
                issues="clock_ahead",
            )
        )
        fill(running.services.lake, rows, batches=3)
        fill(running.services.lake, agent_trace(77, tenant=SHOP, session_id="theirs"))
        yield running


def get(shell: Shell, path: str, *, expect: int = 200, whose: Any = AIRLINE, **params: Any) -> dict[str, Any]:
    answer = shell.client.get(f"/api/v1{path}", params=params, headers=shell.headers(Role.VIEWER, whose))
    assert answer.status_code == expect, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_a_trace_row_has_the_numbers_of_its_spans(shell: Shell) -> None:
    rows = {item["trace_id"]: item for item in get(shell, "/traces", **WINDOW)["items"]}
    found = rows[trace(1)]
    assert found == {
        "trace_id": trace(1),
        "name": "agent",
        "app": "airline",
        "release": "r1",
        "variant": None,
        "environment": None,
        "session_id": "s/1",
        "user_id": "u1",
        "start_ns": T0 + 10 * NS_PER_S,
        "end_ns": T0 + 11 * NS_PER_S,
        "started_at": "2026-09-21T14:13:30.000000Z",
        "duration_ms": 1000.0,
        "status": "ok",
        "n_spans": 4,
        "n_errors": 1,
        "n_model_calls": 2,
        "n_tool_calls": 1,
        "input_tokens": 200,
        "output_tokens": 20,
        "cost_usd": 0.002,
        "models": ["gpt-4o"],
        "input": "question 1",
        "output": "answer 1",
        "root_missing": False,
    }


def test_lists_are_newest_first(shell: Shell) -> None:
    for path in ("/traces", "/turns", "/spans", "/sessions"):
        starts = [item["start_ns"] for item in get(shell, path, **WINDOW)["items"]]
        assert starts == sorted(starts, reverse=True)
        assert len(starts) >= 2


def test_one_trace_with_spans_scores_and_exact_cost(shell: Shell) -> None:
    found = get(shell, f"/traces/{trace(1).upper()}")
    assert found["trace"]["cost_usd_exact"] == "0.002000000"
    assert [one["span_id"] for one in found["spans"]] == [span(n) for n in (10, 11, 12, 13)]
    assert found["spans"][1]["model"] == "gpt-4o"
    assert found["n_spans"] == 4
    assert found["scores"] == []
    assert found["next_cursor"] is None
    assert "attributes" not in found["spans"][0]


def test_full_fields_add_text_and_attributes(shell: Shell) -> None:
    (found,) = get(shell, f"/traces/{trace(20)}", fields="full")["spans"]
    assert found["attributes"]["n"] == 5
    assert found["input"].startswith("[{")


def test_a_whole_span_has_typed_attributes_messages_and_events(shell: Shell) -> None:
    found = get(shell, f"/traces/{trace(20)}/spans/{span(200)}")
    assert found["attributes"] == {"n": 5, "f": "NaN", "ok": True, "list": [1, 2], "input.value": found["input"]}
    assert found["input_messages"] == [{"role": "user", "content": "<script>alert(1)</script>"}]
    assert found["output_messages"] is None
    assert found["tool_arguments"] == found["input"]
    assert found["events"][0]["at"] == "2026-09-21T14:13:20.000000Z"
    assert found["resource"] == {"service.name": "x"}
    assert found["issues"] == ["clock_ahead"]
    assert found["duration_ms"] == 10.0


def test_one_session_with_turns_in_order_and_gaps(shell: Shell) -> None:
    found = get(shell, "/sessions/s%2F1")
    assert found["session"]["n_turns"] == 3
    assert found["session"]["cost_usd_exact"] == "0.006000000"
    assert found["session"]["first_input"] == "question 1"
    assert [turn["trace_id"] for turn in found["turns"]] == [trace(1), trace(2), trace(3)]
    assert [turn["gap_ms"] for turn in found["turns"]] == [None, 9000.0, 9000.0]
    assert found["turns"][2]["output"] == "answer 3"


def test_sessions_pages_do_not_overlap_or_skip(shell: Shell) -> None:
    first = get(shell, "/sessions/s%2F1", limit=2)
    second = get(shell, "/sessions/s%2F1", limit=2, cursor=first["next_cursor"])
    assert [t["trace_id"] for t in first["turns"] + second["turns"]] == [trace(1), trace(2), trace(3)]
    assert second["turns"][0]["gap_ms"] == 9000.0
    assert second["next_cursor"] is None


def test_spans_count_with_filters(shell: Shell) -> None:
    assert get(shell, "/spans/count", **WINDOW) == {"count": 17}
    assert get(shell, "/spans/count", kind="LLM", **WINDOW) == {"count": 8}
    assert get(shell, "/spans/count", status="error", **WINDOW) == {"count": 4}
    assert get(shell, "/spans/count", attr="k=v=1", **WINDOW) == {"count": 4}
    assert get(shell, "/spans/count", min_duration_ms=400, max_duration_ms=400, **WINDOW) == {"count": 4}


@pytest.mark.parametrize("path", ["/spans", "/spans/count", "/traces", "/sessions", "/turns", "/facets", "/search"])
@pytest.mark.parametrize("kind", ["x", "llm", "", "LLM "])
def test_an_unknown_kind_is_refused_with_the_known_ones(shell: Shell, path: str, kind: str) -> None:
    asked = {"kind": kind, "q": "x", **WINDOW} | ({"field": "app"} if path == "/facets" else {})
    answer = shell.client.get(f"/api/v1{path}", params=asked, headers=shell.headers(Role.VIEWER))
    assert (answer.status_code, answer.json()["field"]) == (422, "kind")
    assert all(f"'{known.value}'" in answer.json()["detail"] for known in SpanKind)


def test_trace_filters_on_spans_and_on_turns_together(shell: Shell) -> None:
    found = get(shell, "/traces", model="gpt-4o", variant="b", **WINDOW)["items"]
    assert [item["trace_id"] for item in found] == [trace(9)]
    assert get(shell, "/traces", attr="k=v", **WINDOW)["items"] == []


def test_an_attribute_that_lives_in_a_column_is_found(shell: Shell) -> None:
    text = '[{"role":"user","content":"<script>alert(1)</script>"}]'
    found = get(shell, "/spans", attr=f"input.value={text}", **WINDOW)["items"]
    assert [item["span_id"] for item in found] == [span(200)]


def test_rollups_count_roots_as_turns(shell: Shell) -> None:
    (cell,) = get(shell, "/rollups", bucket="1d", group_by="app", app="airline", **WINDOW)["items"]
    assert (cell["app"], cell["n"], cell["n_errors"], cell["error_rate"]) == ("airline", 4, 0, 0.0)
    assert cell["latency_ms"]["p50"] == pytest.approx(1000, rel=0.01)
    assert (cell["input_tokens"], cell["output_tokens"]) == (800, 80)
    (calls,) = get(shell, "/rollups", bucket="1d", level="LLM", **WINDOW)["items"]
    assert (calls["n"], calls["ttft_ms"]["p50"]) == (8, pytest.approx(20, rel=0.01))


def test_facets_count_traces(shell: Shell) -> None:
    found = get(shell, "/facets", field="app", **WINDOW)["items"]
    assert found == [{"value": "airline", "count": 4}, {"value": None, "count": 1}]
    assert get(shell, "/facets", field="model", **WINDOW)["items"] == [{"value": "gpt-4o", "count": 4}]
    kinds = {item["value"]: item["count"] for item in get(shell, "/facets", field="kind", **WINDOW)["items"]}
    assert kinds == {"TOOL": 5, "LLM": 4, "AGENT": 4}
    assert {i["value"]: i["count"] for i in get(shell, "/facets", field="status", **WINDOW)["items"]} == {
        "ok": 4,
        "unset": 1,
    }


def test_apps_sum_their_turns(shell: Shell) -> None:
    airline = get(shell, "/apps", **WINDOW)["items"][0]
    assert airline == {
        "app": "airline",
        "n_turns": 4,
        "n_spans": 16,
        "n_errors": 4,
        "cost_usd": 0.008,
        "input_tokens": 800,
        "output_tokens": 80,
        "last_seen_at": "2026-09-21T14:15:01.000000Z",
        "releases": ["r1"],
        "environments": [],
    }


def test_search_says_where_and_what(shell: Shell) -> None:
    (found,) = get(shell, "/search", q="QUESTION 2", **WINDOW)["items"]
    assert (found["span_id"], found["matched_in"], found["snippet"]) == (span(20), "input", "question 2")
    places = {item["matched_in"] for item in get(shell, "/search", q="v=1", **WINDOW)["items"]}
    assert places == {"attributes"}


@pytest.mark.parametrize(
    "path",
    [
        f"/traces/{trace(77)}",
        f"/traces/{trace(77)}/spans/{span(770)}",
        f"/traces/{trace(1)}/spans/{span(770)}",
        "/sessions/theirs",
        f"/traces/{trace(12345)}",
        "/sessions/none",
    ],
)
def test_what_is_another_tenants_is_not_found(shell: Shell, path: str) -> None:
    assert get(shell, path, expect=404)["code"] == "not_found"


def test_no_list_shows_another_tenants_rows(shell: Shell) -> None:
    for path in ("/spans", "/traces", "/turns", "/sessions"):
        assert "theirs" not in str(get(shell, path, limit=1000, **WINDOW))
        assert get(shell, path, session_id="theirs", **WINDOW)["items"] == []
        assert "s2" not in str(get(shell, path, whose=SHOP, limit=1000, **WINDOW))
    assert get(shell, "/search", q="question 77", **WINDOW)["items"] == []
    assert get(shell, "/spans/count", whose=SHOP, **WINDOW) == {"count": 4}


LISTS = ["/spans", "/traces", "/turns", "/sessions", "/spans/count", "/apps", "/rollups", "/scores"]


@pytest.mark.parametrize("path", LISTS)
def test_a_window_is_required(shell: Shell, path: str) -> None:
    found = get(shell, path, expect=422)
    assert (found["code"], found["field"]) == ("invalid_input", "since")


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"since": "7d", "limit": "-1"}, "limit"),
        ({"since": "7d", "limit": "0"}, "limit"),
        ({"since": "7d", "limit": "1001"}, "limit"),
        ({"since": "7d", "limit": str(10**9)}, "limit"),
        ({"since": "7d", "limit": "NaN"}, "limit"),
        ({"since": "7 days"}, "since"),
        ({"since": "0s"}, "since"),
        ({"since": "7d", "start": "2026-01-01T00:00:00Z"}, "since"),
        ({"start": "NaN"}, "start"),
        ({"start": "2026-01-01T00:00:00"}, "start"),
        ({"start": "2026-01-02T00:00:00Z", "end": "2026-01-01T00:00:00Z"}, "end"),
        ({"start": "9999-12-31T00:00:00Z", "end": "9999-12-31T23:00:00Z"}, "end"),
        ({"start": "9" * 30}, "start"),
        ({"since": "7d", "offset": "5"}, "offset"),
        ({"since": "7d", "tenant": "shop"}, "tenant"),
        ({"since": "7d", "status": "broken"}, "status"),
        ({"since": "7d", "min_duration_ms": "NaN"}, "min_duration_ms"),
        ({"since": "7d", "min_duration_ms": "5", "max_duration_ms": "1"}, "max_duration_ms"),
        ({"since": "7d", "attr": "novalue"}, "attr"),
        ({"since": "7d", "attr": "=v"}, "attr"),
        ({"since": "7d", "app": "a\0b"}, "app"),
        ({"since": "7d", "q": "x" * 5000}, "q"),
        ({"since": "7d", "as_of": "soon"}, "as_of"),
    ],
)
def test_a_wrong_parameter_is_named(shell: Shell, params: dict[str, Any], field: str) -> None:
    found = get(shell, "/traces", expect=422, **params)
    assert found["code"] == "invalid_input"
    assert found["field"].startswith(field)


@pytest.mark.parametrize(
    "text",
    [
        "a';DROP TABLE spans;--",
        '" OR 1=1 --',
        "%",
        "_",
        "\\",
        "${jndi:ldap://x}",
        "{0.__class__}",
        "%n%n",
        "../../etc/passwd",
        "(a+)+$",
        "$slot_app",
        "\U0001f600",
        "__proto__",
    ],
)
def test_hostile_filter_texts_are_plain_text(shell: Shell, text: str) -> None:
    for path in ("/spans", "/traces", "/sessions"):
        asked: list[dict[str, Any]] = [{"app": text}, {"attr": f"{text}=x"}, {"attr": f"k={text}"}, {"q": text}]
        for params in [*asked, {"session_id": text}]:
            found = get(shell, path, **params, **WINDOW)["items"]
            assert found == [] or "q" in params
    assert get(shell, "/spans/count", **WINDOW) == {"count": 17}


def test_malformed_ids_are_named(shell: Shell) -> None:
    assert get(shell, "/traces/nonsense", expect=422)["field"] == "trace_id"
    assert get(shell, f"/traces/{trace(1)}/spans/xyz", expect=422)["field"] == "span_id"


def test_as_of_hides_what_was_stored_later(shell: Shell) -> None:
    moment: dict[str, Any] = {
        "as_of": str(T0 + 25 * NS_PER_S)
    }  # in these rows a span is stored in the second in which it starts
    assert [item["trace_id"] for item in get(shell, "/traces", **moment, **WINDOW)["items"]] == [trace(2), trace(1)]
    assert get(shell, "/spans/count", **moment, **WINDOW) == {"count": 8}
    assert get(shell, "/sessions/s%2F1", **moment)["session"]["n_turns"] == 2
    assert get(shell, f"/traces/{trace(3)}", expect=404, **moment)["code"] == "not_found"
    (cell,) = get(shell, "/rollups", bucket="1d", **moment, **WINDOW)["items"]
    assert cell["n"] == 2


def test_an_ingest_key_reads_nothing(shell: Shell) -> None:
    answer = shell.client.get("/api/v1/traces", params={"since": "7d"}, headers=shell.headers(Role.INGEST))
    assert answer.status_code == 403
