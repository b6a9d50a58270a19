"""Embedders: one contract for all, what each learns or asks, and what happens when it cannot."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from clustering.embedders import minilm, table, tfidf
from clustering.embedders.embedding import embed_facets, weighted
from clustering.embedders.endpoint import EndpointEmbedder
from clustering.embedders.minilm import MiniLM, check_weights
from clustering.embedders.protocol import (
    DimensionChanged,
    Embedder,
    EmbedderFailed,
    EmbedderMissing,
    Endpoint,
    Place,
)
from clustering.embedders.service_fits import forget_fits_of_few
from clustering.embedders.tfidf import TfidfSvd, fitted
from clustering.records import Cancelled, Weights
from core.errors import Corrupt, InvalidInput

TEXTS = [
    *(f"please refund my {thing}, it arrived broken" for thing in ("shoes", "tent", "lamp", "boots", "stove")),
    *(f"where is the parcel with my {thing}?" for thing in ("shoes", "tent", "lamp", "boots", "stove")),
    *(f"reset the password of my {thing} account" for thing in ("shop", "club", "mail", "old", "new")),
]


def quiet(stage: str, done: int, total: int) -> None:
    """Nobody looks."""


def cosines(embedder: Embedder, texts: Sequence[str]) -> Any:
    vectors = embedder.embed(texts, quiet)
    return vectors @ vectors.T


# -- the contract ------------------------------------------------------------------------------------------------------


class Door(BaseHTTPRequestHandler):
    """An OpenAI-compatible door whose vectors follow from the words of a text; `server.answers` come first."""

    def do_POST(self) -> None:
        """One request."""
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        server: Any = self.server
        server.seen.append((self.path, self.headers.get("authorization"), body))
        status, content = server.answers.pop(0) if server.answers else (200, self._embedded(body["input"]))
        self.send_response(status)
        self.end_headers()
        self.wfile.write(content if isinstance(content, bytes) else json.dumps(content).encode())

    def _embedded(self, texts: list[str]) -> dict[str, Any]:
        dims = self.server.dims  # type: ignore[attr-defined]
        items = [{"index": n, "embedding": self._vector(text, dims)} for n, text in enumerate(texts)]
        return {"data": items[::-1]}  # in no order

    def _vector(self, text: str, dims: int) -> list[float]:
        found = [1.0] * dims
        for word in text.lower().split():
            found[sum(word.encode()) % dims] += 5.0
        return found

    def log_message(self, *_: object) -> None:
        """Quiet."""


@contextmanager
def door(dims: int = 32) -> Iterator[Any]:
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), Door)
    server.seen, server.answers, server.dims = [], [], dims
    server.url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="module")
def every() -> Iterator[dict[str, Embedder]]:
    with door() as server:
        asked = EndpointEmbedder(Endpoint(url=server.url, model="words", key="k"))
        yield {"tfidf": TfidfSvd(fitted(TEXTS, quiet)), "endpoint": asked, "minilm": MiniLM()}
        asked.close()


@pytest.mark.parametrize("name", ["tfidf", "endpoint", "minilm"])
def test_an_embedder_keeps_its_contract(every: dict[str, Embedder], name: str) -> None:
    embedder = every[name]
    reported: list[tuple[int, int]] = []
    texts = [*TEXTS, "", " \n", TEXTS[0]]
    found = embedder.embed(texts, lambda stage, done, total: reported.append((done, total)))
    assert (embedder.name, found.shape, str(found.dtype)) == (name, (len(texts), embedder.dims), "float32")
    assert np.abs(np.linalg.norm(found[: len(TEXTS)], axis=1) - 1).max() < 1e-5
    assert not found[len(TEXTS) : len(TEXTS) + 2].any(), "an empty text is zeros"
    assert np.array_equal(found[0], found[-1])
    assert reported[-1] == (len(texts), len(texts))
    assert reported == sorted(reported)
    assert np.abs(embedder.embed(TEXTS[::-1], quiet)[::-1] - found[: len(TEXTS)]).max() < 1e-4, "whatever the order"
    alike = cosines(embedder, TEXTS)
    within = np.kron(np.eye(3), np.ones((5, 5))).astype(bool)
    assert alike[within].mean() > alike[~within].mean() + 0.1
    assert embedder.embed([], quiet).shape == (0, embedder.dims)


@pytest.mark.parametrize("name", ["tfidf", "endpoint", "minilm"])
def test_an_embedder_ends_when_it_is_told_to(every: dict[str, Embedder], name: str) -> None:
    def stop(stage: str, done: int, total: int) -> None:
        if done == total:
            raise Cancelled

    with pytest.raises(Cancelled):
        every[name].embed(TEXTS, stop)


# -- MiniLM ------------------------------------------------------------------------------------------------------------


def test_minilm_gives_the_published_models_vectors(every: dict[str, Embedder]) -> None:
    # The quickstart of sbert.net: these sentences, this model, these similarities.
    texts = ["The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium."]
    expected = [[1.0, 0.6660, 0.1046], [0.6660, 1.0, 0.1411], [0.1046, 0.1411, 1.0]]
    assert np.abs(cosines(every["minilm"], texts) - expected).max() < 2e-4
    assert every["minilm"].version == "all-MiniLM-L6-v2/1"


def test_weights_that_are_not_the_published_ones_are_not_loaded(tmp_path: Path) -> None:
    whole = minilm.weights_folder()
    for name in minilm.HASHES:
        (tmp_path / name).symlink_to(whole / name)
    check_weights(tmp_path)
    (tmp_path / "config.json").unlink()
    with pytest.raises(EmbedderMissing, match="cannot be read"):
        check_weights(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(EmbedderMissing, match="is not the published file"):
        check_weights(tmp_path)


# -- TF-IDF ------------------------------------------------------------------------------------------------------------


def test_tfidf_is_what_scikit_learns_weights_and_svd_say() -> None:
    from scipy.sparse import hstack
    from sklearn.feature_extraction.text import TfidfVectorizer

    fit = fitted(TEXTS, quiet)
    kinds = (("word", (1, 2), "words"), ("char_wb", (3, 5), "pieces"))
    parts = []
    for analyzer, ngrams, kind in kinds:
        own = TfidfVectorizer(analyzer=analyzer, ngram_range=ngrams, sublinear_tf=True, vocabulary=fit.terms[kind])
        parts.append(own.fit_transform(TEXTS))
        assert np.abs(own.idf_ - fit.idf[kind]).max() < 1e-6
    whole = hstack(parts).toarray()
    _, _, right = np.linalg.svd(whole, full_matrices=False)
    found = TfidfSvd(fit).embed(TEXTS, quiet)
    places = whole @ right[: found.shape[1]].T
    places /= np.linalg.norm(places, axis=1, keepdims=True)
    assert np.abs(found @ found.T - places @ places.T).max() < 0.01, "float16, and a randomised SVD"


def test_a_fit_is_the_same_again_and_after_it_was_written() -> None:
    fit = fitted(TEXTS, quiet)
    again = tfidf.read(tfidf.written(fit))
    assert TfidfSvd(fit).version == TfidfSvd(fitted(TEXTS, quiet)).version == TfidfSvd(again).version
    assert TfidfSvd(fit).version.startswith("tfidf-svd/")
    assert np.array_equal(TfidfSvd(again).embed(TEXTS, quiet), TfidfSvd(fit).embed(TEXTS, quiet))
    assert TfidfSvd(fitted(TEXTS[1:], quiet)).version != TfidfSvd(fit).version
    for damaged in (b"", b"PK\x03\x04nothing", tfidf.written(fit)[:-40]):
        with pytest.raises(Corrupt, match="the embedder tfidf"):
            tfidf.read(damaged)


def test_what_fewer_than_three_users_said_is_not_in_the_vocabulary() -> None:
    texts = [f"parcel {word}" for word in ("zebra", "zebra", "zebra", "llama", "llama", "llama", "otter")]
    of_three = fitted(texts, quiet, users=["a", "a", "b", "a", "b", "c", "c"])
    assert {"parcel", "llama"} <= set(of_three.terms["words"])
    assert not {"zebra", "otter", "parcel zebra"} & set(of_three.terms["words"])
    assert not {term for term in of_three.terms["pieces"] if "zeb" in term}
    assert not of_three.of_few
    of_two = fitted(texts, quiet, users=["a", "a", "b", "a", "b", "a", "b"])
    assert of_two.of_few
    assert "zebra" in of_two.terms["words"], "three texts said it"
    assert "otter" not in of_two.terms["words"]


@pytest.mark.parametrize("texts", [[], [""], ["one"], ["? !"] * 9, ["same words here"] * 1000, ["a" * 10**6] * 4])
def test_texts_of_which_nothing_can_be_learned_give_vectors_all_the_same(texts: list[str]) -> None:
    embedder = TfidfSvd(fitted(texts, quiet))
    found = embedder.embed([*texts, "something else"], quiet)
    assert found.shape == (len(texts) + 1, embedder.dims)
    assert np.isfinite(found).all()
    assert embedder.dims >= 1


def sessions(texts: Sequence[str], users: Sequence[str | None] | None = None) -> pl.DataFrame:
    ids = [f"s{n}" for n in range(len(texts))]
    told = {"intent": list(texts), "actions": ["turn 1: refund"] * len(texts), "outcome": ["Done."] * len(texts)}
    kinds = {"session_id": pl.String, "user_id": pl.String}
    return pl.DataFrame({"session_id": ids, "user_id": users or [None] * len(texts), **told}, schema_overrides=kinds)


def test_a_full_run_fits_tfidf_once_and_anew_when_the_app_has_changed(tmp_path: Path) -> None:
    place = Place(folder=tmp_path / "clustering" / "acme", app="shop/../1")
    assert table.current("tfidf", place) is None
    first = table.prepared("tfidf", place, sessions(TEXTS), quiet)
    assert [path.suffix for path in place.folder.iterdir()] == [".npz"]
    for same in (table.current("tfidf", place), table.prepared("tfidf", place, sessions(TEXTS), quiet)):
        assert same is not None
        assert same.version == first.version
    assert table.current("tfidf", Place(folder=place.folder, app="another")) is None
    other = [
        f"{verb} the invoice of {month}" for verb in ("send", "correct", "explain") for month in ("May", "June", "July")
    ]
    changed = table.prepared("tfidf", place, sessions(other), quiet)
    assert changed.version != first.version
    now = table.current("tfidf", place)
    assert now is not None
    assert now.version == changed.version


def test_a_damaged_fit_is_made_anew(tmp_path: Path) -> None:
    place = Place(folder=tmp_path, app="shop")
    first = table.prepared("tfidf", place, sessions(TEXTS), quiet)
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:100])
    assert table.current("tfidf", place) is None
    assert table.prepared("tfidf", place, sessions(TEXTS), quiet).version == first.version


def test_the_fit_of_few_users_goes_with_an_erasure_and_that_of_many_stays(tmp_path: Path) -> None:
    few, many = Place(folder=tmp_path, app="few"), Place(folder=tmp_path, app="many")
    table.prepared("tfidf", few, sessions(TEXTS, ["u1", "u2"] * 7 + ["u1"]), quiet)
    table.prepared("tfidf", many, sessions(TEXTS, ["u1", "u2", "u3"] * 5), quiet)
    assert forget_fits_of_few(tmp_path) == 1
    assert table.current("tfidf", few) is None
    assert table.current("tfidf", many) is not None
    assert forget_fits_of_few(tmp_path / "nothing") == 0


# -- an endpoint -------------------------------------------------------------------------------------------------------


def opened(server: Any, waits: list[float]) -> EndpointEmbedder:
    return EndpointEmbedder(Endpoint(url=server.url, model="words", key="secret-key"), sleep=waits.append)


def test_an_endpoint_is_asked_in_batches_with_its_key_and_each_text_once() -> None:
    with door() as server:
        embedder = opened(server, [])
        assert (embedder.version, embedder.dims) == ("endpoint/words/32", 32)
        embedder.embed([f"text {n}" for n in range(150)] * 2, quiet)
        (path, key, probe), *rest = server.seen
        assert (path, key, len(probe["input"])) == ("/v1/embeddings", "Bearer secret-key", 1)
        assert sorted(len(body["input"]) for _, _, body in rest) == [22, 64, 64]
        assert {body["model"] for _, _, body in rest} == {"words"}
        embedder.close()


def test_a_busy_endpoint_is_asked_again_and_one_that_refuses_is_not() -> None:
    waits: list[float] = []
    with door() as server:
        embedder = opened(server, waits)
        server.answers = [(429, {}), (503, b"busy")]
        assert embedder.embed(["a"], quiet).any()
        assert waits == [1.0, 4.0]
        server.answers = [(500, {})] * 4
        with pytest.raises(EmbedderFailed, match="HTTP 500"):
            embedder.embed(["b"], quiet)
        n = len(server.seen)
        server.answers = [(401, {"error": {"message": "no such key"}})]
        with pytest.raises(EmbedderFailed, match="no such key") as told:
            embedder.embed(["c"], quiet)
        assert len(server.seen) == n + 1
        assert "secret-key" not in str(told.value)
        embedder.close()
    with pytest.raises(EmbedderFailed, match="gives no embeddings"):
        opened(server, waits)


def test_an_endpoint_that_changes_dimension_is_an_error_and_nothing_is_mixed() -> None:
    with door(dims=32) as server:
        embedder = opened(server, [])
        server.dims = 48
        with pytest.raises(DimensionChanged, match="48 numbers for words, before it were 32"):
            embedder.embed(TEXTS, quiet)
        again = opened(server, [])
        assert again.version == "endpoint/words/48", "a new run takes it up under another version"
        embedder.close()
        again.close()


@pytest.mark.parametrize(
    "answer",
    [
        b"not json",
        {"data": []},
        {"data": [{"index": 1, "embedding": [1.0]}]},
        {"data": [{"index": 0, "embedding": ["x"]}]},
        {"data": [{"index": 0, "embedding": []}]},
        {"data": [{"index": 0, "embedding": [1.0, float("nan")]}]},
        {"data": [{"index": 0, "embedding": 1.0}]},
        [],
    ],
)
def test_an_answer_that_holds_no_embeddings_is_refused(answer: Any) -> None:
    with door() as server:
        server.answers = [(200, answer)]
        with pytest.raises(EmbedderFailed, match=r"does not answer with embeddings|no finite numbers"):
            opened(server, [])


# -- the table ---------------------------------------------------------------------------------------------------------


def test_auto_is_the_endpoint_where_one_is_set_else_minilm_where_it_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = Place(folder=tmp_path, app="shop")
    assert table.names() == ("auto", "minilm", "tfidf", "endpoint")
    assert table.resolved("auto", plain) == "minilm"
    asked = Place(folder=tmp_path, app="shop", endpoint=Endpoint(url="http://127.0.0.1:1/v1", model="m"))
    assert table.resolved("auto", asked) == "endpoint"
    with pytest.raises(EmbedderMissing, match="embeddings_url"):
        table.resolved("endpoint", plain)
    with pytest.raises(InvalidInput, match="there are auto, minilm, tfidf, endpoint"):
        table.resolved("word2vec", plain)
    monkeypatch.setattr(minilm, "PACKAGES", (*minilm.PACKAGES, "no_such_package_of_weights"))
    assert table.resolved("auto", plain) == "tfidf"
    with pytest.raises(EmbedderMissing, match="make full"):
        table.resolved("minilm", plain)
    with pytest.raises(EmbedderMissing, match="no_such_package_of_weights"):
        MiniLM()


# -- sessions ----------------------------------------------------------------------------------------------------------


def test_facets_lie_side_by_side_and_weigh_as_they_are_told_to() -> None:
    embedder = TfidfSvd(fitted(TEXTS, quiet))
    frame = sessions([TEXTS[0], TEXTS[6]]).with_columns(
        actions=pl.Series([TEXTS[1], None]), outcome=pl.Series([TEXTS[2], ""])
    )
    found = embed_facets(embedder, frame, quiet)
    d = embedder.dims
    assert found.shape == (2, 3 * d)
    single = embedder.embed([TEXTS[0], TEXTS[6], TEXTS[1], TEXTS[2]], quiet)
    assert np.allclose(found[0], np.concatenate([single[0], single[2], single[3]]), atol=1e-6)
    assert np.allclose(found[1], np.concatenate([single[1], np.zeros(2 * d)]), atol=1e-6)
    intents = weighted(found, Weights(intent=1.0, actions=0.0, outcome=0.0))
    assert float(intents[0] @ intents[1]) == pytest.approx(float(single[0] @ single[1]), abs=1e-5)


@given(arrays(np.float32, (2, 6), elements=st.floats(-1, 1, width=32)), st.tuples(*[st.floats(0, 5)] * 3))
def test_the_cosine_of_weighted_sessions_is_the_weighted_mean_of_their_facets(
    given_vectors: Any, shares: tuple[float, float, float]
) -> None:
    blocks = given_vectors.reshape(2, 3, 2)
    lengths = np.linalg.norm(blocks, axis=2, keepdims=True)
    if lengths.min() < 1e-3 or sum(shares) < 1e-3:
        return
    blocks = blocks / lengths
    found = weighted(
        blocks.reshape(2, 6).astype(np.float32), Weights(intent=shares[0], actions=shares[1], outcome=shares[2])
    )
    expected = sum(w * float(a @ b) for w, a, b in zip(shares, blocks[0], blocks[1], strict=True)) / sum(shares)
    assert float(found[0] @ found[1]) == pytest.approx(expected, abs=1e-4)
