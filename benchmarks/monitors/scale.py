"""How long one look takes on one core, by the number of series: bands stepped from the checkpoint, alerts, the next
checkpoint as it is written. What the lake and the control database take is not in it.

python -m benchmarks.monitors.scale [--series 1000,3000,10000]

Every series is a rate with a daily season, in buckets of five minutes, of which one in fifty is missing. Bands have
learned from two days. A look steps again over the two hours that may still come late, as every look does, and every
twelfth one over the hour that the checkpoint then moves on; times are of the whole process, with numpy on one thread.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np

from benchmarks.evaluators.throughput import ROOT, commit, machine
from core.clock import NS_PER_S
from monitors.definition import Definition
from monitors.grids import Row
from monitors.stepping import Checkpoint
from monitors.watched import Watch, Watched, watch_of, watched
from store.control.monitor_rows import packed

RESULT: Final = ROOT / "benchmarks" / "results" / "monitor_scale.json"
STEP: Final = 300 * NS_PER_S
BEGIN: Final = 1_800_000_000 * NS_PER_S // STEP * STEP
LEARNED: Final = 576
MISSING: Final = 0.02
N: Final = 200


def main() -> None:
    """Measures and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", default="1000,3000,10000")
    args = parser.parse_args()
    rows = [measured(int(one)) for one in args.series.split(",")]
    result = {
        "what": "one look at so many series, seconds of one core",
        "command": f"python -m benchmarks.monitors.scale --series {args.series}",
        "machine": machine(),
        "commit": commit(),
        "date": datetime.now(UTC).date().isoformat(),
        "looks": rows,
    }
    RESULT.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(rows, indent=2))


def measured(n_series: int) -> dict[str, Any]:
    """One look over so many series."""
    chance = np.random.default_rng(1)
    definition = Definition(app="shop", series="resolution", by="release")
    end = BEGIN + LEARNED * STEP
    before = watched(_first(definition, end), points(chance, n_series, 0, LEARNED), _heard, end)
    books, told, size = before.books, [], 0
    for number in range(1, 4):
        watch = _next(definition, before, end + number * STEP)
        first = (watch.before.settled_ns - BEGIN) // STEP
        rows = points(np.random.default_rng(1), n_series, int(first), LEARNED + number)
        began, cpu = time.perf_counter(), time.process_time()
        found = watched(replace(watch, books=books), rows, _heard, watch.until_ns)
        size = len(packed(found.after.as_json()))
        told.append((time.perf_counter() - began, time.process_time() - cpu, len(found.judgements.judged)))
    wall, cpu, n_buckets = min(told)
    return {
        "n_series": n_series,
        "n_buckets": n_buckets,
        "wall_s": round(wall, 3),
        "cpu_s": round(cpu, 3),
        "us_per_point": round(1e6 * cpu / (n_series * n_buckets), 3),
        "checkpoint_bytes": size,
    }


def points(chance: np.random.Generator, n_series: int, first: int, last: int) -> list[Row]:
    """Rates with a daily season, of N observations each."""
    rows = []
    for bucket in range(first, last):
        rate = 0.85 + 0.05 * np.sin(2 * np.pi * bucket / 288)
        x = chance.binomial(N, rate, n_series) / N
        there = chance.random(n_series) >= MISSING
        at = BEGIN + bucket * STEP
        rows += [
            Row(key=f"resolution{{release={at_series}}}", at_ns=at, x=float(x[at_series]), n=float(N))
            for at_series in np.flatnonzero(there)
        ]
    return rows


def _first(definition: Definition, until_ns: int) -> Watch:
    made = watch_of("scale", definition, since_ns=until_ns, now_ns=until_ns, grace_s=0)
    return replace(made, before=Checkpoint(settled_ns=BEGIN), until_ns=until_ns)


def _next(definition: Definition, before: Watched, until_ns: int) -> Watch:
    return Watch(
        name="scale", definition=definition, before=before.after, alerts_ns=before.watch.alerts_ns, until_ns=until_ns
    )


def _heard(_: str) -> tuple[str | None, bool]:
    return None, False


if __name__ == "__main__":
    main()
