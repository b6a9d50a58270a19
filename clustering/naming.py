"""Names of all clusters of a run: terms, exemplars, topics and titles, in one call.

Terms, exemplars and topics are the same for the same sessions. A model's title is asked for where a model is
configured, checked against sessions that it was not shown, and else the title of the terms stays and says why.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from clustering.exemplars import exemplars
from clustering.model import ModelAccess, Question, ask_all
from clustering.records import NOISE, Labels, Progress, Vectors
from clustering.terms import Term, Vocabulary, class_counts, class_tf_idf, terms_of, texts_of, vocabulary
from clustering.titles import LEAST_AUC, Title, TitleBy, by_terms, plain, proposed, question, retrieval
from clustering.topics import Topic, centroids, groups, renumbered, siblings, topics_of

STAGE: Final = "names"
MOST_ASKED: Final = 200  # clusters for which a model is asked in one run, the largest first
_FACETS: Final = ("intent", "actions", "outcome")
_READ: Final = 20_000  # sessions whose words are counted, spread over the clusters
_READ_LEAST: Final = 50  # of each cluster
_READ_NOISE: Final = 2_000
_MEMBERS: Final = 300  # that a title is checked with
_OTHERS: Final = 2_000
_UNSEEN_LEAST: Final = 10  # members the model was not shown; of fewer all are checked

Embed = Callable[[Sequence[str]], Vectors]  # texts to (n, d), of length 1 each, with the run's own embedder


@dataclass(frozen=True, kw_only=True)
class Named:
    """A cluster's name. `exemplars` are rows of the frame, best first; `topic` an index into Names.topics; `siblings`
    labels of the clusters it was told from; `refused` why a model's title was not taken."""

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


@dataclass(frozen=True, kw_only=True)
class _Run:
    """What all clusters are named from. `rows` of each cluster, `rare` words that are shown to nobody."""

    frame: pl.DataFrame
    vectors: Vectors
    rows: Sequence[NDArray[np.int64]]
    terms: Sequence[tuple[Term, ...]]
    shown: Sequence[tuple[int, ...]]
    siblings: Sequence[tuple[int, ...]]
    rare: frozenset[str]
    rng: np.random.Generator


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
    rows = [np.flatnonzero(labels == label) for label in range(k)]
    sizes = [one.size for one in rows]
    words, counts = _counted(frame, labels, rows)
    weights = class_tf_idf(counts)
    centres = centroids(vectors, labels)
    group = renumbered(groups(centres), sizes)
    near = siblings(centres, group)
    terms = [terms_of(label, counts, weights, words.terms, _same_topic(group, label, near)) for label in range(k)]
    shown = [exemplars(vectors, one, confidence) for one in rows]
    run = _Run(
        frame=frame, vectors=vectors, rows=rows, terms=terms, shown=shown, siblings=near, rare=words.rare, rng=rng
    )
    titles, n_asked, cost_usd = _titled(run, embed, model, known or {}, nonce, progress)
    named = tuple(_named(run, label, title, group) for label, title in enumerate(told_apart(titles, terms)))
    progress(STAGE, k, k)
    topics = topics_of(group, sizes, counts, words.terms)
    return Names(clusters=named, topics=topics, n_asked=n_asked, cost_usd=cost_usd)


def told_apart(titles: Sequence[Title], terms: Sequence[Sequence[Term]]) -> list[Title]:
    """The titles; where several are the same, each with the best of its terms that the title does not hold, else with
    a number."""
    often = Counter(title.text.casefold() for title in titles)
    taken: set[str] = {text for text, n in often.items() if n == 1}
    found = []
    for title, own in zip(titles, terms, strict=True):
        text = title.text
        if often[text.casefold()] > 1:
            more = [f"{text} ({one.text})" for one in own if one.text.casefold() not in text.casefold()]
            more += [f"{text} ({n})" for n in range(1, len(titles) + 1)]
            text = next(one for one in more if one.casefold() not in taken)
            taken.add(text.casefold())
        found.append(replace(title, text=text))
    return found


def _counted(
    frame: pl.DataFrame, labels: Labels, rows: Sequence[NDArray[np.int64]]
) -> tuple[Vocabulary, NDArray[np.float64]]:
    """The terms of the sessions that are read, and their counts by cluster (k, v)."""
    most = max(_READ_LEAST, _READ // len(rows))
    read = [_spread(one, most) for one in rows]
    read.append(_spread(np.flatnonzero(labels == NOISE), _READ_NOISE))
    kept = np.sort(np.concatenate(read))
    chosen = frame[kept]
    words = vocabulary(texts_of(chosen), chosen["user_id"].to_list())
    return words, class_counts(words, labels[kept], len(rows))


def _spread(rows: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """At most so many of the rows, evenly from first to last."""
    return rows if rows.size <= most else rows[np.linspace(0, rows.size - 1, most).astype(np.int64)]


def _same_topic(group: NDArray[np.int32], label: int, near: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    return near[label] if group[label] != NOISE else ()


def _titled(
    run: _Run,
    embed: Embed | None,
    model: ModelAccess | None,
    known: Mapping[int, Title],
    nonce: Callable[[], str],
    progress: Progress,
) -> tuple[list[Title], int, float | None]:
    """The title of each cluster, how many questions were asked, and what they cost."""
    k = len(run.rows)
    titles = [by_terms([one.text for one in run.terms[label]], run.rows[label].size) for label in range(k)]
    if embed is None:
        return titles, 0, None
    before = {label: title for label, title in known.items() if 0 <= label < k and title.by is TitleBy.MODEL}
    kept = _checked(run, embed, {label: (title.text, title.sentence) for label, title in before.items()})
    for label, title in kept.items():
        titles[label] = title if title.by is TitleBy.MODEL else titles[label]
    if model is None:
        return titles, 0, None
    open_ = [label for label in range(k) if titles[label].by is TitleBy.TERMS]
    asked = sorted(open_, key=lambda label: (-run.rows[label].size, label))[:MOST_ASKED]
    answers = ask_all(
        model, [_asked(run, label, nonce()) for label in asked], lambda n, _: progress(STAGE, min(n, k), k)
    )
    refused, offered = {label: f"a model names the {MOST_ASKED} largest" for label in set(open_) - set(asked)}, {}
    for label, answer in zip(asked, answers, strict=True):
        try:
            if answer.values is None:
                raise ValueError(answer.failed or "the model did not answer")
            offered[label] = proposed(answer.values, run.rare)
        except ValueError as error:
            refused[label] = str(error)
    for label, title in _checked(run, embed, offered).items():
        titles[label] = title if title.by is TitleBy.MODEL else replace(titles[label], refused=title.refused)
    for label, why in refused.items():
        titles[label] = replace(titles[label], refused=plain(why, 300))
    costs = [answer.cost_usd for answer in answers if answer.cost_usd is not None]
    return titles, len(asked), sum(costs) if costs else None


def _asked(run: _Run, label: int, nonce: str) -> Question:
    examples = run.frame[list(run.shown[label])].select(_FACETS).fill_null("").to_dicts()
    told = [[one.text for one in run.terms[at]] for at in (label, *run.siblings[label][:3])]
    return question(examples, told[0], told[1:], nonce)


def _checked(run: _Run, embed: Embed, offered: Mapping[int, tuple[str, str | None]]) -> dict[int, Title]:
    """Titles by label: `by` tells whether they find their members; `refused` why not. A sentence that does not find
    them either is left out."""
    if not offered:
        return {}
    lines = [line for title, sentence in offered.values() for line in (title, sentence or title)]
    embedded = embed(lines)
    found = {}
    for n, (label, (title, sentence)) in enumerate(offered.items()):
        members, others = _sample(run, label)
        auc = retrieval(embedded[2 * n], members, others)
        of_sentence = retrieval(embedded[2 * n + 1], members, others)
        fits = sentence if of_sentence is not None and of_sentence >= LEAST_AUC else None
        if auc is not None and auc >= LEAST_AUC:
            found[label] = Title(text=title, by=TitleBy.MODEL, sentence=fits, auc=auc)
            continue
        why = "there are no other sessions to tell it from" if auc is None else f"AUC {auc:.2f} is below {LEAST_AUC}"
        said = f"the model's title does not find its sessions: {why}"
        found[label] = Title(text=title, by=TitleBy.TERMS, auc=auc, refused=said)
    return found


def _sample(run: _Run, label: int) -> tuple[Vectors, Vectors]:
    """Members that the model was not shown (all where these are few), and sessions that are not members."""
    own = run.rows[label]
    unseen = np.setdiff1d(own, np.array(run.shown[label], dtype=np.int64))
    members = unseen if unseen.size >= _UNSEEN_LEAST else own
    other = np.ones(run.frame.height, dtype=bool)
    other[own] = False
    others = np.flatnonzero(other)
    picked = [run.rng.permutation(rows)[:most] for rows, most in ((members, _MEMBERS), (others, _OTHERS))]
    return run.vectors[picked[0]], run.vectors[picked[1]]


def _named(run: _Run, label: int, title: Title, group: NDArray[np.int32]) -> Named:
    return Named(
        label=label,
        title=title.text,
        title_by=title.by,
        sentence=title.sentence,
        terms=run.terms[label],
        exemplars=run.shown[label],
        topic=None if group[label] == NOISE else int(group[label]),
        siblings=run.siblings[label],
        auc=title.auc,
        refused=title.refused,
    )
