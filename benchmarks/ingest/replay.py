"""How long a collector needs, and how much memory, to store what a journal holds after a crash.

    python -m benchmarks.ingest.replay --megabytes 1000

Writes a journal of agent traces (the generator of the side-by-side harness), starts the real collector on it and
waits until it listens, which it does once everything is in the lake. The rate is of the whole start; memory is the
process's own peak (VmHWM). Checked by counting what the lake holds.
"""

from __future__ import annotations

import argparse
import importlib
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.ingest.run import REPOSITORY, keep
from collector.journal import Journal
from collector.kinds import EntryKind
from collector.seal import MasterKey
from server.bootstrap import bootstrap
from server.settings import Settings
from store.lake import Lake

SPANS_AT_ONCE = 20_000


def write_journal(data: Path, n_bytes: int, load: Any) -> int:
    """Fills a journal with at least `n_bytes` of requests; returns the number of spans."""
    journal = Journal(data / "journal", MasterKey.open(data / "secrets" / "master.key"))
    journal.start(1)
    n_spans = size = seed = 0
    while size < n_bytes:
        seed += 1
        work = load.build(SPANS_AT_ONCE, seed=seed, cache=None)
        now_us = time.time_ns() // 1000
        facts: dict[str, Any] = {"kind": int(EntryKind.SPANS_PROTOBUF), "tenant": "default", "received_at_us": now_us}
        waiting = [journal.append(**facts, body=body) for body in work.bodies]
        for written in waiting:
            written.result()
        n_spans += work.spans
        size += sum(map(len, work.bodies))
        print(f"\rwriting the journal: {size / 1e6:.0f} MB", end="", file=sys.stderr, flush=True)
    journal.stop()
    journal.release()
    print(file=sys.stderr)
    return n_spans


def replay(data: Path, port_base: int, timeout_s: float) -> tuple[float, int]:
    """(seconds from process start to listening, peak memory in kB) of a collector started on `data`."""
    command = [sys.executable, "-m", "server.cli.main", "serve", "collector"]
    command += ["--data", str(data), "--port-base", str(port_base)]
    started = time.perf_counter()
    process = subprocess.Popen(command, cwd=REPOSITORY)
    try:
        while not _listens(port_base + 1):
            if process.poll() is not None or time.perf_counter() - started > timeout_s:
                raise SystemExit(f"the collector did not come up within {timeout_s:.0f} s ({process.poll()})")
            time.sleep(0.05)
        took = time.perf_counter() - started
        status = Path(f"/proc/{process.pid}/status").read_text()
        peak = int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))
    finally:
        process.terminate()
        process.wait()
    return took, peak


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.2)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def main() -> int:
    """Writes, replays, counts, and keeps the figures in benchmarks/results/replay.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--harness", type=Path, default=REPOSITORY.parent / "shared" / "bench")
    parser.add_argument("--megabytes", type=int, default=1000)
    parser.add_argument("--port-base", type=int, default=27300)
    parser.add_argument("--timeout", type=float, default=300)
    parser.add_argument("--no-keep", action="store_true", help="print the row, write nothing")
    args = parser.parse_args()
    sys.path.insert(0, str(args.harness.resolve()))
    load = importlib.import_module("otlp_load")
    with tempfile.TemporaryDirectory(prefix="assay-replay-") as folder:
        data = Path(folder)
        bootstrap(Settings(data=data))
        n_spans = write_journal(data, args.megabytes * 10**6, load)
        n_bytes = sum(path.stat().st_size for path in (data / "journal").iterdir())
        took, peak = replay(data, args.port_base, args.timeout)
        stored = sum(file.n_rows for file in Lake(data / "lake").snapshot("spans").files)
    row: dict[str, object] = {
        "journal_mb": round(n_bytes / 1e6),
        "spans": n_spans,
        "stored": stored,
        "seconds": round(took, 1),
        "spans_per_s": round(n_spans / took),
        "peak_rss_mb": round(peak / 1000),
    }
    print(row)
    if not args.no_keep:
        print(keep("replay", ["python", "-m", "benchmarks.ingest.replay", *sys.argv[1:]], [row]))
    return 0 if stored == n_spans else 1


if __name__ == "__main__":
    raise SystemExit(main())
