"""Examples and prompts from traces, on DuckDB and on ClickHouse."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from evaluators.datasets.filtering import parse_filter
from evaluators.datasets.traced import chosen_sessions, examples_of, prompts_of_app
from store.tenant import TenantStore
from tests.store import busy
from tests.store.build import T0, fill, row, span, trace
from tests.store.busy import score
from tests.store.places import WINDOW, store_at

pytestmark = pytest.mark.parametrize("each_engine", ["duckdb", "clickhouse"], indirect=True)
KEY = "gen_ai.system_instructions"
PARTS = json.dumps([{"type": "text", "content": "Sei höflich."}, {"type": "text", "content": "🛫"}], ensure_ascii=False)


def call(n: int, said: str | None = None, **more: Any) -> dict[str, Any]:
    """A model call of session s(n // 2), of which every two begin at one moment."""
    plain: dict[str, Any] = {
        "attributes": {} if said is None else {KEY: said},
        "kind": "LLM",
        "app": "shöp",
        "session_id": f"s{n // 2}",
        "at_s": n // 2,
        "user_id": "ü",
    }
    return row(trace_id=n, span_id=100 - n, **(plain | more))


def told(*messages: tuple[str, str]) -> str:
    return json.dumps([{"role": role, "content": text} for role, text in messages], ensure_ascii=False)


def filled(folder: Path) -> TenantStore:
    lake, whole = store_at(folder)
    rows = [
        call(1, PARTS, input=told(("user", "Grüße?"))),
        call(2, PARTS, kind="AGENT"),
        call(3, "plain 'text'"),
        call(4, "", input=told(("system", "Kurz."), ("user", "und?"))),
        call(5, input=told(("developer", "Kurz."), ("system", "Länger."))),
        call(6, kind="TOOL", attributes={KEY: "of a tool"}, input=told(("system", "of a tool"))),
        call(7, "of another app", app="desk"),
        call(8, "of another tenant", tenant="globex"),
        call(9, input="kein JSON", output="tschüß"),
        call(10, "too late", start_ns=WINDOW.end_ns),
    ]
    fill(lake, rows, batches=3)
    return whole.tenant("acme")


def test_prompts_are_told_once_with_the_call_that_had_them_first(tmp_path: Path, each_engine: str) -> None:
    found = [(one.text, one.place) for one in prompts_of_app(filled(tmp_path), WINDOW, "shöp")]
    assert found == [
        ("Sei höflich.\n🛫", f"trace {trace(1)}, span {span(99)}: system instructions of 2 calls"),
        ("", f"trace {trace(4)}, span {span(96)}: system instructions of 1 calls"),
        ("plain 'text'", f"trace {trace(3)}, span {span(97)}: system instructions of 1 calls"),
        ("Kurz.", f"trace {trace(4)}, span {span(96)}: system message"),
        ("Länger.", f"trace {trace(5)}, span {span(95)}: system message"),
    ]


def test_sessions_are_chosen_by_what_they_are_and_by_their_newest_score(tmp_path: Path, each_engine: str) -> None:
    store = filled(tmp_path)
    busy.append(store, [
        score("höflich", "judge", "s0", 0.0, T0), score("höflich", "judge", "s0", 1.0, T0 + 1),
        score("höflich", "judge", "s1", 1.0, T0), score("höflich", "judge", "s1", 0.0, T0 + 1, label="nein"),
        score("höflich", "judge", "s2", None, T0, unscored="timeout"),
    ])  # fmt: skip
    assert chosen_sessions(store, WINDOW, app="shöp", where=None, limit=9) == ["s4", "s3", "s2", "s1", "s0"]
    assert chosen_sessions(store, WINDOW, app="shöp", where=None, limit=2) == ["s4", "s3"]
    for text, expected in (('score("höflich") == 1', ["s0"]), ('label("höflich") == "nein"', ["s1"]),
                           ("n_turns > 1", ["s3", "s2", "s1"])):  # fmt: skip
        assert chosen_sessions(store, WINDOW, app="shöp", where=parse_filter(text), limit=9) == expected, text


def test_an_example_of_a_session_is_what_its_user_asked(tmp_path: Path, each_engine: str) -> None:
    store = filled(tmp_path)
    found = list(examples_of(store, session_ids=["s0", "nobody"], trace_ids=[trace(4), trace(9)], with_answer=True))
    assert [(one.turns, one.expected.answer) for one in found] == [
        (("Grüße?",), None), (("und?",), None), (("kein JSON",), "tschüß"),
    ]  # fmt: skip
    assert (found[0].source.session_id, found[0].source.user_id) == ("s0", "ü")
