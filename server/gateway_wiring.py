"""The gateway's process: its settings and the control database made into what `gateway.service` needs, and served.

What is imported here is what its memory holds: no lake, no query engine, no web framework.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, Final

import orjson
import uvicorn
import uvloop

from auth.authenticator import Authenticator
from core.clock import Clock, system_clock
from core.errors import AssayError, InvalidInput
from core.memory import ARENA_MAX, ARENAS, give_back_every, set_malloc
from core.records import Principal, Role
from gateway.config_file import LoadedConfig
from gateway.errors import CallFailed
from gateway.reload import LOOK_EVERY_S, ConfigWatch, first_config
from gateway.service import Service, Surroundings
from server.bounded_http import BoundedHttp, Refusal
from server.gateway_directory import Directory
from server.gateway_plans import GatewayExperiments, GatewayPlans
from server.settings import Settings
from store.control.control import Control
from store.control.secret_file import read_or_create_secret
from store.instance import instance_of, require_same, require_secrets
from store.versions import require_format

TRIM_S: Final = 30.0
STOP_WITHIN_S: Final = 5  # then streams that are open are ended
REMEMBERED_S: Final = 1.0  # an accepted key; the directory is at most 2 s behind
COLLECT_EVERY: Final = 5000  # new objects that may be part of a cycle
BAD_FILE: Final = "the file was changed and cannot be used; an admin reads why with assay gateway status"
_BACKLOG: Final = 2048
_LOG: Final = logging.getLogger("assay.gateway")


class GatewayHttp(BoundedHttp):
    """One connection of the gateway: what cannot be read is answered as OpenAI's clients expect it."""

    def answer_to(self, refusal: Refusal, path: str) -> tuple[list[tuple[bytes, bytes]], bytes]:
        """The refusal in OpenAI's shape of error."""
        error = CallFailed(refusal.detail, status=refusal.status, kind="invalid_request_error", code=refusal.code)
        body = orjson.dumps(error.body())
        return [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())], body


class GatewayProcess:
    """One gateway with everything that it stands on. Make it, `start` it in the event loop, serve `app`, `close` it."""

    def __init__(self, settings: Settings, clock: Clock = system_clock) -> None:
        """Raises BadConfig for the gateway's file; NewerData, AnotherInstance, StorageFailed, Corrupt."""
        environ = settings.gateway_environment(os.environ)
        first = first_config(settings.gateway_file, environ, needed=settings.gateway_config is not None)
        self._control = open_control(settings, clock)
        try:
            pepper = read_or_create_secret(settings.secrets_dir / "pepper")
            self._directory = Directory(self._control, settings.secrets_dir / "gateway-keys.json", clock)
            self._watch = ConfigWatch(settings.gateway_file, environ, first, clock)
            authenticator = Authenticator(
                self._directory.find_key, pepper, clock, ttl_s=REMEMBERED_S, note_use=self._directory.note_use
            )
            self._service = Service(first.config, self._surroundings(settings, authenticator, clock))
        except BaseException:
            self._control.close()
            raise
        self._look_now = asyncio.Event()
        self._looking: asyncio.Task[None] | None = None

    @property
    def app(self) -> Any:
        """The ASGI application."""
        return self._service.app

    async def start(self) -> None:
        """Begins to read keys, plans and the file again and again, and to send spans."""
        self._directory.start()
        await self._service.start()
        self._looking = asyncio.get_running_loop().create_task(self._look_always())

    async def close(self) -> None:
        """Ends everything; requests should have ended."""
        if self._looking is not None:
            self._looking.cancel()
            with suppress(asyncio.CancelledError):
                await self._looking
        await self._service.close()
        await asyncio.to_thread(self._directory.close)
        self._control.close()

    def look_now(self) -> None:
        """Reads the gateway's file at once: somebody says that it is whole."""
        self._look_now.set()

    def _surroundings(self, settings: Settings, authenticator: Authenticator, clock: Clock) -> Surroundings:
        return Surroundings(
            folder=settings.gateway_dir,
            spool_key=read_or_create_secret(settings.gateway_spool_secret),
            otlp_url=settings.collector_url or f"http://127.0.0.1:{settings.http_port}",
            principal=authenticator.principal,
            ingest_key=self._directory.ingest_key,
            plan_of=GatewayPlans(self._directory).of,
            running_of=GatewayExperiments(self._directory).of,
            more_status=self._more_status,
            clock=clock,
        )

    def _more_status(self, principal: Principal) -> dict[str, Any]:
        """The file and the directory. What is wrong with the file names other tenants, so admins alone read it; that
        something is, everybody."""
        config = self._watch.status()
        if principal.role is not Role.ADMIN:
            problem = {"problem": BAD_FILE} if config["problems"] else {}
            config = {name: config[name] for name in ("digest", "since")} | problem
        plans = [
            {"app": each.plan.spec.app, "version": each.plan.version, "weights": dict(each.plan.spec.weights)}
            for each in self._directory.plans
            if each.plan.tenant == principal.tenant
        ]
        return {"config": config, "plans": plans, "directory": self._directory.status()}

    async def _look_always(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            at_once = await self._asked_within(LOOK_EVERY_S)
            try:
                found = await loop.run_in_executor(None, partial(self._watch.look, at_once=at_once))
                if found is not None:
                    self._use(found)
            except Exception:
                _LOG.exception("looking at the gateway's file ended in a defect")

    async def _asked_within(self, seconds: float) -> bool:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._look_now.wait(), seconds)
            self._look_now.clear()
            return True
        return False

    def _use(self, found: LoadedConfig) -> None:
        try:
            self._service.use(found.config)
        except (AssayError, ValueError) as error:
            self._watch.refused((f"{found.path}: {error}",))
        else:
            self._watch.taken(found)


class _Server(uvicorn.Server):
    """Ends when its owner says so, who has more to end than requests."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leaves the signals alone."""
        yield


def serve_gateway(settings: Settings) -> int:
    """Serves until a signal comes; 0. Raises BadConfig, InvalidInput when the port is taken, and as GatewayProcess."""
    set_malloc((ARENA_MAX, ARENAS))
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    with _listening(settings.host, settings.gateway_port) as bound:
        process = GatewayProcess(settings)
        give_back_every(TRIM_S)
        _collect_seldom()
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(process, bound))
    return 0


def _collect_seldom() -> None:
    """What was loaded so far is garbage never, and calls leave little: looking for cycles as often as Python does by
    itself costs a call 0.06 ms of 0.5 (benchmarks/gateway/overhead.py, 16 at once)."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_EVERY, 20, 100)


async def _serve(process: GatewayProcess, bound: socket.socket) -> None:
    server = _Server(
        uvicorn.Config(
            process.app,
            http=GatewayHttp,
            ws="none",
            lifespan="off",
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=STOP_WITHIN_S,
            timeout_keep_alive=75,
        )
    )
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, server.handle_exit, number, None)
    loop.add_signal_handler(signal.SIGHUP, process.look_now)
    await process.start()
    try:
        await server.serve(sockets=[bound])
    finally:
        await process.close()


def _listening(host: str, port: int) -> socket.socket:
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
        bound.listen(_BACKLOG)
    except OSError as error:
        bound.close()
        said = f"port {port} (gateway) on {host} cannot be used: {error.strerror}; stop what uses it"
        raise InvalidInput(f"{said}, or set ASSAY_GATEWAY_PORT") from None
    bound.setblocking(False)
    return bound


def open_control(settings: Settings, clock: Clock) -> Control:
    """The control database, as `server.control_access.open_control` opens it, without what that loads to look at the
    lake of a folder that was never opened before. Raises NewerData, AnotherInstance, StorageFailed, Corrupt."""
    require_format(settings.data)
    if instance_of(settings.data) is None:
        from server.control_access import open_control as open_first

        return open_first(settings, clock)
    require_same(settings.data, lake=settings.lake_root, control_url=settings.control_database)
    require_secrets(settings.data)
    pepper = read_or_create_secret(settings.secrets_dir / "pepper")
    return Control.open(settings.control_database, pepper=pepper, clock=clock)
