"""Start one part of Assay alone, in the foreground: what `assay up` starts for itself, and what a container runs."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Protocol, cast

from server.cli.connection import add_data_argument, port_base
from server.cli.outcome import CommandFailed, ExitCode

if TYPE_CHECKING:
    from server.settings import Settings
    from server.wiring import Services

TRIM_S = 10.0
PARTS = ("collector", "server", "gateway", "dashboard", "agent")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The part and its settings."""
    parser.add_argument("part", choices=PARTS)
    add_settings_arguments(parser)


def add_settings_arguments(parser: argparse.ArgumentParser) -> None:
    """The settings that are also flags; all others come from ASSAY_* and the --config file."""
    add_data_argument(parser)
    parser.add_argument(
        "--port-base", type=port_base, metavar="N", help="OTLP gRPC N, HTTP N+1, API N+2, dashboard N+3, gateway N+4"
    )
    parser.add_argument("--host", help="address to listen on (default: 127.0.0.1)")
    parser.add_argument("--i-know", action="store_true", help="listen on an address that other machines reach")
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings file (TOML)")


def settings_of(args: argparse.Namespace) -> Settings:
    """The settings that the arguments, the environment and the file give. Raises BadSettings."""
    from server.settings import load_settings

    return load_settings(
        args.config, data=args.data, port_base=args.port_base, host=args.host, i_know=args.i_know or None
    )


def run(args: argparse.Namespace) -> int:
    """Runs until it is told to stop."""
    settings = settings_of(args)
    end_with_parent()
    match args.part:
        case "collector":
            return _collector(settings)
        case "server":
            return _server(settings)
        case "gateway":
            return _gateway(settings)
        case "agent":
            return _agent(settings)
        case _:
            return _dashboard(settings)


def _collector(settings: Settings) -> int:
    from core.memory import one_heap

    one_heap()
    # numba asks for scipy's version as it is loaded, and nothing here needs more of scipy than that it is not there.
    sys.modules.setdefault("scipy", cast(ModuleType, None))
    from collector.service import run as collect
    from collector.settings import CollectorSettings
    from server.control_access import open_control, pepper_of

    return collect(
        CollectorSettings(
            data_dir=settings.data,
            host=settings.host,
            grpc_port=settings.grpc_port,
            http_port=settings.http_port,
            lake_root=settings.lake_root,
            max_body_bytes=settings.max_body_bytes,
            backlog_bytes=settings.backlog_bytes,
            segment_bytes=settings.journal_segment_bytes,
            journal_retention_s=settings.journal_retention_s,
            tenant_bytes_s=settings.quotas,
        ),
        open_control(settings),
        pepper_of(settings),
    )


def _server(settings: Settings) -> int:
    from core.memory import give_back_every, one_heap, settled

    one_heap()
    import uvicorn

    from server.app import create_app
    from server.erasing import resume_in_child
    from server.http_protocol import BoundedProtocol
    from server.own_evaluators import install_own
    from server.wiring import build_services

    give_back_every(TRIM_S)
    services = build_services(settings)
    if services.control.erasures(None, unfinished=True):  # one was killed
        resume_in_child(settings)
    own = install_own(settings.own_evaluators)
    works = _works(services)
    for one in works:
        one.start()
    try:
        app = create_app(services)
        settled()
        uvicorn.run(
            app,
            host=settings.host,
            port=settings.api_port,
            http=BoundedProtocol,
            log_level="warning",
            access_log=False,  # addresses carry session and user ids
            server_header=False,
            timeout_graceful_shutdown=5,
            timeout_keep_alive=75,
        )
    finally:
        for one in reversed(works):
            one.close()
        own.close()
        services.control.close()
    return ExitCode.OK


class _Work(Protocol):
    """Something that a server does beside answering requests."""

    def start(self) -> None:
        """Begins."""

    def close(self) -> None:
        """Ends; what is left is for the next process."""


def _works(services: Services) -> list[_Work]:
    """All that a server does beside answering requests; the last one ends first."""
    from server.cluster_telling import ClusterTeller
    from server.clustering import ClusterRunner
    from server.delivery.wiring import delivery_of
    from server.judging import JudgeRunner
    from server.rolling import RolloutRunner
    from server.rollout_targets import targets_of
    from server.rollout_telling import RolloutTeller
    from server.running import Runner
    from server.scheduler import Scheduler

    return [
        RolloutTeller(services, targets_of(services.settings)),
        RolloutRunner(services),
        JudgeRunner(services),
        Runner(services),
        ClusterTeller(services),
        ClusterRunner(services),
        *delivery_of(services, os.environ),
        Scheduler(services),
    ]


def _gateway(settings: Settings) -> int:
    from server.gateway_wiring import serve_gateway

    return serve_gateway(settings)


def _agent(settings: Settings) -> int:
    """Becomes the reference agent's HTTP door (AGENT_HOST; AGENT_PORT, or `agent_port` of the settings), traced by the
    collector of these settings, its model behind their gateway where that runs and has it."""
    from server.cli.connection import ApiClient, read_json_file
    from server.cli.launching import agent_environment, become_agent, through_gateway

    key = os.environ.get("ASSAY_API_KEY") or read_json_file(settings.data / "credentials.json").get("key")
    otlp_url = f"http://127.0.0.1:{settings.http_port}"
    environment = agent_environment(
        os.environ, data=settings.data, api_url=settings.api_url, otlp_url=otlp_url, key=key
    )
    environment = through_gateway(environment, settings.data, ApiClient(url=settings.api_url, key=key))
    become_agent(["serve"], {"AGENT_PORT": str(settings.agent_port), **environment})


def _dashboard(settings: Settings) -> int:
    """Becomes Streamlit: this process is replaced, so it costs no memory of ours."""
    page = Path(__file__).resolve().parents[2] / "dashboard" / "Home.py"
    if not page.exists():
        raise CommandFailed(f"the dashboard's pages are not at {page}", ExitCode.FAILED)
    environment = dashboard_environment(settings, os.environ)
    words = [sys.executable, "-m", "streamlit", "run", str(page)]
    options = {
        "server.headless": "true",
        "server.address": settings.host,
        "server.port": str(settings.dashboard_port),
        "server.fileWatcherType": "none",
        "browser.gatherUsageStats": "false",
    }
    words += [word for name, value in options.items() for word in (f"--{name}", value)]
    os.execve(sys.executable, words, environment)  # noqa: S606


def dashboard_environment(settings: Settings, given: Mapping[str, str]) -> dict[str, str]:
    """The dashboard's environment: the API's address and key where `given` does not name others. The key of the data
    folder is for its own server only. Raises CommandFailed."""
    from server.cli.connection import read_json_file
    from server.cli.local_key import same_address

    environment = {"ASSAY_URL": settings.api_url, **given}
    key = read_json_file(settings.data / "credentials.json").get("dashboard_key")
    if "ASSAY_API_KEY" not in environment and key and same_address(environment["ASSAY_URL"], settings.api_url):
        environment["ASSAY_API_KEY"] = key
    environment.pop("ASSAY_BOOTSTRAP_KEY", None)
    return environment


def end_with_parent() -> None:
    """Under a supervisor, ends when the supervisor dies however it dies, so that no part holds a port for nobody."""
    supervisor = os.environ.get("ASSAY_SUPERVISOR")
    if supervisor is None or not sys.platform.startswith("linux"):
        return
    import ctypes
    import signal

    pr_set_pdeathsig = 1
    ctypes.CDLL(None, use_errno=True).prctl(pr_set_pdeathsig, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != int(supervisor):
        raise CommandFailed("the supervisor ended before this part began")
