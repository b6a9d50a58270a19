"""How long a band runs until its first false alarm, by k, and k for a chosen run length: writes the product's table.

python -m benchmarks.monitors.arl [--chains 2000] [--steps 1500] [--runs 12000]

Points are independent and normal. The published table at k = 3 is simulated directly, run by run, until the first
alarm. The product's k is for the rate in the long run: chains are updated as the band is, winsorised at k, and at each
state the chance that the next point breaches is counted exactly instead of drawn (Rao-Blackwell). From a run length of
10,000 on one set of chains serves all k.
"""

from __future__ import annotations

import argparse
import importlib
import json
import math
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from benchmarks.evaluators.throughput import ROOT, commit, machine
from monitors.student import student_k

RESULT: Final = ROOT / "benchmarks" / "results" / "monitor_arl.json"
TABLE: Final = ROOT / "monitors" / "calibration_table.py"
PUBLISHED: Final = {0.3: 21, 0.2: 39, 0.1: 93, 0.05: 158, 0.02: 255, 0.01: 301}
PUBLISHED_K: Final = {
    370: {0.3: 5.21, 0.2: 4.32, 0.1: 3.60, 0.05: 3.29, 0.02: 3.12, 0.01: 3.07},
    2016: {0.3: 6.66, 0.2: 5.36, 0.1: 4.33, 0.05: 3.89, 0.02: 3.64, 0.01: 3.58},
}
ALPHAS: Final = (0.3, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005)
WISHED: Final = (100, 370, 2016)
TAIL: Final = (1e4, 1e5, 1e6)
ESTIMATORS: Final = ("variance", "absolute")

Told = dict[str, Any]
Floats = NDArray[np.float64]


def main() -> None:
    """Measures, writes the result and the product's table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chains", type=int, default=2_000)
    parser.add_argument("--steps", type=int, default=1_500)
    parser.add_argument("--runs", type=int, default=12_000, help="runs for each entry of the published table")
    args = parser.parse_args()
    began = time.process_time()
    chance = np.random.default_rng(5)
    points = {
        kind: {alpha: curve(chance, alpha, kind, args.chains, args.steps) for alpha in ALPHAS} for kind in ESTIMATORS
    }
    TABLE.write_text(table_text(points), encoding="utf-8")
    result: Told = {
        "what": "run length to the first false alarm of a band that compares first, and k for a chosen one",
        "command": f"python -m benchmarks.monitors.arl --chains {args.chains} --steps {args.steps} --runs {args.runs}",
        "commit": commit(),
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
        "at_k_3": [at_three(chance, alpha, args.runs) for alpha in PUBLISHED],
        "points": {kind: {str(alpha): rows for alpha, rows in by.items()} for kind, by in points.items()},
        "published_k": published_k(),
        "cpu_s": round(time.process_time() - began),
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps({key: result[key] for key in ("at_k_3", "published_k", "cpu_s")}, indent=1))


def updated(mean: Floats, spread: Floats, x: Floats, alpha: float, kind: str) -> tuple[Floats, Floats]:
    """The band's own recursion; `spread` is the variance, or for `absolute` the mean |x - mean| as a deviation."""
    d = x - mean
    if kind == "variance":
        return mean + alpha * d, (1 - alpha) * (spread + alpha * d * d)
    return mean + alpha * d, spread + alpha * (1.2533141373155003 * np.abs(d) - spread)


def deviation(spread: Floats, kind: str) -> Floats:
    """Sigma of the spread that the recursion keeps."""
    return np.sqrt(spread) if kind == "variance" else spread


def settled(chance: np.random.Generator, alpha: float, kind: str, n: int) -> tuple[Floats, Floats]:
    """Chains after twice the warm-up, not yet watched."""
    mean, spread = np.zeros(n), np.ones(n)
    for _ in range(2 * max(30, round(3 / alpha))):
        mean, spread = updated(mean, spread, chance.standard_normal(n), alpha, kind)
    return mean, spread


def at_three(chance: np.random.Generator, alpha: float, runs: int) -> Told:
    """Mean run until |z| > 3, with its Monte Carlo error, beside the published one."""
    mean, spread = settled(chance, alpha, "variance", runs)
    lengths: list[int] = []
    t = 0
    while len(mean):
        t += 1
        x = chance.standard_normal(len(mean))
        inside = (x - mean) ** 2 <= 9 * spread
        lengths += [t] * int(len(mean) - inside.sum())
        mean, spread = updated(mean[inside], spread[inside], x[inside], alpha, "variance")
    arl, error = float(np.mean(lengths)), float(np.std(lengths) / np.sqrt(runs))
    return {
        "alpha": alpha, "arl": round(arl, 1), "mc_se": round(error, 1), "published": PUBLISHED[alpha],
        "off": round(arl / PUBLISHED[alpha] - 1, 3),
    }  # fmt: skip


def curve(chance: np.random.Generator, alpha: float, kind: str, chains: int, steps: int) -> list[Told]:
    """Run lengths at six k between 100 points and a million."""
    rows: list[Told] = []
    for wished in WISHED:
        rows += hazards(chance, alpha, kind, (guessed(alpha, wished),), (chains, steps))
    return rows + hazards(chance, alpha, kind, [guessed(alpha, wished) for wished in TAIL], (chains, steps))


def guessed(alpha: float, wished: float) -> float:
    """A k whose run length is near the wished one: Student's law, shrunk where the mean is fast and it is too wide."""
    return student_k(alpha, wished) * (1 - 0.1 * (alpha / 0.3) ** 2 * math.log10(wished / 10))


def hazards(
    chance: np.random.Generator, alpha: float, kind: str, ks: Sequence[float], size: tuple[int, int]
) -> list[Told]:
    """Points between breaches at each k, from chains winsorised at the first."""
    chains, steps = size
    mean, spread = settled(chance, alpha, kind, chains)
    every = max(1, round(0.25 / alpha))
    summed = np.zeros((len(ks), chains))
    looks = 0
    for t in range(-max(30, round(3 / alpha)), steps):
        sigma = deviation(spread, kind)
        if t >= 0 and t % every == 0:
            looks += 1
            for row, k in enumerate(ks):
                summed[row] += ndtr(mean - k * sigma) + ndtr(-mean - k * sigma)
        x = mean + np.clip(chance.standard_normal(chains) - mean, -ks[0] * sigma, ks[0] * sigma)
        mean, spread = updated(mean, spread, x, alpha, kind)
    means = summed.mean(axis=1) / looks
    errors = summed.std(axis=1) / looks / np.sqrt(chains) / means
    return [
        {"k": round(k, 4), "arl0": float(f"{1 / one:.5g}"), "rel_se": round(float(error), 4)}
        for k, one, error in zip(ks, means, errors, strict=True)
    ]


def table_text(points: dict[str, dict[float, list[Told]]]) -> str:
    """The table as a module of the product."""
    lines = [
        '"""Run lengths of bands by k: written by `python -m benchmarks.monitors.arl`, not by hand."""',
        "",
        "from __future__ import annotations",
        "",
        "from typing import Final",
        "",
        "# By estimator of sigma and alpha: (k, points until the first false alarm), which grow together.",
        "RUN_LENGTHS: Final[dict[str, dict[float, tuple[tuple[float, float], ...]]]] = {",
    ]
    for kind, by in points.items():
        lines.append(f'    "{kind}": {{')
        for alpha, rows in by.items():
            lines.append(f"        {alpha}: (")
            lines += [f"            ({row['k']}, {row['arl0']})," for row in rows]
            lines.append("        ),")
        lines.append("    },")
    return "\n".join([*lines, "}", ""])


def published_k() -> list[Told]:
    """The published k beside the one that the written table gives."""
    k_for = importlib.import_module("monitors.calibration").k_for
    return [
        {"arl0": arl0, "alpha": alpha, "published": k, "k": round(k_for(alpha, arl0), 3)}
        for arl0, by in PUBLISHED_K.items()
        for alpha, k in by.items()
    ]


if __name__ == "__main__":
    main()
