"""Each of the demo world's faults planted in a canary: is it rolled back, how soon, by what; and is a release without
one promoted?

    python -m benchmarks.experiments.rollouts_world [--runs 200] [--scenarios 83] [--rate 0.5] [--dry]
    python -m benchmarks.experiments.rollouts_world --kept FOLDER --minutes 30      # goes on where it was stopped

Every run is a rollout by the product's own tick over a real control database and lake, on a clock that is turned minute
by minute: 120 sessions a minute begin, and the plan that the rollout sets splits them as the gateway would. What the
sessions are comes from the world: every task, with and without each fault, is played by the reference agent once and
copied. A fault is planted in half of the candidate's sessions in which it can show. The policy is the default one in
short steps (5, 25, 50, 100 %, 5 minutes each), with `tokens` and `model_as_registered` among the guardrails.

A third of the runs is without a fault. Rolled back is right for a fault, promoted for none; a run of which neither
has come after two hours is held. `harder_users` is no fault of a release: what is found of it is told, and not counted.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import platform
import statistics
import subprocess
import tempfile
import time
from collections import Counter
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import cycle
from pathlib import Path
from random import Random
from typing import Any, Final

from agent_runtime.simulation.faults.table import FAULTS
from benchmarks.experiments.world_sessions import APP, TENANT, Kind, World, recorded, turns_of
from core.clock import NS_PER_S
from core.ids import TenantId
from core.records import EvaluatorKind, Principal, Role, TargetKind
from experiments.assignment import layout, place_of
from experiments.canary.records import DEFAULT_GUARDRAILS, CanaryPolicy
from experiments.rollouts.policy import guardrail_named, steps_of
from experiments.rollouts.records import RolloutPolicy
from experiments.rollouts.state import state_of
from experiments.service_deploying import Wanted, deploy, verify_kept
from experiments.service_rollouts import Ticker
from store.control.control import Control
from store.control.records import PlanSpec, ReleaseSpec
from store.control.rollout_records import RolloutRecord
from store.engine import DuckDBEngine
from store.lake import Lake
from store.scores import NewScore, append_scores
from store.tenant import Store, TenantStore

ROOT: Final = Path(__file__).resolve().parents[2]
RESULT: Final = ROOT / "benchmarks" / "results" / "experiment_rollouts.json"
A_MINUTE: Final = 120
MOST_MINUTES: Final = 120
MINUTE_NS: Final = 60 * NS_PER_S
START_NS: Final = 1_790_000_000 * NS_PER_S
NOT_A_FAULT: Final = "harder_users"
BY: Final = Principal(tenant=TenantId(TENANT), role=Role.ADMIN, name="campaign")


@dataclass(frozen=True, kw_only=True)
class Ended:
    """One rollout as it ended: how, after how many minutes since its first step, for what reason, and what `verify`
    says of its certificates."""

    fault: str
    status: str
    minutes: float
    reason: str
    n_candidate: int
    problems: int


@dataclass(kw_only=True)
class Clock:
    """Nanoseconds that only the campaign moves."""

    now_ns: int = START_NS

    def __call__(self) -> int:
        return self.now_ns


def rollout(world: World, fault: str, rate: float, seed: int) -> Ended:
    """One rollout of a candidate with this fault ("" for none)."""
    with tempfile.TemporaryDirectory() as folder:
        clock = Clock()
        control = Control.open(f"sqlite:///{folder}/control.db", pepper=b"pepper of the campaign", clock=clock)
        tenant = TenantId(TENANT)
        control.ensure_tenant(tenant)
        for name in ("v1", "v2"):
            spec = ReleaseSpec(app=APP, name=name, model="sim-1", endpoint="http://127.0.0.1:1")
            control.register_release(tenant, spec, by=BY)
        control.set_plan(tenant, PlanSpec(app=APP, baseline="v1", weights={"v1": 1.0}), by=BY)
        lake = Lake(f"{folder}/lake", clock=clock)
        store = Store(lake, DuckDBEngine(lake.root), clock).tenant(TENANT)
        run = _Run(world=world, fault=fault, rate=rate, chance=Random(seed), control=control, store=store, clock=clock)
        try:
            return run.carried_out()
        finally:
            control.close()


@dataclass(kw_only=True)
class _Run:
    """A rollout under way."""

    world: World
    fault: str
    rate: float
    chance: Random
    control: Control
    store: TenantStore
    clock: Clock
    n: int = 0

    def carried_out(self) -> Ended:
        for _ in range(2):
            self._minute()
        wanted = Wanted(app=APP, candidate="v2", policy=policy())
        record = deploy(self.control, self.store, self.clock, wanted, by=BY).record
        ticker = Ticker(control=self.control, store_of=lambda _: self.store, clock=self.clock)
        record = ticker.tick(self.control.rollout(record.tenant, record.rollout_id))
        began = self.clock()
        while not record.status.ended and self.clock() - began < MOST_MINUTES * MINUTE_NS:
            self._minute()
            record = ticker.tick(self.control.rollout(record.tenant, record.rollout_id))
        return self._ended(record, began)

    def _ended(self, record: RolloutRecord, began: int) -> Ended:
        state = state_of(record.state)
        first = state.reasons[0] if state.reasons else ""
        blocks = self.control.rollout_blocks(record.tenant, record.rollout_id)
        return Ended(
            fault=self.fault,
            status=record.status.value if record.status.ended else "held",
            minutes=(self.clock() - began) / MINUTE_NS,
            reason=first.partition(":")[0] if record.status.value == "rolled_back" else "",
            n_candidate=sum(one.counts["sessions"][0] for one in blocks),
            problems=len(verify_kept(self.control, record)),
        )

    def _minute(self) -> None:
        """A minute of traffic, split by the plan that holds."""
        live = self.control.live_plans()[0].plan
        laid = layout(live.spec.weights, live.spec.baseline)
        played: list[tuple[str, str, int, Kind]] = []
        for number in range(A_MINUTE):
            self.n += 1
            session = f"s{self.n}"
            release = laid.at(place_of(session, live.salt))
            fault = self.fault if release == "v2" else ""
            at_ns = self.clock.now_ns + number * MINUTE_NS // A_MINUTE
            played.append((session, release, at_ns, self.world.drawn(fault, self.rate, self.chance)))
        self.store.append("turns", turns_of(self.world, played))
        self.clock.now_ns += MINUTE_NS
        scores = [score for session, _, _, kind in played for score in _scores(session, kind)]
        ids = [f"{one.session_id}/{one.evaluator}" for one in scores]
        append_scores(self.store, scores, ids=ids, author="campaign", now_ns=self.clock.now_ns)


def policy() -> RolloutPolicy:
    """The default one in short steps, with what sees padding and a changed model."""
    guardrails = (*DEFAULT_GUARDRAILS, guardrail_named("tokens"), guardrail_named("model_as_registered"))
    return RolloutPolicy(
        canary=CanaryPolicy(steps=steps_of((0.05, 0.25, 0.5), bake_s=300, min_units=20), guardrails=guardrails)
    )


def wanted_faults(runs: int, faults: list[str]) -> list[str]:
    """Of every run its fault: each third has none, the others have one after the other, so that a campaign that is cut
    short is a smaller one of the same kind."""
    found, next_fault = [], cycle(faults)
    for number in range(runs):
        found.append("" if number % 3 == 0 else next(next_fault))
    return found


def carried_out(world: World, wanted: list[str], rate: float, kept: Path, until: float, part: tuple[int, int]) -> None:
    """The runs of a part, each third say, that are not in `kept` yet, until the clock says so; each is kept there."""
    done = {one["number"] for one in _lines(kept)}
    for number, fault in enumerate(wanted):
        if number in done or number % part[1] != part[0]:
            continue
        if time.monotonic() > until:
            return
        began = time.process_time()
        one = rollout(world, fault, rate, seed=1000 + number)
        said = f"{number + 1:4} {fault or 'no fault':22} {one.status:12} {one.minutes:5.0f} min  {one.reason}"
        print(said, flush=True)
        line = {"number": number, "cpu_s": round(time.process_time() - began, 2), **asdict(one)}
        with kept.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def measured(world: World, faults: list[str], kept: Path) -> dict[str, Any]:
    """All kept runs, by fault, and the confusion table."""
    lines = sorted(_lines(kept), key=lambda one: int(one["number"]))
    seconds = round(sum(one.pop("cpu_s") for one in lines), 1)
    ended = [Ended(**{name: value for name, value in one.items() if name != "number"}) for one in lines]
    told = {fault or "no fault": _told(world, fault, [e for e in ended if e.fault == fault]) for fault in ["", *faults]}
    counted = {"runs": len(ended), "cpu_seconds": seconds, "by_fault": told, "confusion": confusion(ended)}
    return {**counted, "problems_of_certificates": sum(e.problems for e in ended)}


def _lines(kept: Path) -> list[dict[str, Any]]:
    return [json.loads(one) for one in kept.read_text(encoding="utf-8").splitlines()] if kept.exists() else []


def _world(kept: Path, faults: list[str], n_scenarios: int) -> World:
    """The world that is kept, or recorded now and kept."""
    if kept.exists():
        found: World = pickle.loads(kept.read_bytes())  # what this script wrote
        return found
    world = recorded(faults, n_scenarios)
    kept.write_bytes(pickle.dumps(world))
    return world


def _told(world: World, fault: str, ended: list[Ended]) -> dict[str, Any]:
    minutes = [one.minutes for one in ended if one.status == "rolled_back"]
    shows = sum(key[1] == fault for key in world.kinds) if fault and fault != NOT_A_FAULT else None
    return {
        "runs": len(ended),
        **{status: sum(one.status == status for one in ended) for status in ("rolled_back", "promoted", "held")},
        "median_minutes_to_rollback": statistics.median(minutes) if minutes else None,
        "most_minutes_to_rollback": max(minutes, default=None),
        "guardrails": dict(Counter(one.reason for one in ended if one.reason)),
        "tasks_in_which_it_can_show": shows,
    }


def confusion(ended: list[Ended]) -> dict[str, dict[str, int]]:
    """Rolled back, promoted and held of candidates with a fault and without."""
    sides = {
        "fault": [e for e in ended if e.fault not in ("", NOT_A_FAULT)],
        "no_fault": [e for e in ended if not e.fault],
    }
    return {
        side: {status: sum(e.status == status for e in own) for status in ("rolled_back", "promoted", "held")}
        for side, own in sides.items()
    }


def table(result: dict[str, Any]) -> str:
    """Both tables as text."""
    lines = [f"{'':24}{'runs':>6}{'back':>6}{'prom.':>6}{'held':>6}  median (most) minutes, by"]
    for name, one in result["by_fault"].items():
        counts = "".join(f"{one[key]:>6}" for key in ("runs", "rolled_back", "promoted", "held"))
        median, most = one["median_minutes_to_rollback"], one["most_minutes_to_rollback"]
        when = "" if median is None else f"  {median:g} ({most:g})  " + ", ".join(
            f"{name} {n}" for name, n in one["guardrails"].items()
        )  # fmt: skip
        lines.append(f"{name:24}{counts}{when}")
    lines.append(f"\n{'':24}{'rolled back':>12}{'promoted':>12}{'held':>12}")
    for side, row in result["confusion"].items():
        lines.append(f"{side:24}" + "".join(f"{row[key]:>12}" for key in ("rolled_back", "promoted", "held")))
    return "\n".join(lines)


def main() -> int:
    """Carries the campaign out, prints and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--scenarios", type=int, default=83, help="tasks of the world that are played (83: all)")
    parser.add_argument("--rate", type=float, default=0.5, help="of the candidate's sessions in which a fault can show")
    parser.add_argument("--fault", action="append", default=[], help="only these")
    parser.add_argument("--kept", type=Path, help="folder of what was recorded and of runs that ended; goes on there")
    parser.add_argument("--part", default="1/1", help="2/3: the second third of the runs; parts share what is kept")
    parser.add_argument("--minutes", type=float, default=24 * 60.0, help="begin no run after so many")
    parser.add_argument("--result", type=Path, default=RESULT, help="the file for the figures")
    parser.add_argument("--dry", action="store_true", help="print only")
    asked = parser.parse_args()
    until = time.monotonic() + 60 * asked.minutes
    faults = asked.fault or sorted(FAULTS)
    number, of = (int(one) for one in asked.part.split("/"))
    with tempfile.TemporaryDirectory() as folder:
        kept = asked.kept or Path(folder)
        kept.mkdir(parents=True, exist_ok=True)
        world = _world(kept / "world.pickle", faults, asked.scenarios)
        wanted = wanted_faults(asked.runs, faults)
        carried_out(world, wanted, asked.rate, kept / "runs.jsonl", until, (number - 1, of))
        found = measured(world, faults, kept / "runs.jsonl")
    result = {**_about(), "runs_asked": asked.runs, "rate": asked.rate, "scenarios": len(world.scenarios), **found}
    print(table(result))
    if not asked.dry:
        asked.result.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return 0


def _about() -> dict[str, Any]:
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, check=False)
    return {
        "what": "rollouts in the demo world: each fault planted in a canary, and none",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "commit": commit.stdout.decode().strip(),
        "date": datetime.now(UTC).date().isoformat(),
        "sessions_a_minute": A_MINUTE,
        "steps": [one.weight for one in policy().canary.steps],
    }


def _scores(session: str, kind: Kind) -> list[NewScore]:
    told: dict[str, Any] = {"target": TargetKind.SESSION, "session_id": session}
    found = [
        NewScore(evaluator="task_success", evaluator_kind=EvaluatorKind.OUTCOME, value=float(kind.passed), **told)
    ]  # fmt: skip
    rules = kind.scores.items()
    return found + [NewScore(evaluator=n, evaluator_kind=EvaluatorKind.RULE, value=v, **told) for n, v in rules]


if __name__ == "__main__":
    raise SystemExit(main())
