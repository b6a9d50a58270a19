"""Runs Assay (and peers) through the side-by-side harness and keeps the rows with machine, commit and date.

    python -m benchmarks.ingest.run --harness ../shared/bench --peers ours --sizes 20000 --name ingest-20k

The harness's own README says how to install the peers. Rows are appended to benchmarks/results/NAME.json; a losing
figure is kept like any other.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

HERE = Path(__file__).resolve().parent
RESULTS = HERE.parent / "results"
REPOSITORY = HERE.parent.parent


def machine() -> dict[str, str | int]:
    """What the figures were measured on."""
    model = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.processor(),
    )
    memory_kib = int(Path("/proc/meminfo").read_text().split()[1])
    return {
        "cpu": model,
        "cores": os.cpu_count() or 0,
        "memory_gib": round(memory_kib / 2**20),
        "python": platform.python_version(),
        "kernel": platform.release(),
    }


def commit() -> str:
    """The checked-out commit, with '+' when the tree differs from it."""
    short = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=REPOSITORY, capture_output=True, text=True)
    dirty = subprocess.run(["git", "status", "--porcelain", "-uno"], cwd=REPOSITORY, capture_output=True, text=True)
    return short.stdout.strip() + ("+" if dirty.stdout.strip() else "")


def keep(name: str, command: list[str], rows: list[dict[str, object]]) -> Path:
    """Appends one run to benchmarks/results/NAME.json."""
    path = RESULTS / f"{name}.json"
    runs = json.loads(path.read_text()) if path.exists() else []
    runs.append(
        {
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "commit": commit(),
            "machine": machine(),
            "command": " ".join(command),
            "rows": rows,
        }
    )
    path.write_text(json.dumps(runs, indent=1) + "\n")
    return path


def main() -> int:
    """Runs the harness and keeps what it says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--harness", type=Path, default=REPOSITORY.parent / "shared" / "bench")
    parser.add_argument("--python", default=".peers/bench/bin/python", help="interpreter with the harness's needs")
    parser.add_argument("--cwd", type=Path, default=Path("/tmp/assay-bench"), help="where .peers lives")
    parser.add_argument("--peers", default="ours")
    parser.add_argument("--sizes", default="20000")
    parser.add_argument("--name", default="ingest")
    parser.add_argument("rest", nargs="*", help="further arguments of run_peers.py, after --")
    args = parser.parse_args()
    if not (args.harness / "run_peers.py").exists():
        print(f"there is no run_peers.py in {args.harness}; name the folder with --harness", file=sys.stderr)
        return 2
    args.cwd.mkdir(parents=True, exist_ok=True)
    out = args.cwd / f"rows-{os.getpid()}.jsonl"
    command = [args.python, str(args.harness.resolve() / "run_peers.py"), "--peers", args.peers, "--sizes", args.sizes]
    command += ["--ours", str(HERE / "spec.json"), "--out", str(out), *args.rest]
    peers = args.cwd.resolve() / ".peers"
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        **{f"{name.upper()}_VENV": str(peers / name) for name in ("mlflow", "phoenix")},
    }
    subprocess.run(command, cwd=args.cwd, env=environment, check=True)
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    shown = ["python", "run_peers.py", "--peers", args.peers, "--sizes", args.sizes, "--ours", "spec.json", *args.rest]
    print(keep(args.name, shown, rows))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
