"""The words that tell a cluster from the others: class TF-IDF, log-odds against its siblings, and variety among them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import sparse

from clustering.records import Labels


@dataclass(frozen=True, kw_only=True)
class Term:
    """A word or two, with its weight: class TF-IDF, comparable within its cluster only."""

    text: str
    weight: float


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """Which terms occur in which texts. `present` (n, v) is 1 where text n holds term v; `n_users` (v,) of each term:
    distinct users who said it, a session without a user counting as one."""

    terms: tuple[str, ...]
    present: sparse.csr_matrix
    n_users: NDArray[np.int64]


def words(text: str) -> list[str]:
    """The words of a text in lower case, in order. Scripts without spaces give runs of two to four characters; numbers
    but HTTP's statuses, words with more than three digits and words of more than 30 characters are left out."""
    raise NotImplementedError


def vocabulary(texts: Sequence[str], users: Sequence[str | None]) -> Vocabulary:
    """Terms of one and of two words that at least three users said; a term of two neither begins nor ends with a
    function word."""
    raise NotImplementedError


def class_counts(found: Vocabulary, labels: Labels, n_classes: int) -> NDArray[np.float64]:
    """(k, v): in how many texts of each cluster a term occurs; noise is in none."""
    raise NotImplementedError


def class_tf_idf(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """W = tf · log(1 + A / f) of counts (k, v): f a term's count over all clusters, A the mean count of all terms of a
    cluster (Grootendorst 2022, arXiv:2203.05794, section 3.3)."""
    raise NotImplementedError


def log_odds(
    counts: NDArray[np.float64], others: NDArray[np.float64], prior: NDArray[np.float64]
) -> NDArray[np.float64]:
    """z (v,) of the log-odds ratio of each term in `counts` (v,) against `others` (v,) with an informative Dirichlet
    prior (v,), all above 0 (Monroe, Colaresi and Quinn 2008, equations 16, 19 and 22)."""
    raise NotImplementedError


def diverse(terms: Sequence[str], weights: NDArray[np.float64], n: int, trade: float = 0.6) -> list[int]:
    """Positions of at most `n` terms by maximal marginal relevance, best first (Carbonell and Goldstein 1998): `trade`
    of the weight against 1 - `trade` of the likeness to those chosen already."""
    raise NotImplementedError


def texts_of(frame: pl.DataFrame) -> list[str]:
    """What each session's terms are taken from: its facets `intent`, `actions` and `outcome`, one behind another."""
    raise NotImplementedError
