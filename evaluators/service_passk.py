"""pass^k of stored sessions: trials of tasks, from the outcomes of their sessions or the scores of a run's trials."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import polars as pl

from core.errors import InvalidInput, NotFound
from evaluators.statistics.passk import PassK, pass_at_k, pass_hat_k
from store.outcomes import OutcomesAsked, outcomes
from store.tenant import TenantStore

MOST_K: Final = 1000
TASK_KEYS: Final = ("example_id", "task_id")  # of an outcome's metadata, the first that is there


@dataclass(frozen=True, kw_only=True)
class ReleasePasses:
    """pass^1..k and pass@1..k of one release; shorter than asked where `refused` says why."""

    release: str | None
    n_tasks: int
    n_trials: int
    least_trials: int
    pass_hat: tuple[PassK, ...]
    pass_at: tuple[PassK, ...]
    refused: str | None = None


@dataclass(frozen=True, kw_only=True)
class Passes:
    """The releases of an app, by name. `evaluator` is whose outcomes count; a trial succeeded when its outcome is
    `threshold` or more. Left out: sessions whose outcome names no task, and those whose outcome is no number."""

    evaluator: str
    threshold: float
    k: int
    releases: tuple[ReleasePasses, ...]
    n_without_task: int
    n_unscored: int


def read_passes(
    store: TenantStore, asked: OutcomesAsked, k: int, *, evaluator: str | None = None, threshold: float = 1.0
) -> Passes:
    """pass^k over the app's sessions; each session is one trial of the task that its outcome's metadata names.

    Raises InvalidInput for a k that no release has trials for, naming what k can be, and where the outcomes are of
    several evaluators and none is chosen; NotFound where no session of the app has an outcome that names its task.
    """
    if not 1 <= k <= MOST_K:
        raise InvalidInput(f"k is a number from 1 to {MOST_K}, not {k}", field="k")
    found = outcomes(store, replace(asked, evaluator=evaluator))
    chosen = chosen_evaluator(found, asked.app, evaluator)
    rows = found.filter(pl.col("evaluator") == chosen).with_columns(
        task=pl.col("metadata").map_elements(_task, return_dtype=pl.String)
    )
    trials = rows.filter(pl.col("task").is_not_null() & pl.col("value").is_not_null())
    if trials.is_empty():
        raise NotFound(
            f"no outcome of {chosen[:80]} over app {asked.app[:80]!r} has a value and names its task: "
            "write task_id or example_id into the outcome's metadata, or name the evaluator of a run's trials "
            "(--evaluator end_state, for example)"
        )
    releases = [
        _of_release(str(name) if name is not None else None, part, k, threshold)
        for (name,), part in sorted(trials.partition_by("release", as_dict=True).items(), key=str)
    ]
    if all(one.refused for one in releases):
        raise InvalidInput(str(max(releases, key=lambda one: one.least_trials).refused), field="k")
    return Passes(
        evaluator=chosen,
        threshold=threshold,
        k=k,
        releases=tuple(releases),
        n_without_task=int(rows["task"].is_null().sum()),
        n_unscored=int(rows["value"].is_null().sum()),
    )


def chosen_evaluator(found: pl.DataFrame, app: str, evaluator: str | None) -> str:
    """Whose outcomes count. Raises NotFound where there are none, InvalidInput where several are and none is named."""
    known = sorted(found["evaluator"].unique().to_list())
    if evaluator is not None and evaluator in known:
        return evaluator
    if not known:
        raise NotFound(f"no session of app {app[:80]!r} in that window has an outcome")
    named = ", ".join(one[:60] for one in known[:10])
    if evaluator is not None:
        raise NotFound(f"app {app[:80]!r} has no outcomes of {evaluator[:80]!r}; it has those of {named}")
    if len(known) > 1:
        raise InvalidInput(f"outcomes are of {named}: say which evaluator's (--evaluator)", field="evaluator")
    return str(known[0])


def _of_release(release: str | None, rows: pl.DataFrame, k: int, threshold: float) -> ReleasePasses:
    tasks = rows.group_by("task").agg(
        n=pl.len().cast(pl.Int64), c=(pl.col("value") >= threshold - 1e-6).sum().cast(pl.Int64)
    )
    n, c = tasks["n"].to_numpy().astype(np.int64), tasks["c"].to_numpy().astype(np.int64)
    refused = None
    try:
        pass_hat_k(n, c, k)
    except InvalidInput as error:
        refused = str(error)
    least = int(n.min())
    return ReleasePasses(
        release=release,
        n_tasks=len(n),
        n_trials=int(n.sum()),
        least_trials=least,
        pass_hat=tuple(pass_hat_k(n, c, at) for at in range(1, min(k, least) + 1)),
        pass_at=tuple(pass_at_k(n, c, at) for at in range(1, min(k, least) + 1)),
        refused=refused,
    )


def _task(metadata: str | None) -> str | None:
    try:
        said: Any = json.loads(metadata or "{}")
    except (ValueError, RecursionError):
        return None
    named = (
        next((said[key] for key in TASK_KEYS if said.get(key) is not None), None) if isinstance(said, dict) else None
    )
    return str(named)[:500] if isinstance(named, str | int) and not isinstance(named, bool) else None
