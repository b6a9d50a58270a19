"""What clusters and their profiles are made of, on DuckDB and on ClickHouse, against the same worked out in Python."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from clustering.facets import facets
from clustering.service_levels import MOST_CHARS, levels_of, places_of
from store.tenant import TenantStore
from tests.store import busy
from tests.store.build import fill, row
from tests.store.busy import APP, EDGE_NS, HOUR_NS, WINDOW, score, visits
from tests.store.places import store_at

pytestmark = pytest.mark.parametrize("each_engine", ["duckdb", "clickhouse"], indirect=True)
LATER_NS = EDGE_NS + 6 * HOUR_NS


def odd() -> list[dict[str, Any]]:
    """Spans of a session that name customers, prompts and a level without end, of which some fail."""
    same = {"session_id": "ödd", "app": APP, "trace_id": 7000, "start_ns": LATER_NS}
    return [
        row(**same, span_id=71, kind="AGENT", attributes={"org_id": "Ä & Co", "tenant.id": "T'1"}, release="r9"),
        row(**same, span_id=72, kind="LLM", prompt_version="v2", model_request="", error_type="timeout", name="chat"),
        row(**same, span_id=73, kind="TOOL", tool_name="x" * 300, service_version="1.0", status_code=2),
        row(**same, span_id=74, kind="TOOL", name="büchen", status_code=2, attributes={"tenant.id": "", "org_id": "z"}),
        row(**same, span_id=75, kind="TOOL", name="büchen", status_code=2),
        row(**same, span_id=76, kind="SPAN", name="quiet", status_code=1),
        busy.searched(7001, "ödd", [{"id": "größe"}, {"id": "zwei"}], LATER_NS + 1),
        busy.searched(7002, "ödd", None, LATER_NS + 1),
        row(span_id=78, trace_id=7003, app=APP, start_ns=LATER_NS, kind="TOOL", tool_name="alone", status_code=2),
    ]


def filled(folder: Path) -> TenantStore:
    lake, whole = store_at(folder)
    busy.fill_busy(lake)
    fill(lake, odd())
    return whole.tenant("acme")


def spans_of_app() -> list[dict[str, Any]]:
    """Every span of the app that names a session, with `tenant` as its attributes say."""
    every = [given for one in visits() for given in busy.spans_of(one)] + odd()
    every += [given for commit in busy.tied() for given in commit]
    return [one for one in every if one.get("app") == APP and one.get("session_id")]


def same(frame: pl.DataFrame, expected: Iterable[tuple[Any, ...]]) -> None:
    assert sorted(frame.rows(), key=repr) == sorted(expected, key=repr)


def test_levels_are_those_of_every_span_with_the_time_of_the_first(tmp_path: Path, each_engine: str) -> None:
    columns = {
        "release": "release", "variant": "variant", "environment": "environment", "model": "model_request",
        "tool": "tool_name", "prompt": "prompt_version", "service": "service_version",
    }  # fmt: skip
    first: dict[tuple[str, str, str], int] = {}
    for one in spans_of_app():
        said = {attribute: one.get(column) for attribute, column in columns.items()}
        attributes = dict(one["attributes"])
        said["tenant"] = attributes.get("tenant.id", attributes.get("org_id"))
        for attribute, level in said.items():
            if level:
                key = (one["session_id"], attribute, level[:MOST_CHARS])
                first[key] = min(first.get(key, one["start_ns"]), one["start_ns"])
    documents = [("ödd", "document", name, LATER_NS + 1) for name in ("größe", "zwei")]
    found = levels_of(filled(tmp_path), APP, WINDOW)
    same(found, [*[(*key, at_ns) for key, at_ns in first.items()], *documents])


def test_places_that_failed_are_told_once_for_each_session(tmp_path: Path, each_engine: str) -> None:
    failed = {
        (one["session_id"], "tool", (one.get("tool_name") or one["name"])[:MOST_CHARS])
        if one["kind"] == "TOOL" else (one["session_id"], "span", one["name"])
        for one in spans_of_app()
        if one["status_code"] == 2 or one.get("error_type")
    }  # fmt: skip
    assert {place for _, _, place in failed} >= {"x" * MOST_CHARS, "büchen", "chat", "search"}
    same(places_of(filled(tmp_path), APP, WINDOW), failed)


def test_facets_tell_failures_by_the_newest_score_of_an_evaluator(tmp_path: Path, each_engine: str) -> None:
    store = filled(tmp_path)
    busy.append(store, [
        score("kept", "judge", "s0", 0.2, EDGE_NS),
        score("kept", "judge", "s1", 0.1, EDGE_NS),
        score("kept", "rule", "s1", 0.9, EDGE_NS + 1, target="example"),
        score("kept", "judge", "s6", 0.1, EDGE_NS),
        score("kept", "judge", "s6", None, EDGE_NS + 1, unscored="lost"),
        score("kept", "judge", "run_1.ex.0", math.nan, EDGE_NS),
        score("kept", "judge", visits()[12].traces[0], 0.0, EDGE_NS, session_id="s12"),
        score("other", "outcome", "s13", 0.0, EDGE_NS),
    ])  # fmt: skip
    mine = [one for one in visits() if one.app == APP]
    told = {"s0": True, "s1": False}
    found = facets(store, APP, WINDOW, failure="kept").filter(pl.col("session_id").is_in([one.name for one in mine]))
    columns = ("session_id", "release", "user_id", "start_ns", "n_turns", "n_tool_errors", "failed")
    same(found.select(columns), [
        (one.name, one.release, one.user, one.begins_ns, one.n_turns,
         one.n_turns if one.number % 3 == 0 and one.tools else 0, told.get(one.name))
        for one in mine
    ])  # fmt: skip
    by_outcome = facets(store, APP, WINDOW, session_ids=["s0", "s13"])
    assert by_outcome.select("session_id", "failed").rows() == [("s0", None), ("s13", True)]
