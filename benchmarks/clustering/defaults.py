"""The parameters' defaults, chosen by measurement on every second intent of banking77 and clinc150.

python -m benchmarks.clustering.defaults

Neighbours and dimensions of the reduction, smallest cluster and core points of the density, each with each; scores with
noise counted as one more cluster, and (`given_`) with all noise given to its neighbours. The other intents are left
alone: public.py tells them apart as "held_out".
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

import numpy as np

from benchmarks.clustering import corpora, scoring
from benchmarks.clustering.public import ALL, silent
from benchmarks.clustering.scoring import Told
from benchmarks.evaluators.throughput import ROOT, commit, machine
from clustering.density import by_size, dense
from clustering.neighbours import nearest
from clustering.reassignment import reassigned
from clustering.records import Params, Vectors
from clustering.reduction import reduce

RESULT: Final = ROOT / "benchmarks" / "results" / "clustering_defaults.json"
NEIGHBOURS: Final = (10, 15, 30)
COMPONENTS: Final = (5, 10)
PER_ROOT: Final = (0.1, 0.15, 0.2, 0.3)  # smallest cluster by the root of the rows
CORE: Final = (0.2, 0.5, 1.0)  # core points' neighbours as a share of it


def main() -> None:
    """Measures and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--embedders", default=",".join(corpora.EMBEDDERS))
    args = parser.parse_args()
    rows = []
    for corpus in (corpora.banking77(), corpora.clinc150()):
        chosen_on, _ = corpora.halves(corpus)
        some = corpus.only(chosen_on, corpus.name)
        for embedder in args.embedders.split(","):
            vectors, _ = corpora.vectors_of(some, embedder)
            rows += [one | {"corpus": corpus.name, "embedder": embedder} for one in tried(some, vectors)]
    result: Told = {
        "what": "parameters of reduction and density, on every second intent",
        "command": "python -m benchmarks.clustering.defaults",
        "commit": commit(),
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
        "rows": rows,
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def tried(corpus: corpora.Corpus, vectors: Vectors) -> Iterator[Told]:
    """Every setting; a reduction is made once for all densities over it."""
    near = nearest(vectors, 15)
    for neighbours in NEIGHBOURS:
        for components in COMPONENTS:
            params = Params(n_neighbors=neighbours, n_components=components)
            places = reduce(vectors, params, components, silent)
            for per_root in PER_ROOT:
                for core in CORE:
                    size = max(5, round(per_root * np.sqrt(len(vectors))))
                    labels = by_size(dense(places, size, max(1, round(core * size))).labels)
                    whole, _ = reassigned(labels, near, ALL)
                    told = {"n_neighbors": neighbours, "n_components": components, "per_root": per_root, "core": core}
                    told |= {"min_cluster_size": size} | scoring.scores(corpus.truth, labels)
                    given = scoring.scores(corpus.truth, whole)
                    told |= {f"given_{name}": given[name] for name in ("nmi", "ari", "acc")}
                    print(json.dumps({"corpus": corpus.name} | told), flush=True)
                    yield told


if __name__ == "__main__":
    main()
