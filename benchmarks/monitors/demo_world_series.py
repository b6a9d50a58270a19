"""Weeks of a simulated app as monitors read them: quiet ones, and the same hours with a fault from some moment on.

Sessions are drawn from the played ones as benchmarks/monitors/diagnosis_series.py draws them: with seasons of day and
week, wandering traffic, speed and failures. What differs stands at its place: turn times, faults of quiet weeks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from agent_runtime.simulation.faults.table import FAULTS
from agent_runtime.simulation.provider.latency import PROFILES
from benchmarks.monitors.diagnosis_series import (
    BACKGROUND,
    STEP_S,
    Fault,
    Floats,
    Ints,
    Pool,
    rows_drawn,
    slowness,
    tasks_drawn,
    traffic_of,
    wobble,
)
from benchmarks.monitors.diagnosis_sessions import RULES, SOUND, Row
from monitors.series import GROUNDING, SAFETY

WEEK: Final = 7 * 86_400 // STEP_S  # buckets
DRAWS: Final = 64  # times of each played turn, of which each session takes one
OVERHEAD_MS: Final = 50.0  # of a turn beside its model calls


@dataclass(frozen=True, kw_only=True)
class Played:
    """The pool as monitors see it: of each row what it adds to a bucket, its turn times, and which rows a quiet week
    has at any time."""

    pool: Pool
    columns: Mapping[str, Floats] = field(repr=False)
    turn_ms: Floats = field(repr=False)  # (turns, DRAWS)
    first_turn: Ints
    n_turns: Ints
    background: Ints


@dataclass(frozen=True, kw_only=True)
class World:
    """What wanders in an app, by bucket, and how many sessions a minute it has. A fault meets the same hours."""

    per_minute: float
    traffic: Floats = field(repr=False)
    fails: Floats = field(repr=False)
    slow: Floats = field(repr=False)

    @property
    def n_steps(self) -> int:
        """Its length."""
        return len(self.slow)


@dataclass(frozen=True, kw_only=True)
class Stream:
    """What is read of an app: by series the value of each bucket and its observations (NaN: none), and by bucket how
    often each model answered."""

    values: Mapping[str, tuple[Floats, Floats]] = field(repr=False)
    answered: Floats = field(repr=False)


def played_of(pool: Pool, seed: int = 1) -> Played:
    """The pool's rows as monitors see them."""
    columns = _columns(pool)
    unsafe = columns["breaches"] > 0
    planted = np.concatenate([rows for name, rows in pool.of_fault.items() if name != SOUND])
    spiked = set(pool.of_fault.get("latency_spike", np.zeros(0, dtype=np.int64)).tolist())
    chance = np.random.default_rng(seed)
    times = [_turn_times(row, number in spiked, chance) for number, row in enumerate(pool.rows)]
    n_turns = np.array([len(one) for one in times])
    return Played(
        pool=pool, columns=columns, turn_ms=np.concatenate(times), n_turns=n_turns,
        first_turn=np.cumsum(n_turns) - n_turns,
        # A leak is a page also in a quiet week, and a right one: quiet is where there is none.
        background=planted[~unsafe[planted]],
    )  # fmt: skip


def _columns(pool: Pool) -> dict[str, Floats]:
    """What each row adds to the sums of its bucket."""
    scores = {name: pool.scores[:, number] for number, name in enumerate(RULES)}
    seen = {name: np.isfinite(value).astype(float) for name, value in scores.items()}
    value = {name: np.nan_to_num(one) for name, one in scores.items()}
    grounded = next(name for name in GROUNDING if seen.get(name, np.zeros(1)).any())
    checks = [name for name in SAFETY if name in scores]
    return {
        **{name: pool.columns[name] for name in ("turns", "output_tokens", "cost_usd", "searches", "empty")},
        "sessions": np.ones(len(pool.rows)),
        "calls": pool.calls.sum(axis=1),
        "failed": np.minimum(pool.failed.sum(axis=1), pool.calls.sum(axis=1)),
        "grounded": value[grounded],
        "of_grounded": seen[grounded],
        "supported": value["trigram_support"],
        "of_supported": seen["trigram_support"],
        "breaches": np.sum([(value[name] > 0).astype(float) for name in checks], axis=0),
        "checks": np.sum([seen[name] for name in checks], axis=0),
        "escalated": value["escalation"],
        "of_escalated": seen["escalation"],
    }


def _turn_times(row: Row, is_spiked: bool, chance: np.random.Generator) -> Floats:
    """Milliseconds of each of its turns, by the simulated models' own law. The times of the played sessions are also
    those of the machine that played them, which was busy with other things: by those, faults would differ in speed."""
    n_turns, n_calls = max(1, int(row["turns"])), sum(row["models"].values())
    names = [name for name, count in row["models"].items() for _ in range(count)]
    tokens = row["output_tokens"] / max(1, n_calls)
    took = np.full((n_turns, DRAWS), OVERHEAD_MS)
    for number, name in enumerate(names):
        law = PROFILES.get(name, PROFILES["sim-1"])
        first = law.first_token_ms * np.exp(law.first_token_sigma * chance.normal(size=DRAWS))
        speed = law.tokens_per_s * np.exp(law.tokens_per_s_sigma * chance.normal(size=DRAWS))
        more = FAULTS["latency_spike"].lowers.change if is_spiked else 0.0
        took[number % n_turns] += first + 1000 * tokens / speed + more
    return took


def world_of(per_minute: float, weeks: int, chance: np.random.Generator) -> World:
    """An app from a Monday on."""
    n = weeks * WEEK
    hours = np.arange(n) * STEP_S / 3600
    return World(
        per_minute=per_minute, traffic=traffic_of(hours) * wobble(chance, n, 12, 0.05),
        fails=wobble(chance, n, 12, 0.08), slow=slowness(chance, hours),
    )  # fmt: skip


def quiet(played: Played, world: World, chance: np.random.Generator) -> Stream:
    """All its weeks without a fault; drawn by the week."""
    parts = [read(played, world, at, min(at + WEEK, world.n_steps), chance) for at in range(0, world.n_steps, WEEK)]
    return joined(parts)


def joined(parts: Sequence[Stream]) -> Stream:
    """Streams that follow one another."""
    values = {
        name: (
            np.concatenate([one.values[name][0] for one in parts]),
            np.concatenate([one.values[name][1] for one in parts]),
        )
        for name in parts[0].values
    }
    return Stream(values=values, answered=np.concatenate([one.answered for one in parts]))


def read(
    played: Played, world: World, first: int, last: int, chance: np.random.Generator, *,
    fault: Fault | None = None, phase: float = 0.0,
) -> Stream:  # fmt: skip
    """Buckets [first, last) of the world, with the fault from that share of the first bucket on."""
    pool, n = played.pool, last - first
    expected = world.per_minute * STEP_S / 60 * world.traffic[first:last]
    step = np.repeat(np.arange(n), chance.poisson(expected))
    task = tasks_drawn(pool, chance, (first + step) * STEP_S / 3600)
    hit = np.zeros(len(step), dtype=bool)
    if fault:
        late = (step > 0) | (chance.random(len(step)) >= phase)
        hit = late & (chance.random(len(step)) < fault.rate)
    row, task, hit = rows_drawn(pool, fault, task, hit, chance)
    anyway = np.flatnonzero(chance.random(len(step)) < BACKGROUND)
    row[anyway] = played.background[chance.integers(len(played.background), size=len(anyway))]
    fails = pool.fails[task] * world.fails[first + step] + hit * (fault.worse if fault else 0.0)
    passed = pool.columns["passed"][row] * (chance.random(len(step)) >= fails)
    return _stream(played, _Drawn(step=step, row=row, passed=passed, slow=world.slow[first:last]), chance)


@dataclass(frozen=True, kw_only=True)
class _Drawn:
    step: Ints
    row: Ints
    passed: Floats
    slow: Floats


def _stream(played: Played, seen: _Drawn, chance: np.random.Generator) -> Stream:
    n_rows, n = len(played.n_turns), len(seen.slow)
    often = np.bincount(seen.step * n_rows + seen.row, minlength=n * n_rows).reshape(n, n_rows).astype(float)
    sums = {name: often @ column for name, column in played.columns.items()}
    sums["passed"] = np.bincount(seen.step, seen.passed, n).astype(float)
    p95, n_turns = _p95(played, seen, chance)
    values = {
        name: (_over(sums[top], sums[below]), sums[below])
        for name, (top, below) in {
            "resolution": ("passed", "sessions"),
            "grounding": ("grounded", "of_grounded"),
            "escalation": ("escalated", "of_escalated"),
            "score:trigram_support": ("supported", "of_supported"),
            "cost_per_session": ("cost_usd", "sessions"),
            "output_tokens": ("output_tokens", "turns"),
            "turns": ("turns", "sessions"),
            "tool_calls": ("calls", "sessions"),
            "tool_errors": ("failed", "calls"),
            "retrieval_empty": ("empty", "searches"),
        }.items()
    }
    values["safety"] = (1 - _over(sums["breaches"], sums["checks"]), sums["checks"])
    values["p95_latency"] = (p95, n_turns)
    return Stream(values=values, answered=often @ played.pool.answered)


def _p95(played: Played, seen: _Drawn, chance: np.random.Generator) -> tuple[Floats, Floats]:
    """The 95th percentile of the turns of each bucket, by rank, and how many these were."""
    n = played.n_turns[seen.row]
    within = np.arange(int(n.sum())) - np.repeat(np.cumsum(n) - n, n)
    step = np.repeat(seen.step, n)
    turn = np.repeat(played.first_turn[seen.row], n) + within
    took = played.turn_ms[turn, chance.integers(DRAWS, size=len(turn))] * seen.slow[step]
    # One sort for all buckets: no turn takes a day, so that those of a bucket lie together.
    day_ms = 86_400_000.0
    ordered = np.sort(step * day_ms + took)
    counts = np.bincount(step, minlength=len(seen.slow))
    first = np.cumsum(counts) - counts
    rank = first + np.minimum(counts - 1, (0.95 * counts).astype(int))
    some: NDArray[np.bool_] = counts > 0
    found = np.full(len(counts), np.nan)
    found[some] = ordered[rank[some]] - np.flatnonzero(some) * day_ms
    return found, counts.astype(float)


def _over(total: Floats, n: Floats) -> Floats:
    return np.asarray(np.divide(total, n, out=np.full(len(n), np.nan), where=n > 0))
