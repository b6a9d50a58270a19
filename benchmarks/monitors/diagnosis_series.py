"""A simulated app by minutes: a week of sessions with seasons, a fault from the onset on, and the series that a monitor
sees of it. Sessions are drawn from the played ones of benchmarks/monitors/diagnosis_sessions.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.monitors.diagnosis_sessions import RULES, SOUND, Row, applies_to
from core.clock import NS_PER_S
from monitors.diagnosis.attribution import attribution_of
from monitors.diagnosis.changes import change_of
from monitors.diagnosis.contributions import Groups, within_change
from monitors.diagnosis.mixes import mix_change_of
from monitors.diagnosis.records import Change, Course, MixCourse
from monitors.records import Kind
from monitors.service_diagnosis import TYPICAL

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

STEP_S: Final = 300
DAYS: Final = 7
BEFORE: Final = DAYS * 86_400 // STEP_S
START_NS: Final = 1_762_732_800 * NS_PER_S  # Monday, 10 November 2025
QUALITY: Final = 0.87
WORSE: Final = 0.80
FAILS: Final = {"easy": 0.5, "medium": 1.0, "hard": 2.0}  # how often a task fails anyway, one to another
BACKGROUND: Final = 0.01  # of sessions have some fault, at any time
JUDGED: Final = 0.2
LABELLED: Final = 0.03
JUDGE_ERRS: Final = 0.1
HALF: Final = 0.5  # of sessions have a fault that fails no task
MOST: Final = 0.9  # of the sessions in which a fault can show have it


@dataclass(frozen=True, kw_only=True)
class Pool:
    """The played sessions as columns, sound ones first; which rows are of which fault and of which task."""

    rows: Sequence[Row] = field(repr=False)
    of_fault: Mapping[str, Ints]
    tasks: tuple[str, ...]
    task: Ints
    fails: Floats  # by task
    columns: Mapping[str, Floats]
    tools: tuple[str, ...]
    calls: Floats
    failed: Floats
    models: tuple[str, ...]
    answered: Floats
    documents: tuple[str, ...]
    found: Floats
    scores: Floats
    turn_ms: tuple[Floats, ...]
    intents: tuple[str, ...]
    intent: Ints  # by task


def pool_of(played: Mapping[str, Sequence[Row]]) -> Pool:
    """The columns of what was played."""
    rows = [row for found in played.values() for row in found]
    starts = np.cumsum([0, *(len(found) for found in played.values())])
    tasks = tuple(sorted({row["scenario"] for row in played[SOUND]}))
    of_task = {row["scenario"]: row for row in played[SOUND]}
    intents = tuple(sorted({row["intent"] for row in rows}))
    raw = np.array([FAILS[of_task[task]["difficulty"]] for task in tasks])
    return Pool(
        rows=rows,
        of_fault={name: np.arange(a, b) for name, a, b in zip(played, starts[:-1], starts[1:], strict=True)},
        tasks=tasks,
        task=np.array([tasks.index(row["scenario"]) for row in rows]),
        fails=raw / raw.mean() * (1 - QUALITY - BACKGROUND * 0.7),
        columns={
            name: np.array([float(row[name]) for row in rows])
            for name in ("passed", "turns", "input_tokens", "output_tokens", "cost_usd", "searches", "empty")
        },
        **_counted(rows, "tools", "tools", "calls"),
        failed=_counted(rows, "tools", "tools", "failed", of="failed")["failed"],
        **_counted(rows, "models", "models", "answered"),
        **_counted(rows, "documents", "documents", "found"),
        scores=np.array([[row["scores"].get(name, np.nan) for name in RULES] for row in rows]),
        turn_ms=tuple(np.array(row["turn_ms"]) for row in rows),
        intents=intents,
        intent=np.array([intents.index(of_task[task]["intent"]) for task in tasks]),
    )


def _counted(rows: Sequence[Row], column: str, names: str, counts: str, of: str = "") -> dict[str, Any]:
    every = sorted({name for row in rows for name in row[column]})
    found = np.array([[float(row[of or column].get(name, 0)) for name in every] for row in rows])
    return {names: tuple(every), counts: found}


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A fault at a rate among the tasks where it shows; `worse`: how much more often its sessions fail besides.

    With `share` these tasks are so much of the app's traffic, before the onset as well. With `release` only sessions of
    a release that takes this share of traffic from the onset on have it.
    """

    name: str
    rate: float
    worse: float = 0.0
    share: float | None = None
    release: float | None = None


def realistic(pool: Pool, name: str, worse: float = 0.0, *, same_app: bool = False) -> Fault:
    """The fault at the rate that brings resolution from 87 to 80 %; half where no task fails. Where it shows in too few
    tasks for that, in an app of which these tasks are a larger part, at nine sessions in ten of them; or, in the
    `same_app`, in every one of them."""
    shows = np.isin(pool.tasks, list(applies_to(name)))
    passes = 1 - pool.fails
    if name == "harder_users":
        drop = float(passes.mean() - passes[shows].mean())
        return Fault(name=name, rate=min(1.0, (QUALITY - WORSE) / drop))
    planted = pool.of_fault[name]
    lost = 1 - float(pool.columns["passed"][planted].mean())
    if lost < 0.05:
        return Fault(name=name, rate=HALF, worse=worse)
    drop = float((passes * shows).mean()) * lost
    rate = (QUALITY - WORSE) / drop
    if rate <= MOST or same_app:
        return Fault(name=name, rate=min(1.0, rate))
    return Fault(name=name, rate=MOST, share=(QUALITY - WORSE) / (MOST * lost * float(passes[shows].mean())))


@dataclass(frozen=True, kw_only=True)
class Sessions:
    """Drawn sessions: the step of each, its row in the pool, its task, whether it passed, whether of the new release.

    `onset` is the step from which on the cause is looked for; `first`, the place of the first step in its week.
    """

    step: Ints
    row: Ints
    task: Ints
    passed: Floats
    release: NDArray[np.bool_]  # of the new release
    n_steps: int
    onset: int
    first: int
    slow: Floats  # by step, how much slower than usual


def drawn(pool: Pool, fault: Fault | None, chance: np.random.Generator, per_minute: float, steps: int) -> Sessions:
    """A week of quiet traffic, from any hour of the week on, and more, in which the fault is planted: until as many
    sessions came as `steps` bring on the average."""
    first = int(chance.integers(BEFORE))
    hours = (first + np.arange(2 * BEFORE)) * STEP_S / 3600
    shape = traffic_of(hours)
    n_steps = BEFORE + 1 + int(np.searchsorted(np.cumsum(shape[BEFORE:]), steps * shape.mean()))
    hours, shape = hours[:n_steps], shape[:n_steps]
    n = chance.poisson(per_minute * STEP_S / 60 * shape * wobble(chance, n_steps, 12, 0.05))
    step = np.repeat(np.arange(n_steps), n)
    late = step >= BEFORE
    task = tasks_drawn(pool, chance, hours[step], fault)
    release = late & (chance.random(len(step)) < (fault.release or 0.0)) if fault else np.zeros(len(step), dtype=bool)
    hit = late & (chance.random(len(step)) < fault.rate) if fault else np.zeros(len(step), dtype=bool)
    if fault and fault.release is not None:
        hit &= release
    row, task, hit = rows_drawn(pool, fault, task, hit, chance)
    anyway = np.flatnonzero(chance.random(len(step)) < BACKGROUND)
    planted = np.concatenate([rows for name, rows in pool.of_fault.items() if name != SOUND])
    row[anyway] = planted[chance.integers(len(planted), size=len(anyway))]
    fails = pool.fails[task] * wobble(chance, n_steps, 12, 0.08)[step] + hit * (fault.worse if fault else 0.0)
    passed = pool.columns["passed"][row] * (chance.random(len(step)) >= fails)
    slow = slowness(chance, hours)
    return Sessions(
        step=step, row=row, task=task, passed=passed, release=release, n_steps=n_steps, onset=BEFORE, first=first,
        slow=slow,
    )  # fmt: skip


def traffic_of(hours: Floats) -> Floats:
    """How much traffic comes at these hours since a Monday, about 1: by the hour of day, and less at the weekend."""
    of_day = 1 + 0.8 * np.sin((hours % 24 - 9) / 24 * 2 * np.pi)
    return np.asarray(of_day * np.array([1.1, 1.15, 1.1, 1.05, 1.0, 0.7, 0.6])[(hours // 24).astype(int) % 7])


def slowness(chance: np.random.Generator, hours: Floats) -> Floats:
    """How much slower than usual turns are at these hours: by the hour of day, and wandering."""
    return np.asarray(wobble(chance, len(hours), 6, 0.06) * (1 + 0.15 * np.sin((hours % 24 - 9) / 24 * 2 * np.pi)))


def rows_drawn(
    pool: Pool, fault: Fault | None, task: Ints, hit: NDArray[np.bool_], chance: np.random.Generator
) -> tuple[Ints, Ints, NDArray[np.bool_]]:
    """The played row of each session, with its task, and whether it has the fault: of those that are to be hit, where
    it can show. Harder users bring other tasks."""
    row = _sound(pool, task, chance)
    if fault and fault.name == "harder_users":
        hard = np.flatnonzero(np.isin(pool.tasks, list(applies_to(fault.name))))
        task = np.where(hit, hard[chance.integers(len(hard), size=len(task))], task)
        row = _sound(pool, task, chance)
    elif fault:
        hit = hit & np.isin(pool.tasks, list(applies_to(fault.name)))[task]
        row[hit] = _planted(pool, fault.name, task[hit], chance)
    return row, task, hit


def worst_window(seen: Sessions) -> Sessions:
    """The same up to the end of the worst window of the last day before the onset, which takes the onset's place."""
    n = seen.n_steps - seen.onset
    first = np.arange(seen.onset - 86_400 // STEP_S, seen.onset - n + 1, n)
    steps = np.arange(n)
    here = [np.isin(seen.step, one + steps) for one in first]
    z = [(seen.passed[one].mean() - seen.passed.mean()) * np.sqrt(one.sum()) if one.any() else 0.0 for one in here]
    onset = int(first[int(np.argmin(z))])
    kept = seen.step < onset + n
    return Sessions(
        step=seen.step[kept],
        row=seen.row[kept],
        task=seen.task[kept],
        passed=seen.passed[kept],
        release=seen.release[kept],
        n_steps=onset + n,
        onset=onset,
        first=seen.first,
        slow=seen.slow,
    )


def wobble(chance: np.random.Generator, n: int, lasting: int, sd: float) -> Floats:
    """A factor that wanders about 1: lognormal, correlated over about `lasting` steps."""
    keep = float(np.exp(-1 / lasting))
    noise = chance.normal(size=n) * np.sqrt(1 - keep**2)
    found = np.empty(n)
    found[0] = chance.normal()
    for at in range(1, n):
        found[at] = keep * found[at - 1] + noise[at]
    return np.exp(sd * found - sd**2 / 2)


def tasks_drawn(pool: Pool, chance: np.random.Generator, hours: Floats, fault: Fault | None = None) -> Ints:
    """Any task; one intent comes more often at night, so that the mix has a season."""
    day = np.ones(len(pool.tasks))
    if fault is not None and fault.share is not None:
        shows = np.isin(pool.tasks, list(applies_to(fault.name)))
        day = np.where(shows, fault.share / shows.sum(), (1 - fault.share) / (~shows).sum())
    night = day * np.where(pool.intent == len(pool.intents) - 1, 1.3, 1.0)
    by_night = chance.choice(len(pool.tasks), size=len(hours), p=night / night.sum())
    by_day = chance.choice(len(pool.tasks), size=len(hours), p=day / day.sum())
    return np.where((hours % 24 < 6) | (hours % 24 >= 22), by_night, by_day)


def _sound(pool: Pool, task: Ints, chance: np.random.Generator) -> Ints:
    return _of_task(pool, pool.of_fault[SOUND], task, chance)


def _planted(pool: Pool, name: str, task: Ints, chance: np.random.Generator) -> Ints:
    return _of_task(pool, pool.of_fault[name], task, chance)


def _of_task(pool: Pool, rows: Ints, task: Ints, chance: np.random.Generator) -> Ints:
    """A row of the same task where one was played, else any of these."""
    found = rows[chance.integers(len(rows), size=len(task))]
    for one in np.unique(pool.task[rows]):
        same, here = rows[pool.task[rows] == one], np.flatnonzero(task == one)
        found[here] = same[chance.integers(len(same), size=len(here))]
    return found


def changes_of(pool: Pool, seen: Sessions, chance: np.random.Generator, hide: Sequence[str] = ()) -> list[Change]:
    """How every series stands at the end, against the week before the onset; those in `hide` are not measured."""
    at = START_NS + (seen.first + np.arange(seen.n_steps)) * STEP_S * NS_PER_S
    onset, now = int(at[seen.onset]), int(at[-1]) + STEP_S * NS_PER_S
    found = [
        change_of(Course(series=name, kind=kind, at_ns=at, x=x, n=n), onset_ns=onset, now_ns=now)
        for name, (kind, x, n) in _courses(pool, seen, chance).items()
        if name not in hide
    ]
    for name, (values, counts) in _mixes(pool, seen).items():
        if name not in hide:
            mix = MixCourse(series=name, at_ns=at, values=values, counts=counts)
            found.append(mix_change_of(mix, onset_ns=onset, now_ns=now))
    if "resolution:within" not in hide:
        found.append(within_change(attribution_of(groups_of(seen, "cluster", seen.task, pool.tasks))))
    for name, y in (("turns", pool.columns["turns"]), ("tool_calls", pool.calls.sum(axis=1))):
        if f"{name}:within" not in hide:
            typical = np.minimum(y[seen.row], np.quantile(y[seen.row], TYPICAL))
            groups = groups_of(seen, "cluster", seen.task, pool.tasks, typical)
            found.append(within_change(attribution_of(groups), f"{name}:within"))
    return found


def groups_of(
    seen: Sessions, dimension: str, value: Ints, names: tuple[str, ...], y: Floats | None = None
) -> Groups:  # fmt: skip
    """Sessions before and since the onset by a dimension, with how many passed, or with the sums of y."""
    late, k = (seen.step >= seen.onset).astype(int), len(names)
    y = seen.passed if y is None else y
    n, total, squares = (
        np.bincount(late * k + value, of, 2 * k).reshape(2, k).astype(float) for of in (np.ones(len(y)), y, y * y)
    )
    return Groups(dimension=dimension, values=names, n=n, total=total, squares=squares)


def _courses(pool: Pool, seen: Sessions, chance: np.random.Generator) -> dict[str, tuple[Kind, Floats, Floats]]:
    step, row, k = seen.step, seen.row, seen.n_steps

    def total(x: Floats, who: NDArray[np.bool_] | slice = slice(None)) -> Floats:
        return np.bincount(step[who], x[who], k).astype(float)

    sessions = np.bincount(step, minlength=k).astype(float)
    column = {name: pool.columns[name][row] for name in pool.columns}
    sums = {name: total(x) for name, x in column.items()}
    nothing = np.full(k, np.nan)
    found: dict[str, tuple[Kind, Floats, Floats]] = {
        "resolution": (Kind.RATE, _over(total(seen.passed), sessions), sessions),
        "traffic": (Kind.COUNT, sessions, nothing),
        "cost_total": (Kind.POSITIVE, sums["cost_usd"], nothing),
        "cost_per_session": (Kind.POSITIVE, _over(sums["cost_usd"], sessions), sessions),
        "input_tokens": (Kind.POSITIVE, _over(sums["input_tokens"], sums["turns"]), sums["turns"]),
        "output_tokens": (Kind.POSITIVE, _over(sums["output_tokens"], sums["turns"]), sums["turns"]),
        "turns": (Kind.LEVEL, _over(sums["turns"], sessions), sessions),
        "tool_calls": (Kind.LEVEL, _over(total(pool.calls[row].sum(axis=1)), sessions), sessions),
        "retrieval_empty": (Kind.RATE, _over(sums["empty"], sums["searches"]), sums["searches"]),
        "p95_latency": (Kind.POSITIVE, _p95(pool, seen), nothing),
    }
    for number, tool in enumerate(pool.tools):
        n = total((pool.calls[row, number] > 0).astype(float))  # sessions, as the product's diagnosis counts them
        some = total((pool.failed[row, number] > 0).astype(float))
        found[f"tool_errors:{tool}"] = (Kind.RATE, _over(some, n), n)
    for number, rule in enumerate(RULES):
        value = pool.scores[row, number]
        scored = np.isfinite(value)
        n = total(scored.astype(float))
        is_share = bool(np.isin(pool.scores[np.isfinite(pool.scores[:, number]), number], (0.0, 1.0)).all())
        kind = Kind.RATE if is_share else Kind.LEVEL
        found[f"score:{rule}"] = (kind, _over(total(np.nan_to_num(value)), n), n)
    judged, labelled = chance.random(len(step)) < JUDGED, chance.random(len(step)) < LABELLED
    wrong = chance.random(len(step)) < JUDGE_ERRS
    verdict = np.where(wrong, 1 - seen.passed, seen.passed)
    for name, who, value in (("score:solved", judged, verdict), ("agreement:solved", labelled, 1.0 - wrong)):
        n = np.bincount(step[who], minlength=k).astype(float)
        found[name] = (Kind.RATE, _over(total(np.asarray(value, dtype=float), who), n), n)
    return found


def _p95(pool: Pool, seen: Sessions) -> Floats:
    """The 95th percentile of the turns of each step, by rank."""
    lengths = np.array([len(one) for one in pool.turn_ms])
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    flat = np.concatenate(pool.turn_ms)
    n = lengths[seen.row]
    within = np.arange(int(n.sum())) - np.repeat(np.cumsum(n) - n, n)
    step = np.repeat(seen.step, n)
    took = flat[np.repeat(starts[seen.row], n) + within] * seen.slow[step]
    order = np.lexsort((took, step))
    counts = np.bincount(step, minlength=seen.n_steps)
    first = np.cumsum(counts) - counts
    rank = first + np.minimum(counts - 1, (0.95 * counts).astype(int))
    return np.where(counts > 0, took[order][np.minimum(np.maximum(rank, 0), len(took) - 1)], np.nan)


def _mixes(pool: Pool, seen: Sessions) -> dict[str, tuple[tuple[str, ...], Floats]]:
    def by_step(counts: Floats) -> Floats:
        return np.stack([np.bincount(seen.step, one, seen.n_steps) for one in counts.T], axis=1)

    def kinds(value: Ints, k: int) -> Floats:
        return np.bincount(seen.step * k + value, minlength=seen.n_steps * k).reshape(-1, k).astype(float)

    return {
        "mix:response_model": (pool.models, by_step(pool.answered[seen.row])),
        "mix:document": (pool.documents, by_step((pool.found[seen.row] > 0).astype(float))),
        "mix:intent": (pool.intents, kinds(pool.intent[seen.task], len(pool.intents))),
        "mix:cluster": (pool.tasks, kinds(seen.task, len(pool.tasks))),
    }


def _over(total: Floats, n: Floats) -> Floats:
    return np.asarray(np.divide(total, n, out=np.full(len(n), np.nan), where=n > 0))
