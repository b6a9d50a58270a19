"""`python -m agent_runtime trials`: serves the HTTP door for evaluation runs; see trials.py for what a trial finds.

Sessions are as the gateway leads them here: its baggage says the release. The model is the simulated one, in this
process or behind the gateway that --model-url names, which has to read the same world for the planted faults.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path

import uvicorn

from agent_runtime.app import make_app
from agent_runtime.errors import InvalidInput
from agent_runtime.records import Release
from agent_runtime.settings import Settings
from agent_runtime.simulation.provider.running import Beside, listen
from agent_runtime.simulation.trials import open_trials


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which releases, and where."""
    parser.add_argument("--baseline", default="demo-v1", metavar="NAME", help="a release without faults")
    parser.add_argument("--release", default="demo-v2", metavar="NAME", help="the release that has the faults")
    parser.add_argument("--fault", action="append", default=[], metavar="NAME:RATE", help="may be given several times")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--world", type=Path, metavar="FILE", help="default: AGENT_DATA/world.db")
    parser.add_argument("--model-url", metavar="URL", help="the simulated model as a gateway serves it")
    parser.add_argument("--port", type=int, help="default: AGENT_PORT")


def run(given: argparse.Namespace) -> int:
    """Serves until a signal comes. Raises InvalidInput."""
    return asyncio.run(_serve(given))


def releases_of(given: argparse.Namespace) -> list[Release]:
    """The baseline and the release with its faults, as `simulate` plays them. Raises InvalidInput."""
    faults = {}
    for text in given.fault:
        name, mark, rate = text.partition(":")
        try:
            faults[name] = float(rate)
        except ValueError:
            raise InvalidInput(f"--fault is written as NAME:RATE, not {text!r}") from None
        if not mark:
            raise InvalidInput(f"--fault is written as NAME:RATE, not {text!r}")
    faulty = Release(name=given.release, variant="treatment", prompt_version="2", faults=faults)
    return [Release(name=given.baseline), faulty]


async def _serve(given: argparse.Namespace) -> int:
    releases, found = releases_of(given), Settings()
    port = found.port if given.port is None else given.port
    make_app(found)  # refuses an open door before the files are touched
    async with AsyncExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="assay-trials-")))
        changed = {"data": folder, **({"openai_base_url": given.model_url} if given.model_url else {})}
        settings = found.model_copy(update=changed)
        try:
            bound = opened.enter_context(listen(found.host, port))
        except OSError as error:
            raise InvalidInput(f"port {port} on {found.host} cannot be used: {error.strerror or error}") from error
        world = given.world or found.data / "world.db"
        own = not given.model_url
        agent = await opened.enter_async_context(open_trials(settings, releases, world, given.seed, own_provider=own))
        bound.listen()
        names = ", ".join(each.name for each in releases)
        sys.stderr.write(f"{names} answer on http://{found.host}:{bound.getsockname()[1]}\n")
        server = Beside(uvicorn.Config(make_app(settings, agent), log_level="warning", server_header=False, ws="none"))
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, server.handle_exit, number, None)
        await server.serve(sockets=[bound])
    return 0
