"""Run lengths of the moving band to its first false alarm by their integral equation, beside simulated and published.

python -m benchmarks.monitors.arl_exact [--cells 80 120]

With mean m and variance v before a point x of a standard normal law, the run length L(m, v) is one more than that of
what the point leaves behind, where it lies within k sigma:

    L(m, v) = 1 + integral over |x - m| <= k sqrt(v) of phi(x) L(m + alpha (x - m), (1 - alpha)(v + alpha (x - m)^2))

(the equation of Page 1954 and Crowder 1987 with two dimensions). It is solved on a grid of m and log v, between whose
nodes L is bilinear, with Gauss-Legendre nodes in x. L is told from the state in which a band begins whose mean and
sigma are known; as the mean over the states that a long run without any watching leaves, which is what
`benchmarks.monitors.arl` simulates; and over those that the product's warm-up leaves (monitors/bands/warmup.py).
"""

from __future__ import annotations

import argparse
import json
import time
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, identity
from scipy.sparse.linalg import spsolve

from benchmarks.evaluators.throughput import ROOT, commit, machine
from benchmarks.monitors.arl import PUBLISHED, settled
from monitors.bands.warmup import gain, least_points

RESULT: Final = ROOT / "benchmarks" / "results" / "monitor_arl_exact.json"
NODES: Final = 48
STATES: Final = 200_000
Floats = NDArray[np.float64]
Told = dict[str, Any]


class RunLength:
    """L of one alpha and k, on a grid of so many cells of m and of log v."""

    def __init__(self, alpha: float, k: float, cells: tuple[int, int]) -> None:
        self.alpha, self.k = alpha, k
        wide = min(6 * np.sqrt(alpha / (2 - alpha)), 4.0)
        spread = 9 * np.sqrt(alpha)
        self.m = np.linspace(-wide, wide, cells[0])
        self.w = np.linspace(-min(spread, 9.0), min(spread, 4.0), cells[1])  # log v
        self.lengths = self._solved()

    def of(self, m: Floats, v: Floats) -> Floats:
        """L of states; beyond the grid that of its edge."""
        (rows, columns), weights = self._corners(m, np.log(v))
        return np.asarray((self.lengths[rows * len(self.w) + columns] * weights).sum(axis=0))

    def _solved(self) -> Floats:
        x, weight = np.polynomial.legendre.leggauss(NODES)
        m, w = (one.ravel()[:, None] for one in np.meshgrid(self.m, self.w, indexing="ij"))
        v = np.exp(w)
        reach = self.k * np.sqrt(v)
        d = reach * x[None, :]
        chance = np.exp(-((m + d) ** 2) / 2) / np.sqrt(2 * np.pi) * weight * reach
        after = self.alpha * d + m, np.log((1 - self.alpha) * (v + self.alpha * d * d))
        (rows, columns), weights = self._corners(*after)
        n = len(m)
        at = np.broadcast_to(np.arange(n)[None, :, None], rows.shape)
        values = (weights * chance[None]).ravel()
        step = csr_matrix((values, (at.ravel(), (rows * len(self.w) + columns).ravel())), shape=(n, n))
        return np.asarray(spsolve((identity(n) - step).tocsc(), np.ones(n)))

    def _corners(self, m: Floats, w: Floats) -> tuple[tuple[NDArray[np.int64], NDArray[np.int64]], Floats]:
        """The four nodes around states, and the weight of each."""
        places = []
        for grid, values in ((self.m, m), (self.w, w)):
            at = np.clip((values - grid[0]) / (grid[1] - grid[0]), 0, len(grid) - 1 - 1e-9)
            first = at.astype(np.int64)
            places.append((first, at - first))
        (i, a), (j, b) = places
        corners = [(i + p, j + q, (a if p else 1 - a) * (b if q else 1 - b)) for p in (0, 1) for q in (0, 1)]
        rows, columns, weights = (np.array([one[part] for one in corners]) for part in range(3))
        return (rows, columns), weights


def of_alpha(alpha: float, cells: tuple[int, int], k: float = 3.0) -> Told:
    """Both run lengths, each from a grid and one of half its cells: of a bilinear L the error falls by four."""
    after = settled(np.random.default_rng(3), alpha, "variance", STATES)
    starts = ((np.zeros(1), np.ones(1)), after, warmed_up(np.random.default_rng(4), alpha, STATES))
    told = []
    for part in (cells, (cells[0] // 2, cells[1] // 2)):
        found = RunLength(alpha, k, part)
        told.append([float(found.of(*start).mean()) for start in starts])
    known, long, begun = ((4 * fine - coarse) / 3 for fine, coarse in zip(*told, strict=True))
    return {
        "alpha": alpha, "known": round(known, 1), "settled": round(long, 1), "warmed_up": round(begun, 1),
        "published": PUBLISHED[alpha], "off": round(long / PUBLISHED[alpha] - 1, 3),
        "of_the_grid": round(told[0][1], 2),
    }  # fmt: skip


def warmed_up(chance: np.random.Generator, alpha: float, n: int) -> tuple[Floats, Floats]:
    """Means and variances when the product's band gives its first verdict."""
    mean, variance = np.zeros(n), np.zeros(n)
    for t in range(least_points(alpha)):
        weight = gain(alpha, np.array([t]))
        d = chance.standard_normal(n) - mean
        mean, variance = mean + weight * d, (1 - weight) * (variance + weight * d * d)
    return mean, variance


def main() -> None:
    """Solves and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, nargs=2, default=(80, 120))
    args = parser.parse_args()
    began = time.process_time()
    rows = []
    for alpha in PUBLISHED:
        rows.append(of_alpha(alpha, tuple(args.cells)))
        print(json.dumps(rows[-1]), flush=True)
    result = {
        "what": "run length to the first false alarm at k = 3, by its integral equation",
        "command": f"python -m benchmarks.monitors.arl_exact --cells {args.cells[0]} {args.cells[1]}",
        "commit": commit(), "date": datetime.now(UTC).date().isoformat(), "machine": machine(), "at_k_3": rows,
        "cpu_s": round(time.process_time() - began),
    }  # fmt: skip
    RESULT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
