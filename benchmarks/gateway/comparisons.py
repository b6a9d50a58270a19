"""Other ways to compare questions than the cache's, over the same look-ups: by a model's vectors, and by static ones.

A look-up is that of the cache: of the 2,000 questions before it that `meaning_of` takes, those whose guards agree
(numbers, ids, negation, ...), and of them the most similar. "unguarded" leaves the guards out.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.gateway.static_vectors import StaticVectors
from gateway.config import SemanticConfig
from gateway.policies.meaning import Meaning, meaning_of, similarity
from gateway.policies.semantic import MOST_QUESTIONS

Hit = tuple[float, bool, bool, int]  # the best one's similarity, whether it is right, the text the same; and which row
Found = list[Hit]  # of each row
NONE: Hit = (0.0, False, False, -1)
Rows = list[tuple[str, str]]
_AT_ONCE = 500
_LEAST = 0.5


def compared(name: str, rows: Rows, order: list[int], lexical: Found, vectors: Path) -> tuple[dict[str, Found], float]:
    """By comparison what it found, and µs for a question's static vector. `order[n]` is where row n is in its file."""
    static = StaticVectors(vectors)
    began = time.thread_time()
    by_static = np.stack([static.of(text) for text, _ in rows])
    static_us = (time.thread_time() - began) / len(rows) * 1e6
    by_model = np.load(vectors / f"{name}.npy")[order]
    meanings = [meaning_of(text) for text, _ in rows]
    found = {"lexical": lexical}
    for of, space in (("model", by_model), ("static", by_static)):
        found[of] = _searched(rows, meanings, space)
        found[f"{of}_unguarded"] = _searched(rows, meanings, space, guarded=False)
    for least in (0.5, 0.6, 0.8):
        found[f"static_and_words_{least}"] = _searched(rows, meanings, by_static, least_lexical=least)
    for of in ("model", "static"):
        found[f"words_or_{of}"] = _either(lexical, found[of])
    return found, static_us


def _either(lexical: Found, other: Found) -> Found:
    """What the lexical comparison takes at its default counts as similarity 1; only for the rest the other is asked."""
    default = SemanticConfig().threshold
    return [(1.0, *one[1:]) if one[0] >= default else two for one, two in zip(lexical, other, strict=True)]


def _searched(
    rows: Rows,
    meanings: list[Meaning | None],
    space: NDArray[np.float32],
    guarded: bool = True,
    least_lexical: float = 0.0,
) -> Found:
    taken = [n for n, meaning in enumerate(meanings) if meaning is not None or not guarded]
    vectors = space[taken]
    exact = np.array([meaning.exact if meaning and guarded else 0 for meaning in (meanings[n] for n in taken)])
    found: Found = [NONE] * len(rows)
    for begin in range(0, len(taken), _AT_ONCE):
        end, first = min(len(taken), begin + _AT_ONCE), max(0, begin - MOST_QUESTIONS)
        near = vectors[begin:end] @ vectors[first:end].T
        asked, earlier = np.arange(begin, end)[:, None], np.arange(first, end)[None]
        comparable = (earlier < asked) & (earlier >= asked - MOST_QUESTIONS)
        near[~(comparable & (exact[begin:end, None] == exact[None, first:end]))] = 0
        if least_lexical:
            for i, j in zip(*np.nonzero(near >= _LEAST), strict=True):
                if _lexical(meanings[taken[begin + int(i)]], meanings[taken[first + int(j)]]) < least_lexical:
                    near[i, j] = 0
        for row, best in enumerate(near.argmax(1)):
            if near[row, best] >= _LEAST:
                here, there = taken[begin + row], taken[first + int(best)]
                same = rows[here][1] == rows[there][1], rows[here][0] == rows[there][0]
                found[here] = (float(near[row, best]), *same, there)
    return found


def _lexical(this: Meaning | None, that: Meaning | None) -> float:
    return similarity(float(this.vector @ that.vector), this.order, that.order) if this and that else 0.0


def held_out(fitted: dict[str, Found], judged: dict[str, Found], least: float) -> dict[str, Any]:
    """The lowest threshold at which `least` of the hits of all of `fitted` are right, and what it gives on `judged`."""
    threshold = lowest([row for found in fitted.values() for row in found], least)
    if threshold is None:
        return {"threshold": None}
    return {"threshold": round(threshold, 4)} | {name: share(found, threshold) for name, found in judged.items()}


def lowest(found: Iterable[Hit], least: float) -> float | None:
    """The lowest threshold whose hits are right in at least `least`; None if there is none."""
    ordered = sorted(((similarity, right) for similarity, right, *_ in found if similarity), reverse=True)
    right, lowest_yet = 0, None
    for n, (at, was_right) in enumerate(ordered, 1):
        right += was_right
        if right >= least * n and (n == len(ordered) or ordered[n][0] < at):
            lowest_yet = at
    return lowest_yet


def share(found: Found, threshold: float) -> dict[str, Any]:
    """Hits and right ones, with the 95% interval of Wilson for the share that is right."""
    hits = [right for similarity, right, *_ in found if similarity >= threshold]
    n, right = len(hits), sum(hits)
    point: dict[str, Any] = {
        "hit_rate": round(n / len(found), 4),
        "precision": round(right / max(n, 1), 4),
        "n_hits": n,
        "n_wrong": n - right,
    }
    if n:
        z = 1.96
        middle, room = right / n + z * z / 2 / n, z * ((right / n * (1 - right / n) + z * z / 4 / n) / n) ** 0.5
        point["precision_95"] = [round((middle + side) / (1 + z * z / n), 4) for side in (-room, room)]
    return point
