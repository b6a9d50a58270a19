"""A synthetic app: a week of 5-minute points of its series with season and noise, and what a cause does to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from core.clock import NS_PER_S
from monitors.diagnosis.changes import change_of
from monitors.diagnosis.mixes import mix_change_of
from monitors.diagnosis.records import Change, Course, MixCourse
from monitors.records import Kind

STEP_NS = 300 * NS_PER_S
START_NS = 1_700_006_400 * NS_PER_S  # a midnight, UTC
POINTS = 7 * 288
NOW_POINTS = 12  # an hour since the onset
PER_STEP = 100.0  # sessions in a step, on average

RATES = {
    "resolution": 0.87,
    "tool_errors:refund_order": 0.02,
    "tool_errors:find_orders": 0.01,
    "retrieval_empty": 0.04,
    "escalation": 0.05,
    "model_errors": 0.005,
    "score:pii_leak": 0.0005,
    "score:injection_success": 0.0005,
    "score:injection_attempt": 0.01,
    "score:loop_free": 0.995,
    "score:confirmation_before_irreversible": 0.998,
    "score:empty_answer": 0.002,
}
LEVELS = {
    "score:trigram_support": (0.8, 0.15),
    "score:helpfulness": (0.75, 0.25),
    "agreement:helpfulness": (0.85, 0.4),
    "turns": (1.8, 0.8),
    "tool_calls": (3.0, 1.5),
    "score:repeated_questions": (0.05, 0.25),
}
POSITIVES = {
    "p95_latency": (4000.0, 0.06),
    "ttft_p95": (700.0, 0.06),
    "input_tokens": (3000.0, 0.04),
    "output_tokens": (120.0, 0.04),
    "cost_per_session": (0.02, 0.05),
}
MIXES = {
    "mix:response_model": {"model-a": 0.95, "model-b": 0.05},
    "mix:document": {"returns": 0.4, "shipping": 0.3, "warranty": 0.2, "sizes": 0.1},
    "mix:intent": {"order": 0.5, "account": 0.3, "technical": 0.2},
}


@dataclass(frozen=True)
class Story:
    """What a cause does: rates and levels move by so much, the others by a factor, mixes by shares; within groups."""

    adds: Mapping[str, float] = field(default_factory=dict)
    times: Mapping[str, float] = field(default_factory=dict)
    mixes: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    within: float = 0.0


QUIET = Story()


def changes(story: Story, seed: int, per_step: float = PER_STEP) -> list[Change]:
    """How the series of such an app stand an hour after the cause set in."""
    chance = np.random.default_rng(seed)
    n_points = POINTS + NOW_POINTS
    at = START_NS + np.arange(n_points) * STEP_NS
    since = np.arange(n_points) >= POINTS
    day = 1 + 0.6 * np.sin(2 * np.pi * np.arange(n_points) / 288)
    n = chance.poisson(per_step * day * np.where(since, story.times.get("traffic", 1.0), 1.0)).astype(float)
    n = np.maximum(n, 1)
    onset, now = int(at[POINTS]), int(at[-1]) + STEP_NS
    found = []

    def add(series: str, kind: Kind, x: np.ndarray, weight: np.ndarray) -> None:
        course = Course(series=series, kind=kind, at_ns=at, x=x, n=weight)
        found.append(change_of(course, onset_ns=onset, now_ns=now))

    for series, rate in RATES.items():
        wave = min(rate, 1 - rate) * 0.1 * np.sin(2 * np.pi * np.arange(n_points) / 288 + 1)
        p = np.clip(rate + wave + since * story.adds.get(series, 0.0), 0, 1)
        add(series, Kind.RATE, chance.binomial(n.astype(int), p) / n, n)
    for series, (level, sd) in LEVELS.items():
        x = level + since * story.adds.get(series, 0.0) + chance.normal(0, sd / np.sqrt(n))
        add(series, Kind.LEVEL, x, n)
    nothing = np.full(n_points, np.nan)
    cost = np.ones(n_points)
    for series, (level, sd) in POSITIVES.items():
        wave = 1 + 0.1 * np.sin(2 * np.pi * np.arange(n_points) / 288)
        x = level * wave * np.where(since, story.times.get(series, 1.0), 1.0) * np.exp(chance.normal(0, sd, n_points))
        cost = x if series == "cost_per_session" else cost
        add(series, Kind.POSITIVE, x, nothing)
    add("cost_total", Kind.POSITIVE, cost * n, nothing)
    add("traffic", Kind.COUNT, n, nothing)
    for series, shares in MIXES.items():
        before, after = np.array(list(shares.values())), np.array(list((story.mixes.get(series) or shares).values()))
        values = tuple(shares)
        counts = np.array(
            [chance.multinomial(int(k), after if late else before) for k, late in zip(n, since, strict=True)]
        )
        mix = MixCourse(series=series, at_ns=at, values=values, counts=counts.astype(float))
        found.append(mix_change_of(mix, onset_ns=onset, now_ns=now))
    seen, se = story.within + chance.normal(0, 0.01), 0.01
    low, high = seen - 1.96 * se, seen + 1.96 * se
    within = Change(
        series="resolution:within", kind=Kind.LEVEL, before=0.0, now=seen, effect=seen, low=low, high=high, z=seen / se
    )
    return [*found, within]
