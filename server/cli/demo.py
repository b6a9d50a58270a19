"""Start everything on this machine with simulated users talking to the reference agent.

No key and no network are needed: the model is simulated, behind the gateway, and every span says so. Release demo-v2
has faults whose truth arrives as outcome scores. The last two days are filled with earlier traffic first, as traces,
the newest first: at a later start only what is missing. Beside it the datasets of the reference agent are imported,
run against both releases, and a gate decides about demo-v2, once. A simulated judge goes over some of the sessions and
is calibrated by simulated labels, once. Behind the earlier traffic monitors are made, which watch the users from then
on.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from server.cli import demo_evaluations, demo_gateway, demo_judges, demo_monitors, up
from server.cli.launching import ROOT
from server.cli.up import Places
from server.supervisor import Part

PACE: Final = ("--sessions=0", "--per-minute=4", "--speed=1", "--at-once=6", "--outcome-delay=20")
HISTORY: Final = ("--fidelity=trace", "--hours=50", "--fill", "--sessions=6000", "--personas=1", "--outcome-delay=0")
FAULTS: Final = {"drop_confirmation": 0.4, "stale_policy": 0.3, "tool_loop": 0.01, "latency_spike": 0.1}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Those of `up`, and an end."""
    up.add_arguments(parser)
    parser.add_argument("--seconds", type=float, metavar="N", help="stop by itself N seconds after everything is ready")


def run(args: argparse.Namespace) -> int:
    """Runs until a signal comes or the time is over."""
    return up.run_instance(
        args,
        prepare=demo_gateway.write_file,
        more_parts=_traffic,
        more_ports=[] if args.no_gateway else [demo_gateway.PORT, demo_gateway.AGENT],
        seconds=args.seconds,
    )


def _traffic(places: Places, key: str) -> list[Part]:
    """The hours before, and then simulated users, for as long as the demo runs."""
    print(
        "assay: the last two days are filled with earlier traffic where there is none; then users go on live\n"
        f"assay: to talk to the agent yourself: {up.command()} agent chat --data {shlex.quote(str(places.data))}",
        file=sys.stderr,
        flush=True,
    )
    started = datetime.now(UTC).strftime("%m%d%H%M%S-")
    users = _simulation("users", places, key, [f"--mark={started}", *PACE, *demo_gateway.model_words(places)])
    monitors = replace(demo_monitors.part(places, key), then=users)
    history = _simulation("history", places, key, ["--mark=h", *HISTORY], then=monitors)
    agent = demo_gateway.agent(places, key, _fault_words())
    evaluations = [demo_evaluations.part(places, key)] if agent else []
    provider = demo_gateway.provider(places)
    judges = [demo_judges.part(places, key)] if provider else []
    return [*provider, *agent, history, *evaluations, *judges]


def _fault_words() -> list[str]:
    return [f"--fault={name}:{rate}" for name, rate in FAULTS.items()]


def _simulation(name: str, places: Places, key: str, words: Sequence[str], then: Part | None = None) -> Part:
    """Sessions in two releases: demo-v1 without faults, demo-v2 with some that are known."""
    command = [sys.executable, "-m", "server.cli.main", "simulate", "--reuse", f"--url={places.api_url}", *words]
    environment = {
        "ASSAY_API_KEY": key,
        "ASSAY_DATA": str(places.data),
        "AGENT_OTLP_ENDPOINT": places.addresses["otlp_http"],
        "PYTHONPATH": str(ROOT),
    }
    return Part(
        name=name,
        command=[*command, "--baseline=demo-v1", "--release=demo-v2", *_fault_words()],
        ports=(),
        environment=environment,
        then=then,
    )
