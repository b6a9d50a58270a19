"""Full sessions: the real runtime, its model over HTTP, simulated users, and the truth about how each one ended.

One runtime plays every session. What a planted fault changes is brought to its session alone: the parameters come with
the turn's release, the shop is chosen by user, the documents by the session in the turn's baggage, and the model's
answers are altered by the provider, which reads world.db.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from opentelemetry import baggage

from agent_runtime.errors import BackendRefused
from agent_runtime.guardrails.table import GUARDRAILS
from agent_runtime.memory.stored import StoredMemory
from agent_runtime.memory.tables import SCHEMA as MEMORY
from agent_runtime.records import Parameters, Release, TurnInput, TurnResult
from agent_runtime.retrieval.index import Edition
from agent_runtime.retrieval.library import LIVE, Library
from agent_runtime.runtime import SCHEMAS, Parts, Runtime
from agent_runtime.seams import Memory
from agent_runtime.settings import Settings
from agent_runtime.simulation.backend import Shop
from agent_runtime.simulation.documents import every_version, published
from agent_runtime.simulation.faults.table import altered_backend, altered_documents, altered_parameters, fault_named
from agent_runtime.simulation.goals import Outcome, outcome
from agent_runtime.simulation.patient import PatientExporter
from agent_runtime.simulation.plans import Cast, Plan, chance_of, enrol
from agent_runtime.simulation.provider.planted import planted_faults
from agent_runtime.simulation.provider.running import running_provider
from agent_runtime.simulation.provider.server import Provider
from agent_runtime.simulation.returning import came_before
from agent_runtime.simulation.scenario import Prepared
from agent_runtime.simulation.seed import open_world
from agent_runtime.simulation.shop_orders import Caps
from agent_runtime.simulation.transcript import Exchange, Transcript, exchange
from agent_runtime.simulation.truth import record_outcome, record_planted, record_turn
from agent_runtime.simulation.users import next_message
from agent_runtime.simulation.world import World
from agent_runtime.state import StateFile
from agent_runtime.telemetry import Telemetry, exporter_of, open_telemetry
from agent_runtime.tools.backend import Backend

_MOST_APPROVALS = 20  # of one message; more would be a defect
_STAFF = "simulated staff"


class ShopByUser:
    """The backend of all sessions: each user is served by the shop of her own session."""

    def __init__(self) -> None:
        self._shops: dict[str, Backend] = {}

    def open(self, user_id: str, shop: Backend) -> None:
        """Serves this user from now on."""
        self._shops[user_id] = shop

    def close(self, user_id: str) -> None:
        """Her session is over."""
        self._shops.pop(user_id, None)

    async def call(self, tool: str, user_id: str, args: Mapping[str, Any], *, key: str | None) -> dict[str, Any]:
        """Asks the user's shop. Raises BackendRefused: nobody of this id is in a session; and what the shop raises."""
        shop = self._shops.get(user_id)
        if shop is None:
            raise BackendRefused(f"there is no customer {user_id!r}")
        return await shop.call(tool, user_id, args, key=key)


class Shelves:
    """Which documents a session finds: the valid ones, or a set that its faults altered."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._slots: dict[str, str] = {}
        self._kinds = {each.document.doc_id: each.kind for each in published()}
        self.library = Library(telemetry, slot=self._slot)
        self._filled: set[str] = set()
        self._fill(LIVE, ())

    def open(self, session_id: str, faults: tuple[str, ...]) -> None:
        """Lets the session find what its faults leave."""
        altering = tuple(name for name in faults if fault_named(name).documents is not None)
        if altering:
            self._slots[session_id] = slot = "+".join(altering)
            self._fill(slot, altering)

    def close(self, session_id: str) -> None:
        """The session is over."""
        self._slots.pop(session_id, None)

    def _slot(self) -> str:
        return self._slots.get(str(baggage.get_baggage("session.id")), LIVE)

    def _fill(self, slot: str, faults: tuple[str, ...]) -> None:
        if slot in self._filled:
            return
        found = altered_documents(faults, every_version())
        for kind in ("help", "policy"):
            shelf = [Edition(document=each) for each in found if self._kinds[each.doc_id] == kind]
            self.library.fill(kind, shelf, slot)
        self._filled.add(slot)


@dataclass(frozen=True, kw_only=True)
class Played:
    """A session that has ended."""

    chosen: Cast
    prepared: Prepared = field(repr=False)
    release: str
    outcome: Outcome
    transcript: Transcript
    results: tuple[TurnResult, ...] = field(default=(), repr=False)


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Where full sessions are played; many at once in one event loop."""

    world: World
    runtime: Runtime
    memory: Memory
    shops: ShopByUser
    shelves: Shelves
    telemetry: Telemetry
    tenant: str
    seed: int
    exporter: PatientExporter | None = None  # None: nothing is sent

    async def play(self, release: Release, plan: Plan, chosen: Cast, outcome_delay: timedelta = timedelta()) -> Played:
        """Plays a session to its end and records its truth; the same session again starts anew in the world."""
        prepared = enrol(self.world, plan, chosen)
        record_planted(self.world, plan.release, chosen, datetime.now(UTC))
        own = replace(release, parameters=altered_parameters(chosen.faults, release.parameters))
        shop = Shop(self.world, caps=caps_of(own.parameters))
        self.shops.open(prepared.user_id, altered_backend(chosen.faults, shop))
        self.shelves.open(chosen.session_id, chosen.faults)
        await came_before(self.memory, chosen, (self.tenant, prepared.user_id), self.seed, datetime.now(UTC))
        try:
            transcript, results = await self._talk(own, chosen, prepared)
        finally:
            self.shops.close(prepared.user_id)
            self.shelves.close(chosen.session_id)
        found = outcome(self.world, prepared, transcript)
        record_outcome(self.world, chosen.session_id, found, datetime.now(UTC), outcome_delay)
        return Played(
            chosen=chosen,
            prepared=prepared,
            release=release.name,
            outcome=found,
            transcript=transcript,
            results=results,
        )

    async def _talk(
        self, release: Release, chosen: Cast, prepared: Prepared
    ) -> tuple[Transcript, tuple[TurnResult, ...]]:
        told: list[Exchange] = []
        results: list[TurnResult] = []
        while True:
            chance = chance_of(self.seed, chosen.session_id, len(told))
            text = next_message(prepared, chosen.persona, chance, tuple(told))
            if text is None:
                return tuple(told), tuple(results)
            given = TurnInput(
                session_id=chosen.session_id,
                user_id=prepared.user_id,
                text=text,
                message_id=f"{chosen.session_id}:{len(told)}",
                tenant=self.tenant,
            )
            result = await self.runtime.turn(given, release)
            self._tell(told, results, text, result)
            for _ in range(_MOST_APPROVALS):
                if not result.approvals:
                    break
                approved = prepared.scenario.approves
                result = await self.runtime.approve(result.approvals[0].approval_id, approved, _STAFF)
                self._tell(told, results, "", result)

    def _tell(self, told: list[Exchange], results: list[TurnResult], text: str, result: TurnResult) -> None:
        told.append(exchange(text, result))
        results.append(_part(result, results))
        record_turn(self.world, len(results) - 1, text, results[-1])


def _part(result: TurnResult, before: Sequence[TurnResult]) -> TurnResult:
    """What was spent since the turn's part before: a turn that goes on after an approval tells its whole sum."""
    same = [each for each in before if each.turn_id == result.turn_id]
    cost = sum((each.cost_usd or Decimal(0) for each in same), Decimal(0))
    return replace(
        result,
        input_tokens=result.input_tokens - sum(each.input_tokens for each in same),
        output_tokens=result.output_tokens - sum(each.output_tokens for each in same),
        cost_usd=None if result.cost_usd is None else result.cost_usd - cost,
    )


def caps_of(parameters: Parameters) -> Caps:
    """What the shop of a release allows."""
    return Caps(refund_cents=int(parameters.refund_cap_usd * 100), discount_percent=parameters.discount_cap_percent)


@asynccontextmanager
async def open_stage(
    settings: Settings, world_file: Path, seed: int, speed: float | None, *, own_provider: bool = True
) -> AsyncIterator[Stage]:
    """Starts the simulated provider (on loopback, in this event loop) and a runtime on it; ends both.

    `settings.data` gets the runtime's own file. `speed` None does not wait as a model would. Without `own_provider`
    the model is at `openai_base_url` of the settings. Raises InvalidInput, CorruptState.
    """
    async with AsyncExitStack() as opened:
        world = open_world(world_file)
        opened.callback(world.close)
        if own_provider:
            provider = Provider(seed=seed, speed=speed, alter=planted_faults(world))
            url = await opened.enter_async_context(running_provider(provider))
            settings = settings.model_copy(update={"openai_base_url": f"{url}/v1"})
        settings = settings.model_copy(update={"provider": "openai"})
        state = StateFile(settings.data, (*SCHEMAS, MEMORY))
        way = exporter_of(settings)
        exporter = PatientExporter(way) if way else None
        memory, telemetry = StoredMemory(state), open_telemetry(settings, simulated=True, exporter=exporter)
        shops, shelves = ShopByUser(), Shelves(telemetry)
        parts = Parts(
            state=state,
            backend=shops,
            memory=memory,
            retriever=shelves.library,
            guardrails=GUARDRAILS,
            telemetry=telemetry,
        )
        runtime = Runtime(settings, parts)
        memory.summarise = runtime.summarise
        opened.push_async_callback(runtime.close)
        yield Stage(
            world=world,
            runtime=runtime,
            memory=memory,
            shops=shops,
            shelves=shelves,
            telemetry=telemetry,
            tenant=settings.tenant,
            seed=seed,
            exporter=exporter,
        )
