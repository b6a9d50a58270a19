"""The public texts with known groups that clusterings are held against, and their vectors.

banking77 (CC BY 4.0, PolyAI) and clinc150 (CC BY 3.0) as ../shared/data holds them: parts of the whole sets, with 50
and 75 intents. voice_failures (MIT, Sierra Research): the 34 of its notes on failed calls that people put into buckets.
"""

from __future__ import annotations

import csv
import gzip
import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.evaluators.throughput import SHARED
from clustering.embedders import minilm, tfidf
from clustering.records import Vectors

EMBEDDERS: Final = ("tfidf", "minilm")
OUT_OF_SCOPE: Final = "oos"
_RATER_ROWS: Final = "skill_buckets.csv"


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """Texts with the group each is in by its makers' word; `outside` marks what belongs to none."""

    name: str
    texts: tuple[str, ...]
    groups: tuple[str, ...]

    @property
    def truth(self) -> NDArray[np.int32]:
        """Groups as numbers (n,), in the order of their names."""
        names = {name: at for at, name in enumerate(sorted(set(self.groups)))}
        return np.array([names[one] for one in self.groups], np.int32)

    @property
    def outside(self) -> NDArray[np.bool_]:
        """(n,) of no group."""
        return np.array([one == OUT_OF_SCOPE for one in self.groups])

    def only(self, rows: NDArray[np.bool_], name: str) -> Corpus:
        """These rows under another name."""
        kept = np.flatnonzero(rows)
        return Corpus(
            name=name, texts=tuple(self.texts[at] for at in kept), groups=tuple(self.groups[at] for at in kept)
        )


def banking77() -> Corpus:
    """6,407 questions, 50 intents."""
    with (SHARED / "banking77" / "train.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return _corpus("banking77", [row["text"] for row in rows], [row["category"] for row in rows])


def clinc150(*, outside: bool = False) -> Corpus:
    """11,250 requests, 75 intents; with `outside` the 200 rows out of scope as well."""
    with gzip.open(SHARED / "clinc150" / "clinc150.csv.gz", "rt", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if outside or row["intent"] != OUT_OF_SCOPE]
    name = "clinc150 with out of scope" if outside else "clinc150"
    return _corpus(name, [row["text"] for row in rows], [row["intent"] for row in rows])


def voice_failures() -> Corpus:
    """The notes on failed calls, each in the bucket people put it in."""
    with (SHARED / "voice_failures" / _RATER_ROWS).open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return _corpus("voice_failures", [row["notes"] for row in rows], [row["skill_bucket"] for row in rows])


def halves(corpus: Corpus) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Rows of every second intent by name, and the others: what defaults are chosen on, and what they are held to."""
    even = corpus.truth % 2 == 0
    return even, ~even


def vectors_of(corpus: Corpus, embedder: str) -> tuple[Vectors, float]:
    """Of all its texts (n, d), fitted to them where the embedder is one that is fitted; and the seconds it took.

    MiniLM's are kept for the next call with the same texts, where ASSAY_BENCH_VECTORS names a folder.
    """
    began = time.perf_counter()
    match embedder:
        case "tfidf":
            vectors = tfidf.TfidfSvd(tfidf.fitted(corpus.texts, _silent)).embed(corpus.texts, _silent)
        case "minilm":
            vectors = _kept(corpus.texts)
        case _:
            raise ValueError(f"there is no embedder {embedder} here")
    return vectors, time.perf_counter() - began


def _kept(texts: Sequence[str]) -> Vectors:
    """MiniLM's vectors of texts, read where they were made before."""
    folder = os.environ.get("ASSAY_BENCH_VECTORS")
    place = Path(folder or ".") / f"minilm-{sha256(json.dumps(texts).encode()).hexdigest()[:16]}.npy"
    if folder and place.exists():
        found: Vectors = np.load(place)
        return found
    made = minilm.MiniLM().embed(texts, _silent)
    if folder:
        np.save(place, made)
    return made


def _corpus(name: str, texts: Sequence[str], groups: Sequence[str]) -> Corpus:
    return Corpus(name=name, texts=tuple(texts), groups=tuple(groups))


def _silent(stage: str, done: int, total: int) -> None:
    """Nothing to tell."""
