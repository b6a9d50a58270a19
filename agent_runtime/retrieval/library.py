"""The retriever that turns use: named indexes that are rebuilt beside the running one and swapped whole.

A search takes the index that is there when it begins and keeps it to its end, so readers never wait and never see
half of a rebuild; the old index is freed with its last reader. A build that fails leaves the old one in place.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from agent_runtime.errors import InvalidInput
from agent_runtime.records import Document
from agent_runtime.retrieval.grounding import ground
from agent_runtime.retrieval.index import Edition, Index
from agent_runtime.seams import Grounding
from agent_runtime.telemetry import Telemetry

LIVE: Final = "live"
_MOST_QUERY: Final = 2_000  # characters
_MOST_K: Final = 20


def _now() -> datetime:
    return datetime.now(UTC)


class Library:
    """Implements `Retriever`. One per process; `rebuild` fills it.

    `slot` says at each search which set of indexes is read, "live" unless a release is pinned to another (the world
    pins one to outdated documents). A slot that has no index of a name falls back to the live one.
    """

    def __init__(
        self, telemetry: Telemetry, now: Callable[[], datetime] = _now, slot: Callable[[], str] = lambda: LIVE
    ) -> None:
        self._telemetry = telemetry
        self._now = now
        self._slot = slot
        self._indexes: dict[tuple[str, str], Index] = {}
        self._locks: dict[tuple[str, str], asyncio.Lock] = defaultdict(asyncio.Lock)

    def fill(self, name: str, editions: Iterable[Edition], slot: str = LIVE) -> None:
        """Builds an index in the calling thread and puts it in place: for a start. Raises InvalidInput."""
        self._indexes[slot, name] = Index(tuple(editions), self._now())

    async def rebuild(self, name: str, editions: Iterable[Edition], slot: str = LIVE) -> int:
        """Builds beside the index in use, then swaps; gives how many versions it holds.

        Rebuilds of one index follow each other in the order they were asked for. Raises InvalidInput, and then the
        old index stays.
        """
        kept = tuple(editions)
        async with self._locks[slot, name]:
            with self._telemetry.span(f"rebuild {name}", {"assay.index.slot": slot, "assay.index.n": len(kept)}):
                built = await asyncio.to_thread(Index, kept, self._now())
            self._indexes[slot, name] = built
        return len(built.editions)

    def index(self, name: str) -> Index:
        """The index that a search of now reads. Raises InvalidInput: no such index."""
        slot, now = self._slot(), self._now()
        key = (slot, name) if (slot, name) in self._indexes else (LIVE, name)
        found = self._indexes.get(key)
        if found is None:
            known = sorted({each for _, each in self._indexes})
            raise InvalidInput(f"there is no index {name!r}; there are {', '.join(known) or 'none'}")
        if found.changes_at is not None and now >= found.changes_at:  # a version began or ended: the same documents
            found = self._indexes[key] = Index(found.editions, now)
        return found

    async def search(self, index: str, query: str, tenant: str, k: int = 4) -> Sequence[Document]:
        """Up to `k` (at most 20) valid documents of this tenant that share a word with `query`, best first.

        Scores are 0..1. Raises InvalidInput: no such index.
        """
        attributes = {
            "gen_ai.operation.name": "retrieval",
            "openinference.span.kind": "RETRIEVER",
            "assay.span.kind": "RETRIEVER",
            "gen_ai.data_source.id": index,
            "gen_ai.retrieval.query.text": query,
            "input.value": query,
        }
        with self._telemetry.span(f"retrieve {index}", attributes) as span:
            found = self.index(index).search(query[:_MOST_QUERY], tenant, max(0, min(k, _MOST_K)))
            span.set_attributes(_described(found))
        return found

    def ground(self, answer: str, documents: Sequence[Document], threshold: float) -> Grounding:
        """How well an answer stands on documents; see `grounding.ground`."""
        return ground(answer, documents, threshold)


def _described(found: Sequence[Document]) -> dict[str, Any]:
    said: dict[str, Any] = {"assay.retrieval.n": len(found)}
    for position, document in enumerate(found):
        prefix = f"retrieval.documents.{position}.document."
        said[f"{prefix}id"] = document.doc_id
        said[f"{prefix}score"] = document.score
        said[f"{prefix}content"] = document.text
        said[f"{prefix}metadata"] = f'{{"version": {document.version}}}'
    return said
