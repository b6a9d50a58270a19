"""OTLP over gRPC: the three Export methods on raw bytes, so that the key is checked before anything is decoded.

Backpressure carries RetryInfo in both trailers: `grpc-status-details-bin`, which the specification names, and
`google.rpc.retryinfo-bin`, which is the one the Python exporter reads.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeAlias

import grpc
import grpc.aio

from collector.answers import Refusal, refusal_of, response_of, retry_info
from collector.http_request import key_of
from collector.intake import Intake
from collector.kinds import Signal
from collector.settings import CollectorSettings
from core.errors import Unauthenticated, Undecodable

_SERVICE: Final = "opentelemetry.proto.collector.{0}.v1.{1}Service"
METHODS: Final = {
    f"/{_SERVICE.format('trace', 'Trace')}/Export": Signal.SPANS,
    f"/{_SERVICE.format('logs', 'Logs')}/Export": Signal.LOG_RECORDS,
    f"/{_SERVICE.format('metrics', 'Metrics')}/Export": Signal.METRIC_POINTS,
}
WATCH_S: Final = 0.1  # how often is asked whether the server still lives
_LOG: Final = logging.getLogger("assay.grpc")
_CODES: Final = {code.value[0]: code for code in grpc.StatusCode}

Context: TypeAlias = "grpc.aio.ServicerContext[bytes, bytes]"
Behaviour: TypeAlias = Callable[[bytes, Context], Awaitable[bytes]]


class ExportMethods(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Routes the three methods; everything else is UNIMPLEMENTED by gRPC itself."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        """The handler of a method, None when there is none."""
        signal = METHODS.get(handler_call_details.method)
        if signal is None:
            return None
        return grpc.unary_unary_rpc_method_handler(self._behaviour(signal))

    def _behaviour(self, signal: Signal) -> Behaviour:
        async def export(body: bytes, context: Context) -> bytes:
            try:
                principal = self._intake.principal(_key(context))
                if body[:2] == b"\x1f\x8b":
                    raise Undecodable("the message is gzip inside; send it plain, or let gRPC pack it", "body")
                body = await self._intake.opened(body, principal)
                accepted = await self._intake.receive(signal, body, is_json=False, principal=principal)
            except Exception as error:
                await _abort(context, refusal_of(error))
                raise
            return response_of(accepted)

        return export


def _key(context: Context) -> str | None:
    """The caller's key. Raises Unauthenticated when one of the two headers comes twice with different values."""
    found: dict[str, str] = {}
    for name, value in context.invocation_metadata() or ():
        if name not in ("authorization", "x-api-key") or not isinstance(value, str):
            continue
        if found.setdefault(name, value) != value:
            raise Unauthenticated(f"the metadata key {name} came twice with different values; send one")
    return key_of(found.get("authorization"), found.get("x-api-key"))


async def _abort(context: Context, refusal: Refusal) -> None:
    trailers: list[tuple[str, bytes]] = [("grpc-status-details-bin", refusal.status().SerializeToString())]
    if refusal.retry_after_s is not None:
        trailers.append(("google.rpc.retryinfo-bin", retry_info(refusal.retry_after_s).SerializeToString()))
    await context.abort(_CODES[refusal.grpc], refusal.message[:2000], tuple(trailers))


def _without_what_was_sent(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """The loop's report of an error nobody waits for; one that quotes bytes of a request is reported by its name."""
    if isinstance(context.get("exception"), UnicodeError):
        context = {"message": f"{context['message']} ({type(context['exception']).__name__})"}
    loop.default_exception_handler(context)


class GrpcDoor:
    """The server, opened again when it dies.

    gRPC's asyncio server ends for good at a request whose path is not UTF-8 (seen in grpcio 1.85.1), which anybody can
    send without a key. Calls under way are finished by the old server; clients connect anew.
    """

    def __init__(self, intake: Intake, settings: CollectorSettings) -> None:
        self._intake = intake
        self._settings = settings
        self._listens = False
        self._watch: asyncio.Task[None] | None = None

    @property
    def is_open(self) -> bool:
        """Whether it listens, and is opened again when that ends."""
        return self._listens and self._watch is not None and not self._watch.done()

    async def start(self) -> None:
        """Listens. Raises OSError when the port is taken."""
        asyncio.get_running_loop().set_exception_handler(_without_what_was_sent)
        self._server = await self._listening()
        self._watch = asyncio.get_running_loop().create_task(self._keep_open())

    async def stop(self, grace_s: float) -> None:
        """Takes no more calls, and gives those under way `grace_s` seconds; a server that just died is no error."""
        if self._watch is not None:
            self._watch.cancel()
        try:
            # One that is dying may never say that it has stopped, so it is not waited for longer than the grace.
            await asyncio.wait_for(self._server.stop(grace_s), grace_s + 1.0)
        except Exception as error:  # it ended by itself in this moment, as in `_keep_open`
            _LOG.error("the gRPC server had ended with %s when it was to be stopped", type(error).__name__)

    async def _keep_open(self) -> None:
        while True:
            try:
                while await self._server.wait_for_termination(WATCH_S):
                    pass
            except Exception as error:  # whatever ended it
                # Its words may quote what was sent, so only its name is logged.
                _LOG.error("the gRPC server ended with %s; opening it again", type(error).__name__)
            dead, self._listens = self._server, False
            self._server = await self._listening_again()
            with contextlib.suppress(Exception):
                await dead.stop(5.0)

    async def _listening_again(self) -> grpc.aio.Server:
        while True:
            try:
                return await self._listening()
            except OSError:  # the dead one has not let go of the port yet
                await asyncio.sleep(WATCH_S)

    async def _listening(self) -> grpc.aio.Server:
        server = grpc.aio.server(
            handlers=(ExportMethods(self._intake),),
            options=[
                ("grpc.max_receive_message_length", self._settings.max_body_bytes),
                ("grpc.max_send_message_length", 4 << 20),
                ("grpc.so_reuseport", 0),
                ("grpc.max_metadata_size", 32 << 10),
                ("grpc.max_concurrent_streams", 1_000),  # of one connection; holds back who opens and resets streams
                ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
            ],
        )
        address = f"{self._settings.host}:{self._settings.grpc_port}"
        try:
            port = server.add_insecure_port(address)
        except RuntimeError as error:
            raise OSError(f"gRPC cannot listen on {address}: is the port taken?") from error
        if port == 0:
            raise OSError(f"gRPC cannot listen on {address}: is the port taken?")
        await server.start()
        self._listens = True
        return server
