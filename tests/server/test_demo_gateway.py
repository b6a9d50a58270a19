"""Simulated sessions behind the demo's gateway end as they do without it: masking and the rest cost no task."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from server.cli.demo_gateway import FILE
from tests.server.gateways import running_gateway
from tests.stack import REPOSITORY

STRANGE = ("OPENAI_", "AZURE_", "ANTHROPIC_", "AWS_", "AGENT_", "ASSAY_", "OTEL_")
WORDS = ("--sessions=24", "--mark=t1-", "--baseline=demo-v1", "--release=demo-v2", "--outcome-delay=0", "--json")
FAULTS = ("--fault=drop_confirmation:1.0", "--fault=leaked_pii:0.5")


def played(folder: Path, *words: str, key: str = "") -> dict[str, Any]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(STRANGE)}
    done = subprocess.run(
        [sys.executable, "-m", "agent_runtime", "simulate", *WORDS, *FAULTS, *words],
        cwd=REPOSITORY,
        env={**kept, "AGENT_DATA": str(folder), "AGENT_OPENAI_API_KEY": key or "none"},
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_sessions_end_as_they_do_without_a_gateway(tmp_path: Path) -> None:
    direct = played(tmp_path / "direct")
    world = tmp_path / "through" / "world.db"
    with running_gateway(tmp_path, whole=FILE, provider_words=["--world", str(world), "--seed", "7"]) as running:
        through = played(world.parent, f"--model-url={running.url}/v1", key=running.key)
        budgets: Any = running.status()["budgets"]
        upstreams: Any = running.status()["upstreams"]
    # The tokens of masked texts differ, since a placeholder is another text; what came of the sessions does not.
    for name in ("release", "fault", "sessions", "passed", "turns"):
        assert [each.get(name) for each in through["faults"]] == [each.get(name) for each in direct["faults"]]
    (support,) = [each for each in budgets if each["name"] == "support"]
    assert abs(support["spent_usd"] - sum(float(each["cost_usd"]) for each in through["releases"])) < 1e-6
    assert upstreams[0]["n_errors"] == 0
