"""Which release has which faults, and what a session plays: chance decides by hash, so every process decides alike."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from zlib import crc32

from agent_runtime.errors import InvalidInput, NotFound
from agent_runtime.records import Release
from agent_runtime.simulation.faults.fault import Seam, planted
from agent_runtime.simulation.faults.table import chosen_scenario, fault_named
from agent_runtime.simulation.loading import all_scenarios, scenario_named
from agent_runtime.simulation.scenario import Prepared, Scenario
from agent_runtime.simulation.users import PERSONAS, Persona
from agent_runtime.simulation.world import World


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A release's faults (name -> rate 0..1) under a seed. A task is played with `personas` manners of users."""

    release: str
    seed: int
    faults: Mapping[str, float] = field(default_factory=dict)
    personas: int = len(PERSONAS)


@dataclass(frozen=True, kw_only=True)
class Cast:
    """What chance gave a session: its task, its user's manner, and the faults planted in it."""

    session_id: str
    scenario: Scenario
    persona: Persona
    faults: tuple[str, ...]


def plan_of(release: Release, seed: int, personas: int = len(PERSONAS)) -> Plan:
    """The plan of a release. Raises InvalidInput: an unknown fault, a rate outside 0..1."""
    for name, rate in release.faults.items():
        fault_named(name)
        if not 0 <= rate <= 1:
            raise InvalidInput(f"the rate of {name} is {rate}; it lies between 0 and 1")
    return Plan(release=release.name, seed=seed, faults=dict(release.faults), personas=personas)


def write_plan(world: World, plan: Plan) -> None:
    """Makes the plan readable by other processes, in place of the release's earlier one."""
    with world.writing():
        world.change("DELETE FROM plans WHERE release = ?", plan.release)
        world.change_many(
            "INSERT INTO plans (release, fault, rate, seed) VALUES (?, ?, ?, ?)",
            [(plan.release, name, rate, plan.seed) for name, rate in {"": 0.0, **plan.faults}.items()],
        )


def read_plan(world: World, release: str) -> Plan:
    """The plan of a release. Raises NotFound."""
    rows = world.rows("SELECT fault, rate, seed FROM plans WHERE release = ? ORDER BY fault", release)
    if not rows:
        raise NotFound(f"there is no plan of release {release!r}")
    faults = {row["fault"]: row["rate"] for row in rows if row["fault"]}
    return Plan(release=release, seed=rows[0]["seed"], faults=faults)


def chance_of(seed: int, *parts: object) -> Random:
    """Chance for one purpose: equal seed and parts give equal chance."""
    return Random("\0".join(str(part) for part in (seed, *parts)))  # noqa: S311 - nothing here is secret


def cast(plan: Plan, session_id: str, scenarios: Sequence[Scenario] = ()) -> Cast:
    """Chooses a session's task and manner and plants its faults. `scenarios` empty: all of them."""
    chance = chance_of(plan.seed, "cast", session_id)
    hit = [name for name, rate in sorted(plan.faults.items()) if planted(plan.seed, name, session_id, rate)]
    shifts = [name for name in hit if fault_named(name).seam is Seam.USERS]
    scenario = chosen_scenario(shifts, scenarios or all_scenarios(), chance)
    faults = tuple(name for name in hit if fault_named(name).applies(scenario))
    drawn = chance.randrange(len(PERSONAS))
    if plan.personas < len(PERSONAS):
        drawn = crc32(scenario.scenario_id.encode()) + drawn % plan.personas
    persona = PERSONAS[drawn % len(PERSONAS)]
    return Cast(session_id=session_id, scenario=scenario, persona=persona, faults=faults)


def played_otherwise(world: World, chosen: Cast) -> bool:
    """Whether this session was played before as another task, with another manner of user or with other faults."""
    before = world.session(chosen.session_id)
    now = (chosen.scenario.scenario_id, chosen.persona.name, chosen.faults)
    return before is not None and (before.scenario, before.persona, before.faults) != now


def enrol(world: World, plan: Plan, chosen: Cast) -> Prepared:
    """Gives the session its rows and records what it plays, for the provider's process and for the truth."""
    prepared = world.prepare(chosen.scenario, chosen.session_id)
    world.change(
        "INSERT OR REPLACE INTO sessions (session_id, release, scenario, persona, user_id, seed, faults) "
        "VALUES (?, ?, ?, ?, ?, ?, ?)",
        *(chosen.session_id, plan.release, chosen.scenario.scenario_id, chosen.persona.name, prepared.user_id),
        *(plan.seed, json.dumps(chosen.faults)),
    )
    return prepared


def scenario_of(world: World, session_id: str) -> Scenario:
    """The task that a session plays, not filled. Raises NotFound."""
    played = world.session(session_id)
    if played is None:
        raise NotFound(f"session {session_id!r} is not simulated")
    return scenario_named(played.scenario)
