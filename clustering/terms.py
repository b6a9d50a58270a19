"""The words that tell a cluster from the others: class TF-IDF, log-odds against the others, and variety among them.

A text counts once for each term in it, however often it says it: one long session never names a cluster.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import sparse

from clustering.records import NOISE, Labels
from clustering.words import terms_in

LEAST_USERS: Final = 3  # of a term: fewer could be told by it
MOST_VOCABULARY: Final = 20_000  # terms, those of most texts: a table of them by cluster is held in memory
MOST_TERMS: Final = 8  # of a cluster
_CANDIDATES: Final = 30  # by weight, among which variety is sought
_TIMES: Final = 1.5  # the mean share of the other clusters' texts: what carries grammar is no more frequent than that
_PRIOR: Final = 1.0  # of a cluster of mean size
_TRADE: Final = 0.75  # of a term's weight against its likeness to others: docs/clusters-names.md
_SWALLOWED: Final = 0.8  # a word that a pair holds in such a share of its texts is told by the pair
_USUAL: Final = 0.5  # of the texts: a word in more of them makes no pair, as a function word of an unknown language
_MOST_READ: Final[Mapping[str, int]] = {"intent": 1_000, "actions": 800, "outcome": 600}  # characters of each facet


@dataclass(frozen=True, kw_only=True)
class Term:
    """A word or two, with its weight: class TF-IDF, comparable within its cluster only."""

    text: str
    weight: float


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """Which terms occur in which texts. `present` (n, v) is 1 where text n holds term v. `rare` are words that fewer
    than LEAST_USERS users said: they are shown to nobody."""

    terms: tuple[str, ...]
    present: sparse.csr_matrix
    rare: frozenset[str]


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """Terms (v,) by cluster: `counts` (k, v) of texts, their `weights` (k, v), whether they are more frequent there
    than elsewhere (`frequent` (k, v)), and the `prior` (v,) of log-odds."""

    names: Sequence[str]
    counts: NDArray[np.float64]
    weights: NDArray[np.float64]
    frequent: NDArray[np.bool_]
    prior: NDArray[np.float64]


def texts_of(frame: pl.DataFrame) -> list[str]:
    """What each session's terms are taken from: how its facets `intent`, `actions` and `outcome` begin, a line each."""
    parts = [pl.col(name).fill_null("").str.slice(0, most) for name, most in _MOST_READ.items()]
    return frame.select(pl.concat_str(parts, separator="\n")).to_series().to_list()


def vocabulary(texts: Sequence[str], users: Sequence[str | None]) -> Vocabulary:
    """Terms of texts (n) whose users (n) are known or not: a text without a user counts as a user of its own. Of one
    user no term is left, however much was said."""
    index: dict[str, int] = {}
    columns, ends = array("q"), array("q", [0])
    for text in texts:
        columns.extend(index.setdefault(term, len(index)) for term in sorted(terms_in(text)))
        ends.append(len(columns))
    said = _matrix(columns, ends, len(index))
    n_users = _n_users(said, users)
    n_texts = np.asarray(said.sum(axis=0)).ravel()
    names = list(index)
    shown = set(np.flatnonzero(n_users >= LEAST_USERS).tolist())
    rare = frozenset(name for at, name in enumerate(names) if at not in shown and " " not in name)
    usual = {names[at] for at in np.flatnonzero(n_texts > _USUAL * len(texts)).tolist()}
    told = [at for at in shown if " " not in names[at] or not usual & set(names[at].split(" "))]
    most = sorted(told, key=lambda at: (-n_texts[at], names[at]))[:MOST_VOCABULARY]
    kept = sorted(most, key=lambda at: names[at])
    return Vocabulary(terms=tuple(names[at] for at in kept), present=said[:, kept], rare=rare)


def class_counts(found: Vocabulary, labels: Labels, n_classes: int) -> NDArray[np.float64]:
    """(k, v): in how many texts of each cluster a term occurs; noise is in none."""
    inside = labels != NOISE
    rows, columns = labels[inside], np.flatnonzero(inside)
    shape = (n_classes, labels.size)
    belongs = sparse.csr_matrix((np.ones(rows.size), (rows, columns)), shape=shape)
    return np.asarray((belongs @ found.present).todense(), dtype=np.float64)


def class_tf_idf(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """W = tf · log(1 + A / f) of counts (k, v): f a term's count over all clusters, A the mean over clusters of the
    count of all terms (Grootendorst 2022, BERTopic, arXiv:2203.05794, section 3.3)."""
    if not counts.size:
        return np.zeros_like(counts)
    overall = counts.sum(axis=0)
    mean = counts.sum() / counts.shape[0]
    weight: NDArray[np.float64] = counts * np.log1p(mean / np.maximum(overall, 1.0))
    return weight


def log_odds(
    counts: NDArray[np.float64], others: NDArray[np.float64], prior: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The log-odds-ratio of each term in `counts` y (v,) against `others` x (v,) and its z, with a Dirichlet prior
    a (v,), all above 0: log((y + a) / (Σy + Σa - y - a)) less the same of x, and that over the root of
    1 / (y + a) + 1 / (x + a). (Monroe, Colaresi and Quinn 2008, Fightin' Words, Political Analysis 16(4): with an
    informative prior.)"""
    here, there = counts + prior, others + prior
    ratio: NDArray[np.float64] = np.log(here / _rest(here)) - np.log(there / _rest(there))
    return ratio, ratio / np.sqrt(1.0 / here + 1.0 / there)


def prior_of(counts: NDArray[np.float64], weight: float = _PRIOR) -> NDArray[np.float64]:
    """(v,) a Dirichlet prior with the mean of the frequencies in the clusters (k, v), each counting the same, that
    weighs as much as `weight` of the median cluster; a term that occurs nowhere weighs next to nothing."""
    totals = counts.sum(axis=1, keepdims=True)
    frequencies = (counts / np.maximum(totals, 1.0)).mean(axis=0)
    prior: NDArray[np.float64] = np.maximum(frequencies * weight * float(np.median(totals)), 1e-3)
    return prior


def likeness(left: str, right: str) -> float:
    """0 to 1: Dice's coefficient of the terms' pieces of three characters, or the share of words that the shorter one
    has in the other, whichever is more."""
    one, other = set(left.split()), set(right.split())
    shared = len(one & other) / min(len(one), len(other))
    pieces, others = _pieces(left), _pieces(right)
    return max(shared, 2 * len(pieces & others) / (len(pieces) + len(others)))


def diverse(terms: Sequence[str], weights: NDArray[np.float64], n: int, trade: float = _TRADE) -> list[int]:
    """Positions of at most `n` terms by maximal marginal relevance, best first: `trade` of a term's share of the
    greatest weight, less 1 - `trade` of its likeness to the nearest chosen one (Carbonell and Goldstein 1998)."""
    left = [int(at) for at in np.argsort(-weights, kind="stable") if weights[at] > 0]
    if not left:
        return []
    most, chosen = float(weights[left[0]]), [left.pop(0)]
    nearest = {at: likeness(terms[at], terms[chosen[0]]) for at in left}
    while left and len(chosen) < n:
        best = max(left, key=lambda at: trade * float(weights[at]) / most - (1 - trade) * nearest[at])
        left.remove(best)
        chosen.append(best)
        for at in left:
            nearest[at] = max(nearest[at], likeness(terms[at], terms[best]))
    return chosen


def contrast(names: Sequence[str], counts: NDArray[np.float64], n_texts: Sequence[int]) -> Contrast:
    """All that the terms of clusters are chosen by, of `counts` (k, v) among `n_texts` (k,) texts of each cluster."""
    shares = counts / np.maximum(np.array(n_texts, dtype=np.float64), 1.0)[:, None]
    others = max(counts.shape[0] - 1, 1)
    elsewhere = (shares.sum(axis=0)[None, :] - shares) / others
    return Contrast(
        names=names,
        counts=counts,
        weights=class_tf_idf(counts),
        frequent=(counts >= LEAST_USERS) & (shares > _TIMES * elsewhere),
        prior=prior_of(counts),
    )


def terms_of(told: Contrast, label: int, siblings: Sequence[int], n: int = MOST_TERMS) -> tuple[Term, ...]:
    """The terms of a cluster, best first: by class TF-IDF among those that a larger share of its texts holds than of
    the other clusters' on the mean, and whose odds are higher than in its `siblings`; then for variety. What fewer than
    three of its texts say is left out."""
    here, weights = told.counts[label], told.weights[label]
    allowed = told.frequent[label]
    if siblings:
        allowed = allowed & (log_odds(here, told.counts[list(siblings)].sum(axis=0), told.prior)[0] > 0)
    order = np.argsort(-weights, kind="stable")
    best = [int(at) for at in order[allowed[order]][: 2 * _CANDIDATES]]
    best = _without_swallowed(best, told.names, here)[:_CANDIDATES]
    chosen = diverse([told.names[at] for at in best], weights[best], n)
    return tuple(Term(text=told.names[best[at]], weight=float(weights[best[at]])) for at in chosen)


def _rest(mass: NDArray[np.float64]) -> NDArray[np.float64]:
    """What the other terms weigh; where there is one term alone, as little as can be told."""
    left: NDArray[np.float64] = np.maximum(mass.sum() - mass, 1e-9)
    return left


def _matrix(columns: array[int], ends: array[int], width: int) -> sparse.csr_matrix:
    places, bounds = np.frombuffer(columns, dtype=np.int64), np.frombuffer(ends, dtype=np.int64)
    return sparse.csr_matrix((np.ones(len(places)), places, bounds), shape=(len(ends) - 1, width))


def _n_users(said: sparse.csr_matrix, users: Sequence[str | None]) -> NDArray[np.int64]:
    """(v,): by how many users each term was said."""
    known = {user: at for at, user in enumerate(dict.fromkeys(one for one in users if one is not None))}
    who = np.array([len(known) + n if user is None else known[user] for n, user in enumerate(users)], dtype=np.int64)
    width = said.shape[1]
    pairs = np.unique(np.repeat(who, np.diff(said.indptr)) * width + said.indices)
    return np.bincount(pairs % max(width, 1), minlength=width)


def _without_swallowed(best: Sequence[int], names: Sequence[str], here: NDArray[np.float64]) -> list[int]:
    """The candidates without words whose pair among them stands in nearly all of their texts."""
    within: Counter[str] = Counter()
    for at in best:
        pair = names[at].split(" ")
        for word in pair if len(pair) == 2 else ():
            within[word] = max(within[word], int(here[at]))
    return [at for at in best if within[names[at]] < _SWALLOWED * here[at]]


def _pieces(term: str) -> set[str]:
    padded = f" {term} "
    return {padded[at : at + 3] for at in range(len(padded) - 2)}
