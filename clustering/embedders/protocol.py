"""What an embedder is, what it needs to know, and how it fails."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from clustering.model import ModelAccess
from clustering.records import Progress, Vectors
from core.errors import Conflict, InvalidInput, StorageFailed


class EmbedderMissing(InvalidInput):
    """The embedder's packages or settings are not there; the message says which, and what to do."""

    code = "embedder_missing"


class EmbedderFailed(StorageFailed):
    """An endpoint did not answer, or not with embeddings, in spite of repetition."""

    code = "embedder_failed"


class DimensionChanged(Conflict):
    """An embedder answered vectors of another length than its version says. Nothing of that answer is kept."""

    code = "dimension_changed"


class Embedder(Protocol):
    """Texts to vectors. The same text gives the same vector under one `version`."""

    @property
    def name(self) -> str:
        """Its name in the table."""
        ...

    @property
    def version(self) -> str:
        """Names the model with all that decides its vectors. Vectors of two versions are never compared."""
        ...

    @property
    def dims(self) -> int:
        """Numbers of a vector."""
        ...

    def embed(self, texts: Sequence[str], progress: Progress) -> Vectors:
        """(n, dims), a row of length 1 per text; zeros for an empty one and for one of which nothing is known. A text
        that occurs again is embedded once. `progress` gets ("embed", done, total) and may end it. Raises
        EmbedderFailed, DimensionChanged, Cancelled."""
        ...


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """An OpenAI-compatible door for embeddings: `url` ends before `/embeddings` (https://HOST/v1)."""

    url: str
    model: str
    key: str | None = field(default=None, repr=False)


@dataclass(frozen=True, kw_only=True)
class Place:
    """Whose embedder it is, and where it finds what it keeps: `folder` is the tenant's (data/clustering/TENANT).
    `retelling` is the model in whose words sessions are embedded, where that is wished."""

    folder: Path
    app: str
    endpoint: Endpoint | None = None
    retelling: ModelAccess | None = None
