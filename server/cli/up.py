"""Start everything on this machine: the collector, the server, the gateway and the dashboard.

The first start makes the tenant `default` and its first admin key, which are kept in credentials.json of the data
folder (mode 0600). Ctrl-C or SIGTERM ends all parts within ten seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from server.cli.outcome import CommandFailed, ExitCode
from server.cli.serve import add_settings_arguments
from server.supervisor import CannotStart, Part, Supervisor, complaint_of, require_free_ports

_NEED_KEYS: Final = ("gateway", "dashboard")  # from their start


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where an instance is found: plain values, so that this process needs no settings library afterwards."""

    data: Path
    host: str
    ports: Mapping[str, int]
    environment: Mapping[str, str]

    @property
    def api_url(self) -> str:
        """The API on this machine."""
        return f"http://127.0.0.1:{self.ports['API']}"

    @property
    def state(self) -> dict[str, object]:
        """What state.json says."""
        return {"url": self.api_url, "ports": dict(self.ports), **self.addresses}

    @property
    def addresses(self) -> dict[str, str]:
        """Name and address of every door."""
        found = {
            "otlp_grpc": f"http://127.0.0.1:{self.ports['OTLP gRPC']}",
            "otlp_http": f"http://127.0.0.1:{self.ports['OTLP HTTP']}",
        }
        for door in ("gateway", "dashboard"):
            if door in self.ports:
                found[door] = f"http://127.0.0.1:{self.ports[door]}"
        return found


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The settings, and what to leave out."""
    add_settings_arguments(parser)
    parser.add_argument("--no-dashboard", action="store_true", help="leave out the dashboard")
    parser.add_argument("--no-gateway", action="store_true", help="leave out the gateway")


def run(args: argparse.Namespace) -> int:
    """Runs until a signal comes."""
    return run_instance(args)


def run_instance(
    args: argparse.Namespace,
    *,
    prepare: Callable[[Places], None] | None = None,
    more_parts: Callable[[Places, str], list[Part]] | None = None,
    more_ports: Sequence[str] = (),
    seconds: float | None = None,
) -> int:
    """Starts everything and stays. `prepare` is called before anything is started. `more_parts` makes further parts, on
    `more_ports`, from the places and the admin key; `seconds` ends by itself that long after everything was ready."""
    with FirstSteps(args, more_ports) as first_steps:
        places = first_steps.places
        supervisor = Supervisor(places.data / "run", say=_say)
        try:
            supervisor.lock()
            require_free_ports(places.host, places.ports)
            if prepare is not None:
                prepare(places)
            parts = _parts(places)
            supervisor.start(part for part in parts if part.name not in _NEED_KEYS)
            credentials = first_steps.credentials()
            supervisor.start(part for part in parts if part.name in _NEED_KEYS)
            if not supervisor.wait_ready():
                return ExitCode.OK
            supervisor.write_state(places.state)
            _welcome(places, credentials)
            if more_parts is not None:
                supervisor.start(more_parts(places, credentials["key"]))
            supervisor.watch(None if seconds is None else time.monotonic() + seconds)
        except CannotStart as problem:
            raise CommandFailed(str(problem), ExitCode.USAGE if problem.usage else ExitCode.FAILED) from problem
        finally:
            supervisor.stop()
    return ExitCode.OK


class FirstSteps:
    """The child that reads the settings and makes the credentials; see server/cli/first_steps.py."""

    def __init__(self, args: argparse.Namespace, more_ports: Sequence[str] = ()) -> None:
        words = [sys.executable, "-m", "server.cli.first_steps", "--data", str(args.data)]
        words += ["--port-base", str(args.port_base)] if args.port_base else []
        words += ["--host", args.host] if args.host else []
        words += ["--config", str(args.config)] if args.config else []
        words += ["--i-know"] if args.i_know else []
        pipe = subprocess.PIPE
        self._child = subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=_environment({}))
        left_out = {name for name in ("gateway", "dashboard") if getattr(args, f"no_{name}")}
        self._doors = {"OTLP gRPC", "OTLP HTTP", "API", "gateway", "dashboard", *more_ports} - left_out

    def __enter__(self) -> FirstSteps:
        """Nothing to do: the child runs already."""
        return self

    def __exit__(self, *_: object) -> None:
        """Ends the child if it is still there."""
        self._child.kill()
        self._child.communicate()

    @property
    def places(self) -> Places:
        """Where everything is. Raises CommandFailed with what is wrong with settings or folder; call it once."""
        assert self._child.stdout is not None
        line = self._child.stdout.readline()
        if not line:
            complaint = self._child.communicate()[1].strip() or "the settings cannot be read"
            raise CommandFailed(complaint, ExitCode.USAGE if self._child.returncode == 2 else ExitCode.FAILED)
        found = json.loads(line)
        ports = {name: port for name, port in found["ports"].items() if name in self._doors}
        return Places(data=Path(found["data"]), host=found["host"], ports=ports, environment=found["environment"])

    def credentials(self) -> dict[str, str]:
        """The keys of this installation, made at the first start. Raises CannotStart."""
        out, complaint = self._child.communicate("go\n")
        if self._child.returncode != 0 or not out:
            words = complaint_of(complaint).removeprefix("assay: ")
            raise CannotStart(words or "the first start failed", usage=self._child.returncode == 2)
        made: dict[str, str] = json.loads(out)
        return made


def _environment(more: Mapping[str, str]) -> dict[str, str]:
    return {**os.environ, **more, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}


def _parts(places: Places) -> list[Part]:
    def serve(name: str, ports: list[int], ready_path: str | None) -> Part:
        words = [sys.executable, "-m", "server.cli.main", "serve", name]
        return Part(
            name=name,
            command=words,
            ports=ports,
            ready_path=ready_path,
            environment=_environment(places.environment),
        )

    ports = places.ports
    parts = [
        serve("collector", [ports["OTLP gRPC"], ports["OTLP HTTP"]], None),
        serve("server", [ports["API"]], "/healthz"),
    ]
    if "gateway" in ports:
        parts.append(serve("gateway", [ports["gateway"]], "/healthz"))
    if "dashboard" in ports:
        parts.append(serve("dashboard", [ports["dashboard"]], "/_stcore/health"))
    return parts


def _welcome(places: Places, credentials: Mapping[str, str]) -> None:
    """Prints the addresses, the key, and how to go on."""
    from rich.console import Console
    from rich.text import Text

    rows = [
        ("dashboard", places.addresses.get("dashboard")),
        ("API", f"{places.api_url}/api/v1"),
        ("gateway", _models_url(places)),
        ("OTLP gRPC", places.addresses["otlp_grpc"]),
        ("OTLP HTTP", places.addresses["otlp_http"]),
        ("tenant", credentials["tenant"]),
        ("key", credentials["key"]),
        ("data", str(places.data)),
    ]
    console = Console(soft_wrap=True, highlight=False)
    console.print(Text("Assay is ready", style="bold green"))
    for name, value in rows:
        if value:
            console.print(Text(f"{name:<9}  ", style="dim") + Text(value, style="bold"))
    for line in _next_steps(places, credentials["key"]):
        console.print(Text(line, style="dim"))
    console.print(Text("Ctrl-C stops it.", style="dim"))


def command() -> str:
    """How `assay` was called, to be pasted into a shell."""
    return sys.argv[0] if Path(sys.argv[0]).name == "assay" else "assay"


def _models_url(places: Places) -> str | None:
    """What an OpenAI client calls its base URL."""
    return f"{places.addresses['gateway']}/v1" if "gateway" in places.addresses else None


def _next_steps(places: Places, key: str) -> list[str]:
    """How to look at what is there, how to send, and how to call a model: to be pasted into a shell."""
    look = shlex.join([command(), "traces", "list", "--since", "1h", "--data", str(places.data)])
    endpoint, headers = places.addresses["otlp_http"], f"authorization=Bearer%20{key}"
    send = f'export OTEL_EXPORTER_OTLP_ENDPOINT={endpoint} OTEL_EXPORTER_OTLP_HEADERS="{headers}"'
    lines = [f"to look    {look}", f"to send    {send}"]
    if url := _models_url(places):
        lines.append(f"to call    export OPENAI_BASE_URL={url} OPENAI_API_KEY={key}")
    return lines


def _say(line: str) -> None:
    print(f"assay: {line}", file=sys.stderr, flush=True)
