"""The least that a runtime needs where it is given no memory and no retriever: it forgets, and searches by words."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime

from agent_runtime.errors import InvalidInput
from agent_runtime.records import Document, Parameters, TurnInput
from agent_runtime.seams import Fitted, Grounding, MessageText, Recalled, TurnRecord

_WORD = re.compile(r"[a-z0-9]{3,}")


class NoMemory:
    """Keeps nothing beyond the session's own messages."""

    async def recall(self, given: TurnInput, parameters: Parameters, now: datetime) -> Recalled:
        """Nothing."""
        return Recalled()

    async def fit(self, messages: Sequence[MessageText], given: TurnInput, parameters: Parameters) -> Fitted:
        """Leaves the oldest away without a summary; four characters count as a token."""
        budget = parameters.context_tokens * 4
        for position in range(len(messages) - 1, -1, -1):
            budget -= len(messages[position].text)
            if budget < 0:
                return Fitted(n_left_away=position + 1)
        return Fitted()

    async def remember(self, turn: TurnRecord, parameters: Parameters) -> int:
        """Nothing."""
        return 0

    async def forget(self, tenant: str, user_id: str) -> Mapping[str, int]:
        """Nothing is there."""
        return {}


class WordSearch:
    """Documents by shared words; `indexes` maps an index to its documents."""

    def __init__(self, indexes: Mapping[str, Sequence[Document]]) -> None:
        self._indexes = indexes

    async def search(self, index: str, query: str, tenant: str, k: int = 4) -> Sequence[Document]:
        """Scores by the share of the query's words that a document has. Raises InvalidInput: no such index."""
        if index not in self._indexes:
            raise InvalidInput(f"no index {index!r}")
        asked = _words(query)
        found = [(len(asked & _words(d.title + " " + d.text)) / max(1, len(asked)), d) for d in self._indexes[index]]
        best = sorted((pair for pair in found if pair[0] > 0), key=lambda pair: (-pair[0], pair[1].doc_id))[:k]
        return [
            Document(doc_id=d.doc_id, title=d.title, text=d.text, version=d.version, tenant=d.tenant, score=score)
            for score, d in best
        ]

    def ground(self, answer: str, documents: Sequence[Document], threshold: float) -> Grounding:
        """The share of the answer's words that the documents have."""
        said, known = _words(answer), set[str]().union(*(_words(d.text) | _words(d.doc_id) for d in documents))
        score = len(said & known) / max(1, len(said))
        return Grounding(score=score, grounded=score >= threshold)


def _words(text: str) -> set[str]:
    return set(_WORD.findall(text.lower()))
