"""Believable traffic of a support agent, sent with the plain OpenTelemetry SDK: any backend takes it, so does Assay.

    OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318 \\
    OTEL_EXPORTER_OTLP_HEADERS="authorization=Bearer%20KEY" \\
    python examples/demo_traffic.py --rate 2 --seconds 60 --backfill 2h

Two releases of the app "shop" (v1 = control, v2 = treatment) answer sessions of one to six turns with retrieval, model
calls and tools; about 4 % of the turns fail. Judges' scores go out as gen_ai.evaluation.result events. The
endpoint, the headers and the protocol (grpc or http/protobuf) come from the standard OTEL_ variables. No model is
called: a resource attribute says that all of it is simulated.
"""

from __future__ import annotations

import argparse
import re
import signal
import sys
import threading
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from random import Random
from types import FrameType
from typing import Final

if __name__ == "__main__":  # run as a script: make `examples` importable
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from examples.shop_agent import RELEASES, Session
from examples.shop_spans import Telemetry, emit, exporters, telemetry_of

NS_PER_S: Final = 1_000_000_000
FLUSH_EVERY: Final = 100  # turns in a backfill, so that the SDK's queue never overflows
OPEN_SESSIONS: Final = 12  # at once; whoever has waited longest then leaves without a word
BACKFILL_TURNS_PER_S: Final = 0.15
KEEP_TALKING: Final = 0.62  # share of turns that go on with a session instead of starting one


class Traffic:
    """Turns of many sessions at once, from one seed. The run's mark keeps session ids of two runs apart."""

    def __init__(self, telemetry: Mapping[str, Telemetry], seed: int, mark: str) -> None:
        self._telemetry, self._random, self._mark = telemetry, Random(seed), mark
        self._open: list[Session] = []
        self._n_sessions = 0
        self.n_turns = 0

    def emit_turn(self, end_ns: int) -> None:
        """One turn of a new or a waiting session that ends at `end_ns`, as spans and events."""
        session = self._session()
        turn = session.next_turn()
        if session.is_over:
            self._open.remove(session)
        session_id = f"shop-{self._mark}-{session.number:05d}"
        emit(self._telemetry[session.release.name], session, turn, session_id, end_ns)
        self.n_turns += 1

    def flush(self) -> None:
        """Exports what is waiting."""
        for one in self._telemetry.values():
            one.flush()

    def _session(self) -> Session:
        if self._open and self._random.random() < KEEP_TALKING:
            return self._random.choice(self._open)
        self._n_sessions += 1
        started = Session(self._random, self._random.choice(RELEASES), self._n_sessions)
        self._open = [*self._open[1 - OPEN_SESSIONS :], started]
        return started


def backfill(traffic: Traffic, seconds: float, now_ns: int, random: Random, stop: threading.Event) -> None:
    """Turns spread over the last `seconds`, oldest first, at BACKFILL_TURNS_PER_S on average."""
    n_turns = round(seconds * BACKFILL_TURNS_PER_S)
    for number, ago in enumerate(sorted((random.uniform(1, seconds) for _ in range(n_turns)), reverse=True), start=1):
        if stop.is_set():
            return
        traffic.emit_turn(now_ns - round(ago * NS_PER_S))
        if number % FLUSH_EVERY == 0:
            traffic.flush()
    traffic.flush()


def live(traffic: Traffic, rate: float, seconds: float | None, random: Random, stop: threading.Event) -> None:
    """`rate` turns a second at random moments, for `seconds` or until stopped."""
    ends_at = None if seconds is None else time.monotonic() + seconds
    due = time.monotonic()
    while ends_at is None or due < ends_at:
        if stop.wait(max(0.0, due - time.monotonic())):
            return
        traffic.emit_turn(time.time_ns())
        due += random.expovariate(rate)
    stop.wait(max(0.0, (ends_at or 0.0) - time.monotonic()))


def seconds_of(text: str) -> float:
    """Seconds in texts such as 90, 90s, 15m, 2h or 1d. Raises argparse's error otherwise."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", text.strip())
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time span; write for example 30s, 15m or 2h")
    return float(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}[found[2]]


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=2.0, metavar="R", help="turns per second (default: 2; 0: none)")
    parser.add_argument("--seconds", type=seconds_of, metavar="S", help="how long (default: until interrupted)")
    parser.add_argument(
        "--backfill", type=seconds_of, default=0.0, metavar="SPAN", help="first, the past SPAN, e.g. 2h"
    )
    parser.add_argument("--seed", type=int, default=7, help="the same seed tells the same stories (default: 7)")
    parser.add_argument("--quiet", action="store_true", help="print nothing but faults")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Backfills, then runs live until the time is over, SIGINT or SIGTERM; 0 even when interrupted."""
    args, stop = arguments(argv), threading.Event()

    def ask_to_stop(_signal: int, _frame: FrameType | None) -> None:
        stop.set()

    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, ask_to_stop)
    telemetry = {release.name: telemetry_of(release, *exporters()) for release in RELEASES}
    traffic = Traffic(telemetry, args.seed, uuid.uuid4().hex[:6])
    started = time.monotonic()
    if args.backfill:
        backfill(traffic, args.backfill, time.time_ns(), Random(args.seed + 1), stop)
        if not args.quiet:
            print(f"backfilled {traffic.n_turns} turns in {time.monotonic() - started:.1f} s", file=sys.stderr)
    if args.rate > 0 and not stop.is_set():
        live(traffic, args.rate, args.seconds, Random(args.seed + 2), stop)
    for one in telemetry.values():
        one.shutdown()
    if not args.quiet:
        print(f"sent {traffic.n_turns} turns in {time.monotonic() - started:.1f} s", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
