"""Running a live program as a child process that knows nothing of Assay but an OTLP address and a key."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.live.providers import Providers
from tests.stack import Stack

TIMEOUT_S = 120
# What exporters log when they lose something.
LOST = (
    "Failed to export",
    "dropping",
    "Transient error",
    "Exporting failed",
    "OTLPExporterError",
    "Export failed",
    "Scheduling export retry",
)


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """What runs a program (`.venv-live`'s python, or node) and the folder its programs are in."""

    command: tuple[str, ...]
    folder: Path


@dataclass(frozen=True, kw_only=True)
class Ran:
    """A program that ended well: its app and session in Assay, and what its last line said."""

    app: str
    session: str
    n_spans: int
    said: dict[str, Any]
    log: str  # what it and its exporter printed


@dataclass(frozen=True, kw_only=True)
class Program:
    """Starts programs against one stack and one set of providers."""

    stack: Stack
    providers: Providers

    def environment(self, app: str, **more: str) -> dict[str, str]:
        """OTEL_* and provider variables; `app` is the service name and the session's suffix."""
        inherited = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "SSL_CERT_FILE") if name in os.environ}
        protocol = more.get("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
        endpoint = f"http://{self.stack.otlp_grpc}" if protocol == "grpc" else self.stack.otlp_http
        url = self.providers.url(app)
        return {
            **inherited,
            "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
            "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
            "OTEL_EXPORTER_OTLP_HEADERS": f"authorization=Bearer%20{self.stack.key}",
            "OTEL_SERVICE_NAME": app,
            "OPENAI_API_KEY": "not-a-key",
            "OPENAI_BASE_URL": f"{url}/v1",
            "ANTHROPIC_API_KEY": "not-a-key",
            "ANTHROPIC_BASE_URL": url,
            "LIVE_MODEL": "gpt-4o-mini",
            "LIVE_SESSION": f"session-{app}",
            **more,
        }

    def run(self, runtime: Runtime, script: str, app: str, **more: str) -> Ran:
        """Runs `script` to its end; fails showing its errors when it does not end well or lost a span."""
        command = [*runtime.command, str(runtime.folder / script)]
        ended = subprocess.run(
            command, env=self.environment(app, **more), capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
        assert ended.returncode == 0, f"{script} ended with {ended.returncode}:\n{ended.stderr[-4_000:]}"
        return said_by(app, ended.stdout, ended.stderr)


def said_by(app: str, output: str, errors: str) -> Ran:
    """Reads a program's last line, `{"spans": N, ...}`."""
    said = json.loads(output.strip().splitlines()[-1])
    return Ran(app=app, session=f"session-{app}", n_spans=said["spans"], said=said, log=f"{errors}\n{output}")


def assert_nothing_lost(ran: Ran) -> None:
    """The exporter logged no failure and no retry."""
    lines = [line for line in ran.log.splitlines() if any(word in line for word in LOST)]
    assert lines == []
