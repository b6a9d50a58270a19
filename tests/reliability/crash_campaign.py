"""kill -9 under load, again and again: the product with all its processes, and upkeep of the lake beside it.

`python -m tests.reliability.crash_campaign --kills 200` starts the product on one folder, sends without pause, kills
every process of it, and starts it again. Half of the kills come at a random moment, half at a random call that writes
(a write is cut in the middle), wherever that is: in the journal, in a seal, a commit, a checkpoint, compaction,
retention. Some fall into the very first start, which makes the secrets, the tables and the control database's
migrations. Others fall into the migration of what an earlier release wrote, while senders knock. At the end everything
acknowledged must be in the lake, once and unaltered.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import closing, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psutil

from store.control.database import Database
from store.control.migrate import HEAD, REVISIONS, _take
from store.doctor import DAMAGE_FILE
from tests.collector.alone import Collector
from tests.reliability.crash_load import DAY_NS, Content, Ledger, Sender, Verdict, judge, poster, rows_of
from tests.reliability.crash_results import record
from tests.reliability.faults_layer import Action, Kind, Layer, compiler, preloaded
from tests.stack import REPOSITORY, running_stack
from tests.waiting import wait_until

UPKEEP: Final = """
import sys, time
from store.compaction import upkeep
from store.lake import Lake
from store.retention import enforce
lake = Lake(sys.argv[1])
for _ in range(int(sys.argv[2])):
    enforce(lake, {"brief": 7}, time.time_ns())
    upkeep(lake, grace_s=8.0)
    for table in lake.tables():
        lake.checkpoint(table)
"""
PLACES: Final = ("", "", "/journal/", "/lake/", "_delta_log", "checkpoint", "control.db", ".key")
AT_MOST_S: Final = 1.5  # how long a kill at a call waits for that call
FIRST_START_CALLS: Final = 500
EARLIER: Final = "0005"  # revisions of the control database after it only add tables
MIGRATION_CALLS: Final = 400
EXIT_WITHIN_S: Final = 10.0


@dataclass(kw_only=True)
class Tally:
    """What a campaign did."""

    kills: int = 0
    at_a_call: int = 0
    in_first_start: int = 0
    in_migration: int = 0
    whole: int = 0  # with the supervisor and the server
    terms: int = 0
    slowest_exit_s: float = 0.0
    places: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


class Campaign:
    """The product on one folder, its senders, and the kills."""

    def __init__(self, work: Path, *, seed: int) -> None:
        self.random = random.Random(seed)
        self.tally = Tally()
        self.until = float("inf")  # of time.monotonic(): no more kills after that
        self.data = work / "disk" / "data"
        self.data.mkdir(parents=True)
        self._work = work
        self._layer = Layer(work / "disk", work / "layer") if compiler() else None
        self._collector = Collector(self.data, journal_segment_bytes=str(64 << 10))  # another one every dozen requests
        brief = self._collector.key_of("brief")
        port, now = self._collector.base + 1, time.time_ns()
        ledgers = [Ledger(path=work / f"acks-{i}") for i in range(2)]
        self.senders = [
            Sender(poster(port, self._collector.key), ledger, seed=seed + i, at_ns=now)
            for i, ledger in enumerate(ledgers)
        ]
        old = Ledger(path=work / "brief")
        self._brief = Sender(poster(port, brief), old, seed=seed - 1, at_ns=now - 30 * DAY_NS, n_spans=3)
        self._ledgers = ledgers

    def run(
        self, kills: int, terms: int, *, migrations: int = 0, whole_every: int = 0, upkeep_every: int = 1
    ) -> Verdict:
        """All kills, those in `migrations` and terminations, then the judgement. `whole_every`: each n-th kill hits
        `assay up` as a whole; `upkeep_every`: at each n-th kill the lake's upkeep runs too and dies with the rest."""
        with self._collector as collector:
            for sender in (*self.senders, self._brief):
                sender.start()
            for number in range(1, kills + 1):
                if time.monotonic() > self.until:
                    break
                whole = whole_every > 0 and number % whole_every == 0
                self._kill(whole=whole, upkeep=number % upkeep_every == 0)
            while self.tally.in_migration < migrations and time.monotonic() < self.until:
                self._kill_in_migration()
            for _ in range(terms):
                self._terminate()
            for sender in (*self.senders, self._brief):
                sender.done.set()
                sender.join(60)
            collector.drained()
            assert collector.stop() == 0
        return self._judged()

    def _kill(self, *, whole: bool, upkeep: bool) -> None:
        before = self.acknowledged
        if whole:
            self._whole(before)
        else:
            beside = [self._upkeep()] if upkeep else []
            wait_until(lambda: self.acknowledged > before, 60, "something to be acknowledged after a start")
            self._strike([self._collector.pid, *[child.pid for child in beside]])
            for child in beside:
                child.wait(20)
        self.tally.kills += 1
        print(f"kill {self.tally.kills}: {self.acknowledged} requests acknowledged", flush=True)
        self._restart()

    def _restart(self) -> None:
        if self._layer:
            self._layer.lift()
        self._collector.kill()
        with preloaded(self._layer) if self._layer else nullcontext():
            self._collector.start()
        if (self.data / "journal" / DAMAGE_FILE).exists():
            self.tally.problems.append((self.data / "journal" / DAMAGE_FILE).read_text()[-300:])

    def _upkeep(self) -> subprocess.Popen[bytes]:
        environment = {**os.environ, **(self._layer.environment if self._layer else {})}
        with (self._work / "upkeep.log").open("ab") as log:
            command = [sys.executable, "-c", UPKEEP, str(self.data / "lake"), "1000"]
            return subprocess.Popen(command, cwd=REPOSITORY, env=environment, stdout=log, stderr=log)

    def _whole(self, before: int) -> None:
        """The same under `assay up`: supervisor, collector and server die together."""
        self._collector.kill()
        environment = self._collector.environment | (self._layer.environment if self._layer else {})
        with running_stack(self.data.parent, environment=environment, port_base=self._collector.base) as stack:
            wait_until(lambda: self.acknowledged > before, 60, "something to be acknowledged after a start")
            family = psutil.Process(stack.pid).children(recursive=True)
            self._strike([stack.pid, *[child.pid for child in family]])
        self.tally.whole += 1

    def _strike(self, pids: list[int]) -> None:
        """Kills all of `pids`, at a random moment or as soon as one of them dies at a random call."""
        if self._layer and self.random.random() < 0.5:
            place = self.random.choice(PLACES)
            self._layer.arm(action=Action.KILL, skip=self.random.randrange(60), n=1, match=place)
            deadline = time.monotonic() + AT_MOST_S
            pause = threading.Event()
            while not self._layer.n_failed and time.monotonic() < deadline:
                pause.wait(0.005)
            if self._layer.n_failed:
                self.tally.at_a_call += 1
                kind, path = self._layer.first_failed
                site = f"{Kind(kind).name} {place_of(path)}"
                self.tally.places[site] = self.tally.places.get(site, 0) + 1
        else:
            pause = threading.Event()
            pause.wait(self.random.uniform(0.0, 1.0))
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue

    def _kill_in_migration(self) -> None:
        """A start on what an earlier release wrote dies at a random call on the control database, under load."""
        before, database = self.acknowledged, self.data / "control.db"
        wait_until(lambda: self.acknowledged > before, 60, "something to be acknowledged after a start")
        self._collector.kill()
        taken_back(database, self._work)
        assert self._layer
        self._layer.arm(action=Action.KILL, skip=self.random.randrange(MIGRATION_CALLS), n=1, match=database.name)
        with preloaded(self._layer):
            self._collector.launch()
            wait_until(lambda: self._collector.ended or self._collector.answers(), 60, "the end or the door")
        if self._collector.ended and EARLIER < revision_of(database) < HEAD:
            self.tally.in_migration += 1
            self.tally.kills += 1
        self._restart()
        if (found := revision_of(database)) != HEAD:
            self.tally.problems.append(f"after a killed migration the control database is at {found}")

    def _terminate(self) -> None:
        """SIGTERM under load: the exit code is 0, within ten seconds."""
        before = self.acknowledged
        wait_until(lambda: self.acknowledged > before + 5, 60, "something to be acknowledged after a start")
        began = time.monotonic()
        code = self._collector.stop()
        took = time.monotonic() - began
        self.tally.terms += 1
        self.tally.slowest_exit_s = round(max(self.tally.slowest_exit_s, took), 2)
        if code != 0 or took > EXIT_WITHIN_S:
            self.tally.problems.append(f"after SIGTERM the exit code was {code}, after {took:.1f} s")
        self._restart()

    @property
    def acknowledged(self) -> int:
        """Requests acknowledged so far."""
        return sum(sender.acknowledged for sender in self.senders)

    def _judged(self) -> Verdict:
        acked: Content = {}
        tried: Content = {}
        for ledger in self._ledgers:
            acked |= ledger.read("acked")
            tried |= ledger.read("tried")
        verdict = judge(self.data, acked, tried)
        for row in self._collector.ledger().values():
            if not row.counts.balanced or (row.signal == "spans" and row.counts.stored != verdict.stored):
                self.tally.problems.append(f"the ledger says {row}, the lake holds {verdict.stored} spans")
        upkeep = [sys.executable, "-c", UPKEEP, str(self.data / "lake"), "1"]
        subprocess.run(upkeep, cwd=REPOSITORY, check=True, capture_output=True)
        for table in ("spans", "turns", "sessions", "rollups"):
            if rows_of(self.data, table, "brief") is not None:
                self.tally.problems.append(f"{table}: retention left rows of the tenant 'brief'")
        after = judge(self.data, acked, tried)
        if not after.sound:
            self.tally.problems.append(f"after another round of upkeep: {after}")
        if not verdict.sound:
            self.tally.problems.append(str(verdict))
        return verdict


def place_of(path: str) -> str:
    """A path without what is drawn, for counting: data/journal/*.seg."""
    folder, _, name = path.removeprefix("data/").rpartition("/")
    parts = [part.split("=")[0] for part in folder.split("/")]
    return "/".join([*parts, name if name.startswith("control") else f"*{Path(name).suffix}"])


def taken_back(database: Path, work: Path) -> None:
    """Makes of a control database that nobody has open what a release left that knew the revisions to EARLIER."""
    earlier = work / "earlier.db"
    if not earlier.exists():
        made = Database(f"sqlite:///{earlier}")
        _take(made, [revision for revision in REVISIONS if revision <= EARLIER])
        made.close()
    with closing(sqlite3.connect(database)) as connection, connection:
        for table in tables_of(database) - tables_of(earlier):
            connection.execute(f'DROP TABLE "{table}"')
        connection.execute("UPDATE alembic_version SET version_num = ?", (EARLIER,))


def tables_of(database: Path) -> set[str]:
    """Names of the tables of a SQLite file."""
    with closing(sqlite3.connect(database)) as connection:
        return {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def revision_of(database: Path) -> str:
    """The revision that a control database says it is at."""
    with closing(sqlite3.connect(database)) as connection:
        [(revision,)] = connection.execute("SELECT version_num FROM alembic_version")
        return str(revision)


def first_starts(work: Path, kills: int, seed: int, *, error: int = 0) -> list[str]:
    """Kills a first start at a random call (or lets the call fail with `error`), `kills` times in all, and returns what
    did not come up afterwards."""
    rng, problems, done, number = random.Random(seed), [], 0, 0
    script = "import sys; from pathlib import Path; from tests.reliability.faults_powerloss import started\n"
    script += "with started(Path(sys.argv[1])): pass"
    while done < kills:
        number += 1
        layer = Layer(work / f"first-{error}-{number}", work / f"first-layer-{error}-{number}")
        data = layer.root / "data"
        layer.root.mkdir(parents=True)
        for last in (False, rng.random() < 0.5, True):  # once or twice in the same folder, then a start that is let be
            if last:
                layer.lift()
            else:
                action = Action.FAIL if error else Action.KILL
                layer.arm(action=action, error=error, skip=rng.randrange(FIRST_START_CALLS), n=1)
            child = subprocess.run(
                [sys.executable, "-c", script, str(data)],
                cwd=REPOSITORY,
                env={**os.environ, **layer.environment},
                capture_output=True,
                text=True,
                check=False,
            )
            done += not last and layer.n_failed
            refused = bool(error) and child.returncode == 1
            if (last and child.returncode) or (not refused and child.returncode not in (0, -signal.SIGKILL)):
                problems.append(f"a start after a killed one: {child.returncode} {child.stderr[-800:]}")
    return problems


def main() -> int:
    """Runs the campaign and adds its figures to benchmarks/results/reliability.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--first-starts", type=int, default=20, help="how many of them fall into a first start")
    parser.add_argument("--migrations", type=int, default=20, help="how many fall into a migration under load")
    parser.add_argument("--whole-every", type=int, default=10, help="every n-th kill hits `assay up` as a whole")
    parser.add_argument("--upkeep-every", type=int, default=2, help="at every n-th kill upkeep runs and dies too")
    parser.add_argument("--terms", type=int, default=20, help="SIGTERM under load, so often")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="no more kills after that")
    parser.add_argument("--seed", type=int, default=20261121)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="assay-crash-") as folder:
        campaign = Campaign(Path(folder), seed=args.seed)
        campaign.until = time.monotonic() + 60 * args.minutes
        verdict = campaign.run(
            args.kills - args.first_starts - args.migrations,
            args.terms,
            migrations=args.migrations,
            whole_every=args.whole_every,
            upkeep_every=args.upkeep_every,
        )
        problems = campaign.tally.problems + first_starts(Path(folder), args.first_starts, args.seed)
    for place, n in sorted(campaign.tally.places.items()):
        print(f"{n:5} {place}")
    for line in problems[:40]:
        print(line)
    figures = {"acked": verdict.acked, "missing": verdict.missing, "duplicated": verdict.duplicated}
    figures |= {"altered": verdict.altered, "wrong": len(problems)}
    done = campaign.tally
    kills = done.kills + args.first_starts
    how: dict[str, int | str] = {"at_a_call": done.at_a_call, "whole": done.whole, "first_starts": args.first_starts}
    how["in_migration"] = done.in_migration
    how["at"] = ", ".join(f"{place} {n}" for place, n in sorted(done.places.items()))
    record("kill_9", n=kills, kills=kills, **how, **figures)
    record("sigterm", n=done.terms, kills=0, slowest_exit_s=done.slowest_exit_s, **figures)
    return 1 if problems else 0


if __name__ == "__main__":
    raise SystemExit(main())
