"""The demo's judge, with its own parts over a real stack: made, run, labelled, calibrated, once; it says what it is."""

from __future__ import annotations

import re
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from server.cli import demo_gateway, demo_judges
from server.cli.up import Places
from tests.server.test_demo_evaluations import running
from tests.stack import free_port_base, running_stack
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(900)
N = 40


def test_a_judge_is_made_run_labelled_and_calibrated_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    base = free_port_base()
    names = ("OTLP gRPC", "OTLP HTTP", "API", "dashboard", "gateway", "agent", "simulated model")
    ports = {name: base + n for n, name in enumerate(names)}
    places = Places(data=tmp_path / "data", host="127.0.0.1", ports=ports, environment={})
    demo_gateway.write_file(places)
    for constant, n in {"ENOUGH": N, "JUDGED": N, "DRAWN": 24, "LEFT": 3, "UNDECIDED": 1}.items():
        monkeypatch.setattr(demo_judges, constant, n)
    monkeypatch.setattr(demo_judges, "SLIPS", {"simulated ann": 0.0, "simulated bob": 0.3})
    with ExitStack() as opened:
        stack = opened.enter_context(running_stack(tmp_path, port_base=base, gateway=True))
        (model,) = demo_gateway.provider(places)
        fast = [*model.command[: model.command.index("--speed")], "--speed", "max"]
        opened.enter_context(running(replace(model, command=fast)))
        played = stack.cli(
            "simulate", f"--sessions={N}", "--baseline=demo-v1", "--release=demo-v2", "--outcome-delay=0",
            "--fault=drop_confirmation:0.5", "--fault=stale_policy:0.5", timeout_s=300,
        )  # fmt: skip
        assert played.returncode == 0, played.stderr
        for name, value in demo_judges.part(places, stack.key).environment.items():
            monkeypatch.setenv(name, value)
        assert demo_judges.main() == 0
        said = capsys.readouterr().out
        assert re.search(r"judge resolution \(simulated:sim-judge\) beside \d+ simulated labels: \w+, kappa ", said), (
            said
        )
        for command in ("judges create", "judges run", "labels create", "labels sample", "judges calibrate"):
            assert f"assay {command} " in said
        assert demo_judges.main() == 0
        assert "the judge of an earlier start is there" in capsys.readouterr().out
        with stack.client() as api:
            (run,) = api.get("/api/v1/judges/resolution/runs").json()["items"]
            assert (run["status"], run["n_targets"], run["n_left"]) == ("done", N, 0)
            queue = api.get("/api/v1/label-queues/simulated-labels").json()
            tasks = api.get("/api/v1/label-queues/simulated-labels/tasks", params={"limit": 1000}).json()["items"]
            (calibration,) = api.get("/api/v1/judges/resolution/calibrations").json()["items"]
            keys = [one for one in api.get("/api/v1/keys").json()["items"] if one["name"].startswith("simulated")]
            wait_until(lambda: _labels(api), 60, "the labels to be in the lake")
            label = _labels(api)[0]
    assert queue["note"].startswith("Simulated")
    assert queue["progress"]["n_tasks"] == len(tasks) == 24
    assert queue["progress"]["n_needs_adjudication"] == 1
    assert sum(not one["answers"] for one in tasks) >= 3
    for one in tasks:
        for given in one["answers"]:
            assert given["annotator"] in demo_judges.SLIPS
            assert given["note"].startswith("Simulated")
    assert calibration["n"] == queue["progress"]["n_completed"], "tasks are drawn from what the judge said"
    assert calibration["state"] in ("certified", "failed", "undetermined")
    assert {one["name"] for one in keys} == set(demo_judges.SLIPS)
    assert all(one["revoked_at"] for one in keys)
    assert label["metadata"]["queue"] == "simulated-labels"


def _labels(api: httpx.Client) -> list[dict[str, Any]]:
    params: dict[str, str | int] = {"evaluator": "resolution", "since": "1d", "limit": 1000}
    found = api.get("/api/v1/scores", params=params).json()["items"]
    return [one for one in found if one["evaluator_kind"] == "human"]
