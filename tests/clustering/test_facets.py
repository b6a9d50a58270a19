"""Facets of sessions: what the user asked, what was done, how it went; and whether a session failed."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clustering.cleaning import cleaned
from clustering.facet_texts import MOST_CHARS, actions_of, intent_of, outcome_of
from clustering.facets import FACET_COLUMNS, display_text, facets, facets_and_usual, how_it_went
from clustering.signs import signs_of
from clustering.told import Asked, Called, Spoken, Told
from clustering.usual import Facts, Usual, signs_beside
from core.errors import InvalidInput
from core.records import EvaluatorKind, TargetKind
from store.cluster_counts import n_sessions_of
from store.scores import NewScore, append_scores
from store.tenant import TenantStore
from tests.store.build import T0, agent_trace, fill, row
from tests.store.places import WINDOW, store_at


def said(role: str, text: str) -> str:
    return json.dumps([{"role": role, "parts": [{"type": "text", "content": text}]}])


def turn(n: int, asks: str, answers: str, **given: Any) -> list[dict[str, Any]]:
    """A turn of a support agent: a model call, a retrieval, two reads and a refund that fails."""
    first, common = n * 10, {"trace_id": n, "app": "shop", "release": "r1", "user_id": "u1", **given}
    at = common.pop("at_s", float(n))
    usage = {"kind": "LLM", "usage_counted": True, "input_tokens": 9_000, "cost_usd": Decimal("0.002")}
    root = {"input": said("user", asks), "output": said("assistant", answers), "kind": "AGENT"}
    call = {**common, "parent": first, "kind": "TOOL"}
    found = json.dumps([{"id": "policy-returns", "content": "30 days"}])
    return [
        row(**common, **root, span_id=first, at_s=at, ms=5000, name="support"),
        row(
            **common,
            **usage,
            span_id=first + 1,
            parent=first,
            at_s=at + 0.1,
            ms=1500,
            model_request="m-1",
            model_response="m-1-mini",
            finish_reasons='["length"]',
            name="chat",
        ),
        row(**common, span_id=first + 2, parent=first, at_s=at + 0.2, kind="RETRIEVER", name="search", documents=found),
        row(
            **call,
            span_id=first + 3,
            at_s=at + 0.3,
            tool_name="get_order",
            input='{"order_id": "LK-10234"}',
            output='{"order_id": "LK-10234", "total": 129.5}',
        ),
        row(**call, span_id=first + 4, at_s=at + 0.4, tool_name="get_order", input='{"order_id": "LK-10234"}'),
        row(
            **call,
            span_id=first + 5,
            at_s=at + 0.5,
            tool_name="refund",
            input='{"order_id": "LK-20999", "percent": 40}',
            status_code=2,
            status_message="timeout of request 8123456",
        ),
    ]


@pytest.fixture
def store(tmp_path: Path) -> TenantStore:
    lake, whole = store_at(tmp_path)
    rows = turn(1, "Refund order LK-10234 please, it came broken", "Which one?", session_id="s1")
    rows += turn(2, "LK-10234, as I said", "Done: 129.50 USD back to [EMAIL].", session_id="s1", at_s=60)
    rows += turn(3, "Where is my parcel?", "On its way.", session_id="s2", at_s=-100)
    rows += [
        {**one, "status_code": 2} if one["parent_span_id"] is None else one
        for one in turn(4, "Hello", "", session_id="s3", user_id=None, at_s=-50)
    ]
    rows += turn(5, "Of another app", "Yes.", session_id="s4", app="bank")
    rows += turn(6, "Long ago", "Yes.", session_id="s5", at_s=-10 * 86_400)
    fill(lake, rows)
    return whole.tenant("acme")


def told(store: TenantStore, **asked: Any) -> dict[str, dict[str, Any]]:
    return {one["session_id"]: one for one in facets(store, "shop", WINDOW, **asked).to_dicts()}


def scored(
    store: TenantStore, session_id: str, value: float, *, at_ns: int, evaluator: str = "kept", **given: Any
) -> None:
    score = NewScore(
        evaluator=evaluator,
        evaluator_kind=given.get("kind", EvaluatorKind.OUTCOME),
        target=TargetKind.SESSION,
        session_id=session_id,
        value=value,
        at_ns=at_ns,
    )
    append_scores(store, [score], ids=[f"score_{evaluator}_{at_ns}"], author="k", now_ns=at_ns)


def test_a_session_is_told_by_intent_actions_and_outcome(store: TenantStore) -> None:
    found = told(store)
    assert list(found) == ["s2", "s3", "s1"], "of the app and the window, in order of start"
    one = found["s1"]
    assert one["intent"] == "Refund order # please, it came broken\n#, as I said"
    calls = "get_order 2 times, then refund (percent 40) failed"
    assert one["actions"].splitlines() == [
        *(f"turn 1: {calls}", f"turn 2: {calls}", "documents: policy-returns", "agents: support"),
        "Done: 129.50 USD back to [EMAIL].",
    ]
    assert one["outcome"].splitlines() == [
        "answered by the model m-1-mini instead of m-1",
        "the model ended by length",
        "a context of over 8000 tokens",
    ]
    assert how_it_went(one) == one["outcome"]
    assert how_it_went({**one, "outcome": ""}) == "Done: 129.50 USD back to [EMAIL]."
    assert (one["n_turns"], one["n_tool_errors"], one["duration_ms"], one["release"]) == (2, 2, 64_000.0, "r1")
    assert one["cost_usd"] == pytest.approx(0.004)
    assert one["first_user_text"] == "Refund order # please, it came broken"


def test_trials_of_evaluation_runs_are_no_sessions_of_the_app(tmp_path: Path) -> None:
    lake, whole = store_at(tmp_path)
    ids = {1: "run_7.example-1.0", 2: "run_70", 3: "run_8.example-1.0"}
    fill(lake, [each for n, name in ids.items() for each in turn(n, f"Hello {n}", "Yes.", session_id=name, at_s=n)])
    store = whole.tenant("acme")
    frame, _ = facets_and_usual(store, "shop", WINDOW, runs={"run_7"})
    assert frame["session_id"].to_list() == ["run_70", "run_8.example-1.0"]
    assert [n_sessions_of(store, "shop", WINDOW, runs) for runs in ((), ("run_7",), ("run_7", "run_8"))] == [3, 2, 1]


def test_a_session_is_told_the_same_when_it_is_asked_for_by_its_id(store: TenantStore) -> None:
    whole = told(store)
    alone = facets(store, "shop", WINDOW, session_ids=["s1", "s4", "nobody"]).to_dicts()
    assert alone == [whole["s1"]], "the other app's is not the app's"
    assert facets(store, "shop", None, session_ids=["s5"])["intent"].to_list() == ["Long ago"]
    assert len({one["text_hash"] for one in whole.values()}) == 3
    assert facets(store, "nothing", WINDOW).schema == FACET_COLUMNS
    with pytest.raises(InvalidInput, match="a window or the ids"):
        facets(store, "shop", None)


def test_what_scores_say_is_no_part_of_the_texts(store: TenantStore) -> None:
    before = told(store)
    scored(store, "s1", 0.0, at_ns=T0 + 1)
    label = NewScore(
        evaluator="fault", evaluator_kind=EvaluatorKind.OUTCOME, target=TargetKind.SESSION, session_id="s1",
        label="double_refund", explanation="paid twice", at_ns=T0 + 2,
    )  # fmt: skip
    append_scores(store, [label], ids=["label"], author="k", now_ns=T0 + 2)
    after = told(store)
    assert [after["s1"][name] for name in ("intent", "actions", "outcome", "text_hash")] == [
        before["s1"][name] for name in ("intent", "actions", "outcome", "text_hash")
    ]


def test_whether_a_session_failed_is_told_by_its_outcome_else_by_a_failed_turn_else_not_known(
    store: TenantStore,
) -> None:
    assert {name: one["failed"] for name, one in told(store).items()} == {"s1": None, "s2": None, "s3": True}
    scored(store, "s1", 0.0, at_ns=T0 + 1)
    scored(store, "s2", 0.5, at_ns=T0 + 2)
    scored(store, "s3", 1.0, at_ns=T0 + 3)
    assert {name: one["failed"] for name, one in told(store).items()} == {"s1": True, "s2": False, "s3": False}
    scored(store, "s1", 1.0, at_ns=T0 + 4)
    assert told(store)["s1"]["failed"] is False, "the latest outcome tells"


def test_a_named_evaluator_tells_who_failed_and_nobody_else_does(store: TenantStore) -> None:
    scored(store, "s1", 1.0, at_ns=T0 + 1)
    scored(store, "s2", 0.4, at_ns=T0 + 2, evaluator="helpful", kind=EvaluatorKind.JUDGE)
    scored(store, "s1", 0.2, at_ns=T0 + 3, evaluator="helpful", kind=EvaluatorKind.JUDGE)
    scored(store, "s1", 0.9, at_ns=T0 + 4, evaluator="helpful", kind=EvaluatorKind.JUDGE)
    found = {name: one["failed"] for name, one in told(store, failure="helpful").items()}
    assert found == {"s1": False, "s2": True, "s3": None}


def test_spans_that_say_nothing_give_empty_texts_not_errors(tmp_path: Path) -> None:
    lake, whole = store_at(tmp_path)
    fill(lake, [row(app="shop", session_id="s", kind="CHAIN", name="work")])
    (one,) = facets(whole.tenant("acme"), "shop", WINDOW).to_dicts()
    assert (one["intent"], one["actions"], one["outcome"], one["first_user_text"]) == ("", "", "", "")
    assert display_text(one) == ""
    fill(lake, agent_trace(2, app="airline", session_id="t"))
    (two,) = facets(whole.tenant("acme"), "airline", WINDOW).to_dicts()
    assert (display_text(two), two["n_tool_errors"]) == ("question 2", 1)


# -- texts -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("Order LK-10234  was\nnot\tdelivered", "Order # was not delivered"),
        ("see 3f2504e0-4f89-11d3-9a0c-0305e82c3301", "see #"),
        ("from [EMAIL:4d1c4d1c4d1c] to [EMAIL]", "from [EMAIL] to [EMAIL]"),
        ("a " + "QUJD" * 200 + "== b", "a b"),
        ("data:image/png;base64," + "iVBORw0K" * 30, ""),
        ("hash deadbeefcafe01234567 ok", "hash ok"),
        ("裏の注文はどこですか 12345", "裏の注文はどこですか #"),
        ("version 1.2, 30 days, 404", "version 1.2, 30 days, 404"),
        (None, ""),
    ],
)
def test_what_says_nothing_of_a_subject_is_cut_out(text: str | None, clean: str) -> None:
    assert cleaned(text, 200) == clean


@given(st.text(max_size=400), st.integers(1, 50))
def test_any_text_is_cleaned_to_one_line_of_the_length_asked_for(text: str, most: int) -> None:
    found = cleaned(text, most)
    assert len(found) <= most
    assert "\n" not in found
    assert cleaned(found, most) == found


def test_a_megabyte_of_base64_does_not_hide_what_was_asked() -> None:
    user = Told(messages=(Spoken(role="user", turn=0, text="QUJD" * 10_000 + " why is this image refused?"),))
    assert intent_of(user) == "why is this image refused?"
    whole = Told(messages=(Spoken(role="user", turn=0, text="QUJD" * 250_000),))
    assert intent_of(whole) == ""


def test_every_facet_keeps_to_its_length() -> None:
    long = "word " * 5_000
    one = Told(
        messages=tuple(
            Spoken(role=role, turn=n, text=f"{n} {long}") for n in range(50) for role in ("user", "assistant")
        ),
        calls=tuple(Called(turn=n, name=f"tool_{n}", error=long) for n in range(300)),
        n_turns=50,
    )
    assert all(0 < len(text) <= MOST_CHARS for text in (intent_of(one), actions_of(one), outcome_of([long] * 9)))


# -- signs -------------------------------------------------------------------------------------------------------------


def session(*calls: Called, user: str = "Refund LK-10234", agent: str = "Done.", **given: Any) -> Told:
    messages = (Spoken(role="user", turn=0, text=user), Spoken(role="assistant", turn=0, text=agent))
    return Told(**{"messages": messages, "calls": calls, "n_turns": 1, **given})


def test_a_sign_that_most_sessions_show_is_none() -> None:
    facts = Facts(
        release=None, tools="", asked={}, texts=(), cites=None, models=(), figures={}, signs=("said again", "was slow")
    )
    assert signs_beside(facts, Usual(n=100, common=("said again",))) == ["was slow"]
    assert signs_beside(facts, Usual(n=10, common=("said again",))) == ["said again", "was slow"]


def test_a_plain_session_has_no_sign() -> None:
    looked = Called(turn=0, name="get_order", arguments={"order_id": "LK-10234"}, result='{"total": 129.5}')
    paid = Called(turn=0, name="refund", arguments={"order_id": "LK-10234", "amount_usd": 129.5})
    model = Asked(
        turn=0, asked="m-1", answered="m-1-2026-01-01", duration_ms=400, input_tokens=900, finish_reasons="stop"
    )
    assert signs_of(session(looked, paid, models=(model,))) == []
    assert signs_of(Told()) == []


@pytest.mark.parametrize(
    ("told", "sign"),
    [
        (
            session(*[Called(turn=0, name="refund", arguments={"a": 1})] * 2),
            "refund called twice with the same arguments",
        ),
        (
            session(*[Called(turn=0, name="look", arguments={"a": 1})] * 7),
            "look called many times with the same arguments",
        ),
        (session(models=(Asked(turn=0, asked="m-1", answered="n-2"),)), "answered by the model n-2 instead of m-1"),
        (session(models=(Asked(turn=0, finish_reasons="content_filter"),)), "the model ended by content_filter"),
        (session(agent="Write to [EMAIL:4d1c4d1c]"), "the agent told a [EMAIL] that nobody had told"),
        (session(retrieved=((),)), "no document was found"),
        (session(messages=(Spoken(role="user", turn=0, text="hello?"),)), "the user got no answer"),
        (session(broken=True), "the last turn failed"),
    ],
)
def test_what_a_trace_shows_beside_its_words_becomes_a_phrase(told: Told, sign: str) -> None:
    assert signs_of(told) == [sign]


@pytest.mark.parametrize("value", [float("inf"), float("nan"), 10**400, True, None, [1], {"a": 1}, "x" * 10_000, ""])
def test_no_argument_of_a_stranger_breaks_a_facet(value: object) -> None:
    one = session(Called(turn=0, name="refund", arguments={"a": value, "": value}, result="{}"))
    assert isinstance(outcome_of(signs_of(one)), str)
    assert actions_of(one).startswith("turn 1: refund")
