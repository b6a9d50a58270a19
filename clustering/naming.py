"""Names of all clusters of a run: terms, exemplars, topics and titles, in one call.

Terms, exemplars and topics are the same for the same sessions. A model's title is asked for where a model is
configured; where it is not taken the title of the terms stays, with the reason.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from clustering.exemplars import exemplars
from clustering.model import ModelAccess
from clustering.records import NOISE, Labels, Progress, Vectors
from clustering.terms import Term, Vocabulary, class_counts, contrast, terms_of, texts_of, vocabulary
from clustering.titles import Title, TitleBy
from clustering.titling import Drafts, Embed, titled
from clustering.topics import Topic, centroids, groups, renumbered, siblings, topics_of

STAGE: Final = "names"
_READ: Final = 10_000  # sessions whose words are counted, spread over the clusters
_READ_LEAST: Final = 30  # of each cluster
_READ_NOISE: Final = 1_000


@dataclass(frozen=True, kw_only=True)
class Named:
    """A cluster's name. `exemplars` are rows of the frame, best first; `topic` an index into Names.topics; `siblings`
    labels of the clusters it was told from, nearest first; `auc` of the model's title; `refused` why it was not
    taken."""

    label: int
    title: str
    title_by: TitleBy
    sentence: str | None
    terms: tuple[Term, ...]
    exemplars: tuple[int, ...]
    topic: int | None
    siblings: tuple[int, ...]
    auc: float | None
    refused: str | None


@dataclass(frozen=True, kw_only=True)
class Names:
    """`clusters` in the order of their labels; `n_asked` questions put to the model, `cost_usd` of its answers as far
    as it is known."""

    clusters: tuple[Named, ...]
    topics: tuple[Topic, ...]
    n_asked: int = 0
    cost_usd: float | None = None


def name(
    frame: pl.DataFrame,
    vectors: Vectors,
    labels: Labels,
    confidence: NDArray[np.float32],
    *,
    rng: np.random.Generator,
    progress: Progress,
    embed: Embed | None = None,
    model: ModelAccess | None = None,
    known: Mapping[int, Title] | None = None,
    nonce: Callable[[], str] = lambda: secrets.token_hex(16),
) -> Names:
    """Names every cluster of `labels` (n,). `frame` (n rows): user_id, intent, actions, outcome as of facets; `vectors`
    (n, 3d). A model is asked only with `embed`, which checks its titles; `known` are titles of a model that clusters
    (by label) bore before: one that still finds its members is kept and nothing is asked. Raises what `progress`
    raises (stage "names")."""
    k = int(labels.max(initial=NOISE)) + 1
    progress(STAGE, 0, max(k, 1))
    if not k:
        return Names(clusters=(), topics=())
    drafts, topics = _drafted(frame, vectors, labels, confidence)
    told = titled(
        drafts,
        embed=embed,
        model=model,
        known=known or {},
        rng=rng,
        nonce=nonce,
        done=lambda n, total: progress(STAGE, k * n // (total + 1), k),
    )
    progress(STAGE, k, k)
    topic_of = {label: topic.index for topic in topics for label in topic.clusters}
    named = tuple(_named(drafts, label, title, topic_of.get(label)) for label, title in enumerate(told.titles))
    return Names(clusters=named, topics=topics, n_asked=told.n_asked, cost_usd=told.cost_usd)


def _drafted(
    frame: pl.DataFrame, vectors: Vectors, labels: Labels, confidence: NDArray[np.float32]
) -> tuple[Drafts, tuple[Topic, ...]]:
    """All that needs no model."""
    k = int(labels.max()) + 1
    rows = [np.flatnonzero(labels == label) for label in range(k)]
    sizes = [one.size for one in rows]
    words, counts, n_texts = _counted(frame, labels, rows)
    told = contrast(words.terms, counts, n_texts)
    centres = centroids(vectors, labels)
    group = renumbered(groups(centres), sizes)
    near = siblings(centres, group)
    drafts = Drafts(
        frame=frame,
        vectors=vectors,
        rows=rows,
        terms=[terms_of(told, label, near[label]) for label in range(k)],
        shown=[exemplars(vectors, one, confidence) for one in rows],
        siblings=near,
        rare=words.rare,
    )
    return drafts, topics_of(group, sizes, counts, n_texts, words.terms)


def _counted(
    frame: pl.DataFrame, labels: Labels, rows: Sequence[NDArray[np.int64]]
) -> tuple[Vocabulary, NDArray[np.float64], list[int]]:
    """The terms of the sessions that are read, their counts by cluster (k, v), and the sessions read of each (k,)."""
    most = max(_READ_LEAST, _READ // len(rows))
    read = [*(_spread(one, most) for one in rows), _spread(np.flatnonzero(labels == NOISE), _READ_NOISE)]
    chosen = np.sort(np.concatenate(read))
    sessions = frame[chosen]
    words = vocabulary(texts_of(sessions), sessions["user_id"].to_list())
    return words, class_counts(words, labels[chosen], len(rows)), [one.size for one in read[:-1]]


def _spread(rows: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """At most so many of the rows, evenly from first to last."""
    return rows if rows.size <= most else rows[np.linspace(0, rows.size - 1, most).astype(np.int64)]


def _named(drafts: Drafts, label: int, title: Title, topic: int | None) -> Named:
    return Named(
        label=label,
        title=title.text,
        title_by=title.by,
        sentence=title.sentence,
        terms=drafts.terms[label],
        exemplars=drafts.shown[label],
        topic=topic,
        siblings=drafts.siblings[label],
        auc=title.auc,
        refused=title.refused,
    )
