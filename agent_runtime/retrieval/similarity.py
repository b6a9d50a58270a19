"""How alike two texts are: the cosine of hashed TF-IDF vectors over stems and three-letter pieces.

No model weights, no state, the same on every machine. Features are hashed to 2^20 buckets (Weinberger et al. 2009,
without the sign bit: weights stay positive, so a similarity is within 0..1). A feature's weight is (1 + ln tf) * idf,
idf = ln((1 + N) / (1 + df)) + 1 over the texts that are compared; a three-letter piece counts a quarter of a word.
"""

from __future__ import annotations

import math
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from agent_runtime.retrieval.words import grams, terms

_BUCKETS: Final = 1 << 20
_GRAM_WEIGHT: Final = 0.25
Vector = Mapping[int, float]


def _counts(text: str) -> dict[int, float]:
    words = terms(text)
    weighed = {_bucket("w" + feature): 1 + math.log(n) for feature, n in Counter(words).items()}
    for feature, n in Counter(grams(words)).items():
        bucket = _bucket("g" + feature)
        weighed[bucket] = weighed.get(bucket, 0.0) + _GRAM_WEIGHT * (1 + math.log(n))
    return weighed


def _bucket(feature: str) -> int:
    return zlib.crc32(feature.encode()) % _BUCKETS


class Similarity:
    """Compares queries with a fixed sequence of texts."""

    def __init__(self, texts: Sequence[str]) -> None:
        counted = [_counts(text) for text in texts]
        seen = Counter(bucket for counts in counted for bucket in counts)
        self._rare = math.log(1 + len(texts)) + 1
        self._idf = {bucket: math.log((1 + len(texts)) / (1 + n)) + 1 for bucket, n in seen.items()}
        self._vectors = [self._weigh(counts) for counts in counted]

    def to(self, query: str) -> list[float]:
        """Gives the similarity 0..1 of `query` to each text; 0 where either says nothing."""
        asked = self._weigh(_counts(query))
        return [_dot(asked, vector) for vector in self._vectors]

    def some(self, query: str, positions: Sequence[int]) -> list[float]:
        """The similarities 0..1 of `query` to the texts at `positions`."""
        asked = self._weigh(_counts(query))
        return [_dot(asked, self._vectors[position]) for position in positions]

    def _weigh(self, counts: Vector) -> Vector:
        weighed = {bucket: n * self._idf.get(bucket, self._rare) for bucket, n in counts.items()}
        length = math.sqrt(sum(value * value for value in weighed.values()))
        return {bucket: value / length for bucket, value in weighed.items()} if length else {}


def _dot(one: Vector, other: Vector) -> float:
    if len(other) < len(one):
        one, other = other, one
    return min(1.0, sum(value * other.get(bucket, 0.0) for bucket, value in one.items()))
