"""Retrieval measures equal those of scikit-learn and trec_eval to 1e-12, on random, tied and empty rankings."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping

import numpy as np
import pytest
import pytrec_eval
from sklearn.metrics import ndcg_score

from core.records import TargetKind
from evaluators.catalogue import find
from evaluators.records import Document, Expected, Reason, Score, Scored, Target, Trajectory, Unscored
from evaluators.rules.retrieval import (
    Ranking,
    average_precision,
    ndcg_burges,
    ndcg_linear,
    precision,
    recall,
    reciprocal_rank,
)

EXACT = 1e-12


def _ranking(scores: Mapping[str, float], grades: Mapping[str, float]) -> Ranking:
    """In the order of the scores; equal ones by falling id, as trec_eval takes them."""
    ids = sorted(scores, key=lambda name: (scores[name], name), reverse=True)
    return Ranking(ids=ids, grades=grades, scores=[scores[name] for name in ids])


def _case(seed: int, *, tied: bool) -> tuple[dict[str, float], dict[str, int]]:
    chance = random.Random(seed)
    names = [f"d{at:03d}" for at in range(chance.randint(2, 40))]
    scores = {name: float(chance.randint(0, 4)) if tied else chance.random() for name in names}
    return scores, {name: chance.choice([0, 0, 0, 1, 2, 3]) for name in names}


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("k", [None, 1, 3, 10])
def test_ndcg_is_that_of_scikit_learn(k: int | None, tied: bool) -> None:
    for seed in range(60):
        scores, grades = _case(seed, tied=tied)
        names = list(scores)
        told = np.array([[scores[name] for name in names]])
        linear = np.array([[grades[name] for name in names]])
        ranking = _ranking(scores, grades)
        theirs = ndcg_score(linear, told, k=k, ignore_ties=False)
        assert ndcg_linear(ranking, k) == pytest.approx(theirs, rel=EXACT, abs=EXACT)
        burges = np.array([[2.0 ** grades[name] - 1 for name in names]])
        theirs = ndcg_score(burges, told, k=k, ignore_ties=False)
        assert ndcg_burges(ranking, k) == pytest.approx(theirs, rel=EXACT, abs=EXACT)


def _trec(scores: Mapping[str, float], grades: Mapping[str, int]) -> dict[str, float]:
    measures = {"ndcg", "ndcg_cut.5", "recip_rank", "map", "recall.5,10", "P.5,10"}
    return dict(pytrec_eval.RelevanceEvaluator({"q": grades}, measures).evaluate({"q": scores})["q"])


def _ours(scores: Mapping[str, float], grades: Mapping[str, float]) -> dict[str, float]:
    ranking = _ranking(scores, grades)
    untied = Ranking(ids=ranking.ids, grades=grades)
    return {
        "ndcg": ndcg_linear(untied),
        "ndcg_cut_5": ndcg_linear(untied, 5),
        "recip_rank": reciprocal_rank(ranking),
        "map": average_precision(ranking),
        "recall_5": recall(ranking, 5),
        "recall_10": recall(ranking, 10),
        "P_5": precision(ranking, 5),
        "P_10": precision(ranking, 10),
    }


@pytest.mark.parametrize("tied", [False, True])
def test_all_measures_are_those_of_trec_eval(tied: bool) -> None:
    """Judged documents that were not retrieved and retrieved ones that nobody judged are among them."""
    for seed in range(100):
        scores, grades = _case(seed, tied=tied)
        chance = random.Random(seed)
        retrieved = {name: score for name, score in scores.items() if chance.random() < 0.7} or dict(scores)
        judged = {name: grade for name, grade in grades.items() if chance.random() < 0.8}
        judged |= {"not-retrieved": 2}
        assert _ours(retrieved, judged) == pytest.approx(_trec(retrieved, judged), rel=EXACT, abs=EXACT)


def test_no_relevant_document_is_zero_as_in_trec_eval_and_scikit_learn() -> None:
    scores, grades = {"a": 2.0, "b": 1.0}, {"a": 0, "b": 0}
    assert set(_ours(scores, grades).values()) == {0.0}
    assert set(_trec(scores, grades).values()) == {0.0}
    assert ndcg_score([[0, 0]], [[2.0, 1.0]]) == 0.0
    assert ndcg_linear(Ranking(ids=[], grades={"a": 1})) == 0.0


def test_worked_by_hand() -> None:
    ranking = Ranking(ids=["a", "b", "c", "d"], grades={"b": 3, "d": 1, "e": 2})
    best = 3 / math.log2(2) + 2 / math.log2(3) + 1 / math.log2(4)
    assert ndcg_linear(ranking) == pytest.approx((3 / math.log2(3) + 1 / math.log2(5)) / best, rel=EXACT, abs=EXACT)
    best = 7 / math.log2(2) + 3 / math.log2(3) + 1 / math.log2(4)
    assert ndcg_burges(ranking) == pytest.approx((7 / math.log2(3) + 1 / math.log2(5)) / best, rel=EXACT, abs=EXACT)
    assert reciprocal_rank(ranking) == 1 / 2
    assert average_precision(ranking) == pytest.approx((1 / 2 + 2 / 4) / 3, rel=EXACT, abs=EXACT)
    assert recall(ranking, 2) == pytest.approx(1 / 3, rel=EXACT, abs=EXACT)
    assert precision(ranking, 10) == pytest.approx(2 / 10, rel=EXACT, abs=EXACT)


def _scored(name: str, documents: list[Document], relevant: Mapping[str, float] | None) -> Scored:
    expected = Expected(relevant=relevant)
    trajectory = Trajectory(documents=tuple(documents))
    return find(name).evaluate(Target(kind=TargetKind.TURN, trajectory=trajectory, expected=expected))


def _documents(*ids: str) -> list[Document]:
    return [Document(document_id=one) for one in ids]


def test_a_target_is_ranked_by_score_where_all_have_one_and_as_it_came_else() -> None:
    relevant = {"b": 1.0}
    scored = [Document(document_id="a", score=1.0), Document(document_id="b", score=2.0)]
    first = _scored("mrr", scored, relevant)
    assert isinstance(first, Score)
    assert first.value == 1.0
    partly = [Document(document_id="a"), Document(document_id="b", score=2.0)]
    second = _scored("mrr", partly, relevant)
    assert isinstance(second, Score)
    assert second.value == 0.5
    twice = _scored("average_precision", _documents("a", "b", "b"), relevant)
    assert isinstance(twice, Score)
    assert twice.value == 0.5


@pytest.mark.parametrize(
    ("documents", "relevant", "reason"),
    [
        (_documents("a"), None, Reason.NOT_EXPECTED),
        ([], {"a": 1.0}, Reason.NOT_RECORDED),
        (_documents("a"), {"a": 0.0}, Reason.NOT_APPLICABLE),
        (_documents("a"), {"a": math.nan}, Reason.UNREADABLE),
        (_documents("a"), {"a": 1e300}, Reason.TOO_LARGE),
    ],
)
def test_what_cannot_be_scored_says_why(
    documents: list[Document], relevant: Mapping[str, float] | None, reason: Reason
) -> None:
    found = _scored("ndcg_burges", documents, relevant)
    assert isinstance(found, Unscored)
    assert found.reason is reason
