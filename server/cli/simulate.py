"""Let simulated users talk to the reference agent, with planted faults whose truth is known.

Traces go to the collector, outcomes to the API, and the release is registered. The model is simulated: no key, no
network, and every span says so.
"""

from __future__ import annotations

import argparse
import os
import sys
from typing import Final

from server.cli.connection import add_connection_arguments, add_json_argument, client_of
from server.cli.launching import agent_environment, become_agent, otlp_url_of, run_agent
from server.cli.outcome import CommandFailed, ExitCode
from server.cli.serve import end_with_parent

# The options of `python -m agent_runtime simulate`, which checks their values: (name, metavar, help).
_OPTIONS: Final = (
    ("sessions", "N", "how many (default: 100); 0 plays until it is stopped"),
    ("release", "NAME", "the release that has the faults (default: v1)"),
    ("baseline", "NAME", "a release without faults that plays every other session"),
    ("seed", "N", "an equal seed plays the same sessions (default: 7)"),
    ("mark", "TEXT", "part of the session ids, to play a seed again as other sessions"),
    ("speed", "max|X", "X times as fast as a real model; max, the default, does not wait"),
    ("at-once", "N", "sessions at the same time (default: 8)"),
    ("per-minute", "N", "sessions that begin in a minute"),
    ("fidelity", "full|trace", "trace makes copies of recorded sessions, thousands in a minute (default: full)"),
    ("weeks", "N", "of traces, up to now, with seasons of day and week (default: 8)"),
    ("hours", "N", "of traces, instead of weeks"),
    ("personas", "N", "manners of users per task (default: all)"),
    ("model-url", "URL", "the simulated model as the gateway serves it: http://127.0.0.1:8090/v1; full sessions only"),
    ("door", "URL", "users of the agent behind a gateway, http://127.0.0.1:8090: it says which release answers"),
    ("outcome-delay", "S", "seconds from a session's end to its outcome (default: 5)"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What is played, and where it is told."""
    for name, metavar, said in _OPTIONS:
        parser.add_argument(f"--{name}", metavar=metavar, help=said)
    parser.add_argument(
        "--fault", action="append", default=[], metavar="NAME:RATE", help="e.g. drop_confirmation:0.2; several times"
    )
    parser.add_argument(
        "--fill", action="store_true", help="traces only where there is no session yet, the newest first"
    )
    parser.add_argument(
        "--reuse", action="store_true", help="play a release that is registered with other content all the same"
    )
    add_connection_arguments(parser)
    add_json_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Becomes the simulation once a server has answered; wrong values are told first. Raises CommandFailed."""
    end_with_parent()
    words = _words(args)
    try:
        api = client_of(args)
        api.get("/api/v1/apps", {"since": "1h"})
    except CommandFailed:
        if run_agent([*words, "--check"]) == ExitCode.USAGE:
            sys.exit(ExitCode.USAGE)
        raise
    environment = agent_environment(
        os.environ, data=args.data, api_url=api.url, otlp_url=otlp_url_of(api, args.data), key=api.key
    )
    if args.model_url and api.key:
        environment["AGENT_OPENAI_API_KEY"] = api.key  # the gateway's; a provider's own is never sent there
    become_agent(words, environment)


def _words(args: argparse.Namespace) -> list[str]:
    """The simulation's own command line."""
    words = [
        "simulate",
        "--called=assay simulate",
        *(f"--{flag}" for flag in ("json", "fill", "reuse") if getattr(args, flag)),
    ]
    for name, _, _ in _OPTIONS:
        value = getattr(args, name.replace("-", "_"))
        words += [] if value is None else [f"--{name}={value}"]
    return words + [f"--fault={fault}" for fault in args.fault]
