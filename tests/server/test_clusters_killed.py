"""A run of clusters in a running Assay: its process is killed half-way, and none of its memory stays anywhere."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import httpx
import psutil

from tests.stack import Stack, running_stack
from tests.waiting import wait_until

N = 120
HEAVY = ("hdbscan", "umap", "torch", "sklearn")  # whose libraries are mapped by whoever clusters


def sent(stack: Stack) -> None:
    """N sessions of three kinds, each a span of an agent."""
    wishes = ("Please refund the {} of my order", "How do I wash the {} at home", "My parcel with the {} is late")
    things = ("tent", "lamp", "jacket", "boots", "stove", "watch")
    spans = [_span(number, wishes[number % 3].format(things[number % 6])) for number in range(N)]
    resource = {"attributes": [_attribute("service.name", "shop")]}
    body = {"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": spans}]}]}
    answer = httpx.post(f"{stack.otlp_http}/v1/traces", json=body, headers=stack.headers, timeout=30)
    assert answer.status_code == httpx.codes.OK


def _span(number: int, wish: str) -> dict[str, Any]:
    at = time.time_ns() - (3_600 + 10 * number) * 10**9
    said = {"session.id": f"s{number}", "user.id": f"u{number}", "input.value": wish, "output.value": f"About: {wish}"}
    return {
        "traceId": f"{number + 1:032x}",
        "spanId": f"{number + 1:016x}",
        "name": "agent",
        "startTimeUnixNano": str(at),
        "endTimeUnixNano": str(at + 10**9),
        "attributes": [_attribute(key, value) for key, value in {**said, "openinference.span.kind": "AGENT"}.items()],
    }


def _attribute(key: str, value: str) -> dict[str, Any]:
    return {"key": key, "value": {"stringValue": value}}


def children(stack: Stack) -> list[psutil.Process]:
    """The processes that work on a run."""
    found = []
    for process in psutil.Process(stack.pid).children(recursive=True):
        try:
            if "server.clustering_child" in process.cmdline():
                found.append(process)
        except psutil.NoSuchProcess:
            continue
    return found


def who_holds_heavy_libraries(stack: Stack) -> list[str]:
    """Of all processes of this Assay but those that cluster."""
    working = {process.pid for process in children(stack)}
    found = []
    for process in psutil.Process(stack.pid).children(recursive=True):
        try:
            maps = Path(f"/proc/{process.pid}/maps").read_text(encoding="utf-8")
            name = " ".join(process.cmdline()[1:4])
        except (OSError, psutil.NoSuchProcess):
            continue
        mapped = [one for one in HEAVY if f"/{one}/" in maps]
        if process.pid not in working and mapped:
            found.append(f"{name}: {mapped}")
    return found


def test_a_killed_run_is_taken_again_and_its_memory_goes_with_its_process(tmp_path: Path) -> None:
    with running_stack(tmp_path, environment={"ASSAY_CLUSTERS_INTERVAL_S": "0"}) as stack, stack.client() as api:
        sent(stack)
        wait_until(lambda: _n_sessions(api) == N, 60, "the sessions to be stored")
        asked = {"app": "shop", "since": "1d", "params": {"embedder": "tfidf", "n_resamples": 2}}
        run = api.post("/api/v1/clusters/runs", json=asked).json()["id"]
        wait_until(lambda: _stage(api, run) is not None and bool(children(stack)), 60, "the run to be under way")
        killed = children(stack)[0]
        os.kill(killed.pid, signal.SIGKILL)
        wait_until(lambda: _told(api, run)["status"] == "done", 240, "the run to be done by another process")
        told = _told(api, run)
        assert told["n_sessions"] == N
        assert told["n_clusters"] >= 2
        assert told["peak_mib"] > 100  # of the child, and told
        wait_until(lambda: not children(stack), 30, "the process to be gone")
        assert who_holds_heavy_libraries(stack) == []
        assert killed.pid not in psutil.pids()


def _n_sessions(api: httpx.Client) -> int:
    asked: dict[str, str | int] = {"app": "shop", "since": "1d", "limit": 500}
    return len(api.get("/api/v1/sessions", params=asked).json()["items"])


def _told(api: httpx.Client, run: str) -> dict[str, Any]:
    found: dict[str, Any] = api.get(f"/api/v1/clusters/runs/{run}").json()
    return found


def _stage(api: httpx.Client, run: str) -> str | None:
    stage: str | None = _told(api, run)["stage"]
    return stage
