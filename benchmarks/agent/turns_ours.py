"""Turns of the reference runtime as it is: routing, guardrails, memory, checkpoints on disk, spans to a collector.

`quiet` as the second argument sends the spans nowhere.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx2

from agent_runtime import Parts, Runtime
from agent_runtime.guardrails.table import GUARDRAILS
from agent_runtime.memory.stored import StoredMemory
from agent_runtime.memory.tables import SCHEMA as MEMORY
from agent_runtime.records import TurnInput
from agent_runtime.retrieval.library import Library
from agent_runtime.runtime import SCHEMAS
from agent_runtime.settings import Settings
from agent_runtime.state import StateFile
from agent_runtime.telemetry import open_telemetry
from benchmarks.agent import worker


class SameShop:
    """The measured tool behind the backend's protocol."""

    async def call(self, tool: str, user_id: str, args: Mapping[str, Any], *, key: str | None) -> dict[str, Any]:
        """Any tool."""
        return await worker.tool(**args)


async def main() -> None:
    """Plays until the parent is done."""
    given = worker.job()
    with tempfile.TemporaryDirectory(prefix="assay-overhead-") as folder:
        endpoint = "" if "quiet" in sys.argv[2:] else given["url"]
        told = {"data": Path(folder), "openai_base_url": f"{given['url']}/v1", "otlp_endpoint": endpoint}
        settings = Settings().model_copy(update=told)
        state = StateFile(settings.data, (*SCHEMAS, MEMORY))
        telemetry = open_telemetry(settings, simulated=True)
        parts = Parts(
            state=state,
            backend=SameShop(),
            memory=StoredMemory(state),
            retriever=Library(telemetry),
            guardrails=GUARDRAILS,
            telemetry=telemetry,
        )
        runtime = Runtime(settings, parts)

        async def turn(session: str, number: int) -> str:
            message = TurnInput(session_id=session, user_id="u1", text=given["text"], message_id=f"{session}:{number}")
            return (await runtime.turn(message)).reply

        await worker.serve(turn, given["answer"])
        await runtime.close()


if __name__ == "__main__":
    worker.measure_requests(httpx2)
    asyncio.run(main())
