"""The demo's evaluations, with its own parts over a real stack: a part of the golden dataset, both releases, a gate."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from server.cli import demo_evaluations, demo_gateway
from server.cli.up import Places
from server.supervisor import Part, serves
from tests.stack import REPOSITORY, Stack, free_port_base, running_stack
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(600)
WANTED = ("order_01", "refund_03", "policy_05")
STRANGE = ("OPENAI_", "AGENT_", "ASSAY_", "OTEL_")


@contextmanager
def running(part: Part) -> Iterator[None]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(STRANGE)}
    process = subprocess.Popen(part.command, cwd=REPOSITORY, env={**kept, **part.environment})
    try:
        wait_until(lambda: serves(part), 120, f"the {part.name} to serve")
        yield
    finally:
        process.terminate()
        process.wait(20)


@contextmanager
def demo_parts(folder: Path) -> Iterator[tuple[Stack, Places]]:
    """A stack with the demo's gateway file, its model provider, and its agent whose second release asks nobody."""
    base = free_port_base()
    names = ("OTLP gRPC", "OTLP HTTP", "API", "dashboard", "gateway", "agent", "simulated model")
    ports = {name: base + n for n, name in enumerate(names)}
    places = Places(data=folder / "data", host="127.0.0.1", ports=ports, environment={})
    demo_gateway.write_file(places)
    with ExitStack() as opened:
        stack = opened.enter_context(running_stack(folder, port_base=base, gateway=True))
        faults = ["--fault=drop_confirmation:1"]
        for part in [*demo_gateway.provider(places), *demo_gateway.agent(places, stack.key, faults)]:
            opened.enter_context(running(part))
        yield stack, places


def test_both_releases_are_run_and_the_gate_decides_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    few = tmp_path / "datasets"
    few.mkdir()
    for name in demo_evaluations.DATASETS:
        lines = (demo_evaluations.FOLDER / f"{name}.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
        chosen = [line for line in lines if any(f'"{one}"' in line for one in WANTED)] or lines[:2]
        smoke = [line.replace('"split": "test"', '"split": "smoke"') for line in chosen]
        (few / f"{name}.jsonl").write_text("".join(smoke), encoding="utf-8")
    policy = (demo_evaluations.FOLDER / "support-gate.yaml").read_text(encoding="utf-8")
    (few / "support-gate.yaml").write_text(policy.replace("min_examples: 5", "min_examples: 2"), encoding="utf-8")
    monkeypatch.setattr(demo_evaluations, "FOLDER", few)
    monkeypatch.setattr(demo_evaluations, "TRIALS", 1)
    with demo_parts(tmp_path) as (stack, places):
        for name, value in demo_evaluations.part(places, stack.key).environment.items():
            monkeypatch.setenv(name, value)
        assert demo_evaluations.main() == 0
        assert "demo-v2 was run beside demo-v1 on support-golden: the gate says" in capsys.readouterr().out
        assert demo_evaluations.main() == 0
        assert "evaluations of an earlier start are there" in capsys.readouterr().out
        with stack.client() as api:
            runs = {run["release"]: run for run in api.get("/api/v1/runs").json()["items"]}
            gates = api.get("/api/v1/gates").json()["items"]
            datasets = {one["name"] for one in api.get("/api/v1/datasets").json()["items"]}
            [experiment] = api.get("/api/v1/experiments").json()["items"]
            [online] = api.get("/api/v1/evaluators/online").json()["items"]
    assert (experiment["name"], experiment["version"], experiment["status"]) == ("fewer-questions", 1, "running")
    assert (online["app"], "pii_leak" in online["evaluators"]) == ("larkspur-support", True)
    assert datasets == {"support-golden", "support-adversarial"}
    assert {name: (run["status"], run["n_done"]) for name, run in runs.items()} == {
        "demo-v1": ("done", 3),
        "demo-v2": ("done", 3),
    }
    means = {name: {one["metric"]: one["mean"] for one in run["metrics"]} for name, run in runs.items()}
    assert means["demo-v1"]["end_state"] == 1.0
    asked = "confirmation_before_irreversible"
    assert (means["demo-v1"][asked], means["demo-v2"][asked]) == (1.0, 0.0)
    [gate] = gates
    assert gate["decision"] == "inconclusive"  # two examples prove nothing
