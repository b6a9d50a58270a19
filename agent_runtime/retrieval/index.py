"""One index, built once and never changed: per tenant the valid documents, BM25 candidates, reranked.

The tenant is chosen before anything else is looked at: every tenant has word statistics of its own, so neither a
document nor a score tells of another's. Candidates come from BM25 (Robertson and Zaragoza 2009, eq. 3.15; k1 = 1.2,
b = 0.75, idf = ln(1 + (N - df + 0.5) / (df + 0.5))). The reranker is a fixed weighting of three signals, each 0..1:
half the share of the query's words that the document has, by idf; three tenths the cosine of hashed TF-IDF
(similarity.py); two tenths the share of the query's words that its title has. No learned weights.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from agent_runtime.errors import InvalidInput
from agent_runtime.records import Document
from agent_runtime.retrieval.similarity import Similarity
from agent_runtime.retrieval.words import terms

_K1: Final = 1.2
_B: Final = 0.75
_CANDIDATES: Final = 20
_COVERED, _ALIKE, _TITLED = 0.5, 0.3, 0.2


@dataclass(frozen=True, kw_only=True)
class Edition:
    """A version of a document and when it holds: from `valid_from` (None: always) until before `valid_until`, UTC."""

    document: Document
    valid_from: datetime | None = None
    valid_until: datetime | None = None

    def holds(self, now: datetime) -> bool:
        """Whether it is valid at `now`."""
        return (self.valid_from is None or self.valid_from <= now) and (
            self.valid_until is None or now < self.valid_until
        )


def newest_valid(editions: Iterable[Edition], now: datetime) -> list[Document]:
    """The newest version of each document that holds at `now`; one without such a version is left away."""
    best: dict[tuple[str, str], Document] = {}
    for document in (edition.document for edition in editions if edition.holds(now)):
        key = (document.tenant, document.doc_id)
        if key not in best or document.version > best[key].version:
            best[key] = document
    return [best[key] for key in sorted(best)]


def next_change(editions: Iterable[Edition], now: datetime) -> datetime | None:
    """When validity changes next after `now`, None when it never does."""
    moments = (moment for edition in editions for moment in (edition.valid_from, edition.valid_until))
    return min((moment for moment in moments if moment is not None and moment > now), default=None)


def checked(editions: Iterable[Edition]) -> tuple[Edition, ...]:
    """The editions, usable. Raises InvalidInput: none, an empty document or id, the same version twice, a bad time."""
    kept = tuple(editions)
    seen: set[tuple[str, str, int]] = set()
    if not kept:
        raise InvalidInput("an index needs at least one document")
    for edition in kept:
        document = edition.document
        key = (document.tenant, document.doc_id, document.version)
        if not (document.tenant and document.doc_id and terms(f"{document.title} {document.text}")):
            raise InvalidInput(f"document {document.doc_id!r} has no tenant, no id or no words")
        if key in seen:
            raise InvalidInput(f"document {document.doc_id!r} has version {document.version} twice")
        if any(moment and moment.tzinfo is None for moment in (edition.valid_from, edition.valid_until)):
            raise InvalidInput(f"document {document.doc_id!r} has a time without its zone")
        seen.add(key)
    return kept


class TenantIndex:
    """The documents of one tenant."""

    def __init__(self, documents: Sequence[Document]) -> None:
        self.documents = tuple(documents)
        bags = [Counter(terms(f"{d.title} {d.text} {d.doc_id.replace('-', ' ')}")) for d in documents]
        self._titles = [frozenset(terms(d.title)) for d in documents]
        self._lengths = [bag.total() for bag in bags]
        self._mean = sum(self._lengths) / max(1, len(bags)) or 1.0
        self._found: dict[str, list[tuple[int, int]]] = defaultdict(list)
        for position, bag in enumerate(bags):
            for term, n in bag.items():
                self._found[term].append((position, n))
        self._alike = Similarity([f"{d.title} {d.text}" for d in documents])

    def search(self, query: str, k: int) -> list[Document]:
        """Up to `k` documents that share a word with the query, best first; equal ones by id."""
        asked = list(dict.fromkeys(terms(query)))
        candidates = self._candidates(asked)
        scores = self._reranked(query, asked, candidates)
        ranked = sorted(zip(scores, candidates, strict=True), key=lambda each: (-each[0], each[1]))
        return [replace(self.documents[position], score=round(score, 6)) for score, position in ranked[:k]]

    def _idf(self, term: str) -> float:
        n = len(self._found.get(term, ()))
        return math.log(1 + (len(self.documents) - n + 0.5) / (n + 0.5))

    def _candidates(self, asked: Sequence[str]) -> list[int]:
        scores: dict[int, float] = defaultdict(float)
        for term in asked:
            idf = self._idf(term)
            for position, n in self._found.get(term, ()):
                norm = _K1 * (1 - _B + _B * self._lengths[position] / self._mean)
                scores[position] += idf * n * (_K1 + 1) / (n + norm)
        return sorted(scores, key=lambda position: (-scores[position], position))[:_CANDIDATES]

    def _reranked(self, query: str, asked: Sequence[str], candidates: Sequence[int]) -> list[float]:
        total = sum(map(self._idf, asked)) or 1.0
        covered: dict[int, float] = dict.fromkeys(candidates, 0.0)
        titled: dict[int, float] = dict.fromkeys(candidates, 0.0)
        for term in asked:
            share = self._idf(term) / total
            for position, _ in self._found.get(term, ()):
                if position in covered:
                    covered[position] += share
                    titled[position] += share if term in self._titles[position] else 0.0
        alike = self._alike.some(query, candidates)
        return [
            min(1.0, _COVERED * covered[position] + _ALIKE * near + _TITLED * titled[position])
            for position, near in zip(candidates, alike, strict=True)
        ]


class Index:
    """The documents of all tenants as they are valid between `built_at` and `changes_at` (None: for good)."""

    def __init__(self, editions: Sequence[Edition], now: datetime) -> None:
        """Raises InvalidInput; see `checked`."""
        self.editions = checked(editions)
        self.built_at = now
        self.changes_at = next_change(self.editions, now)
        by_tenant: dict[str, list[Document]] = defaultdict(list)
        for document in newest_valid(self.editions, now):
            by_tenant[document.tenant].append(document)
        self._tenants = {tenant: TenantIndex(documents) for tenant, documents in by_tenant.items()}

    def search(self, query: str, tenant: str, k: int) -> list[Document]:
        """Documents of `tenant`, best first; none for a tenant that has none."""
        own = self._tenants.get(tenant)
        return [] if own is None else own.search(query, k)

    def documents(self, tenant: str) -> tuple[Document, ...]:
        """The valid documents of a tenant, by id."""
        own = self._tenants.get(tenant)
        return () if own is None else own.documents
