"""The embedders by name, and which one `auto` is. Another one is a file, and a line here.

Nothing heavy is imported before an embedder is made: the name alone is resolved in any process.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import polars as pl

from clustering.embedders import endpoint, minilm, tfidf
from clustering.embedders.protocol import Embedder, EmbedderMissing, Place
from clustering.embedders.service_fits import keep_fit, kept_fit
from clustering.facets import FACETS
from clustering.records import Progress
from clustering.retelling import Retold
from core.errors import Corrupt, InvalidInput

AUTO: Final = "auto"


def names() -> tuple[str, ...]:
    """What can be asked for."""
    return (AUTO, *_CURRENT)


def resolved(name: str, place: Place) -> str:
    """What `name` stands for here: `auto` is the endpoint where one is set, else MiniLM where its packages are
    installed, else tfidf. Raises InvalidInput for a name that is not in the table, EmbedderMissing for one that cannot
    be had here."""
    if name == AUTO:
        if place.endpoint is not None:
            return endpoint.NAME
        return minilm.NAME if minilm.is_installed() else tfidf.NAME
    if name not in _CURRENT:
        raise InvalidInput(f"there is no embedder {name[:80]!r}; there are {', '.join(names())}", field="embedder")
    if name == endpoint.NAME and place.endpoint is None:
        raise EmbedderMissing("the embedder endpoint needs embeddings_url and embeddings_model", field="embedder")
    if name == minilm.NAME and not minilm.is_installed():
        raise EmbedderMissing(
            "the embedder minilm is not installed: run `make full`, or take tfidf or endpoint", field="embedder"
        )
    return name


def current(name: str, place: Place) -> Embedder | None:
    """The embedder as it stands, for new sessions; None for tfidf that no full run fitted yet, or whose fit is damaged.

    Raises InvalidInput, EmbedderMissing, EmbedderFailed, StorageFailed.
    """
    found = _CURRENT[resolved(name, place)](place)
    return None if found is None else _in_words(found, place)


def prepared(name: str, place: Place, frame: pl.DataFrame, progress: Progress) -> Embedder:
    """The embedder for a full run over the sessions of `frame` (clustering.facets): tfidf is fitted to them, and kept,
    when it never was or they have changed much since. Raises as `current`, and Cancelled."""
    chosen = resolved(name, place)
    found = _CURRENT[chosen](place)
    if chosen != tfidf.NAME:
        assert found is not None  # only a fit may be missing
        return _in_words(found, place)
    return _in_words(_fitted(found, place, frame, progress), place)


def _in_words(embedder: Embedder, place: Place) -> Embedder:
    """The embedder, of sessions in a model's words where that is wished."""
    return embedder if place.retelling is None else Retold(inner=embedder, access=place.retelling)


def _fitted(found: Embedder | None, place: Place, frame: pl.DataFrame, progress: Progress) -> Embedder:
    texts = [text or "" for facet in FACETS for text in frame[facet].to_list()]
    if isinstance(found, tfidf.TfidfSvd) and not tfidf.is_outgrown(found.fit, texts):
        return found
    said_by = frame.select(pl.coalesce(pl.format("user {}", "user_id"), pl.format("session {}", "session_id")))
    fit = tfidf.fitted(texts, progress, users=said_by.to_series().to_list() * len(FACETS))
    keep_fit(place, fit)
    return tfidf.TfidfSvd(fit)


def _minilm(place: Place) -> Embedder:
    return minilm.MiniLM()


def _endpoint(place: Place) -> Embedder:
    assert place.endpoint is not None  # resolved
    return endpoint.EndpointEmbedder(place.endpoint)


def _tfidf(place: Place) -> Embedder | None:
    try:
        fit = kept_fit(place)
    except Corrupt:  # it is made anew by the next full run
        return None
    return None if fit is None else tfidf.TfidfSvd(fit)


_CURRENT: Final[Mapping[str, Callable[[Place], Embedder | None]]] = {
    minilm.NAME: _minilm,
    tfidf.NAME: _tfidf,
    endpoint.NAME: _endpoint,
}
