"""A noisy neighbour: what one tenant's acknowledgements take while another sends far too much, or poison.

    python -m tests.reliability.noisy --seconds 40

The victim sends a steady, modest load, alone and beside a neighbour, in turns, so that the machine's own moods fall on
both. The neighbour (tests/reliability/noisy_neighbour.py) sends at fifty times its quota; then poison, without a pause;
then, as a tenant that has no quota, the poison that is refused. The victim must be acknowledged, always, and its p99
stay under twice of what it is alone: of the parts alone, before any neighbour and after each, the best one counts.

Controls beside it are written down and not judged, because they say what of it is the machine: a process that only
burns processor time, as nice as the neighbour is; a tenant whose healthy spans are all accepted; and, in every part,
what one small synced write takes outside the collector.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import tempfile
import threading
import time
from array import array
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from tests.collector.alone import Collector
from tests.reliability.crash_results import record
from tests.reliability.noisy_neighbour import Heard, be_ready, neighbour
from tests.reliability.soak_load import Clients, Seen, State, Template

QUOTA: Final = 500_000  # bytes a second
TIMES: Final = 50
SPANS_OF_A_REQUEST: Final = 16
A_SECOND: Final = 50.0  # the victim's requests
UNDER: Final = 2.0


@dataclass(frozen=True, kw_only=True)
class Phase:
    """Who sends beside the victim, and what; `bytes_s` None: as fast as it can. A control is not judged."""

    name: str
    tenant: str
    kind: str
    bytes_s: float | None = None
    is_control: bool = False


PHASES: Final = (
    Phase(name="over_quota", tenant="noisy", kind="over_quota", bytes_s=float(QUOTA * TIMES)),
    Phase(name="poison", tenant="noisy", kind="poison"),
    Phase(name="poison_without_quota", tenant="wild", kind="refused"),
)
CONTROLS: Final = (
    Phase(name="burner", tenant="wild", kind="burner", is_control=True),
    Phase(name="accepted", tenant="wild", kind="healthy", bytes_s=float(QUOTA * 10), is_control=True),
)


class Neighbours:
    """A collector with the victim and its neighbours; `heard` is what these were answered, by phase."""

    def __init__(self, collector: Collector) -> None:
        self._collector = collector
        self._keys = {name: collector.key_of(name) for name in ("victim", "noisy", "wild")}
        self.heard: dict[str, Heard] = {}
        self.victim = Clients(collector.base + 1, [self._keys["victim"]], Template(SPANS_OF_A_REQUEST))

    def play(self, seconds: float, phase: Phase | None = None, *, per_s: float = A_SECOND) -> list[float]:
        """The victim's acknowledgements in ms, alone or beside the phase's neighbour."""
        self.victim.seen.acks_ms = array("f")
        if phase is None:
            self._collector.drained()  # what a neighbour left behind is no part of being alone
            self.victim.open(seconds, per_s)
            return self.victim.seen.acks_ms.tolist()
        key, port = self._keys[phase.tenant], self._collector.base + 1
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as elsewhere:
            elsewhere.submit(be_ready, phase.kind).result()  # its own start is no part of what it does to others
            beside = elsewhere.submit(neighbour, port, key, phase.kind, seconds, phase.bytes_s)
            self.victim.open(seconds, per_s)
            self.heard[phase.name] = beside.result()
        return self.victim.seen.acks_ms.tolist()

    def problems(self) -> list[str]:
        """What is not as promised, once everything is stored."""
        self._collector.drained()
        found, sent = self.wrong_with(self.victim.seen), len(self.victim.states)
        acked = self.victim.states.count(State.ACKED)
        if acked != sent:
            found.append(f"{sent - acked} of the victim's {sent} requests were not acknowledged")
        for tenant in self._keys:
            for row in self._collector.ledger(tenant).values():
                if not row.counts.balanced:
                    found.append(str(row))
                if tenant == "victim" and row.counts.stored != sent * SPANS_OF_A_REQUEST:
                    found.append(f"the victim sent {sent * SPANS_OF_A_REQUEST} spans: {row}")
        for name, heard in self.heard.items():
            if heard.without_hint:
                found.append(f"{name}: {heard.without_hint} refusals without a hint")
            if set(heard.statuses) - {0, 200, 400, 413, 503}:
                found.append(f"{name}: {heard.statuses}")
        return found

    @staticmethod
    def wrong_with(seen: Seen) -> list[str]:
        """The victim was never refused and never left without an answer."""
        return seen.problems + ([f"the victim saw {seen.statuses}"] if set(seen.statuses) - {200} else [])


class Disk:
    """What one small synced write takes meanwhile, ten times a second, by a thread: every acknowledgement waits for
    one, and neighbours outside the collector write, too."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ms: list[float] = []
        threading.Thread(target=self._ask, name="disk", daemon=True).start()

    def p99(self) -> float:
        """Of the writes since the last call, in ms."""
        found, self._ms = self._ms, []
        return p99(found)

    def _ask(self) -> None:
        descriptor, pause = os.open(self._folder / "asked", os.O_WRONLY | os.O_CREAT), threading.Event()
        while not pause.wait(0.1):
            began = time.monotonic()
            os.pwrite(descriptor, os.urandom(4096), 0)
            os.fdatasync(descriptor)
            self._ms.append((time.monotonic() - began) * 1000)


def p99(acks_ms: list[float]) -> float:
    """The 99th percentile, in ms."""
    return round(float(np.percentile(acks_ms, 99)), 2)


def measured(neighbours: Neighbours, disk: Disk, seconds: float) -> dict[str, float]:
    """The victim's p99 in ms, by part: `alone`, then each phase and `alone_after_` it; `disk_` in front: a write's."""
    neighbours.play(seconds / 4)
    disk.p99()
    found = {"alone": p99(neighbours.play(seconds / 2)), "disk_alone": disk.p99()}
    for phase in (*PHASES, *CONTROLS):
        for name, beside, share in ((phase.name, phase, 1.0), (f"alone_after_{phase.name}", None, 0.5)):
            found |= {name: p99(neighbours.play(seconds * share, beside)), f"disk_{name}": disk.p99()}
        print({name: ms for name, ms in found.items() if phase.name in name}, flush=True)
        print("the neighbour heard", dict(neighbours.heard[phase.name].statuses), flush=True)
    return found


def main() -> int:
    """Plays all phases and adds the figures to benchmarks/results/reliability.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--seconds", type=float, default=40, help="of each phase; alone before and after it, half of it"
    )
    parser.add_argument("--no-record", action="store_true", help="leaves benchmarks/results as it is")
    args = parser.parse_args()
    figures: dict[str, int | float | str] = {"quota_bytes_s": QUOTA, "times_its_quota": TIMES, "seconds": args.seconds}
    with (
        # Packing under way when the collector is killed still writes.
        tempfile.TemporaryDirectory(prefix="assay-noisy-", ignore_cleanup_errors=True) as folder,
        Collector(Path(folder), tenant_bytes_s=f"noisy={QUOTA}") as collector,
    ):
        neighbours = Neighbours(collector)
        found = measured(neighbours, Disk(Path(folder)), args.seconds)
        problems = neighbours.problems()
    figures |= {f"{name}_p99_ms": value for name, value in found.items()}
    figures["baseline_ms"] = baseline = min(value for name, value in found.items() if name.startswith("alone"))
    for phase in (*PHASES, *CONTROLS):
        ms = found[phase.name]
        figures[f"{phase.name}_ratio"] = round(ms / baseline, 2)
        figures[f"{phase.name}_answers"] = str(dict(sorted(neighbours.heard[phase.name].statuses.items())))
        if ms >= UNDER * baseline and not phase.is_control:
            problems.append(f"{phase.name}: p99 {ms} ms, alone {baseline} ms")
    print("\n".join(problems))
    if args.no_record:
        print(figures)
    else:
        record("noisy_neighbour", wrong=len(problems), **figures)
    return 1 if problems else 0


if __name__ == "__main__":
    raise SystemExit(main())
