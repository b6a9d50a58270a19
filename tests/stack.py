"""The real stack, `assay up` in its own processes on free loopback ports, for tests that need all of it."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.waiting import wait_until

REPOSITORY = Path(__file__).resolve().parent.parent
PORTS_OF_A_STACK = 7
GATEWAY_OFFSET = 4
READY_S = 240.0  # a busy machine that compiles at the first start
STOP_S = 20.0


@dataclass(frozen=True, kw_only=True)
class Stack:
    """A running `assay up`: where its doors are, the first admin key, and the process to signal."""

    url: str  # the HTTP API, http://127.0.0.1:N+2
    otlp_http: str  # http://127.0.0.1:N+1, without /v1/traces
    otlp_grpc: str  # 127.0.0.1:N
    dashboard: str  # http://127.0.0.1:N+3
    port_base: int
    key: str  # an admin key of `tenant`
    tenant: str
    data_dir: Path
    log_path: Path
    pid: int  # the supervisor; the leader of its own process group

    @property
    def gateway(self) -> str:
        """The gateway's address, where it was asked for: http://127.0.0.1:N+4."""
        return f"http://127.0.0.1:{self.port_base + GATEWAY_OFFSET}"

    @property
    def headers(self) -> dict[str, str]:
        """The credential header that every door takes."""
        return {"Authorization": f"Bearer {self.key}"}

    @property
    def otlp_environment(self) -> dict[str, str]:
        """OTEL_ variables that point any OpenTelemetry SDK's HTTP exporter at this stack."""
        return {
            "OTEL_EXPORTER_OTLP_ENDPOINT": self.otlp_http,
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "OTEL_EXPORTER_OTLP_HEADERS": f"authorization=Bearer%20{self.key}",
        }

    def client(self) -> httpx.Client:
        """An HTTP client of the API with the key; the caller closes it."""
        return httpx.Client(base_url=self.url, headers=self.headers, timeout=30)

    def cli(self, *arguments: str, timeout_s: float = 120) -> subprocess.CompletedProcess[str]:
        """Runs `assay ARGUMENTS` in a process that knows this stack's address and key; never raises on exit codes."""
        environment = {**os.environ, "ASSAY_URL": self.url, "ASSAY_API_KEY": self.key, "ASSAY_DATA": str(self.data_dir)}
        return subprocess.run(
            [sys.executable, "-m", "server.cli.main", *arguments],
            cwd=REPOSITORY,
            env={**environment, "NO_COLOR": "1", "COLUMNS": "160"},
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )


def free_port_base(count: int = PORTS_OF_A_STACK) -> int:
    """The first of `count` consecutive loopback ports without a listener, below the range of outgoing connections."""
    for _ in range(200):
        base = random.SystemRandom().randrange(12_000, 32_000 - count)
        if all(_is_free(base + offset) for offset in range(count)):
            return base
    raise AssertionError(f"found no {count} consecutive free ports on loopback")


@contextmanager
def running_stack(
    tmp_path: Path,
    dashboard: bool = False,
    *,
    environment: dict[str, str] | None = None,
    port_base: int | None = None,
    gateway: bool = False,
) -> Iterator[Stack]:
    """Boots the stack on `tmp_path`/data and stops it at the end; a boot that fails shows the server's log. Dashboard
    and gateway are there when they are asked for.

    The same `tmp_path` (and `port_base`) again starts on the data of the run before.
    """
    base = port_base if port_base is not None else free_port_base()
    data_dir = tmp_path / "data"
    log_path = tmp_path / "stack.log"
    tmp_path.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "server.cli.main", "up", "--port-base", str(base), "--data", str(data_dir)]
    command += [] if dashboard else ["--no-dashboard"]
    command += [] if gateway else ["--no-gateway"]
    with log_path.open("ab") as log:
        process = subprocess.Popen(
            command,
            cwd=REPOSITORY,
            env={**_clean_environment(), **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        also = [base + 3] * dashboard + [base + GATEWAY_OFFSET] * gateway
        yield _when_ready(process, base, data_dir, log_path, also)
    finally:
        stop(process)


def _when_ready(process: subprocess.Popen[bytes], base: int, data_dir: Path, log_path: Path, also: list[int]) -> Stack:
    url = f"http://127.0.0.1:{base + 2}"
    doors = [base, base + 1, *also]

    def ready() -> bool:
        if process.poll() is not None:
            raise AssertionError(f"`assay up` ended with {process.returncode} before it was ready")
        return not any(_is_free(port) for port in doors) and _answers(f"{url}/healthz") and credentials(data_dir) != {}

    try:
        wait_until(ready, READY_S, f"`assay up` to be ready on ports {base} to {base + 3}")
    except AssertionError as error:
        raise AssertionError(f"{error}; its log ends:\n{log_tail(log_path)}") from None
    known = credentials(data_dir)
    return Stack(
        url=url,
        otlp_http=f"http://127.0.0.1:{base + 1}",
        otlp_grpc=f"127.0.0.1:{base}",
        dashboard=f"http://127.0.0.1:{base + 3}",
        port_base=base,
        key=known["key"],
        tenant=known["tenant"],
        data_dir=data_dir,
        log_path=log_path,
        pid=process.pid,
    )


def credentials(data_dir: Path) -> dict[str, str]:
    """What the first start wrote to credentials.json; empty while it is not there yet."""
    try:
        found = json.loads((data_dir / "credentials.json").read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return {str(name): str(value) for name, value in found.items()}


def log_tail(log_path: Path, n_bytes: int = 8_000) -> str:
    """The end of the stack's log."""
    return log_path.read_bytes()[-n_bytes:].decode(errors="replace") if log_path.exists() else "(no log)"


def stop(process: subprocess.Popen[bytes]) -> None:
    """Asks the supervisor to end, waits, then ends whatever is left of its process group."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            print(f"`assay up` did not stop within {STOP_S:g} s of SIGTERM", file=sys.stderr)
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    process.wait(STOP_S)


def _clean_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("ASSAY_", "OTEL_"))}


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.2)
        return probe.connect_ex(("127.0.0.1", port)) != 0


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False
