"""pass^k and pass@k: the chance that all, or any, of k trials of a task succeed, averaged over tasks."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray

from core.errors import InvalidInput
from evaluators.statistics.estimates import Estimate, Interval, Unestimated
from evaluators.statistics.rates import FloatArray, mean_of

IntArray = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class PassK:
    """pass^k or pass@k over n tasks. `se` is clustered by task; `se_iid` is what counting trials as independent gives,
    shown beside it as it is too small. `plug_in` is rate^k or 1 - (1 - rate)^k of the pooled rate: biased."""

    k: int
    value: float
    n_tasks: int
    n_trials: int
    se: float | None
    interval: Interval | None  # two-sided, cut to 0..1
    se_iid: float
    plug_in: float


def pass_hat_k(trials: IntArray, successes: IntArray, k: int, level: float = 0.95) -> PassK:
    """All of k trials succeed: mean over tasks of C(c, k) / C(n, k), unbiased for each task.

    `trials` (n) and `successes` (c) have shape (tasks,). Yao et al. 2024 (tau-bench, arXiv:2406.12045), section 4; the
    SE is sd over tasks / sqrt(tasks). Raises InvalidInput when a task has fewer than k trials, or counts are none.
    """
    _check(trials, successes, k)
    rate = float(successes.sum() / trials.sum())
    slope = k * rate ** (k - 1)
    return _found(_share(successes, trials, k), trials, k, level, rate**k, slope * _se_rate(rate, trials))


def pass_at_k(trials: IntArray, successes: IntArray, k: int, level: float = 0.95) -> PassK:
    """Any of k trials succeeds: mean over tasks of 1 - C(n - c, k) / C(n, k).

    Chen et al. 2021 (arXiv:2107.03374), equation 1. Shapes and errors as `pass_hat_k`.
    """
    _check(trials, successes, k)
    rate = float(successes.sum() / trials.sum())
    slope = k * (1 - rate) ** (k - 1)
    per_task = 1.0 - _share(trials - successes, trials, k)
    return _found(per_task, trials, k, level, 1 - (1 - rate) ** k, slope * _se_rate(rate, trials))


def _share(chosen: IntArray, of: IntArray, k: int) -> FloatArray:
    """C(chosen, k) / C(of, k), 0 where chosen < k: a ratio of products, as large binomials overflow."""
    if k > 60:
        logs = scipy.special.gammaln
        top = logs(chosen + 1.0) - logs(np.maximum(chosen - k, 0) + 1.0)
        found = np.exp(top - (logs(of + 1.0) - logs(of - k + 1.0)))
        return np.where(chosen >= k, found, 0.0)
    share = np.ones(len(of))
    for step in range(k):
        share *= np.maximum(chosen - step, 0) / (of - step)
    return share


def _se_rate(rate: float, trials: IntArray) -> float:
    return math.sqrt(rate * (1 - rate) / int(trials.sum()))


def _found(per_task: FloatArray, trials: IntArray, k: int, level: float, plug_in: float, se_iid: float) -> PassK:
    mean = mean_of(per_task, level)
    if isinstance(mean, Unestimated):
        raise InvalidInput(f"no pass^k: {mean.reason}", field="trials")
    return PassK(
        k=k,
        value=mean.value,
        n_tasks=len(per_task),
        n_trials=int(trials.sum()),
        se=mean.se,
        interval=_cut(mean),
        se_iid=se_iid,
        plug_in=plug_in,
    )


def _cut(mean: Estimate) -> Interval | None:
    found = mean.interval
    if found is None:
        return None
    return Interval(low=max(0.0, found.low), high=min(1.0, found.high), level=found.level, method=found.method)


def _check(trials: IntArray, successes: IntArray, k: int) -> None:
    if trials.shape != successes.shape or trials.ndim != 1 or not len(trials):
        raise InvalidInput("trials and successes are counts of one task each, of one task or more", field="trials")
    if (successes < 0).any() or (successes > trials).any():
        raise InvalidInput("a task succeeded more often than it was tried", field="successes")
    if k < 1:
        raise InvalidInput(f"k is 1 or more, not {k}", field="k")
    short = int(np.count_nonzero(trials < k))
    if short:
        raise InvalidInput(
            f"pass^{k} needs {k} trials of every task: {short} of {len(trials)} have fewer, the least {trials.min()}; "
            f"k can be {trials.min()} at most",
            field="k",
        )
