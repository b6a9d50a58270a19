"""Talk to the reference agent in the terminal, and approve its risky actions.

Its traces go to a running Assay; without one they go nowhere. Its model is the one of that Assay's gateway where that
has it (AGENT_MODEL, or sim-1). OPENAI_BASE_URL and the like choose a real model.
"""

from __future__ import annotations

import argparse
import os
import sys

from server.cli.connection import add_connection_arguments, client_of
from server.cli.launching import agent_environment, become_agent, otlp_url_of, through_gateway
from server.cli.outcome import CommandFailed


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The subcommand chat."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="{chat}")
    talk = actions.add_parser("chat", help="talk to the agent here", allow_abbrev=False)
    talk.add_argument("--user", metavar="ID", help="the customer who talks (default: the demo customer)")
    add_connection_arguments(talk)


def run(args: argparse.Namespace) -> int:
    """Becomes the conversation. Raises CommandFailed."""
    api = client_of(args)
    environment = {**os.environ, "AGENT_DATA": os.environ.get("AGENT_DATA", str(args.data / "agent"))}
    try:
        api.get("/api/v1/apps", {"since": "1h"})
    except CommandFailed as failed:
        print(f"assay: not traced: {failed}", file=sys.stderr)
    else:
        url = otlp_url_of(api, args.data)
        environment = agent_environment(os.environ, data=args.data, api_url=api.url, otlp_url=url, key=api.key)
        environment = through_gateway(environment, args.data, api)
    become_agent(["chat", *(["--user", args.user] if args.user else [])], environment)
