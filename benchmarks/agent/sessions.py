"""How many simulated sessions a second of CPU time gives: in full over the real wire, and as traces.

    python -m benchmarks.agent.sessions           # the table, and benchmarks/results/agent_sessions.json

Full: runtime, provider, users and world in one process, so that its CPU time is all there is. Traces: copies of
recorded sessions with the truth written to world.db, nothing sent; recording is not counted, it is the first line.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from agent_runtime.records import Release
from agent_runtime.settings import Settings
from agent_runtime.simulation.fast import FastRun
from agent_runtime.simulation.full import open_stage
from agent_runtime.simulation.loading import all_scenarios
from agent_runtime.simulation.plans import cast
from agent_runtime.simulation.seed import open_world
from agent_runtime.simulation.traffic import Run, Traffic
from benchmarks.ingest.run import machine

RESULT = Path(__file__).parents[1] / "results" / "agent_sessions.json"
RELEASE = Release(name="v2", faults={"drop_confirmation": 0.2})


async def measured(n_full: int, n_traces: int) -> dict[str, Any]:
    """CPU seconds of both fidelities."""
    all_scenarios()
    with tempfile.TemporaryDirectory() as own:
        folder = Path(own)
        settings = Settings().model_copy(update={"data": folder / "agent", "otlp_endpoint": ""})
        async with open_stage(settings, folder / "world.db", 7, None) as stage:
            full = Traffic(releases=(RELEASE,), sessions=n_full, seed=7, mark="full-")
            await Run(stage=stage, traffic=Traffic(releases=(RELEASE,), sessions=4, seed=7, mark="warm-")).play()
            began = time.process_time()
            await Run(stage=stage, traffic=full).play()
            full_s = time.process_time() - began
            world = open_world(folder / "truth.db")
            traffic = Traffic(releases=(RELEASE,), sessions=n_traces, seed=7)
            run = FastRun(stage=stage, world=world, traffic=traffic, weeks=8, end=datetime.now(UTC))
            plans = traffic.plans()
            await run.record([(RELEASE, cast(plans["v2"], session)) for session, _ in traffic.numbered()], plans)
            began = time.process_time()
            await run.play()
            traces_s = time.process_time() - began
            world.close()
    return {
        "full": {"sessions": n_full, "cpu_s": round(full_s, 3), "per_cpu_s": round(n_full / full_s, 2)},
        "traces": {"sessions": n_traces, "cpu_s": round(traces_s, 3), "per_cpu_s": round(n_traces / traces_s, 1)},
        "spans_per_session": round(run.n_spans / n_traces, 1),
        "ratio": round((n_traces / traces_s) / (n_full / full_s), 1),
    }


def main() -> None:
    """Measures, prints and keeps the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", type=int, default=60)
    parser.add_argument("--traces", type=int, default=600)
    given = parser.parse_args()
    found = asyncio.run(measured(given.full, given.traces))
    found |= {"at": datetime.now(UTC).isoformat(timespec="seconds"), "machine": machine()}
    RESULT.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
