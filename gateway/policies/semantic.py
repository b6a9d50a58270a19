"""Questions that were asked before with other small words or endings, found by the words they share.

Only the text of the last user message may differ: tenant, model, parameters, tools and all earlier messages agree
exactly, so that questions meet in buckets of those. What counts as the same question is in meaning.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gateway.config import SemanticConfig
from gateway.policies.cached_answers import Shelves, digest_of
from gateway.policies.meaning import N_DIMENSIONS, Meaning, meaning_of, similarity
from gateway.records import Call, CallKind

MOST_QUESTIONS: Final = 2000  # of one bucket; beyond, the oldest goes
_MOST_LOOKED_AT: Final = 8
_QUESTION_BYTES: Final = 4 * N_DIMENSIONS + 600


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """What a call asks, and the bucket of questions that it may be compared with."""

    tenant: str
    bucket: bytes
    meaning: Meaning


class SimilarQuestions:
    """The questions whose answers are kept, within `max_bytes`."""

    def __init__(self, config: SemanticConfig | None, max_bytes: int) -> None:
        self._threshold = (config or SemanticConfig()).threshold
        self._buckets: Shelves[_Bucket] = Shelves(max_bytes, most_share=2)
        self._most = min(MOST_QUESTIONS, max(1, max_bytes // 2 // _QUESTION_BYTES - 1))

    @staticmethod
    def question(call: Call, behind: Mapping[str, str]) -> Question | None:
        """The call's question; None if it cannot be compared with others. `behind` is as `digest_of` takes it."""
        messages = call.body.get("messages")
        if call.kind is not CallKind.CHAT or not isinstance(messages, list) or not messages:
            return None
        text, rest = _split(messages[-1])
        meaning = meaning_of(text) if text else None
        if meaning is None:
            return None
        asked = {**call.body, "messages": [*messages[:-1], rest]}
        return Question(tenant=call.caller.tenant, bucket=digest_of(call, asked, behind), meaning=meaning)

    def find(self, question: Question) -> list[tuple[bytes, float]]:
        """The keys of answers to similar questions with their similarity, the most similar first."""
        bucket = self._buckets.get(question.tenant, question.bucket)
        return bucket.find(question.meaning, self._threshold) if bucket else []

    def add(self, question: Question, key: bytes) -> None:
        """Remembers a question whose answer is kept under `key`."""
        bucket = self._buckets.get(question.tenant, question.bucket) or _Bucket(self._most)
        grew = bucket.add(question.meaning, key)
        if grew:
            self._buckets.put(question.tenant, question.bucket, bucket, bucket.n_bytes)

    @property
    def n_bytes(self) -> int:
        """Of all that is kept."""
        return self._buckets.n_bytes


class _Bucket:
    """At most `most` questions that may be compared with each other; a ring once it is full."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._vectors: NDArray[np.float32] = np.empty((0, N_DIMENSIONS), np.float32)
        self._exact = np.empty(0, np.int64)
        self._orders: list[tuple[str, ...]] = []
        self._keys: list[bytes] = []
        self._next = 0

    @property
    def n_bytes(self) -> int:
        """Of the room it has, filled or not."""
        return (len(self._vectors) + 1) * _QUESTION_BYTES

    def add(self, meaning: Meaning, key: bytes) -> bool:
        """Takes in a question; True: it needs more room than before."""
        at = self._next
        self._next = (at + 1) % self._most
        grew = at >= len(self._vectors)
        if grew:
            room = min(self._most, max(2, 2 * at))
            # np.resize repeats what is there; the repetitions are written over before they are read.
            self._vectors = np.resize(self._vectors, (room, N_DIMENSIONS))
            self._exact = np.resize(self._exact, room)
        self._vectors[at], self._exact[at] = meaning.vector, meaning.exact
        self._orders[at : at + 1], self._keys[at : at + 1] = [meaning.order], [key]
        return grew

    def find(self, meaning: Meaning, threshold: float) -> list[tuple[bytes, float]]:
        """The keys of similar questions and how similar they are, the most similar first."""
        n = len(self._keys)
        near = self._vectors[:n] @ meaning.vector
        found = np.flatnonzero((near >= threshold - 1e-6) & (self._exact[:n] == meaning.exact))
        best = found[np.argsort(near[found])[::-1][:_MOST_LOOKED_AT]].tolist()
        scored = [(self._keys[at], similarity(float(near[at]), meaning.order, self._orders[at])) for at in best]
        return sorted((each for each in scored if each[1] >= threshold), key=lambda each: -each[1])


def _split(message: Any) -> tuple[str, Any]:
    """A user's text and the message without it; no text if it has none, or several."""
    if not isinstance(message, dict) or message.get("role") != "user":
        return "", message
    content = message.get("content")
    if isinstance(content, str):
        return content, {**message, "content": None}
    parts = [part for part in content or () if isinstance(part, dict)] if isinstance(content, list) else []
    texts = [part for part in parts if part.get("type") == "text" and isinstance(part.get("text"), str)]
    if len(texts) != 1:
        return "", message
    return texts[0]["text"], {**message, "content": [{**p, "text": None} if p is texts[0] else p for p in parts]}
