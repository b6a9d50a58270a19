"""How long the store's readings take as a lake grows, on DuckDB and on ClickHouse's engine, as JSON.

    python -m benchmarks.store.query_times --sizes 20000 1000000 --engines duckdb clickhouse --out FILE

The lake is filled through Lake.append in commits of 25,000 spans with their derived rows, over one day, and packed
after every 40 commits and at the end as the running product does; with --packing a process packs a second lake of
the same disk while the readings are timed. Times are the server's own (no HTTP), warm, in ms: the median and the
slowest of --runs by the clock, and the median of what all threads of the process took of the processors, which others
at work on the machine hardly change. --repack packs the rollups of a kept lake as this release does.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.ingest.run import commit, machine
from benchmarks.store.synthetic import Traces
from core.clock import NS_PER_S
from core.windows import Window
from store import apps, compaction, derive, facets, rollups, scores, search, sessions, spans, traces
from store.asked import Asked
from store.delta_log import LakeFile
from store.engines import engine_for
from store.filters import Filters
from store.lake import Lake
from store.tenant import Store, TenantStore

END_NS = 1_790_035_200 * NS_PER_S  # 2026-09-22T00:00:00Z
DAY_NS = 86_400 * NS_PER_S
COMMITS_PER_PACKING = 40
FIVE = ("latest_50_traces", "filtered_50_traces", "session_traces", "one_trace", "hourly_p95", "hourly_by_model")


def main() -> int:
    """Reads the arguments, measures every size, prints and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[20_000, 1_000_000], help="spans in the lake")
    parser.add_argument("--batch", type=int, default=25_000, help="spans per commit (a fifth of the size, if smaller)")
    parser.add_argument("--runs", type=int, default=20, help="times each reading is measured")
    parser.add_argument("--engines", nargs="+", choices=["duckdb", "clickhouse"], default=["duckdb"])
    parser.add_argument("--packing", action="store_true", help="time the readings while another process packs")
    parser.add_argument("--only-five", action="store_true", help="the five readings of the side-by-side table alone")
    parser.add_argument("--readings", nargs="+", help="these readings alone, by name")
    parser.add_argument("--out", type=Path, help="also write the JSON here")
    parser.add_argument("--lakes", type=Path, help="keep the filled lakes in this folder and use those it has")
    parser.add_argument("--repack", action="store_true", help="pack the rollups of the kept lakes anew")
    parser.add_argument("--pack-for-ever", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.pack_for_ever:
        _pack_for_ever()
    result = {"what": "store readings, ms", **_machine(), "sizes": [_measure(n, asked) for n in asked.sizes]}
    text = json.dumps(result, indent=1)
    sys.stdout.write(text + "\n")
    if asked.out:
        asked.out.write_text(text + "\n")
    return 0


def _measure(n_spans: int, asked: argparse.Namespace) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="assay-bench-") as folder:
        kept = asked.lakes / str(n_spans) if asked.lakes else None
        lake = Lake(str(kept or folder))
        made = Traces(n_spans=n_spans, start_ns=END_NS - DAY_NS, end_ns=END_NS)
        began = time.perf_counter()
        if kept is not None and asked.repack:
            _repack(lake)
        there = kept is not None and (kept / "filled").exists()
        derive_ms = [] if there else _fill(lake, made, min(asked.batch, n_spans // 5))
        filled_s = time.perf_counter() - began
        if kept is not None:
            (kept / "filled").touch()
        times = {name: _readings_of(name, lake, made, asked) for name in asked.engines}
        size = sum(file.size for table in lake.tables() for file in lake.snapshot(table).files)
        return {
            "n_spans": n_spans,
            "n_files": {table: len(lake.snapshot(table).files) for table in ("spans", "turns")},
            "bytes_per_span": round(size / n_spans),
            **({"derive_ms_per_25000_spans": round(statistics.median(derive_ms), 1)} if derive_ms else {}),
            **({"fill_and_pack_s": round(filled_s, 1)} if derive_ms else {}),
            "ms": times,
        }


def _readings_of(engine: str, lake: Lake, made: Traces, asked: argparse.Namespace) -> dict[str, dict[str, float]]:
    store = Store(lake, engine_for(lake, "chdb://memory" if engine == "clickhouse" else None)).tenant("bench")
    readings = _readings(store, made)
    wanted = asked.readings or (FIVE if asked.only_five else tuple(readings))
    packer = _packer() if asked.packing else None
    try:
        return {name: _timed(readings[name], asked.runs) for name in wanted}
    finally:
        if packer:
            packer.terminate()
            packer.wait()


def _packer() -> subprocess.Popen[bytes]:
    """A process that fills and packs lakes of its own until it is ended."""
    return subprocess.Popen([sys.executable, "-m", "benchmarks.store.query_times", "--pack-for-ever"])


def _pack_for_ever() -> None:
    while True:
        with tempfile.TemporaryDirectory(prefix="assay-pack-") as folder:
            _fill(Lake(folder), Traces(n_spans=250_000, start_ns=END_NS - DAY_NS, end_ns=END_NS), 25_000)


def _fill(lake: Lake, made: Traces, batch: int) -> list[float]:
    """Appends everything; the time of the derivations per 25,000 spans."""
    taken = []
    for n, rows in enumerate(made.batches(batch), 1):
        lake.append("spans", rows)
        began = time.perf_counter()
        tables = [(name, derive.derived(name, rows)) for name in derive.DERIVED]
        taken.append((time.perf_counter() - began) * 1000 * 25_000 / rows.num_rows)
        for name, table in tables:
            lake.append(name, table)
        if n % COMMITS_PER_PACKING == 0:
            compaction.upkeep(lake, grace_s=0)
    compaction.upkeep(lake, grace_s=0)
    return taken


def _repack(lake: Lake) -> None:
    """Packs all rollups of each day, however few files they are."""
    by_day: dict[str, list[LakeFile]] = {}
    for file in lake.snapshot("rollups").files:
        by_day.setdefault(file.date, []).append(file)
    for files in by_day.values():
        compaction.pack(lake, "rollups", files)


def _readings(store: TenantStore, made: Traces) -> dict[str, Callable[[], object]]:
    day = Window(start_ns=END_NS - DAY_NS, end_ns=END_NS + 3600 * NS_PER_S)
    middle = made.n_traces // 2
    trace_id, session_id = made.trace_id(middle), made.session_id(middle)
    attribute = Filters(attr=(("tenant.id", "tenant-3"),))

    def one_trace() -> object:
        found = traces.trace(store, trace_id).row(0, named=True)
        within = spans.trace_window(found["first_ns"], found["reach_ns"])
        rows = spans.spans_of_trace(store, trace_id, within=within, limit=5001)
        return rows, scores.scores_of(store, trace_ids=[trace_id])

    def one_session() -> object:
        return sessions.session(store, session_id), sessions.turns_of_session(store, session_id, limit=50)

    return {
        "latest_50_traces": lambda: traces.list_traces(store, Asked(window=day)),
        "filtered_50_traces": lambda: traces.list_traces(store, Asked(window=day, filters=attribute)),
        "session_traces": lambda: traces.list_traces(store, Asked(window=day, filters=Filters(session_id=session_id))),
        "one_session": one_session,
        "one_trace": one_trace,
        "hourly_p95": lambda: rollups.rollups(store, rollups.RollupsAsked(window=day)),
        "hourly_by_model": lambda: rollups.rollups(
            store, rollups.RollupsAsked(window=day, level="LLM", group_by=("model",))
        ),
        "latest_50_spans": lambda: spans.list_spans(store, Asked(window=day)),
        "latest_50_sessions": lambda: sessions.list_sessions(store, Asked(window=day)),
        "count_spans": lambda: spans.count_spans(store, Asked(window=day)),
        "facet_model": lambda: facets.facets(store, Asked(window=day), facets.FacetField.MODEL),
        "facet_app": lambda: facets.facets(store, Asked(window=day), facets.FacetField.APP),
        "apps": lambda: apps.apps(store, day),
        "search_common_word": lambda: search.search(store, Asked(window=day, filters=Filters(q="refund"))),
        "search_that_matches_nothing": lambda: search.search(store, Asked(window=day, filters=Filters(q="nowhere"))),
        "filter_that_matches_nothing": lambda: traces.list_traces(
            store, Asked(window=day, filters=Filters(attr=(("tenant.id", "nobody"),)))
        ),
    }


def _timed(run: Callable[[], object], runs: int) -> dict[str, float]:
    run()
    taken, worked = [], []
    for _ in range(runs):
        began, began_cpu = time.perf_counter(), time.process_time()
        run()
        taken.append((time.perf_counter() - began) * 1000)
        worked.append((time.process_time() - began_cpu) * 1000)
    return {
        "median": round(statistics.median(taken), 1),
        "slowest": round(max(taken), 1),
        "cpu": round(statistics.median(worked), 1),
    }


def _machine() -> dict[str, Any]:
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "machine": machine(),
        "load_average": [round(load, 1) for load in os.getloadavg()],
    }


if __name__ == "__main__":
    sys.exit(main())
