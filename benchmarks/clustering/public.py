"""Clusters of public texts against the groups their makers gave them, the number of clusters not given.

    pip install --no-deps --target FOLDER bertopic     # what else it needs is installed already
    python -m benchmarks.clustering.public --bertopic FOLDER

banking77 and clinc150, with TF-IDF and with MiniLM: ours with the defaults, ours with noise reassigned, EVoC as it is
published and BERTopic as it is published, all on the same vectors, one after another; and k-means that was told the
number of groups, for scale. Each method runs --runs times with other seeds: mean, least and greatest. Then the rows of
clinc150 out of scope against the noise label, and the notes of voice_failures against the buckets people made.

The defaults were chosen on every second intent by name (benchmarks/clustering/defaults.py), so the figures are told for
the other intents alone as well: "held_out".
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.clustering import corpora, scoring
from benchmarks.clustering.corpora import Corpus
from benchmarks.clustering.scoring import Told
from benchmarks.evaluators.throughput import ROOT, commit, machine
from clustering.density import cluster
from clustering.fast import evoc
from clustering.records import Labels, Params, Vectors
from clustering.stability import STABLE, stability

RESULT: Final = ROOT / "benchmarks" / "results" / "clustering_public.json"
PEER: Final = Path(__file__).with_name("peer_bertopic.py")
ALL: Final = 0.0  # agreement from which noise is given away: any
Pair = tuple[Labels, Labels | None]  # labels, and with noise reassigned where the method can
Run = Callable[[int], Pair]


def main() -> None:
    """Measures and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bertopic", type=Path, help="folder it was installed to; without it BERTopic is left out")
    parser.add_argument("--embedders", default=",".join(corpora.EMBEDDERS))
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--out", type=Path, default=RESULT)
    args = parser.parse_args()
    result: Told = {
        "what": "clusters of public texts against known groups, the number of clusters not given",
        "command": f"python -m benchmarks.clustering.public --bertopic FOLDER --runs {args.runs}",
        "commit": commit(),
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
        "runs": args.runs,
    }
    for what, rows in steps(args):
        result.setdefault(what, []).append(rows)
        print(json.dumps({what: rows}), flush=True)
        args.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def steps(args: argparse.Namespace) -> Iterator[tuple[str, Told]]:
    """What is measured, in the order of what it tells; each is written when it is there."""
    sets = [corpora.banking77(), corpora.clinc150()]
    for embedder in args.embedders.split(","):
        for corpus in sets:
            yield "corpora", compared(corpus, "all", embedder, args)
        yield "out_of_scope", out_of_scope(embedder)
        yield "voice_failures", voice(embedder)
        for corpus in sets:
            yield "held_out", compared(corpus, "held_out", embedder, args)
        for corpus in sets:
            yield "stability", stable(corpus, embedder)


def compared(corpus: Corpus, part: str, embedder: str, args: argparse.Namespace) -> Told:
    """All methods on all intents, or ours on the intents that no default was chosen on."""
    _, others = corpora.halves(corpus)
    some = corpus if part == "all" else corpus.only(others, corpus.name)
    vectors, seconds = corpora.vectors_of(some, embedder)
    told: Told = {
        "corpus": corpus.name,
        "part": part,
        "embedder": embedder,
        "n": len(some.texts),
        "groups": len(set(some.groups)),
        "embed_s": round(seconds, 1),
    }
    for name, run in methods(some, vectors, args.bertopic).items():
        if part == "all" or name == "ours":
            told[name] = repeated(some, run, args.runs)
    return told


def methods(corpus: Corpus, vectors: Vectors, bertopic: Path | None) -> dict[str, Run]:
    """By name; each takes a seed."""
    found: dict[str, Run] = {
        "ours": lambda seed: ours(vectors, Params(seed=seed)),
        "evoc": lambda seed: (published_evoc(vectors, seed), None),
        "k_means_told_k": lambda seed: (k_means(vectors, len(set(corpus.groups)), seed), None),
    }
    if bertopic is not None:
        found["bertopic"] = lambda seed: published_bertopic(corpus, vectors, bertopic)
    return found


def ours(vectors: Vectors, params: Params) -> Pair:
    """Labels by density, and the same with all noise that has a neighbour in a cluster given away."""
    found = cluster(vectors, replace(params, reassign=True, reassign_at=ALL), silent)
    return found.labels, found.given


def published_evoc(vectors: Vectors, seed: int) -> Labels:
    """EVoC's own `labels_` with its own defaults."""
    return np.asarray(evoc(vectors, Params(seed=seed, n_neighbors=15), 5).labels_, np.int32)


def k_means(vectors: Vectors, k: int, seed: int) -> Labels:
    """Told the number of groups."""
    from sklearn.cluster import KMeans

    return np.asarray(KMeans(k, n_init=4, random_state=seed).fit_predict(vectors), np.int32)


def published_bertopic(corpus: Corpus, vectors: Vectors, folder: Path) -> Pair:
    """In a process of its own."""
    with tempfile.TemporaryDirectory() as kept:
        place = Path(kept)
        np.save(place / "vectors.npy", vectors)
        (place / "texts.json").write_text(json.dumps(list(corpus.texts)), encoding="utf-8")
        words = [sys.executable, str(PEER), str(place / "vectors.npy"), str(place / "texts.json"), str(place / "o.npy")]
        subprocess.run(words, env={**os.environ, "PYTHONPATH": str(folder)}, check=True, capture_output=True)
        return np.load(place / "o.npy"), np.load(place / "o.npy.given.npy")


def repeated(corpus: Corpus, run: Run, runs: int) -> Told:
    """The scores of each variant over the runs."""
    plain, only, given, seconds = [], [], [], []
    for seed in range(runs):
        began = time.perf_counter()
        labels, whole = run(seed)
        seconds.append(time.perf_counter() - began)
        plain.append(scoring.scores(corpus.truth, labels))
        only.append(scoring.clustered_only(corpus.truth, labels))
        if whole is not None:
            given.append(scoring.scores(corpus.truth, whole))
    told = {"noise_counted": over(plain), "clustered_only": over(only), "s": scoring.four(float(np.median(seconds)))}
    return told | ({"noise_reassigned": over(given)} if given else {})


def over(runs: Sequence[Told]) -> dict[str, Any]:
    """Mean, least and greatest of each figure."""
    return {
        name: {
            "mean": scoring.four(float(np.mean([one[name] for one in runs]))),
            "low": min(one[name] for one in runs),
            "high": max(one[name] for one in runs),
        }
        for name in runs[0]
    }


def stable(corpus: Corpus, embedder: str) -> Told:
    """How many of our clusters come back when a fifth of the rows is left out."""
    vectors, _ = corpora.vectors_of(corpus, embedder)
    began = time.perf_counter()
    params = Params()
    found = cluster(vectors, params, silent)
    each = stability(vectors, found, params, np.random.default_rng(0), silent)
    return {
        "corpus": corpus.name,
        "embedder": embedder,
        "clusters": found.n_clusters,
        "stable": int((each >= STABLE).sum()),
        "median": scoring.four(float(np.nanmedian(each))),
        "s": round(time.perf_counter() - began, 1),
    }


def out_of_scope(embedder: str) -> Told:
    """The noise label, before and after reassignment, against rows that belong to no intent; and EVoC's."""
    corpus = corpora.clinc150(outside=True)
    vectors, _ = corpora.vectors_of(corpus, embedder)
    found = cluster(vectors, Params(reassign=True), silent)
    return {
        "embedder": embedder,
        "n": len(corpus.texts),
        "ours": scoring.noise_against(corpus.outside, found.labels),
        "ours_reassigned": scoring.noise_against(corpus.outside, found.given),
        "evoc": scoring.noise_against(corpus.outside, published_evoc(vectors, 0)),
    }


def voice(embedder: str) -> Told:
    """Notes against buckets; so few that the smallest cluster is the least there is."""
    corpus = corpora.voice_failures()
    vectors, _ = corpora.vectors_of(corpus, embedder)
    found = cluster(vectors, Params(reassign=True, reassign_at=ALL), silent)
    return {
        "embedder": embedder,
        "n": len(corpus.texts),
        "buckets": len(set(corpus.groups)),
        "k": found.n_clusters,
        "noise": scoring.four(found.noise_share),
        "v_measure": scoring.v_measure(corpus.truth, found.labels),
        "v_measure_reassigned": scoring.v_measure(corpus.truth, found.given),
        "purity": scoring.four(scoring.purity(corpus.truth, found.labels)),
        "purity_reassigned": scoring.four(scoring.purity(corpus.truth, found.given)),
        "k_means_told_k": scoring.v_measure(corpus.truth, k_means(vectors, len(set(corpus.groups)), 0)),
    }


def silent(stage: str, done: int, total: int) -> None:
    """Nothing to tell."""


if __name__ == "__main__":
    main()
