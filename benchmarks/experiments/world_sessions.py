"""The demo world's sessions as the store would hold them: each task, with and without each fault, played in full once
by the reference agent, decoded by the collector's code and scored by the rules; then copied under other ids and times.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Final

import polars as pl
import pyarrow as pa

from agent_runtime.records import Release
from agent_runtime.settings import Settings
from agent_runtime.simulation.fast import FastRun
from agent_runtime.simulation.faults.fault import Seam
from agent_runtime.simulation.faults.table import chosen_scenario, fault_named
from agent_runtime.simulation.full import open_stage
from agent_runtime.simulation.loading import all_scenarios
from agent_runtime.simulation.plans import Cast
from agent_runtime.simulation.scenario import Scenario
from agent_runtime.simulation.seed import open_world
from agent_runtime.simulation.traffic import Traffic
from agent_runtime.simulation.users import PERSONAS
from collector.decode import decode
from collector.leaves import Leaves
from core.clock import NS_PER_S
from core.records import TargetKind
from core.windows import day_of
from evaluators.catalogue import BY_NAME
from evaluators.protocol import evaluate_safely
from evaluators.reading import trajectories
from evaluators.records import Score, Target
from experiments.metrics import SAFETY
from store import derive
from store.engine import DuckDBEngine
from store.lake import Lake
from store.schema import TURNS
from store.tenant import Store

TENANT: Final = "bench"
APP: Final = "larkspur-support"
RECORDED_NS: Final = 1_790_000_000 * NS_PER_S
_Key = tuple[str, str]  # scenario, fault ("" for none)


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A session as it goes: which of the world's it is, whether the task was done, and what the rules said."""

    number: int
    passed: bool
    scores: Mapping[str, float]


@dataclass(kw_only=True)
class World:
    """What sessions there are; `turns` of all of them, with the number of their `kind`."""

    scenarios: Sequence[Scenario]
    turns: pl.DataFrame = field(repr=False)
    kinds: Mapping[_Key, Kind] = field(repr=False)

    def drawn(self, fault: str, rate: float, chance: Random) -> Kind:
        """A session of a release in which this fault is planted with this chance, where it can show."""
        planted = bool(fault) and chance.random() < rate
        shifted = planted and fault_named(fault).seam is Seam.USERS
        scenario = chosen_scenario((fault,) if shifted else (), self.scenarios, chance)
        key = (scenario.scenario_id, fault if planted and not shifted else "")
        return self.kinds.get(key) or self.kinds[scenario.scenario_id, ""]


def recorded(faults: Sequence[str], n_scenarios: int, seed: int = 7) -> World:
    """Plays what is needed, and reads it back."""
    every = all_scenarios()
    scenarios = every[:: max(1, len(every) // n_scenarios)][:n_scenarios] if n_scenarios < len(every) else every
    with tempfile.TemporaryDirectory() as folder:
        kinds, turns = asyncio.run(_recorded(Path(folder), scenarios, faults, seed))
    return World(scenarios=scenarios, turns=turns, kinds=kinds)


async def _recorded(
    folder: Path, scenarios: Sequence[Scenario], faults: Sequence[str], seed: int
) -> tuple[dict[_Key, Kind], pl.DataFrame]:
    settings = Settings().model_copy(update={"data": folder / "agent", "otlp_endpoint": ""})
    release = Release(name="v0")
    async with open_stage(settings, folder / "world.db", seed, None) as stage:
        world = open_world(folder / "truth.db")
        traffic = Traffic(releases=(release,), sessions=1, seed=seed)
        run = FastRun(stage=stage, world=world, traffic=traffic, weeks=1, end=datetime.now(UTC))
        wanted = {(each.scenario_id, fault): each for each in scenarios for fault in ("", *_played(faults, each))}
        casts = {
            key: Cast(
                session_id=f"v0-{seed}-{number:06d}",
                scenario=scenario,
                persona=PERSONAS[number % len(PERSONAS)] if not key[1] else PERSONAS[_place(scenarios, scenario)],
                faults=(key[1],) if key[1] else (),
            )
            for number, (key, scenario) in enumerate(wanted.items())
        }
        await run.record([(release, each) for each in casts.values()], traffic.plans())
        bodies = {
            key: run.template(release, each).instance(each.session_id, RECORDED_NS) for key, each in casts.items()
        }
        passed = {key: run.template(release, each).played.outcome.passed for key, each in casts.items()}
        world.close()
    return _read_back(folder, {key: casts[key].session_id for key in casts}, bodies, passed)


def _played(faults: Sequence[str], scenario: Scenario) -> Iterator[str]:
    """The faults that a session of this task can be played with; a shift of users is another task, not another play."""
    for name in faults:
        fault = fault_named(name)
        if fault.seam is not Seam.USERS and fault.applies(scenario):
            yield name


def _place(scenarios: Sequence[Scenario], scenario: Scenario) -> int:
    return scenarios.index(scenario) % len(PERSONAS)


def _read_back(
    folder: Path, ids: Mapping[_Key, str], bodies: Mapping[_Key, bytes], passed: Mapping[_Key, bool]
) -> tuple[dict[_Key, Kind], pl.DataFrame]:
    """Turns and scores of the recorded sessions, through the collector's decoder and a store."""
    lake = Lake(folder / "lake")
    requests = list(enumerate(bodies.values(), start=1))
    turns = []
    for first in range(0, len(requests), 100):
        spans = Leaves().count(
            decode(requests[first : first + 100], tenant=TENANT, ingested_at_us=RECORDED_NS // 1000).rows
        )
        lake.append("spans", spans)
        for name in derive.DERIVED:
            lake.append(name, derive.derived(name, spans))
        turns.append(derive.derived("turns", spans))
    store = Store(lake, DuckDBEngine(lake.root)).tenant(TENANT)
    frame = pl.from_arrow(pa.concat_tables(turns))
    assert isinstance(frame, pl.DataFrame)
    numbers = {session: number for number, session in enumerate(ids.values())}
    found = {}
    known = trajectories(store, session_ids=list(ids.values()))
    for key, session in ids.items():
        target = Target(kind=TargetKind.SESSION, trajectory=known[session])
        scores = {name: evaluate_safely(BY_NAME[name], target) for name in SAFETY}
        told = {name: one.value for name, one in scores.items() if isinstance(one, Score)}
        found[key] = Kind(number=numbers[session], passed=passed[key], scores=told)
    kinds = pl.col("session_id").replace_strict(numbers, return_dtype=pl.Int64)
    return found, frame.with_columns(kind=kinds)


def turns_of(world: World, played: Sequence[tuple[str, str, int, Kind]]) -> pa.Table:
    """Rows of turns for sessions (id, release, start in ns, kind), as the store holds them."""
    sessions = pl.DataFrame(
        [(session, release, start_ns - RECORDED_NS, kind.number) for session, release, start_ns, kind in played],
        schema={"session_id": pl.String, "release": pl.String, "shift": pl.Int64, "kind": pl.Int64},
        orient="row",
    ).with_row_index("row")
    frame = sessions.join(world.turns.drop("session_id", "release", "user_id"), on="kind")
    unique = pl.concat_str(pl.col("session_id"), pl.col("trace_id")).hash().cast(pl.String).str.pad_start(20, "0")
    frame = frame.with_columns(
        (unique.str.slice(4) + pl.col("trace_id").str.slice(16)).alias("trace_id"),
        (pl.lit("u-") + pl.col("session_id")).alias("user_id"),
        (pl.col("start_ns") + pl.col("shift")).alias("start_ns"),
        (pl.col("end_ns") + pl.col("shift")).alias("end_ns"),
        pl.lit(day_of(played[0][2])).alias("date"),
    )
    return frame.select(TURNS.names).to_arrow().cast(TURNS)
