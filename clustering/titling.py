"""The titles of a run: those of the terms, those a model gave before, and new ones of a model, each checked.

A title is checked with sessions that the model was not shown, where there are enough of them, against sessions of all
other clusters and of none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from clustering.model import Answer, ModelAccess, Question, ask_all
from clustering.records import Vectors
from clustering.terms import Term
from clustering.titles import LEAST_AUC, Title, TitleBy, by_terms, plain, proposed, question, retrieval

MOST_ASKED: Final = 200  # clusters for which a model is asked in one run, the largest first
_FACETS: Final = ("intent", "actions", "outcome")
_MEMBERS: Final = 300  # that a title is checked with
_OTHERS: Final = 2_000
_UNSEEN_LEAST: Final = 10  # members the model was not shown; of fewer all are checked
_NEIGHBOURS: Final = 3  # clusters whose terms the model is told too
_MOST_WHY: Final = 300

Embed = Callable[[Sequence[str]], Vectors]  # texts to (n, d), of length 1 each, with the run's own embedder
Offered = Mapping[int, tuple[str, str | None]]  # title and sentence by label


@dataclass(frozen=True, kw_only=True)
class Drafts:
    """What titles are made from, by label: `rows` of a cluster's sessions, its `terms`, the rows `shown` to the model,
    its `siblings`. `rare` words are shown to nobody."""

    frame: pl.DataFrame
    vectors: Vectors
    rows: Sequence[NDArray[np.int64]]
    terms: Sequence[tuple[Term, ...]]
    shown: Sequence[tuple[int, ...]]
    siblings: Sequence[tuple[int, ...]]
    rare: frozenset[str]

    def question(self, label: int, nonce: str) -> Question:
        """What a model is asked for a cluster."""
        examples = self.frame[list(self.shown[label])].select(pl.col(_FACETS).fill_null("")).to_dicts()
        told = [[one.text for one in self.terms[at]] for at in (label, *self.siblings[label][:_NEIGHBOURS])]
        return question(examples, told[0], told[1:], nonce)

    def sample(self, label: int, rng: np.random.Generator) -> tuple[Vectors, Vectors]:
        """Members (all where those the model was not shown are few) and sessions that are not."""
        own = self.rows[label]
        unseen = np.setdiff1d(own, np.array(self.shown[label], dtype=np.int64))
        members = unseen if unseen.size >= _UNSEEN_LEAST else own
        other = np.ones(self.frame.height, dtype=bool)
        other[own] = False
        others = rng.permutation(np.flatnonzero(other))[:_OTHERS]
        return self.vectors[rng.permutation(members)[:_MEMBERS]], self.vectors[others]


@dataclass(frozen=True, kw_only=True)
class Titled:
    """Titles in the order of labels; `n_asked` questions put to the model, `cost_usd` of its answers as far as it is
    known."""

    titles: tuple[Title, ...]
    n_asked: int = 0
    cost_usd: float | None = None


def of_terms(drafts: Drafts) -> list[Title]:
    """The titles that need no model."""
    return [by_terms([one.text for one in own], rows.size) for own, rows in zip(drafts.terms, drafts.rows, strict=True)]


def kept(drafts: Drafts, known: Mapping[int, Title], embed: Embed, rng: np.random.Generator) -> dict[int, Title]:
    """Those of a model's earlier titles, by label, that still find their members."""
    before = {
        label: (title.text, title.sentence)
        for label, title in known.items()
        if title.by is TitleBy.MODEL and 0 <= label < len(drafts.rows)
    }
    found = checked(drafts, before, embed, rng)
    return {label: title for label, title in found.items() if title.by is TitleBy.MODEL}


def asked_of_model(
    drafts: Drafts,
    labels: Sequence[int],
    model: ModelAccess,
    embed: Embed,
    rng: np.random.Generator,
    nonce: Callable[[], str],
    done: Callable[[int, int], None],
) -> tuple[dict[int, Title], Sequence[Answer]]:
    """A model's titles of these clusters, by label: `by` tells whether each was taken, `refused` why not; and its
    answers. Raises what `done` raises."""
    first = sorted(labels, key=lambda label: (-drafts.rows[label].size, label))
    asked, left = first[:MOST_ASKED], first[MOST_ASKED:]
    answers = ask_all(model, [drafts.question(label, nonce()) for label in asked], done)
    offered: dict[int, tuple[str, str | None]] = {}
    found = {label: _refused(f"the model is asked for the {MOST_ASKED} largest clusters only") for label in left}
    for label, answer in zip(asked, answers, strict=True):
        if answer.values is None:
            found[label] = _refused(answer.failed or "the model did not answer")
            continue
        try:
            offered[label] = proposed(answer.values, drafts.rare)
        except ValueError as error:
            found[label] = _refused(str(error))
    return found | checked(drafts, offered, embed, rng), answers


def titled(
    drafts: Drafts,
    *,
    embed: Embed | None,
    model: ModelAccess | None,
    known: Mapping[int, Title],
    rng: np.random.Generator,
    nonce: Callable[[], str],
    done: Callable[[int, int], None],
) -> Titled:
    """The title of every cluster, no two of them the same. Raises what `done` raises."""
    titles = of_terms(drafts)
    if embed is None:
        return Titled(titles=tuple(told_apart(titles, drafts.terms)))
    held = kept(drafts, known, embed, rng)
    answers: Sequence[Answer] = ()
    fresh: dict[int, Title] = {}
    if model is not None:
        open_ = [label for label in range(len(titles)) if label not in held]
        fresh, answers = asked_of_model(drafts, open_, model, embed, rng, nonce, done)
    for label, title in (fresh | held).items():
        taken = title.by is TitleBy.MODEL
        titles[label] = title if taken else replace(titles[label], auc=title.auc, refused=title.refused)
    costs = [answer.cost_usd for answer in answers if answer.cost_usd is not None]
    apart = tuple(told_apart(titles, drafts.terms))
    return Titled(titles=apart, n_asked=len(answers), cost_usd=sum(costs) if costs else None)


def checked(drafts: Drafts, offered: Offered, embed: Embed, rng: np.random.Generator) -> dict[int, Title]:
    """Titles by label: `by` tells whether one finds its members, `refused` why not. A sentence that does not find them
    is left out."""
    if not offered:
        return {}
    embedded = embed([line for title, sentence in offered.values() for line in (title, sentence or title)])
    found = {}
    for n, (label, (text, sentence)) in enumerate(offered.items()):
        members, others = drafts.sample(label, rng)
        auc = retrieval(embedded[2 * n], members, others)
        if auc is None or auc < LEAST_AUC:
            why = f"AUC {auc:.2f}, at least {LEAST_AUC} is needed" if auc is not None else "there are no others"
            found[label] = replace(
                _refused(f"the title {text!r} does not tell its sessions from others: {why}"), auc=auc
            )
            continue
        of_sentence = retrieval(embedded[2 * n + 1], members, others) or 0.0
        fits = sentence if of_sentence >= LEAST_AUC else None
        found[label] = Title(text=text, by=TitleBy.MODEL, sentence=fits, auc=auc)
    return found


def told_apart(titles: Sequence[Title], terms: Sequence[Sequence[Term]]) -> list[Title]:
    """The titles; where several are the same, each with the best of its terms that the title does not hold, else with
    a number."""
    often = Counter(title.text.casefold() for title in titles)
    taken = {text for text, n in often.items() if n == 1}
    found = []
    for title, own in zip(titles, terms, strict=True):
        text = title.text
        if often[text.casefold()] > 1:
            more = [f"{text} ({one.text})" for one in own if one.text.casefold() not in text.casefold()]
            more += [f"{text} ({n})" for n in range(1, 2 * len(titles) + 1)]
            text = next(one for one in more if one.casefold() not in taken)
            taken.add(text.casefold())
        found.append(replace(title, text=text))
    return found


def _refused(why: str) -> Title:
    """No title of a model's, and why."""
    return Title(text="", by=TitleBy.TERMS, refused=plain(why, _MOST_WHY))
