"""`python -m tests.fuzz.run --runs N`: the fuzz campaign, on as many processes as there are cores.

Each worker keeps the inputs that showed something new and makes its mutants from them. A hundredth of the inputs goes
through the doors of a real collector; framings of gRPC that brought about a new answer are kept, too. What breaks is
written to `--out` as a file that `read` understands; move it to `corpus/` with the mend, where it stays. `--checked`
compiles the kernels with bounds checks, into a cache of their own.

Memory: a worker asks for it as the collector does, and what that remembers within a bound is filled before. The figure
`memory_grown_mib` is what the worst worker holds at the end, its inputs let go, over what it held after WARM inputs;
`memory_mib` is what each held on the way.
"""

from __future__ import annotations

import argparse
import faulthandler
import gc
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Hashable
from pathlib import Path
from typing import Any, Final

from core.memory import give_back

REPOSITORY: Final = Path(__file__).parents[2]
BATCH: Final = 100
HANG_S: Final = 60  # of one whole batch, after which the process is given up with its stack shown
TRACED: Final = 40  # one input of so many also says which of our lines it reaches
MOST_KEPT: Final = 4_000
WARM: Final = 5_000  # inputs after which what is held is the measure
READINGS: Final = 10  # of the memory, in even parts of a worker's share
MOST_GROWTH: Final = 64 << 20


def main() -> int:
    """Runs the workers and prints one line of figures as JSON; 1 when something was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.run")
    parser.add_argument("--runs", type=int, default=20_000)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop then, with what was run")
    parser.add_argument("--out", type=Path, default=REPOSITORY / "build" / "fuzz")
    parser.add_argument("--checked", action="store_true", help="kernels with bounds checks")
    parser.add_argument(
        "--record", action="store_true", help="put the figures into benchmarks/results/reliability.json"
    )
    parser.add_argument("--worker", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    if args.worker is not None:
        return _work(args)
    found = campaign(args)
    print(json.dumps(found))
    if args.record:
        from tests.reliability.crash_results import record

        record("fuzz", **{**found, "found": len(found["found"])})
    return 1 if found["found"] else 0


def campaign(args: argparse.Namespace) -> dict[str, Any]:
    """The sums over all workers; `found` lists what broke."""
    began = time.monotonic()
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    if args.checked:
        environment |= _checked_kernels(environment)
    command = [sys.executable, "-m", "tests.fuzz.run", "--out", str(args.out), "--seconds", str(args.seconds)]
    workers = []
    for number in range(args.workers):
        share = args.runs // args.workers + (number < args.runs % args.workers)
        own = ["--runs", str(share), "--seed", str(args.seed + number), "--worker", str(number)]
        workers.append(subprocess.Popen([*command, *own], env=environment, stdout=subprocess.PIPE, text=True))
    parts = []
    for number, worker in enumerate(workers):
        said, _ = worker.communicate()
        last = said.strip().rsplit("\n", 1)[-1]
        if last.startswith("{"):
            parts.append(json.loads(last))
        else:
            died = f"worker {number} died with {worker.returncode}; its last batch is in batch-{number}"
            nothing = dict.fromkeys(("runs", "doors", "answers", "features", "kept", "grown", "slowest"), 0)
            parts.append({**nothing, "memory": [], "found": [died]})
    return {
        "runs": sum(part["runs"] for part in parts),
        "through_doors": sum(part["doors"] for part in parts),
        "seconds": round(time.monotonic() - began, 1),
        "grpc_answers": max(part["answers"] for part in parts),
        "features": max(part["features"] for part in parts),
        "inputs_kept": max(part["kept"] for part in parts),
        "slowest_batch_s": max(part["slowest"] for part in parts),
        "memory_grown_mib": round(max(part["grown"] for part in parts) / 2**20, 1),
        "memory_mib": "; ".join(" ".join(map(str, part["memory"])) for part in parts),
        "found": [each for part in parts for each in part["found"]],
    }


def _checked_kernels(environment: dict[str, str]) -> dict[str, str]:
    """Compiles kernels with bounds checks; the variables that make a process use them.

    All anew: of itself numba does not see that a file changed which a kernel calls into.
    """
    cache = REPOSITORY / "build" / "checked-kernels"
    shutil.rmtree(cache, ignore_errors=True)
    variables = {"NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(cache)}
    script = "from collector.compile import warm; warm()"
    subprocess.run([sys.executable, "-c", script], env={**environment, **variables}, check=True)
    return variables


def _work(args: argparse.Namespace) -> int:
    from collector.compile import warm
    from collector.memory import keep_pages

    keep_pages()
    warm()
    with tempfile.TemporaryDirectory(prefix="assay-fuzz-") as folder:
        worker = Worker(args, Path(folder))
        worker.doors(max(args.runs // 100, 20))
        worker.run()
        print(json.dumps(worker.figures()))
    return 0


def _remember_all() -> None:
    """Fills what the collector remembers within a bound: what then grows has none."""
    from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
    from opentelemetry.proto.resource.v1.resource_pb2 import Resource

    from collector.resources import resource_text, scope_text
    from core.pii.keys import REMEMBERED, label_of

    for number in range(REMEMBERED):
        text = f"{number:0500}"
        label_of(text[-40:])
        pair = KeyValue(key="k", value=AnyValue(string_value=text))
        resource_text(Resource(attributes=[pair]).SerializeToString())
        scope_text(InstrumentationScope(name=text).SerializeToString())


class Worker:
    """One process of the campaign."""

    def __init__(self, args: argparse.Namespace, folder: Path) -> None:
        from tests.fuzz.inputs import kept, seeds
        from tests.fuzz.mutate import Mutator
        from tests.fuzz.target import Target

        self._args = args
        self._folder = folder
        self._last = args.out / f"batch-{args.worker}"
        self._mutator = Mutator(random.Random(args.seed))
        self._mutator.pool = [*seeds(), *kept()]
        self._target = Target(folder / "inside")
        self._seen: set[Hashable] = set()
        self._found: list[str] = []
        self._runs = self._doors = self._answers = self._grown = self._kept = 0
        self._memory: list[int] = []
        self._slowest = 0.0

    def doors(self, n: int) -> None:
        """The share that goes through the doors."""
        from tests.fuzz.doors import fuzz_doors
        from tests.fuzz.target import Found

        try:
            told = fuzz_doors(self._folder / "outside", self._mutator, n)
            self._doors, self._answers = told["n"], told["answers"]
        except Found as found:
            self._write(found)

    def run(self) -> None:
        """The share in this process."""
        until = time.monotonic() + self._args.seconds
        rng, pool = self._mutator.rng, self._mutator.pool
        own = self._args.runs - self._doors
        _remember_all()
        self._batch(list(pool))
        while self._runs < own and time.monotonic() < until:
            # Half of the parents are among those that showed something last.
            parents = [rng.choice(pool if rng.random() < 0.5 else pool[-200:]) for _ in range(BATCH)]
            self._batch([self._mutator.mutant(parent) for parent in parents])
            if self._runs >= WARM + len(self._memory) * max(own - WARM, 0) // READINGS:
                self._memory.append(self._resident())
        self._kept = len(pool)
        pool.clear()
        self._memory.append(self._resident())
        self._grown = max(self._memory[-1] - self._memory[0], 0)
        if self._grown > MOST_GROWTH:
            self._found.append(f"memory grew by {self._grown >> 20} MiB after the first 5,000 inputs")

    def _resident(self) -> int:
        """Without free pages, and without the inputs that are kept, which are this campaign's own."""
        from tests.fuzz.doors import resident

        gc.collect()
        give_back()
        return resident(os.getpid()) - sum(len(each.body) for each in self._mutator.pool)

    def _batch(self, inputs: list[Any]) -> None:
        from tests.fuzz.target import Found

        faulthandler.dump_traceback_later(HANG_S, exit=True)
        self._last.mkdir(exist_ok=True)
        for stale in self._last.iterdir():
            stale.unlink()
        for each in inputs:
            (self._last / each.name).write_bytes(each.body)
        began = time.process_time()
        try:
            for each, features in zip(inputs, self._target.run(inputs), strict=True):
                self._learn(each, features)
            traced = self._mutator.rng.sample(inputs, max(len(inputs) // TRACED, 1))
            for each in traced:
                self._learn(each, self._target.traced(each))
        except Found as found:
            self._write(found)
        self._slowest = max(self._slowest, round(time.process_time() - began, 2))
        self._runs += len(inputs)
        faulthandler.cancel_dump_traceback_later()

    def _learn(self, each: Any, features: set[Hashable]) -> None:
        if features <= self._seen:
            return
        self._seen |= features
        pool = self._mutator.pool
        if len(pool) >= MOST_KEPT:
            pool.pop(self._mutator.rng.randrange(len(pool) // 2))
        pool.append(each)

    def _write(self, found: Any) -> None:
        names = []
        for each in found.inputs[:BATCH]:
            (self._args.out / each.name).write_bytes(each.body)
            names.append(each.name)
        said = f"{found}: {', '.join(names[:3])}"
        print(said, file=sys.stderr, flush=True)
        if len(self._found) < 20:
            self._found.append(said[:2000])

    def figures(self) -> dict[str, Any]:
        """What the campaign adds up."""
        return {
            "runs": self._runs + self._doors,
            "doors": self._doors,
            "answers": self._answers,
            "features": len(self._seen),
            "kept": self._kept,
            "grown": self._grown,
            "memory": [held >> 20 for held in self._memory],
            "slowest": self._slowest,
            "found": self._found,
        }


if __name__ == "__main__":
    raise SystemExit(main())
