"""Simulated judges: what people would say of each target, and what a judge of known errors says."""

from __future__ import annotations

import numpy as np

from evaluators.statistics.rates import FloatArray
from judges.correction.records import Judged


def said(
    rng: np.random.Generator, n: int, rate: float, sensitivity: float, specificity: float
) -> tuple[FloatArray, FloatArray]:
    """Truth and verdicts of n targets, each 0 or 1."""
    truth = (rng.random(n) < rate).astype(np.float64)
    right = np.where(truth == 1, sensitivity, specificity)
    return truth, np.where(rng.random(n) < right, truth, 1 - truth)


def judged(
    truth: FloatArray, verdict: FloatArray, labelled: np.ndarray, p_human: float | FloatArray, p_judge: float = 1.0
) -> Judged:
    """Targets of which `labelled` (a mask) have a label."""
    return Judged(
        judge=verdict,
        label=np.where(labelled, truth, np.nan),
        p_judge=np.full(len(verdict), p_judge),
        p_human=np.where(labelled, p_human, np.nan),
    )


def at_random(rng: np.random.Generator, n: int, k: int) -> np.ndarray:
    """A mask of k of n targets."""
    found = np.zeros(n, dtype=bool)
    found[rng.choice(n, k, replace=False)] = True
    return found
