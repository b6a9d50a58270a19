"""Puts a runtime together from its settings: the configured model, or the simulated one when none is configured."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace

from agent_runtime.announce import Announcer, client_of
from agent_runtime.guardrails.table import GUARDRAILS
from agent_runtime.memory.stored import StoredMemory
from agent_runtime.memory.tables import SCHEMA as MEMORY
from agent_runtime.retrieval.index import Edition
from agent_runtime.retrieval.library import Library
from agent_runtime.runtime import SCHEMAS, Parts, Runtime
from agent_runtime.settings import Settings
from agent_runtime.simulation.backend import Shop
from agent_runtime.simulation.provider.latency import MODEL_PREFIX
from agent_runtime.simulation.provider.running import running_provider
from agent_runtime.simulation.provider.server import Provider
from agent_runtime.simulation.seed import demo_customer, open_world
from agent_runtime.state import StateFile
from agent_runtime.telemetry import open_telemetry


@dataclass(frozen=True, kw_only=True)
class Running:
    """A runtime that has started. `demo_user` has orders in the simulated shop; `simulated` names the model's kind."""

    runtime: Runtime
    demo_user: str
    simulated: bool


def is_simulated(settings: Settings) -> bool:
    """Whether no model server is configured, so that the simulated provider answers."""
    return settings.provider == "openai" and settings.openai_base_url is None and settings.openai_api_key is None


def says_simulated(settings: Settings) -> bool:
    """Whether spans and greeting say so: also of a simulated model that is reached through a gateway."""
    return is_simulated(settings) or settings.model.startswith(MODEL_PREFIX)


@asynccontextmanager
async def open_runtime(settings: Settings) -> AsyncIterator[Running]:
    """Starts a runtime on the simulated shop under `settings.data`, resumes what was left, closes it at the end.

    Raises InvalidInput: another process has the folder; CorruptState: a file cannot be read.
    """
    async with AsyncExitStack() as opened:
        simulated = is_simulated(settings)
        if simulated:
            url = await opened.enter_async_context(running_provider(Provider()))
            settings = settings.model_copy(update={"openai_base_url": f"{url}/v1"})
        state = StateFile(settings.data, (*SCHEMAS, MEMORY))
        world = open_world(settings.data / "world.db")
        opened.callback(world.close)
        memory, telemetry = StoredMemory(state), open_telemetry(settings, simulated=says_simulated(settings))
        library = Library(telemetry)
        for kind in ("help", "policy"):
            documents = (replace(document, tenant=settings.tenant) for document in world.documents(kind=kind))
            library.fill(kind, [Edition(document=document) for document in documents])
        assay = client_of(settings)
        parts = Parts(
            state=state,
            backend=Shop(world),
            memory=memory,
            retriever=library,
            guardrails=GUARDRAILS,
            telemetry=telemetry,
            announcer=Announcer(assay) if assay else None,
            tenant=settings.tenant,
        )
        runtime = Runtime(settings, parts)
        memory.summarise = runtime.summarise
        opened.push_async_callback(runtime.close)
        await runtime.start()
        yield Running(runtime=runtime, demo_user=demo_customer(world).user_id, simulated=says_simulated(settings))
