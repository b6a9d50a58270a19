"""BERTopic as it is published, over vectors and texts of benchmarks/clustering/public.py.

    pip install --no-deps --target FOLDER bertopic
    PYTHONPATH=FOLDER python benchmarks/clustering/peer_bertopic.py VECTORS.npy TEXTS.json OUT.npy

BERTopic() with no argument: UMAP to 5 dimensions, 15 neighbours, no seed; HDBSCAN with 10 as smallest cluster. Prints
one JSON object. The topics go to OUT; those after `reduce_outliers`, its own reassignment, to OUT.given.npy.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np


def main() -> None:
    """Fits once."""
    vectors, texts = np.load(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text(encoding="utf-8"))
    model = importlib.import_module("bertopic").BERTopic()
    began = time.perf_counter()
    topics, _ = model.fit_transform(texts, vectors)
    seconds = time.perf_counter() - began
    given = topics
    if -1 in topics and max(topics) >= 0:
        given = model.reduce_outliers(texts, topics, strategy="embeddings", embeddings=vectors)
    np.save(sys.argv[3], np.array(topics, np.int32))
    np.save(sys.argv[3] + ".given.npy", np.array(given, np.int32))
    print(json.dumps({"version": version("bertopic"), "s": round(seconds, 1)}))


if __name__ == "__main__":
    main()
