"""What every embedder does the same: each text once, in order of length, a batch at a time, rows of length 1."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from clustering.records import Progress, Vectors


def embed_unique(
    texts: Sequence[str],
    dims: int,
    embed_batch: Callable[[list[str]], Vectors],
    progress: Progress,
    *,
    at_once: int,
) -> Vectors:
    """(n, dims) of the texts: those that are not blank each once, the shortest first so that a batch holds texts alike,
    `at_once` at a time. `progress` gets ("embed", texts done, texts in all), equal ones counted each."""
    rows: dict[str, list[int]] = {}
    for row, text in enumerate(texts):
        if text.strip():
            rows.setdefault(text, []).append(row)
    found = np.zeros((len(texts), dims), np.float32)
    ordered = sorted(rows, key=lambda text: (len(text), text))
    done = len(texts) - sum(len(each) for each in rows.values())
    progress("embed", done, len(texts))
    for start in range(0, len(ordered), at_once):
        batch = ordered[start : start + at_once]
        for text, vector in zip(batch, normalised(embed_batch(batch)), strict=True):
            found[rows[text]] = vector
        done += sum(len(rows[text]) for text in batch)
        progress("embed", done, len(texts))
    return found


def normalised(vectors: Vectors) -> Vectors:
    """Each row to length 1; a row of zeros stays one."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    found: Vectors = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0).astype(np.float32)
    return found
