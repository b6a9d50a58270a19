"""`python -m agent_runtime serve|chat|simulate`: the HTTP door, a conversation in the terminal, simulated users."""

from __future__ import annotations

import argparse
import asyncio
import sys

import uvicorn
from pydantic import ValidationError
from rich.console import Console

from agent_runtime.app import make_app
from agent_runtime.chat import chat
from agent_runtime.errors import RuntimeFailed
from agent_runtime.settings import Settings
from agent_runtime.simulation import cli as simulation


def main(arguments: list[str] | None = None) -> int:
    """Runs a command; 0 when it ended well, 2 when it could not start; `simulate` has more ends of its own."""
    parser = argparse.ArgumentParser(prog="agent_runtime", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    serve = commands.add_parser("serve", help="serve the HTTP door")
    serve.add_argument("--host")
    serve.add_argument("--port", type=int)
    talk = commands.add_parser("chat", help="talk to the agent here")
    talk.add_argument("--user", help="a customer's id; the demo customer when left away")
    simulation.add_arguments(commands.add_parser("simulate", help="let simulated users talk to it"))
    given = parser.parse_args(arguments)
    try:
        if given.command == "simulate":
            return simulation.run(given)
        if given.command == "chat":
            asyncio.run(chat(Settings(), Console(), user_id=given.user))
            return 0
        told = {name: getattr(given, name) for name in ("host", "port") if getattr(given, name) is not None}
        settings = Settings().model_copy(update=told)
        uvicorn.run(make_app(settings), host=settings.host, port=settings.port, log_level="info")
    except (RuntimeFailed, ValidationError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
