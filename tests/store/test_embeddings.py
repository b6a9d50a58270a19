"""Embeddings in the lake: what was written comes back, the newest of each, of one embedder and one tenant."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from core.clock import NS_PER_S
from core.errors import Corrupt, InvalidInput
from core.windows import Window
from store.compaction import pack, plan
from store.embeddings import known_embeddings, matrix, packed, write_embeddings
from store.tenant import TenantStore
from tests.store.build import T0
from tests.store.places import WINDOW, store_at

DIMS = 4
MINILM = "all-MiniLM-L6-v2/1"


def rows(
    *sessions: tuple[str, int, list[float]], embedder: str = MINILM, app: str = "shop", at_s: int = 0
) -> pl.DataFrame:
    """Session, text hash, and what every number of the vector is."""
    vectors = np.array([[*numbers] * (3 * DIMS // len(numbers)) for _, _, numbers in sessions], dtype=np.float32)
    return pl.DataFrame(
        {
            "session_id": [name for name, _, _ in sessions],
            "at_ns": [T0 + (at_s + n) * NS_PER_S for n in range(len(sessions))],
            "app": app,
            "embedder": embedder,
            "text_hash": [text for _, text, _ in sessions],
        }
    ).with_columns(packed(vectors))


def known(store: TenantStore, embedder: str = MINILM, window: Window = WINDOW) -> dict[str, tuple[int, float]]:
    """Text hash and first number by session."""
    found = known_embeddings(store, "shop", embedder, window)
    first = matrix(found, DIMS)[:, 0].tolist()
    return dict(zip(found["session_id"], zip(found["text_hash"], first, strict=True), strict=True))


@pytest.mark.usefixtures("each_engine")
def test_of_each_session_the_newest_embedding_of_one_version_and_tenant_is_known(tmp_path: Path) -> None:
    _, whole = store_at(tmp_path)
    store, other = whole.tenant("acme"), whole.tenant("globex")
    assert write_embeddings(store, rows(("a", 1, [0.5]), ("b", 2, [0.25])), now_ns=T0 + 1) == 2
    write_embeddings(store, rows(("a", 9, [-1.0])), now_ns=T0 + 2)
    write_embeddings(store, rows(("a", 1, [1.0]), embedder="tfidf-svd/0"), now_ns=T0 + 3)
    write_embeddings(store, rows(("c", 1, [1.0]), app="bank"), now_ns=T0 + 4)
    write_embeddings(store, rows(("d", 1, [1.0]), at_s=-7 * 86_400), now_ns=T0 + 5)
    write_embeddings(other, rows(("a", 7, [0.125])), now_ns=T0 + 6)
    assert known(store) == {"a": (9, -1.0), "b": (2, 0.25)}
    assert known(store, "tfidf-svd/0") == {"a": (1, 1.0)}
    assert known(other) == {"a": (7, 0.125)}
    chosen = known_embeddings(store, "shop", MINILM, WINDOW, session_ids=["b", "nobody"])
    assert chosen["session_id"].to_list() == ["b"]
    assert known(store, "endpoint/nothing/4") == {}


def test_packing_keeps_every_vector(tmp_path: Path) -> None:
    lake, whole = store_at(tmp_path)
    store = whole.tenant("acme")
    for n in range(10):
        write_embeddings(store, rows((f"s{n}", n, [n / 16])), now_ns=T0 + n)
    before = known(store)
    (group,) = plan(lake, "embeddings")
    assert len(pack(lake, "embeddings", group)) == 1
    assert known(store) == before == {f"s{n}": (n, n / 16) for n in range(10)}


def test_a_session_with_a_broken_clock_is_kept_too(tmp_path: Path) -> None:
    _, whole = store_at(tmp_path)
    store = whole.tenant("acme")
    write_embeddings(store, rows(("a", 1, [1.0])).with_columns(at_ns=pl.lit(5)), now_ns=T0)
    assert known(store, window=Window(start_ns=0, end_ns=10)) == {"a": (1, 1.0)}
    assert [file.date for file in store.files("embeddings")] == ["1970-01-01"]


@given(arrays(np.float32, (5, 3 * DIMS), elements=st.floats(-1, 1, width=32)))
def test_packing_a_vector_moves_no_number_by_more_than_float16_does(
    vectors: np.ndarray[tuple[int, int], np.dtype[np.float32]],
) -> None:
    found = matrix(pl.DataFrame({"vector": packed(vectors)}), DIMS)
    assert np.abs(found - vectors).max() <= 2**-12  # half a step of 11 bits below 1


def test_a_vector_of_another_length_is_never_compared() -> None:
    frame = rows(("a", 1, [1.0]))
    assert matrix(frame, DIMS).shape == (1, 3 * DIMS)
    assert matrix(frame.clear(), DIMS).shape == (0, 3 * DIMS)
    with pytest.raises(Corrupt, match="not 3 times 5 numbers"):
        matrix(frame, 5)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e6])
def test_numbers_that_are_none_are_refused(bad: float) -> None:
    with pytest.raises(InvalidInput, match="not finite"), np.errstate(over="ignore"):
        packed(np.full((1, 3), bad, np.float32))
