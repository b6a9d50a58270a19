"""A gateway in its own process before the simulated provider, with a data folder and its keys."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from server.bootstrap import bootstrap
from server.settings import Settings
from tests.stack import REPOSITORY, free_port_base, log_tail
from tests.waiting import wait_until

CLEAN = {name: value for name, value in os.environ.items() if not name.startswith(("ASSAY_", "OTEL_"))}
MODELS = """
models:
  fast: {targets: [{upstream: simulated, model: sim-1-mini}]}
"""


@dataclass(frozen=True, kw_only=True)
class Running:
    """Where it is, and the process."""

    url: str
    provider: str
    data: Path
    key: str
    process: subprocess.Popen[bytes]
    log: Path
    port_base: int

    @property
    def file(self) -> Path:
        """The gateway's file."""
        return self.data / "gateway.yaml"

    @property
    def headers(self) -> dict[str, str]:
        """The admin key."""
        return {"authorization": f"Bearer {self.key}"}

    def assay(self, *words: str, typed: str = "", key: str | None = None) -> subprocess.CompletedProcess[str]:
        """Runs `assay gateway WORDS` with the address and the admin key (or `key`)."""
        known = {"ASSAY_GATEWAY_URL": self.url, "ASSAY_API_KEY": key or self.key, "ASSAY_DATA": str(self.data)}
        return subprocess.run(
            [sys.executable, "-m", "server.cli.main", "gateway", *words],
            cwd=REPOSITORY,
            env={**CLEAN, **known, "NO_COLOR": "1"},
            input=typed,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def status(self) -> dict[str, object]:
        """What GET /status answers."""
        found: dict[str, object] = httpx.get(f"{self.url}/status", headers=self.headers, timeout=10).json()
        return found


def config_of(provider: str, more: str = MODELS) -> str:
    """A file with the provider as `simulated`."""
    return f'upstreams:\n  simulated: {{base_url: "{provider}/v1"}}\n{more}'


@contextmanager
def running_gateway(
    folder: Path,
    more: str = MODELS,
    *,
    whole: str = "",
    speed: str = "max",
    provider_words: Sequence[str] = (),
    environ: Mapping[str, str] | None = None,
) -> Iterator[Running]:
    """Starts provider and gateway, and ends both. `whole` is a file that names the provider itself; `environ` is added
    to the environment."""
    base, data, log = free_port_base(), folder / "data", folder / "gateway.log"
    key = bootstrap(Settings(data=data, port_base=base))["key"]
    provider = f"http://127.0.0.1:{base + 6}"
    (data / "gateway.yaml").write_text(whole or config_of(provider, more))
    env = {**CLEAN, **(environ or {})}
    words = ["-m", "agent_runtime.simulation.provider", "--port", str(base + 6), "--speed", speed, *provider_words]
    simulated = subprocess.Popen([sys.executable, *words], cwd=REPOSITORY, env=env, stdout=subprocess.DEVNULL)
    words = ["-m", "server.cli.main", "serve", "gateway", "--data", str(data), "--port-base", str(base)]
    with log.open("ab") as output:
        process = subprocess.Popen([sys.executable, *words], cwd=REPOSITORY, env=env, stdout=output, stderr=output)
    url = f"http://127.0.0.1:{base + 4}"
    try:
        wait_until(lambda: _serves(process, log, url) and _serves(simulated, log, provider), 60, "gateway and provider")
        yield Running(url=url, provider=provider, data=data, key=key, process=process, log=log, port_base=base)
    finally:
        for one in (process, simulated):
            if one.poll() is None:
                one.send_signal(signal.SIGTERM)
        for one in (process, simulated):
            try:
                one.wait(20)
            except subprocess.TimeoutExpired:
                one.kill()
                one.wait(20)


def _serves(process: subprocess.Popen[bytes], log: Path, url: str) -> bool:
    if process.poll() is not None:
        raise AssertionError(f"ended with {process.returncode}; the log ends:\n{log_tail(log)}")
    try:
        return httpx.get(f"{url}/healthz", timeout=2).status_code == 200
    except httpx.HTTPError:
        return False


def figures_of(answer: httpx.Response) -> dict[str, object]:
    """What the header x-assay-explained says."""
    found: dict[str, object] = json.loads(answer.headers["x-assay-explained"])
    return found
