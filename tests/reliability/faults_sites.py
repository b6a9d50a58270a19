"""Disk full, I/O error and failing fsync at every place where the running product writes.

`python -m tests.reliability.faults_sites` lists the calls of one clean round (a request, its journal segment, its
commits, its ledger line, the end of the segment) and then, round after round, lets call k fail: once, and from k on
until the fault is lifted, as a broken disk and as a full one. So it does with upkeep of the lake, at the first call of
every kind on every place, and at some of the others; what was not met is tried anew. While a fault lasts nothing is
acknowledged that is not kept, refusals ask the sender to come again, reads are answered; once it is lifted, the same
processes take requests again. At the end the store is compared with the ledgers.
"""

from __future__ import annotations

import argparse
import errno
import http.client
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import httpx

from store.compaction import MIN_FILES
from tests.reliability.crash_campaign import UPKEEP, first_starts, place_of
from tests.reliability.crash_load import Content, Ledger, Verdict, judge, request
from tests.reliability.crash_results import record
from tests.reliability.faults_layer import ANY, FOREVER, SPACE, Action, Kind, Layer
from tests.stack import REPOSITORY, Stack, running_stack
from tests.waiting import wait_until

RELENTS_WITHIN_S: Final = 30.0
MOST_REQUESTS: Final = 40  # of one round, while it waits for its fault
MOST_TRIES: Final = 3  # of a place that was not met
OF_UPKEEP: Final = "/lake/"


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What goes wrong in one round: calls of `kinds` on paths with `match`, after `skip` of them, `n` times."""

    kinds: Kind
    error: int
    skip: int = 0
    n: int = 1
    match: str = ""
    action: Action = Action.FAIL

    @property
    def sort(self) -> str:
        """EIO once, EIO until lifted, ..."""
        return f"{errno.errorcode[self.error]} {'once' if self.n == 1 else 'until lifted'}"

    def __str__(self) -> str:
        return f"{self.sort} at call {self.skip + 1} of {self.kinds!r} {self.match}"


SORTS: Final = (
    Fault(kinds=ANY, error=errno.EIO),
    Fault(kinds=ANY, error=errno.EIO, n=FOREVER),
    Fault(kinds=SPACE, error=errno.ENOSPC, n=FOREVER, action=Action.SHORT),
)
Calls = list[tuple[Kind, str]]  # kind and path below the root


@dataclass(kw_only=True)
class Rounds:
    """The running product with its ledger, and what was seen in all rounds."""

    stack: Stack
    layer: Layer
    ledger: Ledger
    client: httpx.Client
    rng: random.Random = field(default_factory=lambda: random.Random(3))
    n: int = 0
    n_hit: int = 0
    n_refused: int = 0
    sites: Counter[str] = field(default_factory=Counter)  # by sort of fault, as `_site` tells them
    wanted: set[str] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)

    def send(self) -> tuple[int, dict[str, str]]:
        """One request: (status, headers), noted as acknowledged when it was."""
        body, content = request(self.rng, 3, time.time_ns())
        self.ledger.note("tried", content)
        connection = http.client.HTTPConnection("127.0.0.1", self.stack.port_base + 1, timeout=20)
        try:
            headers = {"content-type": "application/x-protobuf", **self.stack.headers}
            connection.request("POST", "/v1/traces", body, headers)
            answer = connection.getresponse()
            answer.read()
        finally:
            connection.close()
        if answer.status == 200:
            self.ledger.note("acked", content)
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}

    def backlog(self) -> dict[str, Any]:
        """What the collector's health says of its backlog."""
        found: dict[str, Any] = self.client.get(f"{self.stack.otlp_http}/healthz").json()["backlog"]
        return found

    def settle(self) -> None:
        """Waits until everything acknowledged is stored and the journal is empty: the end of a round."""
        journal = self.stack.data_dir / "journal"

        def quiet() -> bool:
            backlog = self.backlog()
            return backlog["bytes"] == 0 and backlog["trouble"] is None and not list(journal.glob("*.seg"))

        wait_until(quiet, RELENTS_WITHIN_S, f"the backlog to drain; {self.backlog()}")

    def clean(self) -> Calls:
        """A round without a fault; returns its calls."""
        with self.layer.listed() as calls:
            status, _ = self.send()
            assert status == 200, f"a request without a fault is answered {status}"
            self.settle()
        return calls

    def everywhere(self, calls: Calls, run: Callable[[Fault], object], *, every: int, of: str = "") -> None:
        """Lets `run` meet each sort of fault at the first of `calls` at every place, and at every `every`-th of them;
        then, up to MOST_TRIES times more, at those places where it did not. `of` tells these places from others."""
        sites = {sort: [_site(sort, of, *call) for call in calls if call[0] & sort.kinds] for sort in SORTS}
        self.wanted |= {site for own in sites.values() for site in own}
        for sort, own in sites.items():
            firsts = [own.index(site) for site in set(own)]
            for k in sorted({*firsts, *range(0, len(own), every)}):
                self._tell(run, replace(sort, skip=k))
        for _ in range(MOST_TRIES):
            for sort, own in sites.items():
                for site in sorted(set(own) - set(self.sites)):
                    k = self.rng.choice([k for k, other in enumerate(own) if other == site])
                    self._tell(run, replace(sort, skip=k))

    def _tell(self, run: Callable[[Fault], object], fault: Fault) -> None:
        run(fault)
        print(f"{self.n}: {fault}; {self.n_hit} met, {len(self.problems)} problems", flush=True)

    def run(self, fault: Fault) -> None:
        """One round with a fault."""
        self.n += 1
        before = self.stored_now()
        self.arm(fault)
        self._until_hit(fault)
        if self.stored_now() < before:
            self.problems.append(f"{fault}: reads lost rows")
        kind, path = self.lifted(fault)
        try:
            wait_until(lambda: self.send()[0] == 200, RELENTS_WITHIN_S, "requests to be taken again")
            self.settle()
        except (AssertionError, OSError) as error:
            self.problems.append(f"{fault}, hit at {kind!r} {path}: {error}")

    def arm(self, fault: Fault) -> None:
        """From now on the calls that `fault` names fail."""
        self.layer.arm(
            fault.kinds, error=fault.error, action=fault.action, skip=fault.skip, n=fault.n, match=fault.match
        )

    def lifted(self, fault: Fault, of: str = "") -> tuple[Kind, str]:
        """Lifts the fault and notes where it hit first, if it did."""
        hit, (kind, path) = self.layer.n_failed, self.layer.first_failed
        self.layer.lift()
        if hit:
            self.n_hit += 1
            self.sites[_site(fault, of, kind, path)] += 1
        return kind, path

    def upkeep_calls(self) -> Calls:
        """Those of upkeep without a fault, when earlier rounds have left it no more to do than the next will."""
        for _ in range(2):
            self._before_upkeep()
            self._upkeep()
        self._before_upkeep()
        with self.layer.listed(match=OF_UPKEEP) as calls:
            self._upkeep()
        return calls

    def upkeep(self, fault: Fault) -> None:
        """Retention, packing and checkpoints beside the running product, with a fault."""
        self._before_upkeep()
        self.n += 1
        self.arm(replace(fault, match=OF_UPKEEP))
        self._upkeep()
        kind, path = self.lifted(fault, "upkeep: ")
        try:
            wait_until(lambda: self.send()[0] == 200, RELENTS_WITHIN_S, "requests to be taken again")
            self.settle()
        except (AssertionError, OSError) as error:
            self.problems.append(f"upkeep, {fault}, hit at {kind!r} {path}: {error}")

    def _before_upkeep(self) -> None:
        """As many commits as make a pack."""
        for _ in range(MIN_FILES):
            self.send()
            self.settle()

    def _upkeep(self) -> None:
        command = [sys.executable, "-c", UPKEEP, str(self.stack.data_dir / "lake"), "1"]
        environment = {**os.environ, **self.layer.environment}
        subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, timeout=120, check=False)

    def _until_hit(self, fault: Fault) -> None:
        for _ in range(MOST_REQUESTS):
            hit_before = self.layer.n_failed
            status, headers = self.send()
            if status != 200:
                self.n_refused += 1
                if status != 503 or "retry-after" not in headers:
                    self.problems.append(f"{fault}: a request was answered {status} {headers}")
            elif hit_before and fault.n == FOREVER and fault.match == "/journal/":
                self.problems.append(f"{fault}: a request was acknowledged while the journal could not write")
            if hit_before:
                return
            with suppress(AssertionError):  # it did not come to pass: one more request
                wait_until(lambda: self.layer.n_failed or self._is_quiet(), 5, "the fault to be hit", least_s=0)

    def _is_quiet(self) -> bool:
        backlog = self.backlog()
        return bool(backlog["bytes"] == 0 and not list((self.stack.data_dir / "journal").glob("*.seg")))

    def stored_now(self) -> int:
        """The number of spans that a reader sees; the read must be answered, whatever cannot be written."""
        answer = self.client.get("/api/v1/spans/count", params={"since": "1d"})
        if answer.status_code != 200:
            self.problems.append(f"a read was answered {answer.status_code}: {answer.text[:300]}")
            return 1 << 60
        return int(answer.json()["count"])

    def judged(self) -> Verdict:
        """The store against the ledger, and the product's own ledger."""
        self.settle()
        for row in self.client.get("/api/v1/ledger").json()["items"]:
            if not row["balanced"]:
                self.problems.append(f"the ledger does not balance: {row}")
        acked: Content = self.ledger.read("acked")
        return judge(self.stack.data_dir, acked, self.ledger.read("tried"))


@contextmanager
def running(work: Path) -> Iterator[Rounds]:
    """The product under the layer, warmed up by a clean round."""
    layer = Layer(work / "disk", work / "layer")
    layer.root.mkdir()
    with running_stack(layer.root, environment=layer.environment) as stack, stack.client() as client:
        rounds = Rounds(stack=stack, layer=layer, ledger=Ledger(path=work / "ledger"), client=client)
        rounds.clean()
        yield rounds


def _site(fault: Fault, of: str, kind: Kind, path: str) -> str:
    """What was hit: the sort of fault, the kind of call, and its path without what is drawn."""
    return f"{fault.sort}: {of}{kind.name} {place_of(path)}"


def places(rounds: Rounds) -> dict[str, int]:
    """How many places there are, each for every sort of fault it can meet, and how many of them were met."""
    return {"sites": len(rounds.wanted), "sites_met": len(rounds.wanted & set(rounds.sites))}


def tell_places(rounds: Rounds) -> None:
    """Prints how often each place was met, and which were not."""
    for site, n in sorted(rounds.sites.items()):
        print(f"{n:5} {site}")
    for site in sorted(rounds.wanted - set(rounds.sites)):
        print(f"not met: {site}")
    print(places(rounds))


def main() -> int:
    """Runs the campaign and adds its figures to benchmarks/results/reliability.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=1, help="beside the first of each place every n-th call")
    parser.add_argument("--upkeep-every", type=int, default=20, help="the same for upkeep of the lake")
    parser.add_argument("--first-starts", type=int, default=40, help="how many first starts meet an error")
    parser.add_argument("--dry", action="store_true", help="do not record")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="assay-sites-") as work, running(Path(work)) as rounds:
        calls = rounds.clean()
        print(f"{len(calls)} calls in a clean round", flush=True)
        rounds.everywhere(calls, rounds.run, every=args.every)
        of_upkeep = rounds.upkeep_calls()
        print(f"{len(of_upkeep)} calls in a round of upkeep", flush=True)
        rounds.everywhere(of_upkeep, rounds.upkeep, every=args.upkeep_every, of="upkeep: ")
        verdict = rounds.judged()
        log = (rounds.stack.data_dir / "run" / "collector.log").read_text(errors="replace")
        failed_starts = first_starts(Path(work), args.first_starts, seed=11, error=errno.EIO)
    problems = rounds.problems + failed_starts + ([] if verdict.sound else [str(verdict)])
    for line in problems[:40]:
        print(line)
    if problems:
        print(log[-4000:])
    tell_places(rounds)
    if not args.dry:
        record(
            "disk_faults",
            n=rounds.n + args.first_starts,
            hit=rounds.n_hit,
            calls=f"{len(calls)} of a round, {len(of_upkeep)} of upkeep",
            **places(rounds),
            kills=0,
            acked=verdict.acked,
            refused=rounds.n_refused,
            missing=verdict.missing,
            duplicated=verdict.duplicated,
            altered=verdict.altered,
            wrong=len(problems),
        )
    return 1 if problems else 0


if __name__ == "__main__":
    raise SystemExit(main())
