"""The parameters' defaults, chosen by measurement on every second intent of banking77 and clinc150.

python -m benchmarks.clustering.defaults [--seeds 1]

One after another around the defaults: neighbours, dimensions, smallest cluster, core points, as `noise_counted` and
`noise_reassigned` (see public.py). The other intents are left alone: public.py tells them apart as "held_out".
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np

from benchmarks.clustering import corpora, scoring
from benchmarks.clustering.public import ours
from benchmarks.clustering.scoring import Told
from benchmarks.evaluators.throughput import ROOT, commit, machine
from clustering.records import Method, Params

RESULT: Final = ROOT / "benchmarks" / "results" / "clustering_defaults.json"
GRID: Final[dict[str, tuple[Any, ...]]] = {
    "n_neighbors": (8, 10, 15, 20, 30),
    "n_components": (3, 5, 10),
    "min_cluster_size": (5, 8, 10, 15, 20, 30),
    "min_samples": (1, 2, 3, 5, 10),
    "method": (Method.UMAP_HDBSCAN, Method.EVOC),
}


def main() -> None:
    """Measures and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--embedders", default=",".join(corpora.EMBEDDERS))
    args = parser.parse_args()
    rows = []
    for corpus in (corpora.banking77(), corpora.clinc150()):
        chosen_on, _ = corpora.halves(corpus)
        some = corpus.only(chosen_on, corpus.name)
        for embedder in args.embedders.split(","):
            vectors, _ = corpora.vectors_of(some, embedder)
            for name, value, params in settings():
                rows.append(
                    {"corpus": corpus.name, "embedder": embedder, name: str(value)}
                    | measured(some, vectors, params, args.seeds)
                )
                print(json.dumps(rows[-1]), flush=True)
    result: Told = {
        "what": "parameters one after another around the defaults, on every second intent",
        "command": f"python -m benchmarks.clustering.defaults --seeds {args.seeds}",
        "commit": commit(),
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
        "rows": rows,
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def settings() -> Iterator[tuple[str, Any, Params]]:
    """The defaults, then each value of each parameter with the others as they are."""
    yield "defaults", "", Params()
    for name, values in GRID.items():
        for value in values:
            yield name, value, replace(Params(), **{name: value})


def measured(corpus: corpora.Corpus, vectors: Any, params: Params, seeds: int) -> Told:
    """Means over seeds."""
    began = time.perf_counter()
    plain, given = [], []
    for seed in range(seeds):
        labels, whole = ours(vectors, replace(params, seed=seed))
        plain.append(scoring.scores(corpus.truth, labels))
        given.append(scoring.scores(corpus.truth, labels if whole is None else whole))
    told = {f"{name}": scoring.four(float(np.mean([one[name] for one in plain]))) for name in plain[0]}
    told |= {
        f"given_{name}": scoring.four(float(np.mean([one[name] for one in given]))) for name in ("nmi", "ari", "acc")
    }
    return told | {"s": round((time.perf_counter() - began) / seeds, 1)}


if __name__ == "__main__":
    main()
