"""The gateway as a part of `assay up`: there from the start, and its spans are in Assay."""

from __future__ import annotations

import asyncio
import json
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from agent_runtime.simulation.provider.running import running_provider
from agent_runtime.simulation.provider.server import Provider
from tests.stack import Stack, running_stack
from tests.waiting import wait_until

BODY = {"model": "support-fast", "messages": [{"role": "user", "content": "hello, I am ann@example.com"}]}


@contextmanager
def provider() -> Iterator[str]:
    """The simulated provider, in a thread of its own; its address."""
    ready, stop = threading.Event(), threading.Event()
    found: list[str] = []

    async def serve() -> None:
        async with running_provider(Provider(speed=None)) as url:
            found.append(url)
            ready.set()
            while not stop.is_set():
                await asyncio.sleep(0.02)

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    try:
        assert ready.wait(30)
        yield found[0]
    finally:
        stop.set()
        thread.join(20)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack with a gateway."""
    with running_stack(tmp_path_factory.mktemp("stack"), gateway=True) as running:
        yield running


def test_a_call_through_the_gateway_of_a_running_assay_is_a_trace_there(stack: Stack) -> None:
    gateway = stack.gateway
    state = stack.data_dir / "run" / "state.json"
    wait_until(state.exists, 20, "the addresses to be written")
    assert json.loads(state.read_text())["gateway"] == gateway
    empty = httpx.post(f"{gateway}/v1/chat/completions", json=BODY, headers=stack.headers, timeout=10)
    assert (empty.status_code, empty.json()["error"]["code"]) == (404, "model_not_found")
    assert "docs/gateway-config.md" in empty.json()["error"]["message"]
    with provider() as url:
        (stack.data_dir / "gateway.yaml").write_text(
            f'upstreams: {{sim: {{base_url: "{url}/v1"}}}}\n'
            "models: {support-fast: {targets: [{upstream: sim, model: sim-1-mini}]}}\n"
            "prices: {sim-1-mini: {input_usd_per_mtok: 100, output_usd_per_mtok: 100}}\n"
        )
        models = f"{gateway}/v1/models"
        wait_until(lambda: httpx.get(models, headers=stack.headers).json()["data"], 20, "the file to be read")
        trace = secrets.token_hex(16)
        headers = {**stack.headers, "traceparent": f"00-{trace}-{secrets.token_hex(8)}-01", "x-assay-app": "gatewayed"}
        answer = httpx.post(f"{gateway}/v1/chat/completions", json=BODY, headers=headers, timeout=30)
    assert answer.status_code == 200, answer.text
    assert "ann@example.com" in answer.json()["choices"][0]["message"]["content"]
    usage = answer.json()["usage"]
    with stack.client() as api:
        wait_until(lambda: api.get(f"/api/v1/traces/{trace}").status_code == 200, 60, "the call's trace")
        found = api.get(f"/api/v1/traces/{trace}").json()
    assert "ann@example.com" not in json.dumps(found)
    (span,) = [each for each in found["spans"] if each["name"].startswith("chat ")]
    assert (span["input_tokens"], span["output_tokens"]) == (usage["prompt_tokens"], usage["completion_tokens"])
    assert abs(span["cost_usd"] - float(answer.headers["x-assay-cost-usd"])) < 1e-9
    assert stack.cli("gateway", "status", "--data", str(stack.data_dir)).returncode == 0
    (stack.data_dir / "gateway.yaml").unlink()
