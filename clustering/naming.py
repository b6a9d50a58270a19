"""Names of all clusters of a run: terms, exemplars, topics and titles, in one call."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from clustering.model import ModelAccess
from clustering.records import Labels, Progress, Vectors
from clustering.terms import Term
from clustering.titles import Title, TitleBy
from clustering.topics import Topic

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
    """`clusters` in the order of their labels; `cost_usd` of the model's answers as far as it is known."""

    clusters: tuple[Named, ...]
    topics: tuple[Topic, ...]
    n_asked: int
    cost_usd: float | None


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
    """Names every cluster of `labels`. `frame` (n rows): session_id, user_id, intent, actions, outcome as of facets;
    `vectors` (n, 3d). A model is asked only with `embed`, which checks its titles; `known` are titles of a model that
    clusters (by label) bore before: one that still finds its members is kept and nothing is asked. Raises what
    `progress` raises (stage "names")."""
    raise NotImplementedError
