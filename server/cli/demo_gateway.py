"""The demo's gateway: its file, written where there is none, and the simulated model provider behind it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from server.cli.launching import ROOT
from server.supervisor import Part

if TYPE_CHECKING:
    from server.cli.up import Places

PORT: Final = "simulated model"  # as server/cli/first_steps.py calls it
AGENT: Final = "agent"
FILE: Final = """\
# The demo's gateway, written by `assay demo`; change it as you like, it is read again within seconds.
# Every field is in docs/gateway-config.md; `assay gateway check` says what is wrong.
version: 1

upstreams:
  # The simulated provider that the demo starts. A real one:
  # openai: {base_url: "https://api.openai.com/v1", keys: ["${env:OPENAI_API_KEY}"]}
  simulated: {base_url: "http://127.0.0.1:${env:ASSAY_SIMULATED_PORT}/v1", retries: 1}

models:
  # The reference agent asks for sim-1. Its answers are not cached: each session has planted faults of its own.
  sim-1: {targets: [{upstream: simulated, model: sim-1}], cheaper: sim-1-mini, cache: off}
  sim-1-mini: {targets: [{upstream: simulated, model: sim-1-mini}]}
  sim-1-large: {targets: [{upstream: simulated, model: sim-1-large}], cheaper: sim-1}
  # A name of your own, with a place to fall back to: assay gateway try --model support-fast "hello"
  support-fast: {targets: [{upstream: simulated, model: sim-1-mini}, {upstream: simulated, model: sim-1}]}
  sim-embed: {kind: embeddings, targets: [{upstream: simulated, model: sim-embed}]}

policies:
  limits:
    - {scope: tenant, requests_per_minute: 6000, tokens_per_minute: 20000000}
    - {scope: user, requests_per_minute: 600}
  budgets:
    - {name: demo, scope: tenant, period: day, limit_usd: 50, warn_at: 0.8, then: downgrade}
    - {name: support, scope: app, match: larkspur-support, period: month, limit_usd: 500, then: warn}
  masking: {mode: mask}
  content:
    - {name: weapons, on: input, words: [grenade, land mine], then: refuse, message: "This shop sells no weapons."}
    - {name: legal-threat, on: input, words: [lawsuit, my lawyer], then: flag}
  cache: {exact: true, ttl_s: 600, max_mb: 16, max_temperature: 1}
  routing:
    support-auto: {simple: sim-1-mini, complex: sim-1-large}

teams:
  support: {apps: [larkspur-support]}

# Sessions of the reference agent, which the demo starts in both releases. POST to
# /apps/larkspur-support/v1/sessions/SESSION/turns here. A plan (assay plan set) splits them over releases.
sessions:
  larkspur-support:
    baseline: demo-v1
    releases:
      demo-v1: "http://127.0.0.1:${env:ASSAY_AGENT_PORT}"
      demo-v2: "http://127.0.0.1:${env:ASSAY_AGENT_PORT}"

# Invented, since a simulated model costs nothing. Real models are priced by genai-prices.
prices:
  sim-1: {input_usd_per_mtok: 0.4, output_usd_per_mtok: 1.6}
  sim-1-mini: {input_usd_per_mtok: 0.1, output_usd_per_mtok: 0.4}
  sim-1-large: {input_usd_per_mtok: 2, output_usd_per_mtok: 8}
  sim-embed: {input_usd_per_mtok: 0.02, output_usd_per_mtok: 0}
"""


def write_file(places: Places) -> None:
    """Writes gateway.yaml into the data folder, unless there is one or the settings name another. Raises OSError."""
    path = places.data / "gateway.yaml"
    if "gateway" in places.ports and not path.exists() and "ASSAY_GATEWAY_CONFIG" not in places.environment:
        places.data.mkdir(parents=True, exist_ok=True)
        path.write_text(FILE, encoding="utf-8")


def provider(places: Places) -> list[Part]:
    """The simulated provider, with the world in which the faults of every session are planted; none without gateway."""
    if "gateway" not in places.ports:
        return []
    port = places.ports[PORT]
    world = places.data / "agent" / "world.db"
    words = ["-m", "agent_runtime.simulation.provider", "--port", str(port), "--world", str(world), "--seed", "7"]
    return [
        Part(
            name="model",
            command=[sys.executable, *words, "--speed", "1"],
            ports=[port],
            ready_path="/healthz",
            environment={"PYTHONPATH": str(ROOT)},
        )
    ]


def agent(places: Places, key: str, faults: Sequence[str]) -> list[Part]:
    """The reference agent in both releases, for evaluation runs and for who talks to it through the gateway; none
    without it."""
    if "gateway" not in places.ports:
        return []
    port = places.ports[AGENT]
    words = ["-m", "agent_runtime", "trials", "--port", str(port), "--baseline=demo-v1", "--release=demo-v2", *faults]
    world = places.data / "agent" / "world.db"
    return [
        Part(
            name="agent",
            command=[sys.executable, *words, f"--world={world}", "--seed=7", *model_words(places)],
            ports=[port],
            ready_path="/healthz",
            environment={
                "AGENT_ASSAY_API_KEY": key,
                "AGENT_ASSAY_URL": places.api_url,
                "AGENT_DATA": str(places.data / "agent"),
                "AGENT_HOST": "127.0.0.1",
                "AGENT_OPENAI_API_KEY": key,
                "AGENT_OTLP_ENDPOINT": places.addresses["otlp_http"],
                "AGENT_OTLP_KEY": key,
                "PYTHONPATH": str(ROOT),
            },
        )
    ]


def model_words(places: Places) -> list[str]:
    """Words that lead a simulation's model calls through the gateway."""
    return [f"--model-url={places.addresses['gateway']}/v1"] if "gateway" in places.ports else []
