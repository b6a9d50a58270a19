"""The reference agent for evaluation: every trial of a scenario's example finds that scenario's world, untouched.

A session whose id is RUN.EXAMPLE.TRIAL, where EXAMPLE is a scenario's id (or that, - and a word), is a trial. It gets a
shop of its own in memory, with the orders that the texts of examples/datasets/support-*.jsonl name, whoever asks and
however often: trials of one example never see each other. All other sessions meet the demo customer's shop.

A session that `assay simulate --door` enrolled in world.db meets its own user's shop there (simulation/door.py).

The release is the one that the gateway stamped into the baggage; what it has of planted faults, a trial has by chance,
as simulated sessions do. How the world stands after a turn is `assay.end_state` on the turn's span.
"""

from __future__ import annotations

import asyncio
import json
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

from opentelemetry import baggage

from agent_runtime.announce import Announcer, client_of
from agent_runtime.errors import InvalidInput
from agent_runtime.guardrails.table import GUARDRAILS
from agent_runtime.memory.stored import StoredMemory
from agent_runtime.memory.tables import SCHEMA as MEMORY
from agent_runtime.records import Release, TurnInput, TurnResult
from agent_runtime.runtime import SCHEMAS, Parts, Runtime
from agent_runtime.settings import Settings
from agent_runtime.simulation.backend import Shop
from agent_runtime.simulation.faults.fault import planted
from agent_runtime.simulation.faults.table import altered_backend, altered_parameters, fault_named
from agent_runtime.simulation.full import Shelves, caps_of
from agent_runtime.simulation.loading import all_scenarios, scenario_named
from agent_runtime.simulation.plans import plan_of
from agent_runtime.simulation.provider.planted import planted_faults
from agent_runtime.simulation.provider.running import running_provider
from agent_runtime.simulation.provider.server import Provider
from agent_runtime.simulation.scenario import Prepared, Scenario
from agent_runtime.simulation.seed import demo_scenario, open_world, stock
from agent_runtime.simulation.world import World
from agent_runtime.state import StateFile
from agent_runtime.telemetry import open_telemetry
from agent_runtime.tools.backend import Backend

MOST_ROOMS: Final = 500  # trials whose world is remembered; of an older one that goes on it is made anew
_MOST_APPROVALS: Final = 20
_STAFF: Final = "simulated staff"
_EXAMPLE: Final = "example"
_STATE: Final[Mapping[str, tuple[str, ...]]] = {  # what an end state tells; ids of rows are chance
    "users": ("name", "email", "address", "status", "n_password_resets"),
    "orders": ("order_id", "status", "address"),
    "payments": ("order_id", "kind", "amount_cents", "item_ids"),
    "discounts": ("order_id", "percent"),
    "returns": ("order_id", "item_ids", "status"),
}


def scenario_of_trial(session_id: str) -> Scenario | None:
    """The scenario of a session called RUN.EXAMPLE.TRIAL; None for other sessions."""
    parts = session_id.rsplit(".", 2)
    if len(parts) != 3 or not parts[2].isdecimal():
        return None
    name = parts[1].partition("-")[0]
    return next((each for each in all_scenarios() if each.scenario_id == name), None)


@dataclass(frozen=True, kw_only=True)
class Room:
    """What one session finds: a shop in memory, and the customer whom it serves."""

    world: World
    prepared: Prepared
    faults: tuple[str, ...]
    shop: Backend
    persona: str = _EXAMPLE

    def close(self) -> None:
        """Lets go of a world that is this room's alone."""
        if self.persona == _EXAMPLE:
            self.world.close()

    def end_state(self) -> dict[str, Any]:
        """The customer, her orders and what happened to them; equal for equal worlds."""
        return end_state(self.world, self.prepared.user_id)


def fresh_room(scenario: Scenario, release: Release, faults: Sequence[str] = ()) -> Room:
    """A world in memory with this scenario's customer and orders: the same ids every time."""
    world = World.open(Path(":memory:"))
    stock(world)
    prepared = world.prepare(scenario, f"example.{scenario.scenario_id}")
    parameters = altered_parameters(faults, release.parameters)
    shop = altered_backend(faults, Shop(world, caps=caps_of(parameters)))
    return Room(world=world, prepared=prepared, faults=tuple(faults), shop=shop)


def end_state(world: World, user_id: str) -> dict[str, Any]:
    """The rows of a customer, without ids that are chance."""
    found: dict[str, Any] = {}
    for table, columns in _STATE.items():
        told = ", ".join(columns)
        rows = world.rows(f"SELECT {told} FROM {table} WHERE user_id = ? ORDER BY {told}", user_id)
        found[table] = rows
    [customer] = found.pop("users") or [{}]
    if customer:  # spans are masked before they are stored: an address that can be compared has to look like none
        customer["email_hash"] = blake2b(customer.pop("email").encode(), digest_size=4).hexdigest()
    orders = {row.pop("order_id"): row for row in found.pop("orders")}
    return {"customer": customer, "orders": orders, **found}


class Rooms:
    """The backend of all sessions: each is served by the shop of its own room."""

    def __init__(self, recorded: World, seed: int) -> None:
        """`recorded` is the world.db that the simulated provider reads the faults of a session from."""
        self._recorded = recorded
        self._seed = seed
        self._rooms: OrderedDict[str, Room] = OrderedDict()

    def open(self, given: TurnInput, release: Release) -> Room:
        """The session's room, made at its first turn."""
        room = self._rooms.get(given.session_id)
        if room is None:
            room = self._enrolled(given, release) or self._fresh(given, release)
            self._record(given, release, room)
            self._rooms[given.session_id] = room
        self._rooms.move_to_end(given.session_id)
        while len(self._rooms) > MOST_ROOMS:
            self._rooms.popitem(last=False)[1].close()
        return room

    def room(self, session_id: str) -> Room | None:
        """The room of a session that had a turn."""
        return self._rooms.get(session_id)

    async def call(self, tool: str, user_id: str, args: Mapping[str, Any], *, key: str | None) -> dict[str, Any]:
        """Asks the shop of the session in the turn's baggage, for its own customer whoever called. Raises InvalidInput
        outside of a turn, and what the shop raises."""
        room = self._rooms.get(str(baggage.get_baggage("session.id")))
        if room is None:
            raise InvalidInput("a tool is called within a turn of a session")
        return await room.shop.call(tool, room.prepared.user_id, args, key=key)

    def _fresh(self, given: TurnInput, release: Release) -> Room:
        scenario = scenario_of_trial(given.session_id)
        hit = self._faults(scenario, given.session_id, release) if scenario else ()
        return fresh_room(scenario or demo_scenario(), release, hit)

    def _enrolled(self, given: TurnInput, release: Release) -> Room | None:
        """The shop in world.db of a user who came through the door; None for everybody else."""
        played = self._recorded.session(given.session_id)
        if played is None or played.persona == _EXAMPLE or played.user_id != given.user_id:
            return None
        scenario = scenario_named(played.scenario)
        hit = self._faults(scenario, given.session_id, release)
        prepared = Prepared(session_id=given.session_id, user_id=played.user_id, scenario=scenario, names={})
        shop = altered_backend(hit, Shop(self._recorded, caps=caps_of(altered_parameters(hit, release.parameters))))
        return Room(world=self._recorded, prepared=prepared, faults=hit, shop=shop, persona=played.persona)

    def _faults(self, scenario: Scenario, session_id: str, release: Release) -> tuple[str, ...]:
        hit = (name for name, rate in sorted(release.faults.items()) if planted(self._seed, name, session_id, rate))
        return tuple(name for name in hit if fault_named(name).applies(scenario))

    def _record(self, given: TurnInput, release: Release, room: Room) -> None:
        """For the provider, which may be another process."""
        self._recorded.change(
            "INSERT OR REPLACE INTO sessions (session_id, release, scenario, persona, user_id, seed, faults) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            *(given.session_id, release.name, room.prepared.scenario.scenario_id, room.persona, given.user_id),
            *(self._seed, json.dumps(room.faults)),
        )


class TrialRuntime(Runtime):
    """A runtime that prepares each session's world, and plays several releases."""

    def __init__(self, settings: Settings, parts: Parts, releases: Sequence[Release], rooms: Rooms, shelves: Shelves):
        super().__init__(settings, parts)
        self._flush = parts.telemetry.flush
        if not releases:
            raise InvalidInput("name at least one release")
        self._releases = {each.name: each for each in releases}
        self._baseline = releases[0]
        self.rooms = rooms
        self._shelves = shelves

    async def start(self) -> int:
        """As the runtime does, announcing every release."""
        for release in self._releases.values():
            self._announce(release)
        return 0

    async def turn(self, given: TurnInput, release: Release | None = None) -> TurnResult:
        """Answers a message in the session's own world; the simulated staff decides at once on what waits for it.

        The release is the baggage's; the first one where there is none. Raises InvalidInput: this agent does not play
        it; and as the runtime.
        """
        release = release or self._named(str(baggage.get_baggage("assay.release") or ""))
        room = self.rooms.open(given, release)
        self._shelves.open(given.session_id, room.faults)
        own = replace(release, parameters=altered_parameters(room.faults, release.parameters))
        result = await super().turn(given, own)
        for _ in range(_MOST_APPROVALS):
            if not result.approvals:
                break
            approved = room.prepared.scenario.approves
            result = await self.approve(result.approvals[0].approval_id, approved, _STAFF)
        await asyncio.to_thread(self._flush)  # who scores the trial finds its spans, however soon it looks
        return result

    def _named(self, name: str) -> Release:
        if name and name not in self._releases:
            raise InvalidInput(f"this agent plays {', '.join(self._releases)}, not {name[:80]!r}")
        return self._releases.get(name, self._baseline)


@asynccontextmanager
async def open_trials(
    settings: Settings, releases: Sequence[Release], world_file: Path, seed: int, *, own_provider: bool = True
) -> AsyncIterator[TrialRuntime]:
    """Starts the agent for these releases; `settings.data` gets its own file. Without `own_provider` the model is at
    `openai_base_url` of the settings. Raises InvalidInput: an unknown fault, or one at no rate; CorruptState."""
    for each in releases:
        plan_of(each, seed)
    async with AsyncExitStack() as opened:
        world = open_world(world_file)
        opened.callback(world.close)
        if own_provider:
            provider = Provider(seed=seed, speed=None, alter=planted_faults(world))
            url = await opened.enter_async_context(running_provider(provider))
            settings = settings.model_copy(update={"openai_base_url": f"{url}/v1"})
        settings = settings.model_copy(update={"provider": "openai"})
        state = StateFile(settings.data, (*SCHEMAS, MEMORY))
        memory, telemetry = StoredMemory(state), open_telemetry(settings, simulated=True)
        rooms, shelves = Rooms(world, seed), Shelves(telemetry)
        assay = client_of(settings)
        parts = Parts(
            state=state,
            backend=rooms,
            memory=memory,
            retriever=shelves.library,
            guardrails=GUARDRAILS,
            telemetry=telemetry,
            announcer=Announcer(assay) if assay else None,
            end_state=lambda session_id: room.end_state() if (room := rooms.room(session_id)) else None,
        )
        runtime = TrialRuntime(settings, parts, releases, rooms, shelves)
        memory.summarise = runtime.summarise
        opened.push_async_callback(runtime.close)
        await runtime.start()
        yield runtime
