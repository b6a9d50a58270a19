"""The façade: a support agent that takes messages, asks people, forgets users and survives being killed."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Sequence
from contextlib import AsyncExitStack, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pydantic_ai.models import Model

from agent_runtime.agents import SCOPES, make_agents
from agent_runtime.announce import Announcer
from agent_runtime.ask import Asker
from agent_runtime.checkpoints import SCHEMA as CHECKPOINTS
from agent_runtime.checkpoints import Begun, Checkpoints, turn_id_of
from agent_runtime.context import worked_on
from agent_runtime.errors import InvalidInput, NotFound, RuntimeFailed
from agent_runtime.history import Histories
from agent_runtime.ledger import SCHEMA as LEDGER
from agent_runtime.ledger import Ledger
from agent_runtime.models import Models
from agent_runtime.reasoning.react import Loop
from agent_runtime.records import Parameters, Release, TurnInput, TurnResult
from agent_runtime.seams import Check, Guardrail, Memory, Retriever
from agent_runtime.sessions import Sessions
from agent_runtime.settings import Settings
from agent_runtime.stages import rewritten
from agent_runtime.state import StateFile
from agent_runtime.telemetry import Telemetry, apart
from agent_runtime.tools.backend import Backend
from agent_runtime.tools.confirm import Confirmation
from agent_runtime.tools.execute import ToolRunner
from agent_runtime.turn import EndState, TurnRunner

_log = logging.getLogger(__name__)
_MOST_TEXT = 20_000  # characters of a message
_MOST_NAME = 200  # of an id
_EXPIRY_S = 3600.0  # between two looks at what has expired
SCHEMAS = (CHECKPOINTS, LEDGER)


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What a runtime is made of besides its settings. `model` answers instead of any provider when it is given;
    `announcer` tells Assay of every release that a turn has; `tenant` is the one whose shop `backend` is, None where
    its user ids are of all tenants; `end_state` tells how a session's world stands, for the turn's span."""

    state: StateFile
    backend: Backend
    memory: Memory
    retriever: Retriever
    guardrails: Sequence[Guardrail]
    telemetry: Telemetry
    model: Model | None = None
    announcer: Announcer | None = None
    tenant: str | None = None
    end_state: EndState | None = None


class Runtime:
    """One per process and data folder. Every method may be called many times at once."""

    def __init__(self, settings: Settings, parts: Parts) -> None:
        """Makes agents and clients once; nothing is sent yet."""
        self.settings = settings
        parameters = Parameters(memory_half_life_days=settings.memory_half_life_days)
        self.release = Release(
            name=settings.release, model=settings.model, provider=settings.provider, parameters=parameters
        )
        self._parts = parts
        self._sessions = Sessions(settings.queued_messages)
        self._checkpoints = Checkpoints(parts.state)
        self._ledger = Ledger(parts.state)
        self._models = Models(settings, parts.model)
        self._histories = Histories(self._checkpoints)
        self._resumed: set[asyncio.Task[None]] = set()
        self._expiring: asyncio.Task[None] | None = None
        self._asker = Asker(models=self._models, telemetry=parts.telemetry)
        self._turns = self._runner(settings, parts)

    def _runner(self, settings: Settings, parts: Parts) -> TurnRunner:
        mine = [g for g in parts.guardrails if g.name != Confirmation.name or g.stage is not Confirmation.stage]
        guardrails = [*mine, Confirmation()]
        tools = ToolRunner(
            settings=settings,
            backend=parts.backend,
            retriever=parts.retriever,
            ledger=self._ledger,
            telemetry=parts.telemetry,
            guardrails=guardrails,
            scopes=SCOPES,
        )
        return TurnRunner(
            settings=settings,
            telemetry=parts.telemetry,
            checkpoints=self._checkpoints,
            histories=self._histories,
            asker=self._asker,
            loop=Loop(
                agents=make_agents(tools, parts.telemetry),
                models=self._models,
                telemetry=parts.telemetry,
                save=self._checkpoints.save,
                guardrails=guardrails,
            ),
            tools=tools,
            memory=parts.memory,
            retriever=parts.retriever,
            guardrails=guardrails,
            end_state=parts.end_state,
        )

    async def start(self) -> int:
        """Takes up the turns that a killed process left, in the background; gives how many. Announces the release.

        From then on what has expired is deleted, now and every hour.

        Raises InvalidInput: the settings name no model that could be asked.
        """
        self._models.of(self.release)
        self._announce(self.release)
        unfinished = await self._checkpoints.unfinished()
        for begun in unfinished:
            task = asyncio.create_task(self._resume(begun))
            self._resumed.add(task)
            task.add_done_callback(self._resumed.discard)
        self._expiring = asyncio.create_task(self._expire_for_ever())
        return len(unfinished)

    async def turn(self, given: TurnInput, release: Release | None = None) -> TurnResult:
        """Answers a message; the same `message_id` again gives the same turn's answer.

        Waits behind earlier messages of the session; one that was cut off is answered first. While an action waits for
        a person, says so and does nothing; after `approval_hours` it is declined, and the message answered.
        Raises InvalidInput (empty or too long, another user's session, another tenant than the shop's), Busy.
        """
        if not given.text.strip():
            raise InvalidInput("the message is empty")
        if len(given.text) > _MOST_TEXT:
            raise InvalidInput(f"the message has {len(given.text)} characters, more than {_MOST_TEXT}")
        for name in (given.session_id, given.user_id, given.message_id, given.tenant):
            if not 0 < len(name) <= _MOST_NAME or not name.isprintable():
                raise InvalidInput(f"session_id, user_id, message_id, tenant: 1 to {_MOST_NAME} printable characters")
        if self._parts.tenant not in (None, given.tenant):
            raise InvalidInput(f"tenant {given.tenant!r} has no shop here")
        self._models.of(release or self.release)
        self._announce(release or self.release)
        release = release or self.release
        kept = rewritten(self._turns.guardrails, Check(given=given, text=given.text, parameters=release.parameters))
        async with self._sessions.turn(_session(given)):
            await self._checkpoints.lapse(self._undecided_since(), (given.tenant, given.session_id))
            while True:
                begun = await self._checkpoints.begin(given, release, kept)
                ours = begun.turn_id == turn_id_of(given)
                with nullcontext() if ours else apart():
                    result = begun.result or await self._turns.run(begun)
                if begun.result is not None or ours:
                    return result

    async def approve(self, approval_id: str, approved: bool, by: str, *, session_id: str | None = None) -> TurnResult:
        """Notes a person's decision and goes on with the turn once none is open; gives how the turn then stands.

        A second decision changes nothing. Raises NotFound (also when it is not of `session_id`), InvalidInput when
        nobody is named.
        """
        if not by.strip():
            raise InvalidInput("say who decides")
        begun = await self._checkpoints.asked_in(approval_id)
        if session_id not in (None, begun.given.session_id):
            raise NotFound(f"no approval {approval_id!r} in session {session_id!r}")
        async with self._sessions.turn(_session(begun.given)):
            await self._checkpoints.decide(approval_id, approved, by)
            begun = await self._checkpoints.asked_in(approval_id)
            return begun.result or await self._turns.run(begun)

    async def forget(self, user_id: str, tenant: str = "default") -> dict[str, int]:
        """Deletes everything the runtime keeps of a user, once their turns are done; gives rows by store.

        Their spans are sent before it returns: whoever erases them where they go finds them. A session that begins
        meanwhile is a new one, and stays. Raises Busy: too many messages wait in a session.
        """
        async with AsyncExitStack() as held:
            sessions = await self._checkpoints.sessions_of(tenant, user_id)
            for session in sessions:
                await held.enter_async_context(self._sessions.turn(f"{tenant}\x1f{session}"))
            counts = dict(await self._parts.memory.forget(tenant, user_id))
            counts.update(await self._checkpoints.forget(tenant, user_id, sessions))
            self._histories.forget()
        await self._parts.state.scrub()
        await asyncio.to_thread(self._parts.telemetry.flush)
        return counts

    async def forget_topic(self, user_id: str, topic: str, tenant: str = "default") -> dict[str, int]:
        """Deletes what memory has of a user about a topic (name, place, size...); gives rows by store.

        The conversations stay. Raises InvalidInput: no topic.
        """
        return dict(await self._parts.memory.forget_topic(tenant, user_id, topic))

    async def expire(self, now: datetime) -> dict[str, int]:
        """Deletes what memory has kept its time, and turns, approvals and ledger after `keep_days`; rows by store."""
        counts = dict(await self._parts.memory.expire(now))
        found = await self._checkpoints.expire(now - timedelta(days=self.settings.keep_days))
        if any(found.values()):
            self._histories.forget()
            await self._parts.state.scrub()
        return counts | found

    async def lapse(self) -> int:
        """Declines the actions that nobody has decided on for `approval_hours`, and ends their turns; how many."""
        lapsed = await self._checkpoints.lapse(self._undecided_since())
        for begun in lapsed:
            await self._resume(begun)
        return len(lapsed)

    async def summarise(self, text: str) -> str:
        """Asks the summariser model, for the turn that is worked on where there is one; memory may be given this.

        Raises ModelFailed, LimitReached.
        """
        turn = worked_on()
        if turn is None:
            return await self._asker.summarise(text, self.release)
        return await self._asker.summarise(text, turn.release, turn.spending)

    async def close(self) -> None:
        """Stops; turns in the background are left for the next start."""
        tasks = [*self._resumed, *([self._expiring] if self._expiring else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._parts.announcer is not None:
            await self._parts.announcer.close()
        await self._models.close()
        self._parts.telemetry.close()
        self._parts.state.close()

    def _announce(self, release: Release) -> None:
        if self._parts.announcer is not None:
            self._parts.announcer.tell(release)

    def _undecided_since(self) -> datetime:
        return datetime.now(UTC) - timedelta(hours=self.settings.approval_hours)

    async def _expire_for_ever(self) -> None:
        while True:
            try:
                await self.lapse()
                await self.expire(datetime.now(UTC))
            except (RuntimeFailed, sqlite3.Error) as error:
                _log.warning("what has expired could not be deleted: %s", error)
            await asyncio.sleep(_EXPIRY_S)

    async def _resume(self, begun: Begun) -> None:
        async with self._sessions.turn(_session(begun.given)):
            again = await self._checkpoints.of(begun.turn_id)  # it may have been answered, or forgotten
            if again is not None and again.result is None:
                result = await self._turns.run(again)
                _log.info("resumed turn %s: %s", begun.turn_id, result.status)


def _session(given: TurnInput) -> str:
    return f"{given.tenant}\x1f{given.session_id}"
