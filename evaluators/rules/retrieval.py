"""How well documents were retrieved, given grades of relevance. The pure functions take a ranking; the rules a target.

NDCG is said with its gain: linear (the grade; Järvelin and Kekäläinen 2002, as trec_eval and scikit-learn) or Burges
(2^grade - 1; Burges et al. 2005). Documents with equal scores share the mean of their gains, as scikit-learn does
(McSherry and Najork 2008); the other measures take them in the order they came. Grades of 0 or less are not relevant.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from core.errors import InvalidInput, TooLarge
from evaluators.records import Dimension, EvaluatorSpec, Score, Scored, Target
from evaluators.rules.rule import ANY_TARGET, Rule, not_applicable, not_expected, not_recorded
from evaluators.rules.values import finite

MOST_GRADE: Final = {"linear": 1e12, "burges": 100.0}


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """What was retrieved for one question. `ids` from the best on, each once; `scores`, where known, fall along them.
    `grades` are those of the judged documents, retrieved or not."""

    ids: Sequence[str]
    grades: Mapping[str, float]
    scores: Sequence[float] | None = None

    @property
    def relevant(self) -> frozenset[str]:
        """The documents with a grade above 0."""
        return frozenset(name for name, grade in self.grades.items() if grade > 0)


def ndcg_linear(ranking: Ranking, k: int | None = None) -> float:
    """DCG over the ideal DCG of the judged documents, cut at k; the gain is the grade. 0 when none is relevant."""
    return _ndcg(ranking, k, "linear")


def ndcg_burges(ranking: Ranking, k: int | None = None) -> float:
    """As `ndcg_linear` with the gain 2^grade - 1."""
    return _ndcg(ranking, k, "burges")


def reciprocal_rank(ranking: Ranking) -> float:
    """1 over the rank of the first relevant document; 0 without one. Its mean over questions is the MRR."""
    relevant = ranking.relevant
    return next((1 / rank for rank, name in enumerate(ranking.ids, 1) if name in relevant), 0.0)


def recall(ranking: Ranking, k: int) -> float:
    """The share of the relevant documents among the first k; 0 when none is relevant."""
    relevant = ranking.relevant
    return sum(name in relevant for name in ranking.ids[:k]) / len(relevant) if relevant else 0.0


def precision(ranking: Ranking, k: int) -> float:
    """Relevant documents among the first k over k, also where fewer were retrieved."""
    relevant = ranking.relevant
    return sum(name in relevant for name in ranking.ids[:k]) / k


def average_precision(ranking: Ranking) -> float:
    """The mean of the precision at each relevant document, 0 for one not retrieved. Its mean is the MAP."""
    relevant = ranking.relevant
    if not relevant:
        return 0.0
    ranks = [rank for rank, name in enumerate(ranking.ids, 1) if name in relevant]
    return math.fsum(found / rank for found, rank in enumerate(ranks, 1)) / len(relevant)


def _ndcg(ranking: Ranking, k: int | None, gain: str) -> float:
    gains = {name: _gain(grade, gain) for name, grade in ranking.grades.items()}
    best = _dcg(sorted(gains.values(), reverse=True), k)
    if best <= 0:
        return 0.0
    return _dcg(_shared(ranking, [gains.get(name, 0.0) for name in ranking.ids]), k) / best


def _shared(ranking: Ranking, gains: list[float]) -> list[float]:
    """Each gain, or the mean of those whose scores are equal."""
    if ranking.scores is None:
        return gains
    shared: list[float] = []
    for _, tied in groupby(zip(ranking.scores, gains, strict=True), key=lambda one: one[0]):
        values = [gain for _, gain in tied]
        shared += [math.fsum(values) / len(values)] * len(values)
    return shared


def _dcg(gains: Sequence[float], k: int | None) -> float:
    return math.fsum(gain / math.log2(rank + 1) for rank, gain in enumerate(gains[:k], 1))


def _gain(grade: float, gain: str) -> float:
    if grade > MOST_GRADE[gain]:
        raise TooLarge(f"a grade of {grade:g} is over {MOST_GRADE[gain]:g}")
    if grade <= 0:
        return 0.0
    return float(grade) if gain == "linear" else 2.0**grade - 1


# --- the evaluators -------------------------------------------------------------------------------------------------


def ranking_of(target: Target) -> Ranking | Scored:
    """What a target retrieved against what its example calls relevant. Sorted by score where every document has one;
    of a document that came twice the better place counts. Raises InvalidInput for a grade that is no number."""
    grades = target.expected.relevant if target.expected is not None else None
    if grades is None:
        return not_expected("relevant")
    if not target.trajectory.documents:
        return not_recorded("retrieved documents")
    for name, grade in grades.items():
        if not finite(grade):
            raise InvalidInput(f"the grade of {str(name)[:60]!r} is no number", field="relevant")
    if not any(grade > 0 for grade in grades.values()):
        return not_applicable("no document is relevant")
    scored = [(one.document_id, one.score) for one in target.trajectory.documents]
    known = all(finite(score) for _, score in scored)
    if known:
        scored.sort(key=lambda one: -(one[1] or 0.0))
    best: dict[str, float | None] = {}
    for name, score in scored:
        best.setdefault(name, score)
    return Ranking(ids=tuple(best), grades=grades, scores=tuple(one or 0.0 for one in best.values()) if known else None)


def _rule(name: str, of: Callable[[Ranking], float], summary: str, *failure_modes: str) -> Rule:
    def score(target: Target) -> Scored:
        ranking = ranking_of(target)
        if not isinstance(ranking, Ranking):
            return ranking
        parts = {"n_retrieved": len(ranking.ids), "n_relevant": len(ranking.relevant)}
        found = len(ranking.relevant & set(ranking.ids))
        said = f"{found} of {parts['n_relevant']} relevant documents among the {parts['n_retrieved']} retrieved"
        return Score(value=min(of(ranking), 1.0), explanation=said, parts={**parts, "n_found": found})

    spec = EvaluatorSpec(
        name=name,
        version="1",
        dimension=Dimension.RETRIEVAL,
        summary=summary,
        failure_modes=(*failure_modes, _UNJUDGED, _SEVERAL),
        targets=ANY_TARGET,
        needs=("relevant",),
    )
    return Rule(spec=spec, score=score)


_UNJUDGED: Final = "a good document that nobody judged counts as not relevant"
_SEVERAL: Final = "the documents of several searches of one target are read as one list: score spans or turns"

NDCG_LINEAR: Final = _rule(
    "ndcg_linear",
    ndcg_linear,
    "NDCG with the grade as gain, over all that was retrieved; equal scores share their gains.",
    "is another number than ndcg_burges for the same ranking: compare like with like",
)
NDCG_BURGES: Final = _rule(
    "ndcg_burges",
    ndcg_burges,
    "NDCG with the gain 2^grade - 1, over all that was retrieved; equal scores share their gains.",
    "is another number than ndcg_linear for the same ranking: compare like with like",
)
MRR: Final = _rule(
    "mrr",
    reciprocal_rank,
    "1 over the rank of the first relevant document, 0 without one; its mean over examples is the MRR.",
    "looks at the first relevant document alone",
)
AVERAGE_PRECISION: Final = _rule(
    "average_precision",
    average_precision,
    "The mean precision at each relevant document, 0 for those not retrieved; its mean over examples is the MAP.",
    "grades count as relevant or not",
)
RECALL_AT_5: Final = _rule(
    "recall_at_5",
    lambda one: recall(one, 5),
    "The share of the relevant documents among the first 5.",
    "order is ignored",
)
RECALL_AT_10: Final = _rule(
    "recall_at_10",
    lambda one: recall(one, 10),
    "The share of the relevant documents among the first 10.",
    "order is ignored",
)
PRECISION_AT_5: Final = _rule(
    "precision_at_5",
    lambda one: precision(one, 5),
    "Relevant documents among the first 5, over 5 also where fewer were retrieved.",
    "cannot reach 1 where fewer than 5 documents are relevant",
)
PRECISION_AT_10: Final = _rule(
    "precision_at_10",
    lambda one: precision(one, 10),
    "Relevant documents among the first 10, over 10 also where fewer were retrieved.",
    "cannot reach 1 where fewer than 10 documents are relevant",
)
