"""One agent turn with one model call, sent to wherever the OTEL_ variables point. See quickstart_python.md."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult


class Watched(SpanExporter):
    """The exporter of OTEL_EXPORTER_OTLP_PROTOCOL (`grpc`, else HTTP), and whether everything was taken."""

    def __init__(self) -> None:
        self.all_taken = True
        self._exporter = grpc_exporter() if os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL") == "grpc" else http_exporter()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Sends the spans; notes a failure, which the SDK only logs."""
        result = self._exporter.export(spans)
        self.all_taken &= result is SpanExportResult.SUCCESS
        return result

    def shutdown(self) -> None:
        """Ends the exporter."""
        self._exporter.shutdown()


def grpc_exporter() -> SpanExporter:
    """OTLP over gRPC; it logs the collector's words itself. Needs opentelemetry-exporter-otlp-proto-grpc."""
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter()


def http_exporter() -> SpanExporter:
    """OTLP over HTTP; what the collector says of a request that it refuses goes to standard error."""
    import requests
    from google.rpc.status_pb2 import Status
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    def tell(answer: requests.Response, *_: object, **__: object) -> None:
        if not answer.ok and answer.headers.get("Content-Type") == "application/x-protobuf":
            print(f"the collector says: {Status.FromString(answer.content).message}", file=sys.stderr)

    session = requests.Session()
    session.hooks["response"].append(tell)
    return OTLPSpanExporter(session=session)


def message(role: str, text: str) -> dict[str, object]:
    """One message in the shape of the GenAI conventions."""
    return {"role": role, "parts": [{"type": "text", "content": text}]}


def main() -> int:
    """Sends two spans and waits for the exporter; 1, with the reason on standard error, when they were not taken."""
    provider, exporter = TracerProvider(), Watched()
    provider.add_span_processor(BatchSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    tracer = trace.get_tracer("quickstart")

    question = json.dumps([message("user", "Where is my order?")])
    answer = json.dumps([message("assistant", "It arrives tomorrow.") | {"finish_reason": "stop"}])
    session = {"gen_ai.conversation.id": "session-1", "user.id": "user-1"}
    with tracer.start_as_current_span("invoke_agent my-agent") as turn:
        turn.set_attributes({"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "my-agent", **session})
        turn.set_attributes({"gen_ai.input.messages": question, "gen_ai.output.messages": answer})
        with tracer.start_as_current_span("chat gpt-4.1-mini") as call:
            call.set_attributes(
                {
                    "gen_ai.operation.name": "chat",
                    "gen_ai.provider.name": "openai",
                    "gen_ai.request.model": "gpt-4.1-mini",
                    "gen_ai.usage.input_tokens": 42,
                    "gen_ai.usage.output_tokens": 7,
                    "gen_ai.input.messages": question,
                    "gen_ai.output.messages": answer,
                    **session,
                }
            )
    provider.shutdown()
    if not exporter.all_taken:
        print("nothing was stored: check OTEL_EXPORTER_OTLP_ENDPOINT and the key in its HEADERS", file=sys.stderr)
        return 1
    print(f"made trace {turn.get_span_context().trace_id:032x}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
