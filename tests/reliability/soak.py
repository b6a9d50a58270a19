"""An hour at 70% of the maximum, with a store that refuses to write for ten minutes in the middle.

    python -m tests.reliability.soak --minutes 60 --stall-minutes 10 --share 0.7

The maximum is measured first: a short closed loop, its spans divided by the time until the last of them is stored. Then
an open loop sends at a share of it (or at `--rate`). In the stall every call that would change a file of the lake fails
with ENOSPC (tests/reliability/faults.c); journal and control database go on, so requests are acknowledged until the
backlog is full, and refused with a hint from then on. Nobody is restarted. At the end everything acknowledged must be
in the lake once, what was refused must not be, and the ledger must balance.
"""

from __future__ import annotations

import argparse
import errno
import json
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from core.ids import tenant_id
from core.records import Role
from store.control.control import Control
from store.control.secret_file import read_or_create_secret
from store.delta_log import LakeFile
from store.held import MOST_BYTES
from store.lake import Lake
from tests.reliability.crash_results import record
from tests.reliability.faults_layer import SPACE, Kind, Layer
from tests.reliability.soak_load import NO_REST, Clients, Rest, State, Template, numbers_of
from tests.reliability.soak_watch import MIB, Sample, Watch, at_rest, least_of, series, slope_percent_per_hour
from tests.stack import Stack, running_stack
from tests.waiting import wait_until

TENANTS: Final = ("default", "second")
SPANS_OF_A_REQUEST: Final = 256
AT_THE_MOST: Final = 1.0  # percent an hour
CLAIM_FROM_S: Final = 1800.0  # a shorter soak says nothing about memory
REST_S: Final = 25.0  # the backlog is stored within 3 s; what was taken for it goes back within 2 (collector) or 10
MOST_HELD_MIB: Final = 1.1 * MOST_BYTES / MIB  # decoded rows; each lies on pages of its own
# What a server keeps rises by 7 MiB over its first 300 questions and is flat after (docs/reliability.md). At one every
# five seconds that takes three quarters of the hour, which would be taken for a slope.
WARM_ROUNDS: Final = 12
WARM_QUESTIONS: Final = 40  # of a round
WARM_S: Final = 5.0
WARM_RATE: Final = 2048.0  # spans a second
DRAINED_MIB: Final = 64.0  # as much as comes in three seconds at 25,000 spans a second
DRAINS_WITHIN_S: Final = 900.0
ALLOWED: Final = {State.ACKED: (1, 1), State.REFUSED: (0, 0), State.UNSURE: (0, 1), State.DROPPED: (0, 0)}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What one soak does; seconds and spans a second. `rate` None: `share` of the maximum, which is measured first."""

    seconds: float
    stall_s: float
    rate: float | None = None
    share: float = 0.7
    every_s: float = 5.0
    warm_rounds: int = 0
    measure_s: float = 30.0
    rest: Rest = NO_REST

    @property
    def lasts_s(self) -> float:
        """With the rests."""
        return self.seconds + sum(end - begin for begin, end in self.rest.windows(self.seconds))

    @property
    def stalled(self) -> tuple[float, float]:
        """Begin and end of the stall, which lies in the middle."""
        return (self.lasts_s - self.stall_s) / 2, (self.lasts_s + self.stall_s) / 2


class Soak:
    """One soak on a folder. After `run`: `figures`, `problems` and `samples`."""

    def __init__(self, work: Path, plan: Plan) -> None:
        self._work, self._plan = work, plan
        self._layer = Layer(work / "disk", work / "layer")
        self._layer.root.mkdir(parents=True)
        self.figures: dict[str, int | float | str] = {}
        self.problems: list[str] = []
        self.samples: list[Sample] = []
        self.states = b""
        self._said = -1

    def run(self) -> None:
        """The load, the stall and the judgement."""
        with running_stack(self._layer.root, environment=self._layer.environment) as stack:
            keys = [stack.key, *[_key_of(stack.data_dir, tenant) for tenant in TENANTS[1:]]]
            clients = Clients(stack.port_base + 1, keys, Template(SPANS_OF_A_REQUEST))
            rate = self._rate(stack, clients)
            self._warm(stack, clients)
            rests = self._plan.rest.windows(self._plan.seconds)
            watch = Watch(stack=stack, every_s=self._plan.every_s, say=self._say, rests=rests)
            with watch:
                self._loaded(clients, rate, watch)
                began = watch.now_s
                try:
                    wait_until(lambda: self._drained(watch), DRAINS_WITHIN_S, "the backlog to drain")
                except AssertionError as error:  # an hour's figures are worth having all the same
                    self.problems.append(str(error))
            self.samples = watch.samples
            self.figures |= {"drained_at_the_end_s": round(watch.now_s - began, 1)}
            self.figures |= {"reads": watch.reads, "reads_failed": watch.reads_failed}
        self._count(clients)
        self.states = bytes(clients.states)
        self.judge(self.states)
        self._measure()

    def _rate(self, stack: Stack, clients: Clients) -> float:
        """Spans a second to send."""
        if self._plan.rate is not None:
            return self._plan.rate
        watch, began = Watch(stack=stack), time.monotonic()
        clients.closed(self._plan.measure_s)
        wait_until(lambda: self._drained(watch), DRAINS_WITHIN_S, "the first measurement to be stored")
        acked = clients.states.count(State.ACKED) * SPANS_OF_A_REQUEST
        maximum = acked / (time.monotonic() - began)
        self.figures |= {"max_spans_s": round(maximum), "share": self._plan.share}
        print(
            f"{acked} spans in a closed loop, stored at {maximum:.0f} a second; {self._plan.share:.0%} now", flush=True
        )
        return maximum * self._plan.share

    def _warm(self, stack: Stack, clients: Clients) -> None:
        """Spans and questions until the server holds what it always will, before anything is looked at."""
        watch = Watch(stack=stack)
        for _ in range(self._plan.warm_rounds):
            clients.open(WARM_S, WARM_RATE / SPANS_OF_A_REQUEST)
            for _ in range(WARM_QUESTIONS):
                watch.ask()
        wait_until(lambda: self._drained(watch), DRAINS_WITHIN_S, "the warm-up to be stored")
        self.figures |= {"warm_questions": watch.reads}
        if watch.reads_failed:
            self.problems.append(f"{watch.reads_failed} questions of the warm-up were not answered")

    def _loaded(self, clients: Clients, rate: float, watch: Watch) -> None:
        """The open loop, with the stall in its middle."""
        self.figures |= {"spans_s": round(rate), "minutes": round(self._plan.seconds / 60, 2)}
        self.figures |= {"stall_minutes": round(self._plan.stall_s / 60, 2)}
        clients.seen.acks_ms = type(clients.seen.acks_ms)("f")
        sent = (self._plan.seconds, rate / SPANS_OF_A_REQUEST, self._plan.rest)
        load = threading.Thread(target=clients.open, args=sent, daemon=True)
        begins, ends = self._plan.stalled
        pause = threading.Event()
        load.start()
        pause.wait(begins)
        self._layer.arm(SPACE | Kind.SYNC | Kind.UNLINK, error=errno.ENOSPC, match="/lake/")
        pause.wait(min(3.0, self._plan.stall_s / 2))  # what was being renamed is through
        before = watch.look()["committed"]
        pause.wait(max(0.0, ends - watch.now_s))
        after, hit = watch.look()["committed"], self._layer.n_failed
        self._layer.lift()
        self.figures |= {"calls_refused_in_the_stall": hit}
        if before != after or not hit:
            self.problems.append(f"that was no stall: position {before} to {after}, {hit} calls refused")
        load.join()

    def _drained(self, watch: Watch) -> bool:
        sample = watch.look()
        return sample["backlog_mib"] == 0 and sample["trouble"] is None

    def _say(self, sample: Sample) -> None:
        """A line each minute."""
        minute = int(sample["at_s"] // 60)
        if minute <= self._said:
            return
        self._said = minute
        sizes = ", ".join(f"{name} {seen['pss_mib']:.0f}" for name, seen in sample["processes"].items())
        where = f"backlog {sample['backlog_mib']} MiB, {sample['files']} files, {sample['trouble'] or 'well'}"
        print(f"{sample['at_s'] / 60:5.1f} min: {where}; MiB: {sizes}", flush=True)

    # -- judging ---------------------------------------------------------------------------------------------------

    def _count(self, clients: Clients) -> None:
        for state in (State.ACKED, State.REFUSED, State.UNSURE, State.DROPPED):
            self.figures[f"{state.name.lower()}_spans"] = clients.states.count(state) * SPANS_OF_A_REQUEST
        seen = clients.seen
        acks = np.array(seen.acks_ms)
        self.figures |= {f"ack_p{q}_ms": round(float(np.percentile(acks, q)), 1) for q in (50, 99)}
        refusals = {status: n for status, n in seen.statuses.items() if status not in (0, 200)}
        self.figures |= {"refusals": sum(refusals.values()), "no_answer": seen.broken}
        self.problems += seen.problems
        if set(refusals) - {503}:
            self.problems.append(f"statuses: {seen.statuses}")

    def judge(self, states: bytes) -> None:
        """Compares every span of the lake with what its client knows of its request, and the ledger with both."""
        data = self._layer.root / "data"
        control, lake = _control(data), Lake(data / "lake")
        times = np.zeros(len(states) * SPANS_OF_A_REQUEST, np.uint8)
        for turn, tenant in enumerate(TENANTS):
            stored = 0
            for file in lake.snapshot("spans").select(tenant):
                numbers = numbers_of(lake.read(file, ["span_id"], verify=True).column("span_id").to_pylist())
                stored += len(numbers)
                known = numbers[numbers < len(times)]
                np.add.at(times, known, 1)
                if len(known) < len(numbers) or (known // SPANS_OF_A_REQUEST % len(TENANTS) != turn).any():
                    self.problems.append(f"spans that nobody sent to {tenant} in {file.path}")
            turns = sum(_sum(lake, file) for file in lake.snapshot("turns").select(tenant))
            for row in control.ledger(tenant_id(tenant)):
                if not row.counts.balanced or row.counts.stored != stored or turns != stored:
                    self.problems.append(f"{row}; the lake holds {stored} spans, its turns {turns}")
        control.close()
        of_state = np.repeat(np.frombuffer(states, np.uint8), SPANS_OF_A_REQUEST)
        for state, (least, most) in ALLOWED.items():
            found = times[of_state == state]
            few, many = int((found < least).sum()), int((found > most).sum())
            if few or many:
                self.problems.append(f"{state.name}: {few} spans are missing, {many} there too often")
            if state is State.ACKED:
                self.figures |= {"missing": few, "duplicated": many}
        self.figures["stored_spans"] = int(times.sum(dtype=np.int64))

    def _measure(self) -> None:
        """The backlog, and memory, descriptors and threads of each process, from the samples."""
        begins, ends = self._plan.stalled
        later = [sample for sample in self.samples if sample["at_s"] > ends]
        again = (s["at_s"] for s in later if s["backlog_mib"] <= DRAINED_MIB and s["trouble"] is None)
        caught_up = next(again, later[-1]["at_s"])
        self.figures |= {"backlog_peak_mib": max(sample["backlog_mib"] for sample in self.samples)}
        self.figures |= {"drained_after_the_stall_s": round(caught_up - ends, 1)}
        self.figures |= {"files_most": max(s["files"] for s in self.samples), "files": self.samples[-1]["files"]}
        warm = min(600.0, self._plan.seconds * 0.2)
        for role in ("collector", "server"):
            self._measure_process(role, [(warm, begins), (caught_up, self._plan.lasts_s)])

    def _measure_process(self, role: str, quiet: list[tuple[float, float]]) -> None:
        rests = [window for window in self._plan.rest.windows(self._plan.seconds) if _within(window, quiet)]
        minutes = [(n * 60.0, n * 60.0 + 60.0) for n in range(int(self._plan.lasts_s // 60) + 1)]
        minutes = [window for window in minutes if _within(window, quiet)]
        idle = at_rest(self.samples)
        for what in ("kept", "held", "own", "pss"):
            kept = [found[1] for window in rests if (found := least_of(idle, role, window, f"{what}_mib"))]
            self.figures |= {f"{role}_{what}_at_rest_mib": ", ".join(f"{mib:.0f}" for mib in kept)}
        if (most := max(series(self.samples, role, "held_mib")[1])) > MOST_HELD_MIB:
            self.problems.append(f"the {role} holds {most:.1f} MiB of rows, more than it may")
        self._judge_slope(role, slope_percent_per_hour(idle, role, rests, "kept_mib"))
        for part, samples, windows in (("own_at_rest", idle, rests), ("own_under_load", self.samples, minutes)):
            if (slope := slope_percent_per_hour(samples, role, windows)) is not None:
                self.figures[f"{role}_slope_percent_h_{part}"] = slope[0]
                self.figures[f"{role}_slope_error_{part}"] = slope[1]
        at_s, memory = series(self.samples, role, "pss_mib")
        self.figures |= {f"{role}_pss_peak_mib": max(memory), f"{role}_pss_last_mib": memory[-1]}
        for part, (begin, end) in zip(("before_the_stall", "after_it"), quiet, strict=True):
            own = [mib for at, mib in zip(at_s, memory, strict=True) if begin < at < end]
            self.figures[f"{role}_pss_mean_mib_{part}"] = round(float(np.mean(own)), 1) if own else 0.0
        for what in ("fds", "threads"):
            counts = series(self.samples, role, what)[1]
            before = [n for at, n in zip(at_s, counts, strict=True) if quiet[0][0] < at < quiet[0][1]]
            after = [n for at, n in zip(at_s, counts, strict=True) if quiet[1][0] < at < quiet[1][1]]
            self.figures[f"{role}_{what}"] = f"{int(max(before, default=0))}, later {int(max(after, default=0))}"

    def _judge_slope(self, role: str, slope: tuple[float, float] | None) -> None:
        """Of what the process keeps when nothing waits, beside the rows that it holds within a bound."""
        if slope is not None:
            self.figures[f"{role}_slope_percent_h"], self.figures[f"{role}_slope_error"] = slope
        if self._plan.seconds >= CLAIM_FROM_S and (slope is None or slope[0] > AT_THE_MOST):
            said = (
                "could not be told" if slope is None else f"grows by {slope[0]} % an hour (standard error {slope[1]})"
            )
            self.problems.append(f"what the {role} keeps {said}")


def _within(window: tuple[float, float], periods: list[tuple[float, float]]) -> bool:
    return any(begin < window[0] and window[1] < end for begin, end in periods)


def _sum(lake: Lake, file: LakeFile) -> int:
    return int(lake.read(file, ["n_spans"]).column("n_spans").to_numpy().sum())


def _control(data: Path) -> Control:
    return Control.open(f"sqlite:///{data / 'control.db'}", pepper=read_or_create_secret(data / "secrets" / "pepper"))


def _key_of(data: Path, tenant: str) -> str:
    control = _control(data)
    control.ensure_tenant(tenant_id(tenant))
    _, key = control.create_key(tenant_id(tenant), Role.INGEST, "soak")
    control.close()
    return key


def main() -> int:
    """Runs one soak and adds its figures to benchmarks/results/reliability.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--stall-minutes", type=float, default=10)
    parser.add_argument("--rate", type=float, help="spans a second; without it a share of the maximum")
    parser.add_argument("--share", type=float, default=0.7, help="of the maximum, which is measured first")
    parser.add_argument("--rest-after", type=float, default=150, help="seconds of load between two rests")
    parser.add_argument("--rest-seconds", type=float, default=REST_S, help="longer, where a backlog has to drain first")
    parser.add_argument("--every", type=float, default=5, help="seconds between two samples")
    parser.add_argument("--warm-rounds", type=int, default=WARM_ROUNDS, help=f"{WARM_QUESTIONS} questions each, before")
    parser.add_argument("--json", type=Path, help="also writes figures, problems and all samples to this file")
    parser.add_argument("--no-record", action="store_true", help="leaves benchmarks/results as it is")
    args = parser.parse_args()
    plan = Plan(
        seconds=args.minutes * 60,
        stall_s=args.stall_minutes * 60,
        rate=args.rate,
        share=args.share,
        every_s=args.every,
        warm_rounds=args.warm_rounds,
        rest=Rest(after_s=args.rest_after, lasts_s=args.rest_seconds),
    )
    with tempfile.TemporaryDirectory(prefix="assay-soak-") as folder:
        soak = Soak(Path(folder), plan)
        soak.run()
    print("\n".join(soak.problems[:40]))
    if args.json:
        found = {"figures": soak.figures, "problems": soak.problems, "samples": soak.samples}
        args.json.write_text(json.dumps(found, indent=1) + "\n")
    if args.no_record:
        print(json.dumps(soak.figures))
    else:
        record("soak", wrong=len(soak.problems), **soak.figures)
    return 1 if soak.problems else 0


if __name__ == "__main__":
    raise SystemExit(main())
