"""Sums of an experiment over users: made in the store, against rows pulled out of it and summed here.

python -m benchmarks.experiments.moments [--sessions 50000] [--engine duckdb]

Two arms, two sessions a user, two turns a session, an outcome for nine in ten; resolution (scores), error rate,
cost and latency (turns), stratified by the hour, hashed by the product's own assignment. Each way runs in a process of
its own over one lake without spans; seconds by the clock and of the processors, and the process's peak of memory less
what it had before the question.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
import pyarrow as pa

from benchmarks.evaluators.throughput import ROOT, commit, machine
from core.clock import NS_PER_S
from core.records import EvaluatorKind, TargetKind
from core.windows import Window
from experiments import live_sums, splits, sums
from experiments.records import Arm, Better, Definition, MetricRole, MetricSpec, UnitKind
from store.engines import engine_for
from store.experiment_arms import Arms, ArmSeen, Enrolment, Range
from store.experiment_moments import Measure, MetricAsked, UnitsAsked, cells, unit_rows
from store.experiment_scores import Scored, Told
from store.experiment_units import FactsAsked, session_facts
from store.lake import Lake
from store.schema import SCORES, TURNS, USD
from store.tenant import Store, TenantStore

RESULT: Final = ROOT / "benchmarks" / "results" / "experiment_moments.json"
T0: Final = 1_790_000_000 * NS_PER_S
DAYS: Final = 14
PART: Final = 50_000  # sessions a commit
ARMS: Final = tuple(Arm(variant=v, release=r, weight=1.0) for v, r in (("control", "v1"), ("treatment", "v2")))
METRICS: Final = ("resolution", "error_rate", "cost", "latency")
DEFINITION: Final = Definition(
    name="bench",
    app="shop",
    version=1,
    unit=UnitKind.USER,
    arms=ARMS,
    metrics=tuple(
        MetricSpec(name=name, role=MetricRole.PRIMARY if n == 0 else MetricRole.SECONDARY, better=Better.HIGHER)
        for n, name in enumerate(METRICS)
    ),
    strata=("hour",),
)
WAYS: Final = ("sums_in_store", "unit_rows_pulled", "session_rows_pulled")


def main() -> None:
    """Fills a lake, measures every way over it in a process of its own, writes the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=50_000)
    parser.add_argument("--engine", choices=("duckdb", "clickhouse"), default="duckdb")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--lake", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.way:
        print(json.dumps(measured(args.way, args.lake, args.engine)))
        return
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        fill(Lake(folder), args.sessions)
        filled_s = time.perf_counter() - began
        command = [sys.executable, "-m", "benchmarks.experiments.moments", "--lake", folder, "--engine", args.engine]
        rows = [_child([*command, "--way", way]) for way in WAYS]
    result: dict[str, Any] = {
        "what": "sums of an experiment made in the store, against rows pulled out of it",
        "command": f"python -m benchmarks.experiments.moments --sessions {args.sessions} --engine {args.engine}",
        "commit": commit(),
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
        "sessions": args.sessions,
        "filled_s": round(filled_s, 1),
        "rows": [{"way": way, **row} for way, row in zip(WAYS, rows, strict=True)],
    }
    known = json.loads(RESULT.read_text(encoding="utf-8")) if RESULT.exists() else []
    kept = [one for one in known if one["command"] != result["command"]]
    RESULT.write_text(json.dumps([*kept, result], indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=1))


def _child(command: list[str]) -> dict[str, Any]:
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    if done.returncode:
        return {"failed": done.stderr.strip().splitlines()[-1][:300]}
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def fill(lake: Lake, n: int) -> None:
    """Turns and outcomes of n sessions."""
    rng = np.random.default_rng(8)
    for first in range(0, n, PART):
        ids = np.arange(first, min(n, first + PART))
        users = [f"u{one}" for one in ids // 2]
        start = T0 + (rng.random(len(ids)) * (DAYS - 1) * 86_400 * NS_PER_S).astype(np.int64)
        v2 = np.array([splits.arm_of(DEFINITION, user) == "treatment" for user in users])
        same = {
            "session_id": [f"s{one}" for one in ids],
            "user_id": users,
            "release": np.where(v2, "v2", "v1"),
            "variant": np.where(v2, "treatment", "control"),
        }
        for turn in range(2):
            lake.append("turns", _turns(rng, ids, turn, start + turn * 60 * NS_PER_S, same))
        lake.append("scores", _scores(rng, ids, start, 0.7 + 0.02 * v2))


def _table(schema: pa.Schema, n: int, start: Any, columns: dict[str, Any]) -> pa.Table:
    known = {
        "tenant": ["acme"] * n,
        "date": np.datetime_as_string(start.astype("datetime64[ns]"), "D"),
        "seq": np.arange(n),
        **columns,
    }
    arrays = [
        pa.array(known[field.name], field.type) if field.name in known else pa.nulls(n, field.type) for field in schema
    ]
    return pa.Table.from_arrays(arrays, schema=schema)


def _turns(rng: np.random.Generator, ids: Any, turn: int, start: Any, same: dict[str, Any]) -> pa.Table:
    n = len(ids)
    ms = rng.lognormal(7, 0.5, n)
    traces = [f"{one:030x}{turn:02x}" for one in ids]
    columns = {
        **same,
        "trace_id": traces,
        "app": ["shop"] * n,
        "start_ns": start,
        "end_ns": start + (ms * 1e6).astype(np.int64),
        "root_span_id": [one[-16:] for one in traces],
        "name": ["turn"] * n,
        "root_status": np.where(rng.random(n) < 0.03, 2, 1).astype(np.int32),
        "root_duration_ns": (ms * 1e6).astype(np.int64),
        "n_errors": np.zeros(n, np.int64),
        "input_tokens": rng.integers(200, 900, n),
        "output_tokens": rng.integers(20, 200, n),
        "cost_usd": _usd(rng.integers(100_000, 9_000_000, n)),
    }
    return _table(TURNS, n, start, columns)


def _usd(nano: Any) -> pa.Array:
    """Decimals of so many billionths, whose 16 bytes are written as they are."""
    halves = np.zeros((len(nano), 2), np.int64)
    halves[:, 0] = nano
    return pa.Array.from_buffers(USD, len(nano), [None, pa.py_buffer(halves.tobytes())])


def _scores(rng: np.random.Generator, ids: Any, start: Any, rate: Any) -> pa.Table:
    told = rng.random(len(ids)) < 0.9
    ids, start, rate = ids[told], start[told] + 3600 * NS_PER_S, rate[told]
    n = len(ids)
    columns = {
        "score_id": [f"x{one}" for one in ids],
        "ingested_at": np.array(start // 1000, "datetime64[us]"),
        "at_ns": start,
        "evaluator": ["task_success"] * n,
        "evaluator_version": ["1"] * n,
        "evaluator_kind": ["outcome"] * n,
        "target": ["session"] * n,
        "session_id": [f"s{one}" for one in ids],
        "value": (rng.random(n) < rate).astype(np.float64),
    }
    return _table(SCORES, n, start, columns)


def asked() -> UnitsAsked:
    """All units, by hash."""
    ends = ("0" * 16, "f" * 16)
    parts = splits.arms(DEFINITION)
    seen = [
        ArmSeen(
            variant=one.variant,
            release=one.release,
            part=Range(
                salt=DEFINITION.salt, first=parts[one.variant].digits[0], last=parts[one.variant].digits[1]
            ),
        )
        for one in ARMS
    ]  # fmt: skip
    whole = Range(salt="bench:1:coverage", first=ends[0], last=ends[1])
    outcome = Told(evaluator="task_success", kind=EvaluatorKind.OUTCOME, target=TargetKind.SESSION)
    return UnitsAsked(
        app="shop",
        arms=Arms(arms=tuple(seen), enrolment=Enrolment(within=(), ramps=((T0, whole),))),
        metrics=(
            MetricAsked(name="resolution", of=Scored(name="resolution", told=(outcome,))),
            MetricAsked(name="error_rate", of=Measure.ERRORS),
            MetricAsked(name="cost", of=Measure.COST_USD),
            MetricAsked(name="latency", of=Measure.LATENCY_MS),
        ),
        by_user=True,
        started_ns=T0,
        until_ns=T0 + DAYS * 86_400 * NS_PER_S,
        now_ns=T0 + DAYS * 86_400 * NS_PER_S,
        attributes=("hour",),
    )


def measured(way: str, folder: Path, engine: str) -> dict[str, Any]:
    """Seconds, memory and rows of one way, asked once."""
    lake = Lake(folder)
    store = Store(lake, engine_for(lake, "chdb://memory" if engine == "clickhouse" else None)).tenant("acme")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    wall, cpu = time.perf_counter(), time.process_time()
    n_rows, n_units = _done(way, store)
    return {
        "wall_s": round(time.perf_counter() - wall, 2),
        "cpu_s": round(time.process_time() - cpu, 2),
        "peak_mb_more": round((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024),
        "rows_out_of_the_store": n_rows,
        "n_units": n_units,
    }


def _done(way: str, store: TenantStore) -> tuple[int, int]:
    """The sums by one way: rows that left the store, and units in the sums."""
    wanted = asked()
    if way == "sums_in_store":
        found = cells(store, wanted)
        frame = live_sums.sums_of(live_sums.levelled(found, ["hour"], ["hour"]), DEFINITION, METRICS)
        return found.height, _n(frame)
    if way == "unit_rows_pulled":
        rows = unit_rows(store, wanted)
        return rows.height, _n(sums.of_units(_long(rows.rename({"level_0": "hour"})), ["hour"]))
    told = FactsAsked(app="shop", window=_window(wanted), figures=wanted.figures, attributes=("hour",))
    rows = session_facts(store, told)
    return rows.height, _n(sums.of_units(_long(_units(rows)), ["hour"]))


def _window(wanted: UnitsAsked) -> Window:
    return Window(start_ns=wanted.started_ns, end_ns=wanted.until_ns)


def _units(rows: pl.DataFrame) -> pl.DataFrame:
    """Units of session rows, in polars."""
    rows = rows.sort("start_ns").with_columns(
        y_0=pl.col("value:resolution").fill_null(0.0) * pl.col("n:resolution"),
        s_0=pl.col("n:resolution"),
        y_1=(pl.col("n_errors") > 0).cast(pl.Float64),
        s_1=pl.lit(1.0),
        y_2=pl.col("cost_usd"),
        s_2=pl.lit(1.0),
        y_3=pl.col("latency_ms"),
        s_3=pl.col("n_timed").cast(pl.Float64),
    )
    figures = [pl.col(f"{each}_{i}").sum() for i in range(4) for each in "ys"]
    first = [pl.col("level:hour").first().alias("hour"), pl.col("start_ns").first()]
    units = rows.group_by(unit=pl.col("user_id")).agg(*first, pl.col("variant").first(), *figures)
    day = (pl.col("start_ns") // (86_400 * NS_PER_S)).cast(pl.Int32).cast(pl.Date)
    return units.with_columns(day=day, **{f"x_{i}": pl.lit(None, pl.Float64) for i in range(4)})


def _long(rows: pl.DataFrame) -> pl.DataFrame:
    """UNIT_ROWS with the hour."""
    if "variant" not in rows.columns:
        rows = rows.with_columns(
            variant=pl.when(pl.col("arm") == 0).then(pl.lit("control")).otherwise(pl.lit("treatment"))
        )
    same = ["unit", "variant", "day", "hour"]
    return pl.concat(
        [rows.select(*same, metric=pl.lit(name), y=f"y_{i}", s=f"s_{i}", x=f"x_{i}") for i, name in enumerate(METRICS)]
    )


def _n(frame: pl.DataFrame) -> int:
    return sum(sums.moments(frame, "error_rate", attribute=sums.ALL, variant=one.variant).n for one in ARMS)


if __name__ == "__main__":
    main()
