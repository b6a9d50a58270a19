"""A gateway served on loopback in this process, before the simulated provider: for tests of what callers see.

Keys are texts: "TENANT:ROLE". Spans wait in the spool, whose contents tests may read; no collector is there.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from agent_runtime.simulation.provider.running import Beside, listen, running_provider
from agent_runtime.simulation.provider.server import Provider
from core.errors import Unauthenticated
from core.ids import tenant_id
from core.records import Principal, Role
from gateway.config import GatewayConfig
from gateway.enrolment import Running
from gateway.service import Service, Surroundings
from gateway.session_door import Plan
from tests.waiting import wait_until

SPOOL_KEY = bytes(range(32))
USER = "acme:user"
NOWHERE = ("http://127.0.0.1:9", None)


def principal(key: str | None) -> Principal:
    """Who shows "TENANT:ROLE"."""
    if not key or ":" not in key:
        raise Unauthenticated("this key is not known")
    tenant, role = key.split(":", 1)
    return Principal(tenant=tenant_id(tenant), role=Role(role), name=key, key_id=f"id_{tenant}")


def config_of(provider: str, **more: Any) -> dict[str, Any]:
    """A configuration before the provider at an address; `more` replaces or adds sections."""
    return {
        "upstreams": {"sim": {"base_url": f"{provider}/v1", "keys": ["sk-of-the-provider-0123456789"]}},
        "models": {
            "fast": {"targets": [{"upstream": "sim", "model": "sim-1-mini"}]},
            "large": {"targets": [{"upstream": "sim", "model": "sim-1-large"}], "cheaper": "fast"},
        },
        **more,
    }


@dataclass(kw_only=True)
class Live:
    """A gateway that serves at `url`."""

    url: str
    provider: str
    service: Service
    loop: asyncio.AbstractEventLoop
    plans: dict[tuple[str, str], Plan]  # by tenant and app; what is put in holds from the next request on
    running: dict[tuple[str, str], list[Running]]  # experiments, likewise

    def calls(self, at_least: int = 1, tenant: str = "acme") -> list[dict[str, Any]]:
        """The attributes of the spans of a tenant's calls so far, once there are `at_least` so many."""
        wait_until(lambda: len(self._kept(tenant)) >= at_least, 20, f"{at_least} spans of {tenant}")
        return [attributes_of(raw) for raw in self._kept(tenant)]

    def _kept(self, tenant: str) -> tuple[bytes, ...]:
        async def read() -> tuple[bytes, ...]:
            batch = self.service.spool.peek(tenant, most=100_000, most_bytes=1 << 30)
            return () if batch is None else batch.contents

        return asyncio.run_coroutine_threadsafe(read(), self.loop).result(20)


def attributes_of(raw: bytes) -> dict[str, Any]:
    """The first span's attributes as plain values, with `name` and `status` of the span; its resource's are
    `resource:NAME`."""
    group = ExportTraceServiceRequest.FromString(raw).resource_spans[0]
    span = group.scope_spans[0].spans[0]
    found: dict[str, Any] = {"name": span.name, "status": span.status.message, "parent": span.parent_span_id.hex()}
    found["links"] = [(link.trace_id.hex(), link.span_id.hex()) for link in span.links]
    found |= {f"resource:{each.key}": each.value.string_value for each in group.resource.attributes}
    for attribute in span.attributes:
        value = attribute.value
        kind = str(value.WhichOneof("value"))
        found[attribute.key] = (
            [each.string_value for each in value.array_value.values] if kind == "array_value" else getattr(value, kind)
        )
    return found


@contextmanager
def live(folder: Path, otlp: tuple[str, str | None] = NOWHERE, **more: Any) -> Iterator[Live]:
    """Serves a gateway until the end of the block, in a thread of its own with an event loop of its own.

    `otlp` is where spans go, and the key for it."""
    ready, stop = threading.Event(), threading.Event()
    found: list[Live] = []
    failed: list[BaseException] = []

    async def serve() -> None:
        async with (
            running_provider(Provider(speed=None)) as provider,
            _serving(folder, provider, otlp, more) as gateway,
        ):
            found.append(gateway)
            ready.set()
            while not stop.is_set():
                await asyncio.sleep(0.01)

    def run() -> None:
        try:
            asyncio.run(serve())
        except BaseException as error:
            failed.append(error)
            ready.set()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        assert ready.wait(60), "the gateway did not start"
        if failed:
            raise failed[0]
        yield found[0]
    finally:
        stop.set()
        thread.join(30)


@asynccontextmanager
async def _serving(
    folder: Path, provider: str, otlp: tuple[str, str | None], more: dict[str, Any]
) -> AsyncIterator[Live]:
    config = GatewayConfig.model_validate(config_of(provider, **more))
    plans: dict[tuple[str, str], Plan] = {}
    running: dict[tuple[str, str], list[Running]] = {}
    service = Service(
        config,
        Surroundings(
            folder=folder,
            spool_key=SPOOL_KEY,
            otlp_url=otlp[0],
            principal=principal,
            ingest_key=lambda _tenant: otlp[1],
            plan_of=lambda tenant, app: plans.get((tenant, app)),
            running_of=lambda tenant, app: running.get((tenant, app), ()),
        ),
    )
    await service.start()
    with listen("127.0.0.1", 0) as bound:
        settings = uvicorn.Config(service.app, http="httptools", loop="asyncio", log_level="warning", ws="none")
        server = Beside(settings)
        serving = asyncio.create_task(server.serve(sockets=[bound]))
        while not server.started:
            await asyncio.sleep(0.005)
        try:
            url = f"http://127.0.0.1:{bound.getsockname()[1]}"
            loop = asyncio.get_running_loop()
            yield Live(url=url, provider=provider, service=service, loop=loop, plans=plans, running=running)
        finally:
            server.should_exit = True
            await serving
            await service.close()
