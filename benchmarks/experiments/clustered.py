"""A/A experiments over users with many sessions: what is rejected when users are counted, and when sessions are.

python -m benchmarks.experiments.clustered [--reps 4000] [--reps-of-bootstrap 400]

Users over both arms, geometrically many sessions each with the mean that is said (few users have most), a user effect
of some sd on the logit of a rate around .7, one look at 5%. naive: sessions as if independent. delta_normal: users,
normal boundary. delta_n: users, Welch's t that counts each as one, as gbstats and tea-tasting do. delta_t: the
product's from sums, which counts unequal ones as fewer. wild: the wild cluster bootstrap, from unit rows. Then one user
of each arm with a share of all sessions of it, as a bot or a tester has.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from benchmarks.evaluators.throughput import ROOT, commit, machine
from experiments.statistics.bootstrap import wild_p
from experiments.statistics.effects import ArmMean, contrast, of_arms, spread, z_of
from experiments.statistics.records import Moments, NoEffect

RESULT: Final = ROOT / "benchmarks" / "results" / "experiment_clustered.json"
ALPHA: Final = 0.05
USERS: Final = (40, 200, 1_000)
SETTINGS: Final = ((5, 1.0), (5, 2.0), (20, 1.0))  # mean sessions a user, sd of the user effect
BOOTSTRAPPED_UP_TO: Final = 40
HEAVY: Final = (0.1, 0.3, 0.5)  # of an arm's sessions, of one user

Array = NDArray[np.float64]
Told = dict[str, Any]


def main() -> None:
    """Measures and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reps", type=int, default=4_000)
    parser.add_argument("--reps-of-bootstrap", type=int, default=400)
    args = parser.parse_args()
    began = time.process_time()
    rows = [
        {"sessions_per_user": m, "sd_of_user": sd, "users": users, "reps": args.reps}
        | rejections(users, m, sd, args.reps)
        | (bootstrapped(users, m, sd, args.reps_of_bootstrap) if users <= BOOTSTRAPPED_UP_TO else {})
        for m, sd in SETTINGS
        for users in USERS
    ] + [
        {"sessions_per_user": 5, "sd_of_user": 1.0, "users": users, "of_one_user": share, "reps": args.reps // 2}
        | rejections(users, 5, 1.0, args.reps // 2, share)
        for share in HEAVY
        for users in USERS[1:]
    ]
    result: Told = {
        "what": "share of A/A experiments over users with many sessions that reject at 5%",
        "command": f"python -m benchmarks.experiments.clustered --reps {args.reps} "
        f"--reps-of-bootstrap {args.reps_of_bootstrap}",
        "commit": commit(),
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
        "rows": rows,
        "cpu_s": round(time.process_time() - began),
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=1))


def drawn(chance: np.random.Generator, n: int, m: float, sd: float, heavy: float = 0.0) -> tuple[Array, Array]:
    """Successes and sessions of n users, of whom the first has the share `heavy` of all sessions."""
    s = chance.geometric(1 / m, n)
    if heavy:
        s[0] = round(heavy / (1 - heavy) * s[1:].sum())
    y = chance.binomial(s, 1 / (1 + np.exp(-0.85 - chance.normal(0, sd, n))))
    return y.astype(np.float64), s.astype(np.float64)


def sums(y: Array, s: Array) -> Moments:
    """Their sums."""
    return Moments(
        n=len(y), y=float(y.sum()), s=float(s.sum()), yy=float(y @ y), ss=float(s @ s), sy=float(s @ y)
    )  # fmt: skip


def rejections(users: int, m: float, sd: float, reps: int, heavy: float = 0.0) -> Told:
    """Shares of A/A experiments that reject, by method."""
    chance = np.random.default_rng(21)
    naive = normal = each = student = 0
    for _ in range(reps):
        arms = [sums(*drawn(chance, users // 2, m, sd, heavy)) for _ in range(2)]
        found = contrast(arms[0], arms[1], binary=True)
        if isinstance(found, NoEffect):
            continue
        naive += abs(_of_sessions(arms[0], arms[1])) > z_of(ALPHA)
        as_n = of_arms(*(_each_as_one(arm) for arm in arms))
        normal += abs(as_n.estimate / as_n.se) > z_of(ALPHA)
        each += abs(as_n.z) > z_of(ALPHA)
        student += abs(found.z) > z_of(ALPHA)
    named = {"naive": naive, "delta_normal": normal, "delta_n": each, "delta_t": student}
    return {name: round(count / reps, 4) for name, count in named.items()} | {
        "mc_se": round(math.sqrt(ALPHA * (1 - ALPHA) / reps), 4)
    }


def bootstrapped(users: int, m: float, sd: float, reps: int) -> Told:
    """The share that the wild cluster bootstrap rejects."""
    chance, rejected = np.random.default_rng(22), 0
    for _ in range(reps):
        arms = [pl.DataFrame(dict(zip("ys", drawn(chance, users // 2, m, sd), strict=True))) for _ in range(2)]
        p = wild_p(arms[0], arms[1], chance=chance, draws=399)
        rejected += not isinstance(p, NoEffect) and p <= ALPHA
    return {"wild": round(rejected / reps, 4), "wild_mc_se": round(math.sqrt(ALPHA * (1 - ALPHA) / reps), 4)}


def _each_as_one(arm: Moments) -> ArmMean:
    return ArmMean(mean=arm.y / arm.s, variance=spread(arm) * arm.n / (arm.n - 1) / arm.s**2, n=arm.n)


def _of_sessions(control: Moments, treatment: Moments) -> float:
    """z of two rates whose sessions are taken as independent."""
    rates = [arm.y / arm.s for arm in (control, treatment)]
    variance = sum(rate * (1 - rate) / arm.s for rate, arm in zip(rates, (control, treatment), strict=True))
    return (rates[1] - rates[0]) / math.sqrt(variance)


if __name__ == "__main__":
    main()
