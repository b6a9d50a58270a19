"""Power loss: one recorded run of the product, and many moments of it at which the power could have gone.

`python -m tests.reliability.faults_powerloss --states 400` records `assay up` from its very first start under load,
killed once half way, with compaction, checkpoints and retention beside it, and then builds states of the disk after a
loss of power: every write not yet synced dropped, torn or kept. On each the product is started again, and everything
acknowledged before that moment must be there, once and unaltered.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psutil

from auth.authenticator import Authenticator
from collector.service import _Collector
from collector.settings import CollectorSettings
from core.errors import AssayError
from server.control_access import open_control, pepper_of
from server.settings import load_settings
from tests.reliability.crash_load import DAY_NS, Content, Ledger, Sender, judge, poster
from tests.reliability.crash_results import record
from tests.reliability.faults_layer import Call, Kind, Layer
from tests.reliability.faults_states import Disk
from tests.stack import REPOSITORY, Stack, free_port_base, running_stack

UPKEEP: Final = """
import sys, time
from store.compaction import upkeep
from store.lake import Lake
from store.retention import enforce
lake = Lake(sys.argv[1])
enforce(lake, {"brief": 7}, time.time_ns())
upkeep(lake, grace_s=8.0)
for table in lake.tables():
    lake.checkpoint(table)
"""
KEPT: Final = (0.0, 0.0, 0.5, 0.9, 0.1)  # the share of unsynced writes that a state keeps, in turn


@dataclass(kw_only=True)
class MarkedLedger(Ledger):
    """A ledger that also puts its lines into the record of calls, so that their order is known."""

    layer: Layer

    def note(self, what: str, content: Content) -> None:
        """As `Ledger.note`."""
        super().note(what, content)
        self.layer.mark(json.dumps([what, content]).encode())


# -- the recorded run ----------------------------------------------------------------------------------------------


def recorded(work: Path, *, seconds: float) -> tuple[list[Call], str]:
    """Runs the product under load for about `seconds`, killed once half way; returns the record of its calls and the
    first admin key."""
    layer = Layer(work / "disk", work / "layer", record=True)
    layer.root.mkdir()
    base, now = free_port_base(), time.time_ns()
    senders: list[Sender] = []
    for life in range(2):
        with running_stack(layer.root, environment=layer.environment, port_base=base) as stack:
            if not senders:
                senders = _senders(layer, stack, work, now)
                for sender in senders:
                    sender.start()
            end = time.monotonic() + seconds / 2
            while not senders[0].done.wait(seconds / 5) and time.monotonic() < end:
                _child(layer, UPKEEP, str(stack.data_dir / "lake"))
            if life == 0:  # what a killed process left unsynced is still seen by the next one
                for process in [*psutil.Process(stack.pid).children(recursive=True), psutil.Process(stack.pid)]:
                    process.kill()
            else:
                for sender in senders:
                    sender.done.set()
                    sender.join(30)
    return list(layer.calls()), stack.key


def _senders(layer: Layer, stack: Stack, work: Path, now: int) -> list[Sender]:
    post, brief = poster(stack.port_base + 1, stack.key), poster(stack.port_base + 1, _key_of_brief(layer, stack))
    senders = [Sender(post, MarkedLedger(path=work / f"acks-{i}", layer=layer), seed=i, at_ns=now) for i in range(2)]
    old = Sender(brief, Ledger(path=work / "brief"), seed=9, at_ns=now - 30 * DAY_NS, n_spans=3)
    return [*senders, old]


def _key_of_brief(layer: Layer, stack: Stack) -> str:
    script = """
import sys
from pathlib import Path
from core.records import Role
from server.control_access import open_control
from server.settings import load_settings
control = open_control(load_settings(data=Path(sys.argv[1])))
control.ensure_tenant("brief")
print(control.create_key("brief", Role.INGEST, "test")[1])
"""
    return _child(layer, script, str(stack.data_dir)).strip()


def _child(layer: Layer, script: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        cwd=REPOSITORY,
        env={**os.environ, **layer.environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


# -- the states ----------------------------------------------------------------------------------------------------


@dataclass(kw_only=True)
class Outcome:
    """What all states together showed."""

    n: int = 0
    acked: int = 0
    missing: int = 0
    duplicated: int = 0
    altered: int = 0
    wrong: list[str] = field(default_factory=list)


def tried_states(calls: list[Call], key: str, work: Path, *, n: int, seed: int) -> Outcome:
    """Builds `n` states after a power loss, spread over the record, starts the product on each, and judges it."""
    rng = random.Random(seed)
    disk, outcome = Disk(work / "disk", empty=True), Outcome()
    moments = sorted(rng.sample(range(1, len(calls)), min(n, len(calls) - 1)))
    acked: Content = {}
    tried: Content = {}
    at = 0
    for number, moment in enumerate(moments):
        for call in calls[at:moment]:
            disk.apply(call)
            if call.kind is Kind.MARK:
                what, content = json.loads(call.path)
                (acked if what == "acked" else tried).update(content)
        at = moment
        target = work / "state"
        disk.after(target, rng, kept=KEPT[number % len(KEPT)])
        _judged(target / "data", key, acked, tried, outcome, f"call {moment}, kept {KEPT[number % len(KEPT)]}")
        shutil.rmtree(target)
    return outcome


def _judged(data: Path, key: str, acked: Content, tried: Content, outcome: Outcome, where: str) -> None:
    outcome.n += 1
    outcome.acked += len(acked)
    problems: list[str] = []
    try:
        with started(data) as (authenticator, balanced):
            if acked:
                authenticator.principal(key)
            if not balanced:
                problems.append("the ledger does not balance")
        verdict = judge(data, acked, tried)
    except (AssayError, OSError) as error:
        outcome.wrong.append(f"{where}: {type(error).__name__}: {error}")
        outcome.missing += len(acked)
        return
    outcome.missing += verdict.missing
    outcome.duplicated += verdict.duplicated
    outcome.altered += verdict.altered
    if not verdict.sound:
        problems.append(str(verdict))
    outcome.wrong += [f"{where}: {problem}" for problem in problems]


@contextmanager
def started(data: Path) -> Iterator[tuple[Authenticator, bool]]:
    """The collector on a folder, recovered as at any start: (its authenticator, whether its ledger balances)."""
    data.mkdir(parents=True, exist_ok=True)
    settings = load_settings(data=data)
    control = open_control(settings)
    try:
        collector = _Collector(
            CollectorSettings(data_dir=data, lake_root=settings.lake_root), control, pepper_of(settings)
        )
        try:
            authenticator = Authenticator(control.find_key, pepper_of(settings))
            yield authenticator, all(row.counts.balanced for row in control.ledger(None))
        finally:
            collector._journal.stop()
            collector._journal.release()
    finally:
        control.close()


def main() -> int:
    """Runs the campaign and adds its figures to benchmarks/results/reliability.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--states", type=int, default=400)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--seed", type=int, default=20261121)
    parser.add_argument("--keep", action="store_true", help="keep the folder")
    args = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="assay-power-"))
    try:
        calls, key = recorded(work, seconds=args.seconds)
        print(f"{len(calls)} calls recorded", flush=True)
        outcome = tried_states(calls, key, work, n=args.states, seed=args.seed)
    finally:
        if not args.keep:
            shutil.rmtree(work, ignore_errors=True)
    for line in outcome.wrong[:40]:
        print(line)
    record(
        "power_loss",
        n=outcome.n,
        kills=outcome.n,
        acked=outcome.acked,
        missing=outcome.missing,
        duplicated=outcome.duplicated,
        altered=outcome.altered,
        wrong=len(outcome.wrong),
        calls=len(calls),
    )
    return 1 if outcome.wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
