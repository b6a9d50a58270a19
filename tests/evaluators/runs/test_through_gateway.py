"""A run through the real gateway with `assay eval`: the release that is meant answers, whatever the plan says, and the
trace of every call is in the store, with what the trial was scored over."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.evaluators.runs.agents import running
from tests.stack import running_stack

GATEWAY = """
sessions:
  desk: {{baseline: v1, releases: {{v1: "{v1}"}}}}
"""
EXAMPLES = [
    {"example_id": f"e{n}", "input": f"question {n}", "expected": {"answer": f"you said question {n}"}}
    for n in range(3)
]


def test_a_run_of_a_candidate_without_traffic_reaches_it_and_is_traced(tmp_path: Path) -> None:
    with running() as v1, running() as v2:
        data = tmp_path / "data"
        data.mkdir()
        (data / "gateway.yaml").write_text(GATEWAY.format(v1=v1.url))
        file = tmp_path / "golden.jsonl"
        file.write_text("".join(json.dumps(one) + "\n" for one in EXAMPLES))
        with running_stack(tmp_path, gateway=True) as stack:
            for name, agent in (("v1", v1), ("v2", v2)):
                ended = stack.cli("releases", "register", "desk", name, "--endpoint", agent.url)
                assert ended.returncode == 0, ended.stderr
            ended = stack.cli("plan", "set", "desk", "--baseline", "v1", "--weight", "v1=1")
            assert ended.returncode == 0, ended.stderr
            ended = stack.cli("datasets", "import", str(file))
            assert ended.returncode == 0, ended.stderr
            words = ("eval", "run", "golden", "--release", "v2", "--evaluators", "answer_match,latency_ms")
            told = json.loads(stack.cli(*words, "--dry-run", "--json").stdout)
            assert (told["n_calls"], told["usd"]) == (3, None)
            assert (v1.requests, v2.requests) == ([], [])
            ended = stack.cli(*words, "--json", timeout_s=180)
            assert ended.returncode == 0, ended.stderr
            run = json.loads(ended.stdout)
            assert (run["status"], run["n_done"], run["n_failed"]) == ("done", 3, 0)
            assert run["params"]["via"] == "gateway"
            assert (len(v1.requests), len(v2.requests)) == (0, 3), "only the release that is meant is asked"
            baggage = v2.requests[0].headers["baggage"]
            assert "assay.release=v2" in baggage
            assert f"assay.run_id={run['run_id']}" in baggage
            metrics = {one["metric"]: one["mean"] for one in run["metrics"]}
            assert metrics["answer_match"] == 1.0
            with stack.client() as client:
                traced(client, run["run_id"])
                keys = client.get("/api/v1/keys").json()["items"]
                assert all(one["revoked_at"] for one in keys if one["name"].startswith("evaluation"))
            shown = stack.cli("eval", "show", run["run_id"], "--trials")
            assert "answer_match" in shown.stdout
            assert "you said question 2" in shown.stdout
            assert run["run_id"] in stack.cli("eval", "list", "--release", "v2").stdout
            assert stack.cli("eval", "show", "run_none").returncode == 6
            assert stack.cli("eval", "run", "--release", "v2").returncode == 2


def traced(client: Any, run_id: str) -> None:
    """Every trial's trace is stored under its session, and is linked from it."""
    trials = client.get(f"/api/v1/runs/{run_id}/trials").json()["items"]
    for one in trials:
        session = client.get(f"/api/v1/sessions/{one['session_id']}").json()
        assert [turn["trace_id"] for turn in session["turns"]] == one["trace_ids"]
        assert {turn["release"] for turn in session["turns"]} == {"v2"}
        trace = client.get(f"/api/v1/traces/{one['trace_ids'][0]}").json()
        assert {score["evaluator"] for score in trace["scores"]} == {"answer_match", "latency_ms"}
