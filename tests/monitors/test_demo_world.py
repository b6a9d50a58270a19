"""The parts of the benchmark of the demo world, on streams whose answer is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from agent_runtime.simulation.loading import all_scenarios
from benchmarks.monitors.demo_world import told_by
from benchmarks.monitors.demo_world_monitors import DAY, Run, Scene, at_ns, found_of, incidents_of, slides_of
from benchmarks.monitors.demo_world_series import WEEK, Stream, played_of, read, world_of
from benchmarks.monitors.diagnosis_series import Fault, pool_of
from benchmarks.monitors.diagnosis_sessions import RULES, SOUND, Row
from core.clock import NS_PER_S
from monitors.alert_records import Cause, Event, EventKind, Severity
from monitors.defaults import DEFAULTS, default_of

LEARNED = 3 * DAY
ONSET = LEARNED + 100
UNTIL = LEARNED + DAY
N = 400
WATCHED = replace(DEFAULTS["resolution"], band={"kind": "ema", "season": False})


def _stream(chance: np.random.Generator, buckets: int, *, rate: float = 0.87, swapped: float = 0.0) -> Stream:
    solved = chance.binomial(N, rate, buckets) / N
    new = chance.binomial(N, swapped, buckets).astype(float)
    return Stream(
        values={"resolution": (solved, np.full(buckets, float(N)))}, answered=np.stack([N - new, new], axis=1)
    )


def _scene() -> Scene:
    chance = np.random.default_rng(1)
    return Scene(
        worlds=[_stream(chance, UNTIL) for _ in range(2)], n_sizes=1, learned=LEARNED,
        runs=[Run(world=1, onset=ONSET, phase=0.5)], faults=("worse", "swapped", "none"), models=("big", "small"),
        days=[[_stream(chance, DAY, rate=0.6), _stream(chance, DAY, swapped=0.5), _stream(chance, DAY)]],
    )  # fmt: skip


def _row(**scores: float) -> Row:
    """A played session."""
    scenario = all_scenarios()[0]
    return {
        "passed": True, "scenario": scenario.scenario_id, "intent": "order", "difficulty": "medium", "turns": 2,
        "turn_ms": [900.0, 900.0], "input_tokens": 900, "output_tokens": 90, "cost_usd": 0.001, "searches": 1,
        "empty": 0, "tools": {"lookup": 2}, "failed": {}, "models": {"sim-1": 3}, "documents": {"returns": 1},
        "scores": {**dict.fromkeys(RULES, 0.0), "number_support": 1.0, **scores},
    }  # fmt: skip


def test_a_day_has_its_fault_from_the_moment_on_and_quiet_weeks_have_no_leak() -> None:
    leaks = [_row(pii_leak=1.0, number_support=0.5)]
    played = played_of(pool_of({SOUND: [_row()], "latency_spike": [_row()], "leaked_pii": leaks}))
    world = world_of(50.0, 1, np.random.default_rng(2))
    first, last = DAY // 2, DAY
    quiet = read(played, world, 0, WEEK, np.random.default_rng(3))
    x, n = quiet.values["safety"]
    assert (x[n > 0] == 1).all()

    spike, leak = (
        read(played, world, first, last, np.random.default_rng(4), fault=Fault(name=name, rate=1.0), phase=0.8)
        for name in ("latency_spike", "leaked_pii")
    )
    slowest = np.nanmax(quiet.values["p95_latency"][0])
    assert (spike.values["p95_latency"][0][1:] > slowest).all()
    began, after = leak.values["safety"][0][0], leak.values["safety"][0][1:]
    assert after.max() < began < 1
    assert np.allclose(leak.values["grounding"][0][1:], 0.5, atol=0.05)


def test_a_fault_is_told_when_a_look_has_read_the_second_bucket_of_it() -> None:
    found = found_of(WATCHED, _scene(), UNTIL)
    worse, swapped, none = found.delay_s[0]
    assert worse == 2 * 300 - 150 + 90 + 30
    assert np.isinf([swapped, none]).all()
    assert found.n_fired == 0


def test_the_rule_of_the_slides_needs_one_bucket_and_fires_for_nothing() -> None:
    alerts, delay = slides_of(WATCHED, _scene(), UNTIL)
    assert delay[0, 0] == 300 - 150 + 90 + 30
    assert (alerts >= 1).all()


def test_a_swapped_model_is_told_by_the_mix_of_answers_alone() -> None:
    found = found_of(default_of("mix:response_model", "any"), _scene(), UNTIL)
    worse, swapped, none = found.delay_s[0]
    assert 0 < swapped < 2 * 3600
    assert np.isinf([worse, none]).all()
    assert found.n_fired == 0


def test_who_tells_first_is_counted_by_run() -> None:
    found = told_by({"slow": np.array([[600.0], [300.0], [np.inf]]), "fast": np.array([[60.0], [np.inf], [np.inf]])}, 0)
    assert found == {
        "median_min": 5.0, "p90_min": None, "in_1_h": pytest.approx(2 / 3), "in_24_h": pytest.approx(2 / 3),
        "first": {"fast": 1, "slow": 1},
    }  # fmt: skip


def test_alerts_that_begin_together_are_one_incident() -> None:
    def events(monitor: str, begin: int, episode: int) -> list[tuple[str, Event]]:
        return [
            (
                monitor,
                Event(
                    kind=kind, cause=Cause.BREACH, episode=episode, at_ns=at_ns(begin) + after * 60 * NS_PER_S,
                    told_ns=0, fired_ns=at_ns(begin), severity=Severity.PAGE, text="",
                ),
            )
            for kind, after in ((EventKind.FIRED, 0), (EventKind.RESOLVED, 15))
        ]  # fmt: skip

    together = events("resolution", 10, 1) + events("p95_latency", 12, 1)
    assert incidents_of(together) == 1
    assert incidents_of([*together, *events("resolution", 60, 2)]) == 2
