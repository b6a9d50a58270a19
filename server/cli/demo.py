"""Start everything on this machine with demo traffic flowing, so that every page has something to show."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from server.cli import up
from server.cli.outcome import CommandFailed, ExitCode
from server.cli.up import Places
from server.supervisor import Part


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Those of `up`, and an end."""
    up.add_arguments(parser)
    parser.add_argument("--seconds", type=float, metavar="N", help="stop by itself N seconds after everything is ready")


def run(args: argparse.Namespace) -> int:
    """Runs until a signal comes or the time is over."""
    script = Path(__file__).resolve().parents[2] / "examples" / "demo_traffic.py"
    if not script.exists():
        raise CommandFailed(f"the demo's traffic is not at {script}; run this from a checkout", ExitCode.FAILED)
    return up.run_instance(args, more_parts=lambda places, key: [_traffic(places, key, script)], seconds=args.seconds)


def _traffic(places: Places, key: str, script: Path) -> Part:
    """An ordinary OpenTelemetry program: all it knows of Assay are the standard environment variables."""
    environment = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": places.addresses["otlp_http"],
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_EXPORTER_OTLP_HEADERS": f"x-api-key={key}",
        "ASSAY_URL": places.api_url,
        "ASSAY_API_KEY": key,
    }
    return Part(
        name="traffic", command=[sys.executable, str(script), "--backfill", "2h"], ports=(), environment=environment
    )
