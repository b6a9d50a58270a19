"""Scores: what is a score, where it is found again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from core.errors import InvalidInput
from core.records import EvaluatorKind, TargetKind
from store.scores import NewScore, ScoresAsked, append_scores, has_scores, list_scores, scores_of
from tests.store.build import T0, span, trace
from tests.store.places import WINDOW, store_at

pytestmark = pytest.mark.usefixtures("each_engine")


def score(**given: Any) -> NewScore:
    defaults: dict[str, Any] = {
        "evaluator": "e",
        "evaluator_kind": EvaluatorKind.RULE,
        "target": TargetKind.TURN,
        "trace_id": trace(1),
    }
    if not {"value", "label", "unscored"} & set(given):
        defaults["value"] = 0.5
    return NewScore(**(defaults | given))


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"value": float("nan")}, "value"),
        ({"value": float("inf")}, "value"),
        ({"value": None}, "value"),
        ({"unscored": ""}, "value"),
        ({"value": 1.0, "unscored": "why"}, "unscored"),
        ({"label": "x", "unscored": "why"}, "unscored"),
        ({"trace_id": None}, "trace_id"),
        ({"trace_id": "xyz"}, "trace_id"),
        ({"target": TargetKind.SPAN}, "span_id"),
        ({"target": TargetKind.SESSION}, "session_id"),
        ({"span_id": span(1)}, "span_id"),
        ({"metadata": {"x": float("nan")}}, "metadata"),
        ({"metadata": {"x": "y" * 30_000}}, "metadata"),
    ],
)
def test_what_is_no_score_names_its_field(wrong: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        score(**wrong)
    assert refused.value.field == field


def test_not_knowing_is_kept_as_such(tmp_path: Path) -> None:
    _, store = store_at(tmp_path)
    tenant = store.tenant("acme")
    append_scores(tenant, [score(unscored="the judge refused")], ids=["score_1"], author="key", now_ns=T0)
    (found,) = list_scores(tenant, ScoresAsked(window=WINDOW)).to_dicts()
    assert (found["value"], found["label"], found["unscored"]) == (None, None, "the judge refused")
    assert (found["at"], found["author"]) == ("2026-09-21T14:13:20.000000Z", "key")


def test_scores_are_found_by_target_and_filters(tmp_path: Path) -> None:
    _, store = store_at(tmp_path)
    tenant = store.tenant("acme")
    written = [
        score(evaluator="a", at_ns=T0 + 1),
        score(target=TargetKind.SPAN, span_id=span(5), label="bad", at_ns=T0 + 2),
        score(target=TargetKind.SESSION, trace_id=None, session_id="s", at_ns=T0 + 3),
        score(trace_id=trace(2), at_ns=T0 + 4),
    ]
    append_scores(tenant, written, ids=list("abcd"), author="k", now_ns=T0)
    assert list_scores(tenant, ScoresAsked(window=WINDOW))["score_id"].to_list() == list("dcba")
    assert list_scores(tenant, ScoresAsked(window=WINDOW, evaluator="a"))["score_id"].to_list() == ["a"]
    assert list_scores(tenant, ScoresAsked(window=WINDOW, trace_id=trace(1)))["score_id"].to_list() == ["b", "a"]
    assert list_scores(tenant, ScoresAsked(window=WINDOW, target=TargetKind.SESSION))["score_id"].to_list() == ["c"]
    assert scores_of(tenant, trace_ids=[trace(1)], session_id="s")["score_id"].to_list() == ["a", "b", "c"]
    assert scores_of(store.tenant("other"), trace_ids=[trace(1)], session_id="s").height == 0
    assert has_scores(tenant, ["zz", "b"])
    assert not has_scores(tenant, ["zz"])


def test_pages_of_scores(tmp_path: Path) -> None:
    _, store = store_at(tmp_path)
    tenant = store.tenant("acme")
    for n in range(7):
        append_scores(tenant, [score(at_ns=T0 + n // 2)], ids=[f"s{n}"], author="k", now_ns=T0)
    seen, after = [], None
    for _ in range(3):
        page = list_scores(tenant, ScoresAsked(window=WINDOW, limit=3, after=after))
        seen += page["score_id"].to_list()
        after = (page["at_ns"][-1], page["score_id"][-1])
    assert seen == ["s6", "s5", "s4", "s3", "s2", "s1", "s0"]
