"""Runs the gateway beside LiteLLM and Portkey through the load harness, and keeps the rows.

    python -m benchmarks.gateway.overhead --peers ours,portkey,litellm --peers-dir /tmp/assay-bench/.peers

Ours runs beside a collector and a server, with every policy on and a span per call: limits, budgets, masking, content
rules, both caches (their entries expire at once, so that every call is looked up, asked and kept), routing and repair.
The harness says how its peers are installed.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from benchmarks.ingest.run import REPOSITORY, keep
from tests.stack import Stack, running_stack

CONFIG: Final[dict[str, Any]] = {
    "version": 1,
    "upstreams": {
        "zero": {"base_url": "http://127.0.0.1:18080/v1", "retries": 1},
        "twenty": {"base_url": "http://127.0.0.1:18081/v1", "retries": 1},
    },
    "models": {
        "zero-model": {"targets": [{"upstream": "zero", "model": "fake-0"}]},
        "fake-20": {"targets": [{"upstream": "twenty", "model": "fake-20"}]},
    },
    "policies": {
        "limits": [
            {"scope": "tenant", "requests_per_minute": 10_000_000, "tokens_per_minute": 1_000_000_000},
            {"scope": "user", "requests_per_minute": 10_000_000},
        ],
        "budgets": [
            {"name": "all", "scope": "tenant", "limit_usd": 1e6},
            {"name": "by-user", "scope": "user", "limit_usd": 1e6, "period": "day"},
        ],
        "masking": {"mode": "mask", "output": "mask"},
        "content": [
            {"name": "no-weapons", "on": "both", "words": ["nerve agent", "pipe bomb"]},
            {"name": "no-markers", "on": "input", "pattern": "(?i)internal use only", "then": "flag"},
        ],
        "cache": {"exact": True, "semantic": {"threshold": 0.95}, "ttl_s": 0.000001, "max_temperature": 1.0},
        "routing": {"fake-0": {"simple": "zero-model", "complex": "zero-model"}},
        "repair": {"enabled": True},
    },
    "prices": {"fake*": {"input_usd_per_mtok": 0.4, "output_usd_per_mtok": 1.6}},
}


def main() -> int:
    """Starts ours, runs the harness, keeps its rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--harness", type=Path, default=REPOSITORY.parent / "shared" / "bench")
    parser.add_argument("--python", default=sys.executable, help="interpreter with the harness's needs: uvloop, psutil")
    parser.add_argument("--peers", default="ours")
    parser.add_argument("--peers-dir", type=Path, default=Path("/tmp/assay-bench/.peers"))
    parser.add_argument("--models", default="fake-0")
    parser.add_argument("--concurrency", default="1,16")
    parser.add_argument("--seconds", default="3")
    parser.add_argument("--rounds", default="3")
    parser.add_argument("--name", default="gateway", help="kept as benchmarks/results/NAME.json; empty: only shown")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "rows.jsonl"
        words = [args.python, str(args.harness / "gateway_load.py"), "compare", "--peers", args.peers]
        words += ["--models", args.models, "--concurrency", args.concurrency, "--seconds", args.seconds]
        words += ["--rounds", args.rounds, "--out", str(out), "--workdir", scratch]
        words += ["--litellm-venv", str(args.peers_dir / "litellm"), "--portkey", str(args.peers_dir / "portkey")]
        if "ours" in args.peers.split(","):
            config = Path(scratch) / "gateway.yaml"
            config.write_text(json.dumps(CONFIG))
            with running_stack(Path(scratch) / "stack") as stack:
                os.environ["ASSAY_GATEWAY_CONFIG"] = str(config)
                _run([*words, *_ours(stack)])
        else:
            _run(words)
        rows = [json.loads(line) for line in out.read_text().splitlines()]
    if args.name:
        print(f"kept in {keep(args.name, ['python -m benchmarks.gateway.overhead', *sys.argv[1:]], rows)}")
    return 0


def _ours(stack: Stack) -> list[str]:
    """The harness starts the gateway itself, beside a collector and a server that are not counted, to measure it."""
    url = stack.gateway
    command = [sys.executable, "-m", "server.cli.main", "serve", "gateway", "--data", str(stack.data_dir)]
    words = ["--ours", f"{url}/v1/chat/completions", "--ours-ready", f"{url}/healthz"]
    words += ["--ours-cmd", shlex.join([*command, "--port-base", str(stack.port_base)])]
    return [*words, "--ours-headers", f"authorization=Bearer {stack.key}"]


def _run(words: list[str]) -> None:
    subprocess.run(words, check=True)


if __name__ == "__main__":
    raise SystemExit(main())
