"""Sessions in planted clusters and an embedder of word counts, which the tests of names share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b

import numpy as np
import polars as pl
from numpy.typing import NDArray

from clustering.records import Labels, Vectors
from clustering.words import words

DIMS = 1_024
SAID: Mapping[str, Sequence[str]] = {
    "delivery": (
        "My parcel has not arrived, where is the delivery?",
        "The courier lost my parcel",
        "When does the parcel arrive, the delivery is late",
        "The delivery of the parcel is delayed again",
    ),
    "refund": (
        "I want a refund for my order",
        "The refund is still missing from my bank account",
        "How long does a refund take to my bank",
        "Please refund the order, the refund was promised",
    ),
    "password": (
        "I cannot log in, my password is refused",
        "Reset my password please, the login fails",
        "The login page says the password is wrong",
        "My password reset mail never came",
    ),
}


def embed(texts: Sequence[str]) -> Vectors:
    """Counts of hashed words, each of length 1; zero where there is no word."""
    found = np.zeros((len(texts), DIMS), dtype=np.float32)
    for row, text in enumerate(texts):
        for word in words(text):
            found[row, int.from_bytes(blake2b(word.encode(), digest_size=4).digest(), "big") % DIMS] += 1.0
    lengths = np.linalg.norm(found, axis=1, keepdims=True)
    unit: Vectors = np.divide(found, lengths, out=found, where=lengths > 0)
    return unit


def sessions(
    said: Mapping[str, Sequence[str]] = SAID,
    each: int = 20,
    user: Callable[[int], str | None] = lambda n: f"user-{n}",
    more: Sequence[str] = (),
) -> tuple[pl.DataFrame, Vectors, Labels]:
    """`each` sessions of every planted cluster, then `more` as noise: facets, vectors (n, 3d) of the intent alone, and
    labels."""
    texts = [lines[n % len(lines)] for lines in said.values() for n in range(each)] + list(more)
    labels = np.array([label for label in range(len(said)) for _ in range(each)] + [-1] * len(more), dtype=np.int32)
    frame = pl.DataFrame(
        {
            "session_id": [f"s-{n}" for n in range(len(texts))],
            "user_id": pl.Series([user(n) for n in range(len(texts))], dtype=pl.String),
            "intent": texts,
            "actions": [""] * len(texts),
            "outcome": [""] * len(texts),
        }
    )
    vectors = np.zeros((len(texts), 3 * DIMS), dtype=np.float32)
    vectors[:, :DIMS] = embed(texts)
    return frame, vectors, labels


def sure(labels: Labels) -> NDArray[np.float32]:
    """Full confidence in every member."""
    return (labels >= 0).astype(np.float32)


def quiet(stage: str, done: int, total: int) -> None:
    """Listens to nothing."""
