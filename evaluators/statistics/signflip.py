"""Sign-flip permutation test of paired differences: under H0 each difference is as likely with the other sign.

Fisher 1935 (The Design of Experiments, section 21). Examples that tie drop out: they add nothing to any sum.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from evaluators.statistics.rates import FloatArray

EXACT_UP_TO: Final = 20  # differences that are not 0: 2^20 sums
FLIPS: Final = 20_000
_CHUNK: Final = 2_000


@dataclass(frozen=True, kw_only=True)
class SignFlip:
    """p of no difference, and one-sided p of no harm (H0: the candidate is no worse)."""

    two_sided: float
    harm: float
    exact: bool


def sign_flip(differences: FloatArray, seed: int = 0) -> SignFlip:
    """The test on differences of shape (n,), candidate - baseline, of which one at least is not 0.

    Exact (all 2^m sums) for m <= 20 differences that are not 0; else 20,000 seeded flips in pairs of a draw and its
    mirror image, p = (1 + count) / (1 + flips) (Phipson, Smyth 2010, equation 2). The answer is the same in any order
    of the examples, and mirrored when the runs are swapped.
    """
    weights = np.sort(np.abs(differences[differences != 0]))
    observed = float(differences.sum())
    close = 1e-10 * float(weights.sum())
    if len(weights) <= EXACT_UP_TO:
        sums = _all_sums(weights)
        return SignFlip(
            two_sided=float(np.mean(np.abs(sums) >= abs(observed) - close)),
            harm=float(np.mean(sums <= observed + close)),
            exact=True,
        )
    low = far = 0
    rng = np.random.default_rng(seed)
    for _ in range(FLIPS // 2 // _CHUNK):
        sums = (2.0 * rng.integers(0, 2, size=(_CHUNK, len(weights)), dtype=np.int8) - 1.0) @ weights
        low += int(np.count_nonzero(sums <= observed + close) + np.count_nonzero(-sums <= observed + close))
        far += 2 * int(np.count_nonzero(np.abs(sums) >= abs(observed) - close))
    return SignFlip(two_sided=(1 + far) / (1 + FLIPS), harm=(1 + low) / (1 + FLIPS), exact=False)


def _all_sums(weights: FloatArray) -> FloatArray:
    sums = np.zeros(1)
    for one in weights:
        sums = np.concatenate((sums + one, sums - one))
    return sums
