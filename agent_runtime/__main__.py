"""`python -m agent_runtime serve|chat|simulate|trials|forget`: the HTTP door, a conversation, simulated users, the door
for evaluation runs, erasing a user.

It ends with 0 when all went well, 1 when the work failed, 2 when it was asked for something that cannot be, 4 when
Assay cannot be reached, 130 after Ctrl-C. `assay` hands these on.
"""

from __future__ import annotations

import argparse
import asyncio
import errno
import json
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
from agent_runtime.forgetting import count, forget
from agent_runtime.settings import Settings
from agent_runtime.simulation import cli as simulation
from agent_runtime.simulation import trials_cli as trials
from agent_runtime.simulation.provider.running import Beside, listen
from agent_runtime.state import tell_door

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
    trials.add_arguments(commands.add_parser("trials", help="serve the HTTP door for evaluation runs"))
    gone = commands.add_parser("forget", help="erase a user from the folder, also while a runtime serves it")
    gone.add_argument("--user", required=True, help="the id as it was sent; - reads it from standard input")
    gone.add_argument("--tenant", help="whose user; AGENT_TENANT when left away")
    gone.add_argument("--yes", action="store_true", help="do it; without it rows are counted and nothing is changed")
    gone.add_argument("--json", action="store_true", help="print JSON")
    return parser


def _run(given: argparse.Namespace) -> int:
    if given.command == "simulate":
        return simulation.run(given)
    if given.command == "trials":
        return trials.run(given)
    if given.command == "chat":
        return OK if asyncio.run(chat(Settings(), Console(highlight=False), user_id=given.user)) else FAILED
    if given.command == "forget":
        return _forget(Settings(), given)
    told = {name: getattr(given, name) for name in ("host", "port") if getattr(given, name) is not None}
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve(Settings(**told)))


def _forget(settings: Settings, given: argparse.Namespace) -> int:
    user_id = sys.stdin.readline().rstrip("\r\n") if given.user == "-" else given.user
    tenant = given.tenant or settings.tenant
    if not user_id.strip():
        raise InvalidInput("name the user")
    rows = asyncio.run(forget(settings, user_id, tenant)) if given.yes else count(settings, user_id, tenant)
    if given.json:
        sys.stdout.write(json.dumps({"dry_run": not given.yes, "rows": rows}) + "\n")
        return OK
    said = ", ".join(f"{table} {n}" for table, n in rows.items() if n) or "nothing names this user"
    sys.stdout.write(f"{'forgotten' if given.yes else 'would forget'}: {said}\n")
    return OK


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
            tell_door(settings.data, _own_url(settings.host, bound.getsockname()[1]))
            sys.stderr.write(f"the agent answers on http://{settings.host}:{bound.getsockname()[1]}\n")
            app = make_app(settings, running.runtime)
            server = Beside(uvicorn.Config(app, log_level="warning", server_header=False, ws="none"))
            for number in (signal.SIGINT, signal.SIGTERM):
                asyncio.get_running_loop().add_signal_handler(number, server.handle_exit, number, None)
            await server.serve(sockets=[bound])
    return OK


def _own_url(host: str, port: int) -> str:
    """Where a process of this machine finds the door."""
    name = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"


def _variable(place: tuple[int | str, ...]) -> str:
    """The environment variable of a setting that is wrong."""
    name = str(place[0]) if place else "settings"
    return name if name.isupper() else f"AGENT_{name.upper()}"


def _complain(message: str, code: int) -> int:
    sys.stderr.write(f"agent_runtime: {message}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
