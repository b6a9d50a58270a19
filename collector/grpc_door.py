"""OTLP over gRPC: the three Export methods on raw bytes, so that the key is checked before anything is decoded.

Backpressure carries RetryInfo in both trailers: `grpc-status-details-bin`, which the specification names, and
`google.rpc.retryinfo-bin`, which is the one the Python exporter reads.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeAlias

import grpc
import grpc.aio

from collector.answers import Refusal, refusal_of, response_of, retry_info
from collector.http_request import key_of
from collector.intake import Intake
from collector.kinds import Signal
from collector.settings import CollectorSettings
from core.errors import Unauthenticated

_SERVICE: Final = "opentelemetry.proto.collector.{0}.v1.{1}Service"
METHODS: Final = {
    f"/{_SERVICE.format('trace', 'Trace')}/Export": Signal.SPANS,
    f"/{_SERVICE.format('logs', 'Logs')}/Export": Signal.LOG_RECORDS,
    f"/{_SERVICE.format('metrics', 'Metrics')}/Export": Signal.METRIC_POINTS,
}
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


async def start_grpc(intake: Intake, settings: CollectorSettings) -> grpc.aio.Server:
    """A running server. Raises OSError when the port is taken."""
    server = grpc.aio.server(
        handlers=(ExportMethods(intake),),
        options=[
            ("grpc.max_receive_message_length", settings.max_body_bytes),
            ("grpc.max_send_message_length", 4 << 20),
            ("grpc.so_reuseport", 0),
            ("grpc.max_metadata_size", 32 << 10),
            ("grpc.max_concurrent_streams", 1_000),  # of one connection; holds back one that opens and resets streams
            ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
        ],
    )
    address = f"{settings.host}:{settings.grpc_port}"
    try:
        port = server.add_insecure_port(address)
    except RuntimeError as error:
        raise OSError(f"gRPC cannot listen on {address}: is the port taken?") from error
    if port == 0:
        raise OSError(f"gRPC cannot listen on {address}: is the port taken?")
    await server.start()
    return server
