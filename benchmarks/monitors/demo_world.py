"""How soon the monitors of an agent tell of each fault of the demo world, and how often they page for nothing.

    python -m benchmarks.monitors.demo_world --kept FOLDER                  # the tables and the JSON
    python -m benchmarks.monitors.demo_world --kept FOLDER --worlds 2 --weeks 2 --runs 4 --dry

Worlds are drawn from a few played sessions (kept in FOLDER, as of benchmarks.monitors.diagnosis): four weeks from which
monitors learn, and quiet weeks that count, with seasons of day and week, wandering speed, traffic and failures. A run
plants each fault at a random moment of these weeks, at the rate that brings resolution down by the 7 points from 87 to
80 % (in every session where it can show, where that is too few; in half of them, where it fails no task), and waits a
day. The monitors are the five default ones; with them those that a careful team adds; and the rule of the slides on the
same series. One more column of each run has no fault: what is "found" there is chance.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
from scipy.stats import chi2

from agent_runtime.simulation.faults.table import FAULTS
from benchmarks.evaluators.throughput import ROOT, commit, machine
from benchmarks.monitors.demo_world_monitors import DAY, Found, Run, Scene, found_of, incidents_of, slides_of
from benchmarks.monitors.demo_world_series import WEEK, Played, World, played_of, quiet, read, world_of
from benchmarks.monitors.diagnosis import WORSE_MODEL
from benchmarks.monitors.diagnosis_series import Fault, Floats, pool_of, realistic
from benchmarks.monitors.diagnosis_sessions import SOUND, rows_of
from monitors.alert_records import EventKind
from monitors.banding import expected_of
from monitors.defaults import DEFAULTS, default_of
from monitors.definition import Definition
from monitors.series import Source

RESULT: Final = ROOT / "benchmarks" / "results" / "monitors_demo_world.json"
LEARNED_WEEKS: Final = 4
ADDED: Final = (
    *("cost_per_session", "output_tokens", "tool_errors", "tool_calls", "turns", "retrieval_empty"),
    *("mix:response_model", "score:trigram_support"),
)
NO_FAULT: Final = "(no fault)"
HOUR_S: Final = 3600.0


def main() -> int:
    """Prints the tables, and writes them."""
    given = _given()
    began = time.process_time()
    played = played_of(
        pool_of(rows_of(given.kept, {SOUND: given.sound, **dict.fromkeys(sorted(FAULTS), given.planted)}))
    )
    sizes = {}
    for number, per_minute in enumerate(float(one) for one in given.per_minute.split(",")):
        chance = np.random.default_rng([given.seed, number])
        sizes[f"{per_minute:g} sessions a minute"] = measured(played, per_minute, given, chance)
    if not given.dry:
        told = {**_about(given, began), "sizes": sizes}
        RESULT.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    return 0


def _given() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kept", type=Path, required=True, metavar="FOLDER", help="where played sessions are kept")
    parser.add_argument("--worlds", type=int, default=10, help="worlds of each size")
    parser.add_argument("--weeks", type=int, default=8, help="quiet weeks of each that count")
    parser.add_argument("--runs", type=int, default=20, help="onsets of each fault")
    parser.add_argument("--per-minute", default="20,2", help="sessions, of each size")
    parser.add_argument("--sound", type=int, default=83, help="sound sessions that are played")
    parser.add_argument("--planted", type=int, default=8, help="sessions of each fault that are played")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--dry", action="store_true", help="write no result")
    return parser.parse_args()


def monitors() -> dict[str, Definition]:
    """The default ones, and then those that are added."""
    return {**DEFAULTS, **{series: default_of(series, "any") for series in ADDED}}


def faults_of(played: Played) -> dict[str, Fault | None]:
    """Each fault at its realistic rate; the swapped model also as a worse one; none."""
    pool = played.pool
    return {
        **{name: realistic(pool, name) for name in sorted(FAULTS)},
        "silent_model_change, worse": realistic(pool, "silent_model_change", WORSE_MODEL),
        NO_FAULT: None,
    }


def scene_of(
    played: Played, per_minute: float, chance: np.random.Generator, *, worlds: int, weeks: int, runs: int
) -> Scene:  # fmt: skip
    """Worlds of one size, and the day of each run with each fault."""
    faults = faults_of(played)
    every = [world_of(per_minute, LEARNED_WEEKS + weeks, chance) for _ in range(worlds)]
    learned = LEARNED_WEEKS * WEEK
    onsets = sorted(chance.integers(learned, every[0].n_steps - DAY, size=runs).tolist())
    began = [
        Run(world=at % worlds, onset=onset, phase=float(chance.random()))
        for at, onset in zip(chance.permutation(runs).tolist(), onsets, strict=True)
    ]
    return Scene(
        worlds=[quiet(played, one, chance) for one in every], learned=learned, runs=began, faults=tuple(faults),
        days=[[_day(played, every[run.world], run, fault, chance) for fault in faults.values()] for run in began],
        models=played.pool.models,
    )  # fmt: skip


def _day(played: Played, world: World, run: Run, fault: Fault | None, chance: np.random.Generator) -> Any:
    return read(played, world, run.onset, run.onset + DAY, chance, fault=fault, phase=run.phase)


def measured(played: Played, per_minute: float, given: argparse.Namespace, chance: np.random.Generator) -> Any:
    """All figures of one size of app."""
    scene = scene_of(played, per_minute, chance, worlds=given.worlds, weeks=given.weeks, runs=given.runs)
    print(f"{per_minute:g} sessions a minute: drawn", flush=True)
    found: dict[str, Found] = {}
    slides: dict[str, tuple[int, Floats]] = {}
    for name, definition in monitors().items():
        found[name] = found_of(definition, scene)
        if definition.spec.source is not Source.MIX:
            slides[name] = slides_of(definition, scene)
        print(f"  {name:24} {found[name].n_fired} alerts, by the slides {slides.get(name, ('-',))[0]}", flush=True)
    weeks = given.worlds * given.weeks
    return {
        "quiet": quiet_table(found, slides, weeks),
        "faults": faults_table(played, scene, found, {name: delay for name, (_, delay) in slides.items()}),
    }


def quiet_table(
    found: Mapping[str, Found], slides: Mapping[str, tuple[int, Floats]], weeks: int
) -> dict[str, Any]:  # fmt: skip
    """Alerts a week where nothing happened, beside the budget that was asked for."""
    rows = {}
    for name, one in found.items():
        expected, why = expected_of(monitors()[name], 1)
        rows[name] = {
            "budget": expected,
            "alerts": one.n_fired,
            "per_week": _per_week(one.n_fired, weeks),
            "slides_per_week": _per_week(slides[name][0], weeks) if name in slides else None,
            **({"why_no_budget": why} if expected is None else {}),
        }
    together = {
        "defaults": tuple(DEFAULTS),
        "defaults and added": tuple(found),
    }
    sums = {
        words: {
            "alerts_per_week": _per_week(sum(found[name].n_fired for name in names), weeks),
            "incidents_per_week": _per_week(_incidents(found, names), weeks),
            "slides_per_week": _per_week(sum(slides[name][0] for name in names if name in slides), weeks),
        }
        for words, names in together.items()
    }
    for words, row in sums.items():
        print(f"  quiet weeks, {words}: {row}", flush=True)
    return {"weeks": weeks, "monitors": rows, "together": sums}


def _incidents(found: Mapping[str, Found], names: Sequence[str]) -> int:
    wanted = (EventKind.FIRED, EventKind.RESOLVED)
    worlds = next(iter(found.values())).alerts
    return sum(
        incidents_of([(name, each) for name in names for each in found[name].alerts[world] if each.kind in wanted])
        for world in worlds
    )


def _per_week(count: int, weeks: int) -> dict[str, Any]:
    """The rate, and its exact Poisson interval of 95 % (Garwood 1936)."""
    low = float(chi2.ppf(0.025, 2 * count) / 2) if count else 0.0
    high = float(chi2.ppf(0.975, 2 * count + 2) / 2)
    return {"rate": round(count / weeks, 3), "interval": [round(low / weeks, 3), round(high / weeks, 3)]}


def faults_table(
    played: Played, scene: Scene, found: Mapping[str, Found], slides: Mapping[str, Floats]
) -> dict[str, Any]:  # fmt: skip
    """By fault how soon it is told, and by which monitor first."""
    ours = {name: one.delay_s for name, one in found.items()}
    defaults = {name: ours[name] for name in DEFAULTS}
    planted, table = faults_of(played), {}
    for at, name in enumerate(scene.faults):
        fault = planted[name]
        row = {
            "rate": round(fault.rate, 3) if fault else None,
            "resolution": _resolution(scene, at),
            "defaults": told_by(defaults, at),
            "defaults_and_added": told_by(ours, at),
            "slides_defaults": told_by({one: slides[one] for one in DEFAULTS}, at),
            "by_monitor": {one: _soon(delay[:, at]) for one, delay in ours.items() if np.isfinite(delay[:, at]).any()},
        }
        table[name] = row
        said = {words: row[words] for words in ("defaults", "defaults_and_added", "slides_defaults")}
        print(f"  {name:28} {row['resolution']} {said}", flush=True)
    return table


def _resolution(scene: Scene, fault: int) -> list[float]:
    """Of the quiet weeks, and of the days with the fault."""
    some = [[one.values["resolution"] for one in scene.worlds], [day[fault].values["resolution"] for day in scene.days]]
    sums = [np.sum([[np.nansum(x * n), n.sum()] for x, n in each], axis=0) for each in some]
    return [round(float(passed / n), 3) for passed, n in sums]


def told_by(delays: Mapping[str, Floats], fault: int) -> dict[str, Any]:
    """The first of some monitors to tell, by run."""
    names, table = list(delays), np.stack([one[:, fault] for one in delays.values()])
    first = table.min(axis=0)
    who = Counter(names[int(at)] for at, delay in zip(table.argmin(axis=0), first, strict=True) if np.isfinite(delay))
    return {**_soon(first), "first": dict(who.most_common())}


def _soon(delay_s: Floats) -> dict[str, Any]:
    """Minutes until half and until nine tenths of the runs are told (None: not within the day), and shares."""
    ordered = np.sort(delay_s)
    minutes = [ordered[int(np.ceil(share * len(ordered))) - 1] / 60 for share in (0.5, 0.9)]
    median, most = (round(float(one), 1) if np.isfinite(one) else None for one in minutes)
    return {
        "median_min": median,
        "p90_min": most,
        "in_1_h": float((delay_s <= HOUR_S).mean()),
        "in_24_h": float(np.isfinite(delay_s).mean()),
    }


def _about(given: argparse.Namespace, began: float) -> dict[str, Any]:
    settings = {name: value for name, value in vars(given).items() if name not in ("kept", "dry")}
    words = " ".join(f"--{name.replace('_', '-')} {value}" for name, value in settings.items())
    return {
        "what": "alerts of quiet weeks, and the time until each planted fault is told",
        "command": f"python -m benchmarks.monitors.demo_world --kept FOLDER {words}",
        "machine": machine(),
        "commit": commit(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpu_s": round(time.process_time() - began, 1),
    }


if __name__ == "__main__":
    raise SystemExit(main())
