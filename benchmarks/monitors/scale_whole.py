"""How long a whole look takes, by the number of series: points read from the lake, bands, alerts, incidents, and the
one transaction of the control database with every checkpoint.

    OMP_NUM_THREADS=1 POLARS_MAX_THREADS=1 python -m benchmarks.monitors.scale_whole [--apps 1,3,10] [--steps 1m,5m]

Each app has 100 releases and ten monitors split by release: a thousand series. Every release has one turn a minute; six
hours are in the lake before the first look. Then the steps go by, the turns of each arrive, and a look is taken: over
the two hours that may still come late, as every look does. `first` is the look that learns from all six hours. Seconds
are of the whole process; `wall_s` less than a minute says that the looks of each minute keep up.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any, Final

from benchmarks.evaluators.throughput import ROOT, commit, machine
from core.clock import NS_PER_S
from core.memory import peak_bytes
from monitors.definition import Definition
from store.control.monitor_records import MonitorRecord
from tests.monitors.watching import ACME, ANN, BEGIN, Shop, open_shop
from tests.store.build import fill, row

RESULT: Final = ROOT / "benchmarks" / "results" / "monitor_scale_whole.json"
SERIES: Final = (
    *("error_rate", "traffic", "p50_latency", "p95_latency", "p99_latency"),
    *("input_tokens", "output_tokens", "cost_total", "cost_per_session", "turns"),
)
RELEASES: Final = 100
HOURS: Final = 6
LOOKS: Final = 5
MINUTE: Final = 60 * NS_PER_S
STEP_MINUTES: Final = {"1m": 1, "5m": 5}


def main() -> None:
    """Measures and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--apps", default="1,3,10")
    parser.add_argument("--steps", default="1m,5m")
    parser.add_argument("--dry", action="store_true", help="write no result")
    args = parser.parse_args()
    rows = []
    for step in args.steps.split(","):
        for apps in args.apps.split(","):
            rows.append(measured(int(apps), step))
            print(json.dumps(rows[-1]), flush=True)
    result = {
        "what": "one whole look at so many series, seconds of one process",
        "command": f"python -m benchmarks.monitors.scale_whole --apps {args.apps} --steps {args.steps}",
        "machine": machine(),
        "commit": commit(),
        "date": datetime.now(UTC).date().isoformat(),
        "looks": rows,
    }
    if not args.dry:
        RESULT.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def measured(n_apps: int, step: str) -> dict[str, Any]:
    """The looks of one lake."""
    minutes = STEP_MINUTES[step]
    with tempfile.TemporaryDirectory() as folder, open_shop(Path(folder) / "shop") as shop:
        for hour in range(HOURS):
            arrive(shop, n_apps, range(hour * 60, hour * 60 + 60))
        now(shop, HOURS * 60)
        for app in range(n_apps):
            for series in SERIES:
                watch(shop, f"app{app}", series, step)
        first, again = one_look(shop), []
        for number in range(LOOKS):
            begin = HOURS * 60 + number * minutes
            arrive(shop, n_apps, range(begin, begin + minutes))
            now(shop, begin + minutes)
            again.append(one_look(shop))
    return {
        "n_series": first["n_series"],
        "step": step,
        "first_wall_s": first["wall_s"],
        "wall_s": median(one["wall_s"] for one in again),
        "cpu_s": median(one["cpu_s"] for one in again),
        "ms_per_series": round(1000 * median(one["cpu_s"] for one in again) / first["n_series"], 3),
        "peak_mib": peak_bytes() // 2**20,
    }


def now(shop: Shop, minute: int) -> None:
    """Sets the clock to when the buckets before this minute can be read."""
    shop.hands.ns = BEGIN + minute * MINUTE + 100 * NS_PER_S


def arrive(shop: Shop, n_apps: int, minutes: range) -> None:
    """One turn of each release of each app in each of these minutes."""
    spans = []
    for minute in minutes:
        for app in range(n_apps):
            for release in range(RELEASES):
                shop.n += 1
                spans.append(
                    row(
                        app=f"app{app}", release=f"v{release}", session_id=f"s{shop.n}", kind="AGENT", trace_id=shop.n,
                        span_id=shop.n, start_ns=BEGIN + minute * MINUTE + release * 10_000_000,
                        ms=float(shop.rng.lognormal(6.5, 0.4)), status_code=2 * int(shop.rng.random() < 0.05),
                    )
                )  # fmt: skip
    fill(shop.lake, spans)


def watch(shop: Shop, app: str, series: str, step: str) -> None:
    """A monitor by release, with a season."""
    definition = Definition.from_json({"app": app, "series": series, "by": "release", "step": step})
    made = MonitorRecord(tenant=ACME, name=f"{app}-{series}", app=app, definition=definition.as_json())
    shop.control.add_monitor(made, by=ANN)


def one_look(shop: Shop) -> dict[str, Any]:
    """Its seconds, and how many series it saw. A monitor that could not be looked at ends the run."""
    began, cpu = time.perf_counter(), time.process_time()
    looked = shop.look()
    assert looked is not None
    assert not looked.failed, looked
    return {
        "n_series": looked.n_series,
        "wall_s": round(time.perf_counter() - began, 2),
        "cpu_s": round(time.process_time() - cpu, 2),
    }


if __name__ == "__main__":
    main()
