"""Start everything on this machine with simulated users talking to the reference agent.

No key and no network are needed: the model is simulated, and every span says so. Release v2 has faults whose truth
arrives as outcome scores.
"""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime
from typing import Final

from server.cli import up
from server.cli.launching import ROOT
from server.cli.up import Places
from server.supervisor import Part

PACE: Final = ("--per-minute=20", "--speed=2", "--at-once=6", "--outcome-delay=20")
FAULTS: Final = {"drop_confirmation": 0.3, "stale_policy": 0.3, "verbose_padding": 0.15, "latency_spike": 0.1}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Those of `up`, and an end."""
    up.add_arguments(parser)
    parser.add_argument("--seconds", type=float, metavar="N", help="stop by itself N seconds after everything is ready")


def run(args: argparse.Namespace) -> int:
    """Runs until a signal comes or the time is over."""
    return up.run_instance(args, more_parts=lambda places, key: [_users(places, key)], seconds=args.seconds)


def _users(places: Places, key: str) -> Part:
    """Simulated users of the reference agent, in two releases: v1 without faults, v2 with some that are known."""
    started = datetime.now(UTC).strftime("%m%d%H%M%S-")
    words = ["--sessions=0", f"--mark={started}", *PACE, "--baseline=v1", "--release=v2"]
    faults = [f"--fault={name}:{rate}" for name, rate in FAULTS.items()]
    command = [sys.executable, "-m", "server.cli.main", "simulate", f"--url={places.api_url}", *words, *faults]
    environment = {
        "ASSAY_API_KEY": key,
        "ASSAY_DATA": str(places.data),
        "AGENT_OTLP_ENDPOINT": places.addresses["otlp_http"],
        "PYTHONPATH": str(ROOT),
    }
    return Part(name="users", command=command, ports=(), environment=environment)
