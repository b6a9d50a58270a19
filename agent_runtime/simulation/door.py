"""Simulated users who come through the gateway's session door, as an app's users do.

Which release answers is the door's affair: a plan, a rollout or an experiment decides, and the answer names it. Behind
the door stands the agent as `python -m agent_runtime trials` serves it. It reads the same world.db, where it finds what
a session's user wants, and plants the faults of the release that answers; here stand the users, and how it ended.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import httpx
from pydantic import TypeAdapter, ValidationError

from agent_runtime.errors import BackendUnavailable, InvalidInput
from agent_runtime.records import APP, Release, TurnResult
from agent_runtime.settings import Settings
from agent_runtime.simulation.full import Played
from agent_runtime.simulation.goals import outcome
from agent_runtime.simulation.patient import PatientExporter
from agent_runtime.simulation.plans import Cast, Plan, chance_of, enrol
from agent_runtime.simulation.scenario import Prepared
from agent_runtime.simulation.seed import open_world
from agent_runtime.simulation.transcript import Transcript, exchange
from agent_runtime.simulation.truth import record_outcome, record_planted, record_turn
from agent_runtime.simulation.users import next_message
from agent_runtime.simulation.world import World
from agent_runtime.telemetry import Telemetry, open_telemetry

USERS: Final = Release(name="door")  # whose sessions they are before the door names a release: no fault is planted here
_TIMEOUT_S: Final = 120.0
_RESULT: Final = TypeAdapter(TurnResult)


@dataclass(frozen=True, kw_only=True)
class DoorStage:
    """Where sessions are played through the door. Spans are the gateway's and the agent's: none is made here."""

    world: World
    door: httpx.AsyncClient
    telemetry: Telemetry
    seed: int
    exporter: PatientExporter | None = None

    async def play(self, release: Release, plan: Plan, chosen: Cast, outcome_delay: timedelta = timedelta()) -> Played:
        """Plays a session to its end, on the release that the door gives it, and records its truth.

        Raises BackendUnavailable: the door or the agent did not answer.
        """
        prepared = enrol(self.world, plan, chosen)
        told: Transcript = ()
        results: list[TurnResult] = []
        answered_by = release.name
        while (text := self._says(prepared, chosen, told)) is not None:
            result, answered_by = await self._turn(prepared, text, len(told))
            if not told:
                found = self.world.session(chosen.session_id)
                chosen = replace(chosen, faults=found.faults if found else ())
                record_planted(self.world, answered_by, chosen, datetime.now(UTC))
            record_turn(self.world, len(told), text, result)
            told = (*told, exchange(text, result))
            results.append(result)
        came_of_it = outcome(self.world, prepared, told)
        record_outcome(self.world, chosen.session_id, came_of_it, datetime.now(UTC), outcome_delay)
        return Played(
            chosen=chosen,
            prepared=prepared,
            release=answered_by,
            outcome=came_of_it,
            transcript=told,
            results=tuple(results),
        )

    def _says(self, prepared: Prepared, chosen: Cast, told: Transcript) -> str | None:
        chance = chance_of(self.seed, chosen.session_id, len(told))
        return next_message(prepared, chosen.persona, chance, told)

    async def _turn(self, prepared: Prepared, text: str, number: int) -> tuple[TurnResult, str]:
        """The answer to a message, and the release that gave it."""
        session = prepared.session_id
        body = {"user_id": prepared.user_id, "text": text, "message_id": f"{session}:{number}"}
        path, headers = f"/apps/{APP}/v1/sessions/{session}/turns", {"x-assay-user": prepared.user_id}
        try:
            answer = await self.door.post(path, json=body, headers=headers)
        except httpx.HTTPError as error:
            raise BackendUnavailable(f"the door at {self.door.base_url} could not be reached: {error!r}") from None
        if not answer.is_success:
            said = f"the door at {self.door.base_url} answered {answer.status_code}: {answer.text[:300]}"
            raise BackendUnavailable(said)
        try:
            return _RESULT.validate_json(answer.content), answer.headers.get("x-assay-release", "")
        except ValidationError:
            raise BackendUnavailable(f"what answers behind {self.door.base_url} is not the reference agent") from None


@asynccontextmanager
async def open_door_stage(url: str, settings: Settings, world_file: Path, seed: int) -> AsyncIterator[DoorStage]:
    """Users of the gateway at `url`, with the key of Assay. `world_file` is that of the agent behind the door.

    Raises InvalidInput: there is no world, or no address.
    """
    if not url.startswith(("http://", "https://")):
        raise InvalidInput(f"--door is the gateway's address, e.g. http://127.0.0.1:8090, not {url[:100]!r}")
    if not world_file.exists():
        raise InvalidInput(f"{world_file} is not there: the agent behind the door keeps its world in it")
    world = open_world(world_file)
    key = settings.assay_api_key
    headers = {"authorization": f"Bearer {key.get_secret_value()}"} if key else {}
    silent = settings.model_copy(update={"otlp_endpoint": ""})
    try:
        async with httpx.AsyncClient(base_url=url.rstrip("/"), headers=headers, timeout=_TIMEOUT_S) as door:
            yield DoorStage(world=world, door=door, telemetry=open_telemetry(silent, simulated=True), seed=seed)
    finally:
        world.close()
