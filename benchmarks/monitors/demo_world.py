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
from collections.abc import Container, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
from scipy.stats import chi2

from agent_runtime.simulation.faults.table import FAULTS
from benchmarks.evaluators.throughput import ROOT, commit, machine
from benchmarks.monitors.demo_world_monitors import DAY, Found, Run, Scene, at_ns, found_of, incidents_of, slides_of
from benchmarks.monitors.demo_world_series import WEEK, Played, World, played_of, quiet, read, world_of
from benchmarks.monitors.diagnosis import WORSE_MODEL
from benchmarks.monitors.diagnosis_series import Fault, Floats, Ints, pool_of, realistic
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
LARGE: Final = "invented_confirmation, 16 points"  # from 87 to 71 %
NO_FAULT: Final = "(no fault)"
HOUR_S: Final = 3600.0


def main() -> int:
    """Prints the tables, and writes them."""
    given = _given()
    began, of = time.process_time(), commit()
    played = played_of(
        pool_of(rows_of(given.kept, {SOUND: given.sound, **dict.fromkeys(sorted(FAULTS), given.planted)}))
    )
    sizes = measured(played, given, np.random.default_rng(given.seed))
    if not given.dry:
        told = {**_about(given, began, of), "sizes": sizes}
        given.result.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    return 0


def _given() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kept", type=Path, required=True, metavar="FOLDER", help="where played sessions are kept")
    parser.add_argument("--worlds", type=int, default=10, help="worlds of each size")
    parser.add_argument("--weeks", type=int, default=8, help="quiet weeks of each that count")
    parser.add_argument("--added-weeks", type=int, default=2, help="those that count of the monitors that are added")
    parser.add_argument("--runs", type=int, default=20, help="onsets of each fault")
    parser.add_argument("--per-minute", default="20,2", help="sessions, of each size")
    parser.add_argument("--sound", type=int, default=83, help="sound sessions that are played")
    parser.add_argument("--planted", type=int, default=8, help="sessions of each fault that are played")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", metavar="NAMES", help="only these monitors, divided by semicolons")
    parser.add_argument("--result", type=Path, default=RESULT, help="where the figures are written")
    parser.add_argument("--dry", action="store_true", help="write no result")
    return parser.parse_args()


def monitors() -> dict[str, Definition]:
    """The default ones, resolution by a chart for slow drift, and then those that are added."""
    return {**DEFAULTS, **{series: default_of(series, "any") for series in ADDED}}


def groups(found: Container[str]) -> dict[str, tuple[str, ...]]:
    """Which monitors are looked at together, of those that were measured."""
    some = {"defaults": tuple(DEFAULTS), "all": tuple(monitors())}
    kept = {words: tuple(name for name in names if name in found) for words, names in some.items()}
    return {words: names for words, names in kept.items() if names}


def faults_of(played: Played) -> dict[str, Fault | None]:
    """Each fault at its realistic rate; the swapped model also as a worse one; none."""
    pool = played.pool
    large = realistic(pool, "invented_confirmation", same_app=True)
    return {
        **{name: realistic(pool, name, same_app=True) for name in sorted(FAULTS)},
        "silent_model_change, worse": realistic(pool, "silent_model_change", WORSE_MODEL),
        LARGE: replace(large, rate=large.rate * 16 / 7),
        NO_FAULT: None,
    }


def scene_of(
    played: Played, sizes: Sequence[float], chance: np.random.Generator, *,
    worlds: int, weeks: int, onsets: int, runs: int,
) -> Scene:  # fmt: skip
    """Worlds of each size, and the day of each run with each fault. The onsets lie in the first weeks that count."""
    faults = faults_of(played)
    every = [world_of(size, LEARNED_WEEKS + weeks, chance) for size in sizes for _ in range(worlds)]
    learned = LEARNED_WEEKS * WEEK
    steps = sorted(chance.integers(learned, learned + onsets * WEEK - DAY, size=runs).tolist())
    began = [
        Run(world=at % worlds, onset=step, phase=float(chance.random()))
        for at, step in zip(chance.permutation(runs).tolist(), steps, strict=True)
    ]
    return Scene(
        worlds=[quiet(played, one, chance) for one in every], n_sizes=len(sizes), learned=learned, runs=began,
        faults=tuple(faults), models=played.pool.models,
        days=[
            [
                _day(played, every[size * worlds + run.world], run, fault, chance)
                for size in range(len(sizes))
                for fault in faults.values()
            ]
            for run in began
        ],
    )  # fmt: skip


def _day(played: Played, world: World, run: Run, fault: Fault | None, chance: np.random.Generator) -> Any:
    return read(played, world, run.onset, run.onset + DAY, chance, fault=fault, phase=run.phase)


def measured(played: Played, given: argparse.Namespace, chance: np.random.Generator) -> dict[str, Any]:
    """All figures, by size of app."""
    sizes = [float(one) for one in given.per_minute.split(",")]
    scene = scene_of(
        played, sizes, chance, worlds=given.worlds, weeks=given.weeks, onsets=given.added_weeks, runs=given.runs
    )
    print("drawn", flush=True)
    found: dict[str, Found] = {}
    slides: dict[str, tuple[Ints, Floats]] = {}
    only = given.only.split(";") if given.only else list(monitors())
    for name, definition in ((name, monitors()[name]) for name in only):
        until = scene.learned + weeks_of(name, given) * WEEK
        found[name] = found_of(definition, scene, until)
        if definition.spec.source is not Source.MIX:
            slides[name] = slides_of(definition, scene, until)
        counts = [found[name].of_size(at, len(sizes)).n_fired for at in range(len(sizes))]
        print(f"  {name:24} alerts by size {counts}, of {weeks_of(name, given)} weeks of each world", flush=True)
    told = {}
    for at, size in enumerate(sizes):
        print(f"{size:g} sessions a minute", flush=True)
        mine = {name: one.of_size(at, len(sizes)) for name, one in found.items()}
        n = {name: int(np.split(count, len(sizes))[at].sum()) for name, (count, _) in slides.items()}
        soon = {name: np.split(delay, len(sizes), axis=1)[at] for name, (_, delay) in slides.items()}
        told[f"{size:g} sessions a minute"] = {
            "quiet": quiet_table(mine, n, given),
            "faults": faults_table(played, scene, at, mine, soon),
        }
    return told


def weeks_of(name: str, given: argparse.Namespace) -> int:
    """The quiet weeks of each world that count of this monitor."""
    return int(given.added_weeks if name in ADDED else given.weeks)


def quiet_table(found: Mapping[str, Found], slides: Mapping[str, int], given: argparse.Namespace) -> dict[str, Any]:
    """Alerts a week where nothing happened, beside the budget that was asked for."""
    rows = {}
    for name, one in found.items():
        weeks = given.worlds * weeks_of(name, given)
        expected, why = expected_of(monitors()[name], 1)
        rows[name] = {
            "weeks": weeks,
            "budget": expected,
            "alerts": one.n_fired,
            "per_week": _per_week(one.n_fired, weeks),
            "slides_per_week": _per_week(slides[name], weeks) if name in slides else None,
            **({"why_no_budget": why} if expected is None else {}),
        }
        print(f"  {name:24} {rows[name]['per_week']} a week, by the slides {rows[name]['slides_per_week']}", flush=True)
    sums = {}
    for words, names in groups(found).items():
        least = min(weeks_of(name, given) for name in names)
        sums[words] = {
            "alerts_per_week": round(sum(rows[name]["per_week"]["rate"] for name in names), 3),
            "incidents_per_week": _per_week(_incidents(found, names, least), given.worlds * least),
            "slides_per_week": round(sum(rows[name]["slides_per_week"]["rate"] for name in names if name in slides), 3),
        }
        print(f"  quiet weeks, {words}: {sums[words]}", flush=True)
    return {"monitors": rows, "together": sums}


def _incidents(found: Mapping[str, Found], names: Sequence[str], weeks: int) -> int:
    """Of the weeks that count of all these monitors."""
    wanted, end_ns = (EventKind.FIRED, EventKind.RESOLVED), at_ns((LEARNED_WEEKS + weeks) * WEEK)
    n_worlds = len(next(iter(found.values())).alerts)
    return sum(
        incidents_of(
            [
                (name, each)
                for name in names
                for each in found[name].alerts[world]
                if each.kind in wanted and each.fired_ns < end_ns
            ]
        )
        for world in range(n_worlds)
    )


def _per_week(count: int, weeks: int) -> dict[str, Any]:
    """The rate, and its exact Poisson interval of 95 % (Garwood 1936)."""
    low = float(chi2.ppf(0.025, 2 * count) / 2) if count else 0.0
    high = float(chi2.ppf(0.975, 2 * count + 2) / 2)
    return {"rate": round(count / weeks, 3), "interval": [round(low / weeks, 3), round(high / weeks, 3)]}


def faults_table(
    played: Played, scene: Scene, size: int, found: Mapping[str, Found], slides: Mapping[str, Floats]
) -> dict[str, Any]:  # fmt: skip
    """By fault how soon it is told, and by which monitor first."""
    ours = {name: one.delay_s for name, one in found.items()}
    by_rule = {one: slides[one] for one in DEFAULTS if one in slides}
    planted, table = faults_of(played), {}
    for at, name in enumerate(scene.faults):
        fault = planted[name]
        row: dict[str, Any] = {
            "rate": round(fault.rate, 3) if fault else None,
            "resolution": _resolution(scene, size, at),
            **{words: told_by({one: ours[one] for one in names}, at) for words, names in groups(found).items()},
            **({"slides": told_by(by_rule, at)} if by_rule else {}),
            "by_monitor": {one: _soon(delay[:, at]) for one, delay in ours.items() if np.isfinite(delay[:, at]).any()},
        }
        table[name] = row
        said = {words: row[words]["median_min"] for words in (*groups(found), "slides") if words in row}
        print(f"  {name:28} resolution {row['resolution']}, median minutes {said}", flush=True)
    return table


def _resolution(scene: Scene, size: int, fault: int) -> list[float]:
    """Of the quiet weeks, and of the days with the fault."""
    quiets = scene.worlds[size * scene.n_worlds : (size + 1) * scene.n_worlds]
    days = [every[size * len(scene.faults) + fault] for every in scene.days]
    sums = [
        np.sum([[np.nansum(x * n), n.sum()] for x, n in (one.values["resolution"] for one in some)], axis=0)
        for some in (quiets, days)
    ]
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


def _about(given: argparse.Namespace, began: float, of: str) -> dict[str, Any]:
    settings = {name: value for name, value in vars(given).items() if name not in ("kept", "dry", "only", "result")}
    words = " ".join(f"--{name.replace('_', '-')} {value}" for name, value in settings.items())
    words += f" --only {given.only!r}" if given.only else ""
    return {
        "what": "alerts of quiet weeks, and the time until each planted fault is told",
        "command": f"python -m benchmarks.monitors.demo_world --kept FOLDER {words}",
        "machine": machine(),
        "commit": of,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpu_s": round(time.process_time() - began, 1),
    }


if __name__ == "__main__":
    raise SystemExit(main())
