"""`python -m agent_runtime.simulation.provider`: the simulated provider in a process of its own.

--port N        0 takes a free one; the address is printed
--world FILE    world.db, in which the faults of each session are planted; without it nothing is altered
--speed max|X   X times as fast as the simulated model would be; max does not wait at all
--seed N        decides latencies and wordings
--requests-per-minute N, --tokens-per-minute N   of each API key; answered with 429 beyond
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from agent_runtime.simulation.provider.planted import planted_faults
from agent_runtime.simulation.provider.rate_limits import RateLimits
from agent_runtime.simulation.provider.running import listen, serve_forever
from agent_runtime.simulation.provider.server import Provider
from agent_runtime.simulation.world import World

DEFAULT_PORT = 8099


def main(arguments: list[str]) -> int:
    """Serves until a signal comes; 2 when the port is taken."""
    given = _options().parse_args(arguments)
    try:
        bound = listen(given.host, given.port)
    except OSError as failure:
        sys.stderr.write(f"cannot listen on {given.host}:{given.port}: {failure.strerror}; choose another --port\n")
        return 2
    provider = Provider(
        seed=given.seed,
        speed=given.speed,
        alter=planted_faults(World.open(given.world)) if given.world else None,
        limits=RateLimits(requests_per_minute=given.requests_per_minute, tokens_per_minute=given.tokens_per_minute),
    )
    sys.stdout.write(f"simulated provider on http://{given.host}:{bound.getsockname()[1]}\n")
    sys.stdout.flush()
    serve_forever(provider, bound)
    return 0


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m agent_runtime.simulation.provider", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=DEFAULT_PORT)
    parser.add_argument("--world", type=Path)
    parser.add_argument("--speed", type=_speed, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--requests-per-minute", type=_positive)
    parser.add_argument("--tokens-per-minute", type=_positive)
    return parser


def _speed(text: str) -> float | None:
    if text == "max":
        return None
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError("has to be above 0, or max")
    return value


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("has to be at least 1")
    return value


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
