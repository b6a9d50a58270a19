"""Verdicts beside labels: the newest of each, people before outcomes, only of the judge's version and rubric."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.clock import NS_PER_S
from core.records import EvaluatorKind, TargetKind
from core.windows import Window
from judges.service_pairs import SCHEMA, pairs, unlabelled
from store.scores import NewScore, append_scores
from tests.judges.stored import ACME, RUBRIC, Kept, judge_of, keep_judge

NOW = 1_800_000_000 * NS_PER_S
HOUR = 3_600 * NS_PER_S


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    found = Kept(tmp_path)
    keep_judge(found.control, RUBRIC, judge_of())
    return found


def found(kept: Kept, **given: Any) -> list[dict[str, Any]]:
    return pairs(kept.tenant, kept.control, ACME, given.pop("spec", judge_of()), **given).to_dicts()


def test_a_pair_has_all_that_is_known_of_it(kept: Kept) -> None:
    kept.judged(judge_of(), [("s1", "pass"), ("s2", "fail")], at_ns=NOW, confidence=0.9)
    kept.labelled([("s1", "fail")], at_ns=NOW + 5)
    (one,) = found(kept)
    assert one == {
        "target": "session:s1",
        "session_id": "s1",
        "verdict": "pass",
        "missing": None,
        "label": "fail",
        "segment": "v1",
        "at_ns": NOW,
        "p_judge": 0.5,
        "p_human": 0.25,
        "confidence": 0.9,
        "label_kind": "human",
        "label_at_ns": NOW + 5,
        "app": "desk",
        "release": "v1",
        "score_id": one["score_id"],
        "explanation": "the judge on s1",
        "label_explanation": "people on s1",
        "n_annotators": 2,
        "queue": "helped",
        "kept": None,
        "length": None,
        "orders": None,
    }
    every = unlabelled(kept.tenant, kept.control, ACME, judge_of())
    assert every.schema == SCHEMA
    assert every.select("target", "label").rows() == [("session:s1", "fail"), ("session:s2", None)]


def test_the_newest_verdict_and_the_newest_label_hold(kept: Kept) -> None:
    kept.judged(judge_of(), [("s1", "pass")], at_ns=NOW)
    kept.judged(judge_of(), [("s1", "fail")], at_ns=NOW + HOUR)
    kept.labelled([("s1", "pass")], at_ns=NOW)
    kept.labelled([("s1", "fail")], at_ns=NOW + HOUR)
    (one,) = found(kept)
    assert (one["verdict"], one["label"], one["at_ns"]) == ("fail", "fail", NOW + HOUR)


def test_a_missing_verdict_stays_missing(kept: Kept) -> None:
    kept.judged(judge_of(), [("s1", None)], at_ns=NOW)
    kept.labelled([("s1", "pass")], at_ns=NOW)
    (one,) = found(kept)
    assert (one["verdict"], one["missing"]) == (None, "no_verdict_in_reply")


def test_other_versions_of_judge_and_rubric_are_others(kept: Kept) -> None:
    other = replace(judge_of(), temperature=1.0)
    kept.judged(other, [("s1", "pass")], at_ns=NOW)
    kept.labelled([("s1", "pass")], at_ns=NOW, version="2")
    assert found(kept) == []
    kept.judged(judge_of(), [("s1", "pass")], at_ns=NOW)
    assert found(kept) == []
    assert found(kept, spec=other) == []


def test_an_outcome_stands_for_the_truth_where_nobody_labelled(kept: Kept) -> None:
    kept.judged(judge_of(), [(name, "pass") for name in ("s1", "s2", "s3", "s4")], at_ns=NOW)
    outcome = EvaluatorKind.OUTCOME
    kept.labelled([("s1", None), ("s2", None)], kind=outcome, value=1.0, at_ns=NOW)
    kept.labelled([("s3", None)], kind=outcome, value=0.0, at_ns=NOW + 1)
    kept.labelled([("s1", "fail")], at_ns=NOW)
    said = [(one["session_id"], one["label"], one["label_kind"]) for one in found(kept)]
    assert said == [("s1", "fail", "human"), ("s2", "pass", "outcome"), ("s3", "fail", "outcome")]


def test_an_app_and_a_window_narrow_it(kept: Kept) -> None:
    kept.judged(judge_of(), [("s1", "pass")], at_ns=NOW)
    kept.judged(judge_of(), [("s2", "pass")], at_ns=NOW + HOUR, app="shop", release=None)
    kept.labelled([("s1", "pass"), ("s2", "pass")], at_ns=NOW + 9 * HOUR)
    assert [one["session_id"] for one in found(kept, app="shop")] == ["s2"]
    assert [one["segment"] for one in found(kept, app="shop")] == ["shop"]
    within = Window(start_ns=NOW - 1, end_ns=NOW + 1)
    assert [one["session_id"] for one in found(kept, window=within)] == ["s1"]


def test_what_somebody_wrote_as_plain_scores_is_neither(kept: Kept) -> None:
    forged = [
        NewScore(
            evaluator=name, evaluator_version=version, evaluator_kind=kind, target=TargetKind.SESSION, session_id="s1",
            label="pass", value=1.0, metadata={"app": "desk"},
        )
        for name, version, kind in (
            ("helpfulness", judge_of().version, EvaluatorKind.JUDGE), ("helped", "3", EvaluatorKind.HUMAN)
        )
    ]  # fmt: skip
    append_scores(kept.tenant, forged, ids=["score_1", "score_2"], author="somebody", now_ns=NOW)
    assert unlabelled(kept.tenant, kept.control, ACME, judge_of()).is_empty()
    kept.judged(judge_of(), [("s1", "fail")], at_ns=NOW - HOUR)
    assert found(kept) == []


def test_nothing_is_an_empty_frame(kept: Kept) -> None:
    assert pairs(kept.tenant, kept.control, ACME, judge_of()).schema == SCHEMA


@pytest.mark.parametrize("chance", [1e-12, 0, -1, 5, "nan", "inf"])
def test_a_plain_outcome_has_no_say_in_its_weight(kept: Kept, chance: object) -> None:
    kept.judged(judge_of(), [("s1", "pass"), ("s2", "pass")], at_ns=NOW)
    kept.labelled([("s1", "pass")], at_ns=NOW)
    outcome = NewScore(
        evaluator="helped", evaluator_kind=EvaluatorKind.OUTCOME, target=TargetKind.SESSION, session_id="s2", value=1.0,
        metadata={"probability": chance},
    )  # fmt: skip
    append_scores(kept.tenant, [outcome], ids=["score_1"], author="somebody", now_ns=NOW)
    assert [(one["session_id"], one["p_human"]) for one in found(kept)] == [("s1", 0.25), ("s2", None)]
    append_scores(kept.tenant, [outcome], ids=["outcome_1"], author="import", now_ns=NOW + 1)
    known = isinstance(chance, float)
    assert [one["p_human"] for one in found(kept)] == [0.25, chance if known else None]
