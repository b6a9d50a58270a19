"""Words and characters by TF-IDF, then SVD: an embedder that needs no weights and is fitted to the texts of its app.

Words and pairs of words beside pieces of 3 to 5 characters within words, each with sublinear term frequency and
smoothed inverse document frequency (Salton and Buckley 1988, in scikit-learn's form), rows of length 1, then a
truncated SVD (Deerwester et al. 1990; Halko et al. 2011). Measured in docs/clusters-method.md.

A term stands in the vocabulary only when three users said it (three texts where there are fewer users): what one person
alone said is not kept. A fit of fewer than three users is marked, and goes when one of them is erased.
"""

from __future__ import annotations

import io
import json
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from zipfile import BadZipFile

import numpy as np
import xxhash
from numpy.typing import NDArray

from clustering.embedders.unique import embed_unique, normalised
from clustering.records import Progress, Vectors
from core.errors import Corrupt

NAME: Final = "tfidf"
DIMS: Final = 256
FEWEST_USERS: Final = 3
MOST_TEXTS: Final = 20_000  # that a fit looks at, spread evenly over those there are
MOST_CHARS: Final = 1_000  # of a text
MOST_TERMS: Final = {"words": 20_000, "pieces": 30_000}
LOST: Final = 0.1  # share of words that a fit may know less of than of its own texts before it is made anew
_AT_ONCE: Final = 1_000
_WORD: Final = re.compile(r"(?u)\b\w\w+\b")
_KINDS: Final[dict[str, dict[str, Any]]] = {
    "words": {"analyzer": "word", "ngram_range": (1, 2)},
    "pieces": {"analyzer": "char_wb", "ngram_range": (3, 5)},
}


@dataclass(frozen=True, kw_only=True)
class Fit:
    """What was learned. `terms` and `idf` by kind, `components` (d, all terms) as float16, `known` the share of the
    words of its own texts that it knows, `n_texts` different ones, `n_users`."""

    terms: dict[str, tuple[str, ...]]
    idf: dict[str, NDArray[np.float32]]
    components: NDArray[np.float16]
    known: float
    n_texts: int
    n_users: int

    @property
    def digest(self) -> str:
        """XXH3 over all that decides its vectors."""
        found = xxhash.xxh3_64()
        for kind in sorted(self.terms):
            found.update(json.dumps(self.terms[kind], ensure_ascii=False).encode("utf-8", "surrogatepass"))
            found.update(np.ascontiguousarray(self.idf[kind], dtype="<f4").tobytes())
        found.update(np.ascontiguousarray(self.components, dtype="<f2").tobytes())
        return found.hexdigest()

    @property
    def of_few(self) -> bool:
        """Whether it may keep what one person alone said."""
        return self.n_users < FEWEST_USERS


class TfidfSvd:
    """The embedder of one fit."""

    name = NAME

    def __init__(self, fit: Fit) -> None:
        self.fit = fit
        self.version = f"tfidf-svd/{fit.digest}"
        self.dims = max(1, int(fit.components.shape[0]))
        self._weighers: list[Any] | None = None
        self._components: NDArray[np.float32] | None = None

    def embed(self, texts: Sequence[str], progress: Progress) -> Vectors:
        """See Embedder."""
        return embed_unique(texts, self.dims, self._embed, progress, at_once=_AT_ONCE)

    def _embed(self, texts: list[str]) -> Vectors:
        if not self.fit.components.size:
            return np.zeros((len(texts), self.dims), np.float32)
        from scipy.sparse import hstack

        if self._weighers is None or self._components is None:
            self._weighers = [_weigher(kind, self.fit.terms[kind], self.fit.idf[kind]) for kind in _KINDS]
            self._components = self.fit.components.astype(np.float32)
        weights = hstack([each.transform([_read(text) for text in texts]) for each in self._weighers], format="csr")
        return normalised(np.asarray(weights @ self._components.T, dtype=np.float32))


def fitted(texts: Sequence[str], progress: Progress, *, users: Sequence[str] | None = None, seed: int = 0) -> Fit:
    """The fit to these texts; `users` says who said each (None: each by another). Equal texts in equal order give an
    equal fit on one machine. `progress` gets ("fit", step, steps) and may end it."""
    kept = [row for row, text in enumerate(texts) if text.strip()]
    kept = [kept[int(at)] for at in np.linspace(0, len(kept) - 1, min(len(kept), MOST_TEXTS)).round()] if kept else []
    chosen = [_read(texts[row]) for row in kept]
    said_by = np.unique([users[row] if users is not None else str(row) for row in kept], return_inverse=True)[1]
    n_users = int(said_by.max(initial=-1)) + 1
    n_steps = len(_KINDS) + 2
    terms: dict[str, tuple[str, ...]] = {}
    counted = []
    for number, kind in enumerate(_KINDS):
        progress("fit", number, n_steps)
        names, counts = _counted(kind, chosen, said_by, n_users)
        terms[kind] = names
        counted.append(counts)
    progress("fit", len(_KINDS), n_steps)
    idf = {kind: _idf(counts, len(chosen)) for kind, counts in zip(_KINDS, counted, strict=True)}
    components = _components([_weighed(c, idf[kind]) for kind, c in zip(_KINDS, counted, strict=True)], seed)
    progress("fit", n_steps, n_steps)
    return Fit(
        terms=terms,
        idf=idf,
        components=components,
        known=known_share(frozenset(terms["words"]), chosen),
        n_texts=len(set(texts)),
        n_users=n_users,
    )


def is_outgrown(fit: Fit, texts: Sequence[str]) -> bool:
    """Whether the texts of an app have changed so much that its embedder is fitted anew: it knows LOST less of their
    words, or there are twice as many different ones as a fit of few had seen."""
    n_texts = len({text for text in texts if text.strip()})
    if fit.n_texts < MOST_TEXTS // 2 and n_texts >= 2 * fit.n_texts:
        return True
    looked_at = [_read(text) for text in texts[:: max(1, len(texts) // 2_000)]]
    return known_share(frozenset(fit.terms["words"]), looked_at) < fit.known - LOST


def known_share(words: frozenset[str], texts: Sequence[str]) -> float:
    """The share of the words of some texts that is among `words`; 1 where they have none."""
    n = n_known = 0
    for text in texts:
        found = _WORD.findall(text)
        n += len(found)
        n_known += sum(word in words for word in found)
    return n_known / n if n else 1.0


def written(fit: Fit) -> bytes:
    """The fit as a file (NumPy's .npz, plain arrays only)."""
    sink = io.BytesIO()
    said = {"terms": fit.terms, "known": fit.known, "n_texts": fit.n_texts, "n_users": fit.n_users}
    text = np.frombuffer(json.dumps(said, ensure_ascii=False).encode("utf-8", "surrogatepass"), np.uint8)
    idf: dict[str, Any] = {f"idf_{kind}": values for kind, values in fit.idf.items()}
    np.savez_compressed(sink, said=text, components=fit.components, **idf)
    return sink.getvalue()


def read(content: bytes) -> Fit:
    """The fit of a file. Raises Corrupt for anything else."""
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            said = json.loads(arrays["said"].tobytes().decode("utf-8", "surrogatepass"))
            idf = {kind: arrays[f"idf_{kind}"] for kind in _KINDS}
            components = arrays["components"]
        terms = {kind: tuple(str(term) for term in said["terms"][kind]) for kind in _KINDS}
        fit = Fit(
            terms=terms,
            idf=idf,
            components=components,
            known=float(said["known"]),
            n_texts=int(said["n_texts"]),
            n_users=int(said["n_users"]),
        )
    except (ValueError, KeyError, TypeError, OSError, EOFError, BadZipFile, zlib.error) as error:
        raise Corrupt(f"the fit of the embedder tfidf cannot be read: {error!r}") from error
    if components.ndim != 2 or components.shape[1] != sum(map(len, terms.values())):
        raise Corrupt("the fit of the embedder tfidf does not hold together")
    return fit


def _read(text: str) -> str:
    return text[:MOST_CHARS].lower()


def _counted(kind: str, texts: list[str], said_by: NDArray[np.intp], n_users: int) -> tuple[tuple[str, ...], Any]:
    """The terms that FEWEST_USERS said, and how often each text says them (n, terms)."""
    from scipy.sparse import csr_matrix
    from sklearn.feature_extraction.text import CountVectorizer

    counter = CountVectorizer(**_KINDS[kind], lowercase=False, dtype=np.float32)
    try:
        counts = counter.fit_transform(texts)
    except ValueError:  # no text has a term
        return (), csr_matrix(np.zeros((len(texts), 0), np.float32))
    who, n_groups = (np.arange(len(texts)), len(texts)) if n_users < FEWEST_USERS else (said_by, n_users)
    of_users = csr_matrix((np.ones(len(texts), np.float32), (who, np.arange(len(texts)))), shape=(n_groups, len(texts)))
    n_said = (of_users @ counts).getnnz(axis=0)
    names = counter.get_feature_names_out()
    chosen = np.flatnonzero(n_said >= FEWEST_USERS)
    chosen = chosen[np.argsort(-n_said[chosen], kind="stable")[: MOST_TERMS[kind]]]
    chosen.sort()
    return tuple(str(name) for name in names[chosen]), counts[:, chosen].tocsr()


def _idf(counts: Any, n_texts: int) -> NDArray[np.float32]:
    """ln((1 + n) / (1 + df)) + 1, as scikit-learn smooths it."""
    found: NDArray[np.float32] = (np.log((1 + n_texts) / (1 + counts.getnnz(axis=0))) + 1).astype(np.float32)
    return found


def _weighed(counts: Any, idf: NDArray[np.float32]) -> Any:
    """(1 + ln tf)·idf, rows of length 1."""
    from scipy.sparse import diags
    from sklearn.preprocessing import normalize

    weights = counts.copy()
    weights.data = 1 + np.log(weights.data)
    return normalize(weights @ diags(idf)) if counts.shape[1] else weights


def _components(parts: list[Any], seed: int) -> NDArray[np.float16]:
    """The right singular vectors (d, terms), d at most DIMS and less than texts and terms."""
    from scipy.sparse import hstack
    from sklearn.decomposition import TruncatedSVD

    weights = hstack(parts, format="csr").astype(np.float32)
    dims = min(DIMS, min(weights.shape) - 1)
    if dims < 1:
        return np.zeros((0, weights.shape[1]), np.float16)
    svd = TruncatedSVD(n_components=dims, random_state=seed)
    with np.errstate(divide="ignore", invalid="ignore"):  # of texts that are all the same, in a figure not used here
        svd.fit(weights)
    return svd.components_.astype(np.float16)  # type: ignore[no-any-return]


def _weigher(kind: str, terms: Sequence[str], idf: NDArray[np.float32]) -> Any:
    """scikit-learn's vectoriser with what was learned."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    if not terms:
        return _Nothing()
    found = TfidfVectorizer(
        **_KINDS[kind],
        lowercase=False,
        sublinear_tf=True,
        dtype=np.float32,
        vocabulary={t: n for n, t in enumerate(terms)},
    )
    found.idf_ = idf
    return found


class _Nothing:
    """A vectoriser without a vocabulary."""

    def transform(self, texts: Sequence[str]) -> Any:
        """(n, 0)."""
        from scipy.sparse import csr_matrix

        return csr_matrix(np.zeros((len(texts), 0), np.float32))
