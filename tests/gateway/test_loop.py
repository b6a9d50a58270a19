"""The reference agent between both doors, with a real collector: one turn is one trace, and counts once."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import polars as pl

from gateway.session_door import Plan
from tests.collector.alone import Collector
from tests.gateway.live import USER, live
from tests.stack import REPOSITORY, free_port_base
from tests.waiting import wait_until


@contextmanager
def agent(folder: Path, port: int, **settings: str) -> Iterator[str]:
    """The agent's HTTP door in a process of its own; its address."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AGENT_", "OTEL_"))}
    environment |= {f"AGENT_{name.upper()}": value for name, value in settings.items()}
    environment |= {"AGENT_DATA": str(folder), "AGENT_PORT": str(port), "OTEL_BSP_SCHEDULE_DELAY": "1000"}
    with (folder.parent / "agent.log").open("wb") as log:
        command = [sys.executable, "-m", "agent_runtime", "serve"]
        process = subprocess.Popen(command, cwd=REPOSITORY, env=environment, stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}"

    def up() -> bool:
        assert process.poll() is None, (folder.parent / "agent.log").read_text()
        try:
            return httpx.get(f"{url}/healthz").status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False

    try:
        wait_until(up, 120, "the agent to start")
        yield url
    finally:
        process.terminate()
        process.wait(30)


def test_a_turn_between_both_doors_is_one_trace_and_counts_once(tmp_path: Path) -> None:
    port = free_port_base(1)
    with Collector(tmp_path) as collector:
        key, otlp = collector.key_of("acme"), f"http://127.0.0.1:{collector.base + 1}"
        shop = {"baseline": "v1", "releases": {"v1": "http://127.0.0.1:9", "v2": f"http://127.0.0.1:{port}"}}
        with live(tmp_path / "gateway", (otlp, key), sessions={"shop": shop}) as gateway:
            gateway.plans["acme", "shop"] = Plan(baseline="v1", weights={"v2": 1.0}, salt="s")
            said = {"otlp_endpoint": otlp, "otlp_key": key, "openai_base_url": f"{gateway.url}/v1", "model": "fast"}
            with agent(tmp_path / "agent", port, openai_api_key=USER, tenant="acme", release="default", **said):
                answer = httpx.post(
                    f"{gateway.url}/apps/shop/v1/sessions/s1/turns",
                    headers={"authorization": f"Bearer {USER}"},
                    json={"user_id": "u1", "text": "What is your return policy?"},
                    timeout=120,
                )
                assert answer.status_code == 200, answer.text
        collector.drained()
        wait_until(lambda: collector.stored("turns", "acme").height, 30, "the turn")
        spans, turns = collector.stored("spans", "acme"), collector.stored("turns", "acme")
    assert spans["trace_id"].n_unique() == 1, "a turn is one trace"
    assert set(spans["session_id"].drop_nulls()) == {"s1"}
    ours = pl.col("name").is_in(["session shop"]) | (pl.col("scope_name") == "agent_runtime")
    stamped = spans.filter(ours)
    assert (set(stamped["release"]), set(stamped["variant"])) == ({"v2"}, {"treatment"})
    (root,) = spans.filter(pl.col("parent_span_id").is_null()).iter_rows(named=True)
    assert root["name"] == "session shop"
    assert "What is your return policy?" in root["input"]
    assert answer.json()["reply"].split("[")[0][:40] in root["output"]
    by_id = {row["span_id"]: row for row in spans.iter_rows(named=True)}
    (invoked,) = spans.filter(pl.col("name") == "invoke_agent support").iter_rows(named=True)
    assert invoked["parent_span_id"] == root["span_id"]
    calls = [row for row in by_id.values() if row["scope_name"] == "assay.gateway" and row["kind"] == "LLM"]
    assert calls
    for call in calls:
        assert (by_id[call["parent_span_id"]]["kind"], call["usage_counted"]) == ("LLM", True)
        told = [call[name] for name in ("release", "variant", "session_id", "user_id")]
        assert told == ["v2", "treatment", "s1", "u1"]
    counted = [row for row in by_id.values() if row["usage_counted"]]
    assert {row["span_id"] for row in counted} == {call["span_id"] for call in calls}, "the agent's own are wrappers"
    assert turns["n_model_calls"].sum() == len(calls)
    assert turns["input_tokens"].sum() == sum(call["input_tokens"] for call in calls)
    assert turns.filter(pl.col("root_span_id").is_not_null()).height == 1
