"""Titles: of the terms always, of a model where one is configured and its title finds the cluster's own sessions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from clustering.model import Question
from clustering.records import Vectors

LEAST_AUC: Final = 0.9
MOST_TITLE: Final = 80  # characters
MOST_SENTENCE: Final = 240


class TitleBy(StrEnum):
    """Whose words a title is."""

    TERMS = "terms"
    MODEL = "model"


@dataclass(frozen=True, kw_only=True)
class Title:
    """A title with one sentence (of a model only). `auc` is how well it finds its members; `refused` says why a
    model's title was not taken."""

    text: str
    by: TitleBy
    sentence: str | None = None
    auc: float | None = None
    refused: str | None = None


def by_terms(terms: Sequence[str], n_sessions: int) -> Title:
    """The best three terms; where there are none, that no three users share a word."""
    raise NotImplementedError


def question(
    examples: Sequence[Mapping[str, str]], terms: Sequence[str], others: Sequence[Sequence[str]], nonce: str
) -> Question:
    """Asks for a title and a sentence. `examples` are facets of exemplars, `others` the terms of sibling clusters."""
    raise NotImplementedError


def proposed(values: Mapping[str, Any]) -> tuple[str, str | None]:
    """Title and sentence of a model's answer, made plain. Raises ValueError that says what is wrong with the title."""
    raise NotImplementedError


def plain(text: str, most: int) -> str:
    """One line of at most `most` characters without control, format, private and unassigned characters."""
    raise NotImplementedError


def auc(members: NDArray[np.float64], others: NDArray[np.float64]) -> float | None:
    """How likely a member's score is above another's, ties counting half (Mann-Whitney U / (n·m)); None: one is
    empty."""
    raise NotImplementedError


def likeness(title: Vectors, vectors: Vectors) -> NDArray[np.float64]:
    """(4, n): cosine of a title's embedding (d,) to sessions (n, 3d): of the facets together, then of each of the
    three."""
    raise NotImplementedError
