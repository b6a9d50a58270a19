"""The embedders by name, and which one `auto` is."""

from __future__ import annotations

import polars as pl

from clustering.embedders.protocol import Embedder, Place
from clustering.records import Progress

AUTO = "auto"


def names() -> tuple[str, ...]:
    """What can be asked for: auto, minilm, tfidf, endpoint."""
    ...


def resolved(name: str, place: Place) -> str:
    """What `name` stands for here: `auto` is the endpoint where one is set, else MiniLM where its packages are
    installed, else tfidf. Imports nothing heavy. Raises InvalidInput for a name that is not in the table,
    EmbedderMissing."""
    ...


def current(name: str, place: Place) -> Embedder | None:
    """The embedder as it stands, for new sessions; None for tfidf that no full run fitted yet. Raises InvalidInput,
    EmbedderMissing, EmbedderFailed."""
    ...


def prepared(name: str, place: Place, frame: pl.DataFrame, progress: Progress) -> Embedder:
    """The embedder for a full run over the sessions of `frame` (clustering.facets): tfidf is fitted to them, when it
    never was or they have changed much since. Raises as `current`."""
    ...
