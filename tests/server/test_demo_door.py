"""Simulated users who come through the gateway: a plan says which release answers, and its faults are found."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from core.ids import TenantId
from core.records import Principal, Role
from server.control_access import open_control
from server.settings import Settings
from store.control.records import PlanSpec, ReleaseSpec
from tests.server.gateways import MODELS, Running, running_gateway
from tests.stack import REPOSITORY, free_port_base
from tests.waiting import wait_until

STRANGE = ("OPENAI_", "AZURE_", "ANTHROPIC_", "AWS_", "AGENT_", "ASSAY_", "OTEL_")
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith(STRANGE)}
TENANT = TenantId("default")
ANN = Principal(tenant=TENANT, role=Role.POWER_USER, name="ann", key_id="0123456789ab")
APP = "larkspur-support"


@contextmanager
def running_agent(folder: Path, port: int) -> Iterator[str]:
    """The agent in both releases, whose second does what it should ask for first; ends it."""
    words = ["trials", "--port", str(port), "--baseline=demo-v1", "--release=demo-v2", "--fault=drop_confirmation:1.0"]
    process = subprocess.Popen(
        [sys.executable, "-m", "agent_runtime", *words], cwd=REPOSITORY, env={**CLEAN, "AGENT_DATA": str(folder)}
    )
    url = f"http://127.0.0.1:{port}"

    def serves() -> bool:
        assert process.poll() is None, "the agent ended"
        try:
            return httpx.get(f"{url}/healthz", timeout=2).is_success
        except httpx.HTTPError:
            return False

    try:
        wait_until(serves, 60, "the agent")
        yield url
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


def simulate(folder: Path, gateway: Running, *words: str) -> subprocess.CompletedProcess[str]:
    """Users at the gateway's door; Assay's API is not told."""
    return subprocess.run(
        [sys.executable, "-m", "agent_runtime", "simulate", "--called=assay simulate", "--json", *words],
        cwd=REPOSITORY,
        env={**CLEAN, "AGENT_DATA": str(folder), "AGENT_ASSAY_API_KEY": gateway.key},
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )


def test_the_plan_decides_and_the_truth_is_of_the_release_that_answered(tmp_path: Path) -> None:
    with running_agent(tmp_path / "agent", free_port_base()) as agent:
        door = f'sessions:\n  {APP}: {{baseline: demo-v1, releases: {{demo-v1: "{agent}", demo-v2: "{agent}"}}}}\n'
        with running_gateway(tmp_path, f"{MODELS}\n{door}") as gateway:
            words = (f"--door={gateway.url}", "--sessions=16", "--outcome-delay=0")
            before = played(simulate(tmp_path / "agent", gateway, *words))
            assert [row["release"] for row in before["releases"]] == ["demo-v1"]
            assert before["releases"][0]["passed"] == 16, "a release without faults solves every task"
            control = open_control(Settings(data=gateway.data))
            for name in ("demo-v1", "demo-v2"):
                control.register_release(TENANT, ReleaseSpec(app=APP, name=name), by=ANN)
            plan = PlanSpec(app=APP, baseline="demo-v1", weights={"demo-v1": 0.5, "demo-v2": 0.5})
            control.set_plan(TENANT, plan, by=ANN)
            control.close()
            wait_until(lambda: split(gateway), 30, "the plan")
            after = played(simulate(tmp_path / "agent", gateway, *words, "--mark=later-"))
    found = {row["release"]: row for row in after["releases"]}
    assert found["demo-v1"]["passed"] == found["demo-v1"]["sessions"]
    faulty = [row for row in after["faults"] if row["fault"] == "drop_confirmation"]
    assert [row["release"] for row in faulty] == ["demo-v2"]
    assert faulty[0]["passed"] == 0
    assert found["demo-v1"]["sessions"] + found["demo-v2"]["sessions"] == 16


def test_what_cannot_be_played_is_said(tmp_path: Path) -> None:
    with running_gateway(tmp_path) as gateway:
        folder = tmp_path / "agent"
        nothing = simulate(folder, gateway, f"--door={gateway.url}")
        assert nothing.returncode == 2
        assert "the agent behind the door keeps its world in it" in nothing.stderr
        (tmp_path / "agent").mkdir()
        (tmp_path / "agent" / "world.db").touch()
        both = simulate(folder, gateway, f"--door={gateway.url}", "--fault=stale_policy:0.5")
        assert both.returncode == 2
        assert "are the agent's that answers there" in both.stderr
        shut = simulate(folder, gateway, f"--door={gateway.url}", "--sessions=1")
        assert shut.returncode == 1
        assert "app_not_found" in shut.stderr


def played(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """What was counted."""
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def split(gateway: Running) -> bool:
    """Whether the gateway has read the plan: one of these sessions meets the candidate."""
    for number in range(8):
        url = f"{gateway.url}/apps/{APP}/v1/sessions/asked-{number}-{os.urandom(4).hex()}/turns"
        body = {"user_id": "u1", "text": "hello"}
        answer = httpx.post(url, headers=gateway.headers, json=body, timeout=60)
        if answer.headers["x-assay-release"] == "demo-v2":
            return True
    return False
