"""Becoming `python -m agent_runtime ...`: the agent is a program of its own, which this server never imports."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NoReturn
from urllib.parse import quote, urlsplit

from server.cli.connection import ApiClient, read_json_file
from server.cli.gateway_door import Door
from server.cli.outcome import CommandFailed, ExitCode

ROOT: Final = Path(__file__).resolve().parents[2]
_ANSWER_S: Final = 300.0
_MODEL_SERVERS = ("AGENT_OPENAI_BASE_URL", "OPENAI_BASE_URL", "AGENT_OPENAI_API_KEY", "OPENAI_API_KEY")
_OTLP = ("AGENT_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


def become_agent(words: Sequence[str], environment: Mapping[str, str]) -> NoReturn:
    """Replaces this process by the agent runtime with these words. Raises CommandFailed: it is not here."""
    command = _command(words)
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(sys.executable, command, {**environment, "PYTHONPATH": str(ROOT)})  # noqa: S606


def run_agent(words: Sequence[str]) -> int:
    """Runs the agent runtime with these words beside this process; its exit code. Raises CommandFailed."""
    return subprocess.run(_command(words), env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False).returncode


def ask_agent(words: Sequence[str], *, folder: Path, said: str) -> subprocess.CompletedProcess[str]:
    """Runs the agent runtime on its folder with these words; `said` is its standard input.

    Raises CommandFailed when it is not here, subprocess.TimeoutExpired.
    """
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "AGENT_DATA": str(folder)}
    return subprocess.run(
        _command(words), env=environment, input=said, capture_output=True, text=True, timeout=_ANSWER_S, check=False
    )


def _command(words: Sequence[str]) -> list[str]:
    if not (ROOT / "agent_runtime" / "__main__.py").exists():
        raise CommandFailed(f"the agent runtime is not at {ROOT / 'agent_runtime'}; run this from a checkout")
    return [sys.executable, "-m", "agent_runtime", *words]


def agent_environment(
    given: Mapping[str, str], *, data: Path, api_url: str, otlp_url: str, key: str | None
) -> dict[str, str]:
    """The agent's environment; what `given` says of the agent itself (AGENT_...) comes first."""
    keys = {"AGENT_OTLP_KEY": key, "ASSAY_API_KEY": key} if key else {}
    ours = {"AGENT_DATA": str(data / "agent"), **keys}
    if not any(given.get(name) for name in _OTLP):
        ours["AGENT_OTLP_ENDPOINT"] = otlp_url
    return {**ours, **given, "ASSAY_URL": api_url, **({"ASSAY_API_KEY": key} if key else {})}


def through_gateway(environment: Mapping[str, str], data: Path, api: ApiClient) -> dict[str, str]:
    """The agent's environment with the gateway of `data`'s running instance as its model server, where that has the
    agent's model and nobody named another server; else as it is."""
    running = read_json_file(data / "run" / "state.json")
    url, model = running.get("gateway"), environment.get("AGENT_MODEL", "sim-1")
    elsewhere = any(environment.get(name) for name in (*_MODEL_SERVERS, "AGENT_PROVIDER"))
    if running.get("url") != api.url or not url or elsewhere or not _serves(str(url), api.key, model):
        return dict(environment)
    key = {"AGENT_OPENAI_API_KEY": api.key} if api.key else {}
    return {**environment, "AGENT_OPENAI_BASE_URL": f"{url}/v1", **key}


def _serves(url: str, key: str | None, model: str) -> bool:
    try:
        Door(url=url, key=key).get(f"/v1/models/{quote(model, safe='')}")
    except CommandFailed:
        return False
    return True


def otlp_url_of(api: ApiClient, data: Path) -> str:
    """The collector's HTTP door beside an API: as the running instance of `data` says, else the port below."""
    running = read_json_file(data / "run" / "state.json")
    if running.get("url") == api.url and running.get("otlp_http"):
        return str(running["otlp_http"])
    parts = urlsplit(api.url)
    if parts.port is None:
        raise CommandFailed(
            f"say where the collector of {api.url} takes OTLP over HTTP: AGENT_OTLP_ENDPOINT", ExitCode.USAGE
        )
    return f"{parts.scheme}://{parts.hostname}:{parts.port - 1}"
