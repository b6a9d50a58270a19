"""`python -m agent_runtime serve|chat|simulate`: the HTTP door, a conversation in the terminal, simulated users.

It ends with 0 when all went well, 1 when the work failed, 2 when it was asked for something that cannot be, 4 when
Assay cannot be reached, 130 after Ctrl-C. `assay` hands these on.
"""

from __future__ import annotations

import argparse
import asyncio
import errno
import signal
import sys

import uvicorn
import uvloop
from pydantic import ValidationError
from rich.console import Console

from agent_runtime.app import make_app
from agent_runtime.chat import chat
from agent_runtime.compose import open_runtime
from agent_runtime.errors import BackendUnavailable, InvalidInput, RuntimeFailed
from agent_runtime.settings import Settings
from agent_runtime.simulation import cli as simulation
from agent_runtime.simulation.provider.running import Beside, listen

OK, FAILED, USAGE, UNREACHABLE, INTERRUPTED = 0, 1, 2, 4, 130


def main(arguments: list[str] | None = None) -> int:
    """Runs a command; gives its exit code."""
    try:
        return _run(_parser().parse_args(arguments))
    except KeyboardInterrupt:
        return INTERRUPTED
    except ValidationError as error:
        return _complain("; ".join(f"{_variable(each['loc'])}: {each['msg']}" for each in error.errors()), USAGE)
    except InvalidInput as error:
        return _complain(str(error), USAGE)
    except BackendUnavailable as error:
        return _complain(str(error), UNREACHABLE)
    except RuntimeFailed as error:
        return _complain(str(error), FAILED)
    except OSError as error:
        return _complain(f"{error.strerror or error}" + (f": {error.filename}" if error.filename else ""), FAILED)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="agent_runtime", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    serve = commands.add_parser("serve", help="serve the HTTP door")
    serve.add_argument("--host")
    serve.add_argument("--port", type=int)
    talk = commands.add_parser("chat", help="talk to the agent here")
    talk.add_argument("--user", help="a customer's id; the demo customer when left away")
    simulation.add_arguments(commands.add_parser("simulate", help="let simulated users talk to it"))
    return parser


def _run(given: argparse.Namespace) -> int:
    if given.command == "simulate":
        return simulation.run(given)
    if given.command == "chat":
        return OK if asyncio.run(chat(Settings(), Console(highlight=False), user_id=given.user)) else FAILED
    told = {name: getattr(given, name) for name in ("host", "port") if getattr(given, name) is not None}
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve(Settings(**told)))


async def _serve(settings: Settings) -> int:
    """Serves until a signal comes; a start that fails is told before anything answers."""
    make_app(settings)  # refuses an open door before the files are touched
    try:
        bound = listen(settings.host, settings.port)
    except OSError as error:
        said = "is in use; stop what uses it, or" if error.errno == errno.EADDRINUSE else f"cannot be used: {error}"
        raise InvalidInput(f"port {settings.port} on {settings.host} {said} set AGENT_PORT or AGENT_HOST") from error
    with bound:
        async with open_runtime(settings) as running:
            bound.listen()
            sys.stderr.write(f"the agent answers on http://{settings.host}:{bound.getsockname()[1]}\n")
            app = make_app(settings, running.runtime)
            server = Beside(uvicorn.Config(app, log_level="warning", server_header=False, ws="none"))
            for number in (signal.SIGINT, signal.SIGTERM):
                asyncio.get_running_loop().add_signal_handler(number, server.handle_exit, number, None)
            await server.serve(sockets=[bound])
    return OK


def _variable(place: tuple[int | str, ...]) -> str:
    """The environment variable of a setting that is wrong."""
    name = str(place[0]) if place else "settings"
    return name if name.isupper() else f"AGENT_{name.upper()}"


def _complain(message: str, code: int) -> int:
    sys.stderr.write(f"agent_runtime: {message}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
