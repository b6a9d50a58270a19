"""Turns of the demo as OpenTelemetry spans and events, in the GenAI conventions, through the plain SDK."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from opentelemetry import trace
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.context import Context
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, LogRecordExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from opentelemetry.util.types import AttributeValue

from examples.shop_agent import SYSTEM_PROMPT, Release, Session, Step, Turn, conversation_before

NS_PER_MS: Final = 1_000_000
QUEUE: Final = 8192


@dataclass(frozen=True, kw_only=True)
class Telemetry:
    """The SDK's providers of one release: traces and events leave through them."""

    traces: TracerProvider
    logs: LoggerProvider

    def flush(self) -> None:
        """Blocks until what was ended has been exported (or given up on, with a log line)."""
        self.traces.force_flush()
        self.logs.force_flush()

    def shutdown(self) -> None:
        """Flushes and ends both providers."""
        self.traces.shutdown()
        self.logs.shutdown()


def exporters() -> tuple[SpanExporter, LogRecordExporter]:
    """The SDK's OTLP exporters for OTEL_EXPORTER_OTLP_PROTOCOL; everything else they read from the environment."""
    if os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf") == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter as GrpcLogs
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcSpans

        return GrpcSpans(), GrpcLogs()
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter as HttpLogs
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpSpans

    return HttpSpans(), HttpLogs()


def telemetry_of(release: Release, spans: SpanExporter, logs: LogRecordExporter) -> Telemetry:
    """Providers whose resource names the app and this release."""
    resource = Resource.create(
        {
            "service.name": "shop",
            "service.version": release.name,
            "deployment.environment.name": "demo",
            "assay.simulated": True,
        }
    )
    traces = TracerProvider(resource=resource)
    traces.add_span_processor(BatchSpanProcessor(spans, max_queue_size=QUEUE, schedule_delay_millis=500))
    events = LoggerProvider(resource=resource)
    events.add_log_record_processor(BatchLogRecordProcessor(logs, max_queue_size=QUEUE, schedule_delay_millis=500))
    return Telemetry(traces=traces, logs=events)


def emit(telemetry: Telemetry, session: Session, turn: Turn, session_id: str, end_ns: int) -> None:
    """The turn's root span, a span per step below it, and an event per evaluation."""
    tracer = telemetry.traces.get_tracer("shop-agent", session.release.name)
    start_ns = end_ns - round(turn.duration_ms * NS_PER_MS)
    everywhere: dict[str, AttributeValue] = {
        "gen_ai.conversation.id": session_id,
        "session.id": session_id,
        "user.id": session.user,
        "assay.variant": session.release.variant,
    }
    root = tracer.start_span(
        "invoke_agent shop-agent",
        context=Context(),
        kind=SpanKind.INTERNAL,
        start_time=start_ns,
        attributes=everywhere
        | {
            "gen_ai.operation.name": "invoke_agent",
            "gen_ai.agent.name": "shop-agent",
            "shop.topic": turn.topic,
            "gen_ai.input.messages": _messages([("user", turn.user_text)]),
            **({"gen_ai.output.messages": _messages([("assistant", turn.reply)], "stop")} if turn.reply else {}),
        },
    )
    inside = trace.set_span_in_context(root)
    parent = inside
    for step in turn.steps:
        made = tracer.start_span(
            _span_name(step),
            context=parent if step.kind == "http" else inside,
            kind=SpanKind.CLIENT if step.kind in ("chat", "http") else SpanKind.INTERNAL,
            start_time=start_ns + round(step.start_ms * NS_PER_MS),
            attributes=everywhere | _attributes(step, session.release, turn),
        )
        _fail(made, step.error)
        made.end(start_ns + round(step.end_ms * NS_PER_MS))
        parent = trace.set_span_in_context(made) if step.kind == "tool" else parent
    _fail(root, turn.error)
    root.end(end_ns)
    _evaluate(telemetry, turn, inside, end_ns)


def _evaluate(telemetry: Telemetry, turn: Turn, context: Context, end_ns: int) -> None:
    for evaluation in turn.evaluations:
        telemetry.logs.get_logger("shop-judge").emit(
            LogRecord(
                timestamp=end_ns + 200 * NS_PER_MS,
                observed_timestamp=end_ns + 200 * NS_PER_MS,
                context=context,
                severity_number=SeverityNumber.INFO,
                event_name="gen_ai.evaluation.result",
                attributes={
                    "gen_ai.evaluation.name": evaluation.name,
                    "gen_ai.evaluation.score.value": evaluation.value,
                    "gen_ai.evaluation.score.label": evaluation.label,
                    "gen_ai.evaluation.explanation": evaluation.explanation,
                },
            )
        )


def _fail(span: Span, error: str | None) -> None:
    if error:
        span.set_attribute("error.type", error)
        span.set_status(Status(StatusCode.ERROR, error.replace("_", " ")))


def _span_name(step: Step) -> str:
    return {"tool": f"execute_tool {step.name}", "http": step.name}.get(step.kind, f"{step.kind} {step.name}")


def _attributes(step: Step, release: Release, turn: Turn) -> dict[str, AttributeValue]:
    match step.kind:
        case "chat":
            return _chat_attributes(step, release, turn)
        case "tool":
            return {
                "gen_ai.operation.name": "execute_tool",
                "gen_ai.tool.name": step.name,
                "gen_ai.tool.type": "function",
                "gen_ai.tool.call.id": "call_1",
                "gen_ai.tool.call.arguments": step.input,
                "gen_ai.tool.call.result": step.output,
            }
        case "retrieval":
            found = [
                {"id": f"help-{n}", "content": text, "score": 0.9 - n / 10} for n, text in enumerate(step.documents)
            ]
            return {
                "gen_ai.operation.name": "retrieval",
                "gen_ai.data_source.id": step.name,
                "gen_ai.retrieval.query.text": step.input,
                "gen_ai.retrieval.documents": json.dumps(found),
            }
        case _:
            return {"http.request.method": "GET", "url.path": "/internal/orders", "http.response.status_code": 200}


def _chat_attributes(step: Step, release: Release, turn: Turn) -> dict[str, AttributeValue]:
    cost = (step.input_tokens * release.input_price + step.output_tokens * release.output_price) / 1e6
    shared: dict[str, AttributeValue] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": release.model,
        "gen_ai.request.temperature": 0.2,
        "gen_ai.system_instructions": json.dumps([{"type": "text", "content": SYSTEM_PROMPT}]),
        "gen_ai.input.messages": _messages(conversation_before(turn)),
    }
    if step.error:
        return shared
    asked = (made.input for made in turn.steps if made.kind == "tool" and made.name == step.calls_tool)
    arguments = json.loads(next(asked, "{}"))
    call: dict[str, object] = {"type": "tool_call", "id": "call_1", "name": step.calls_tool, "arguments": arguments}
    said = [{"role": "assistant", "parts": [call], "finish_reason": "tool_call"}] if step.calls_tool else None
    return shared | {
        "gen_ai.response.model": release.model,
        "gen_ai.response.finish_reasons": ["tool_calls" if step.calls_tool else "stop"],
        "gen_ai.response.time_to_first_chunk": step.ttft_ms / 1000,
        "gen_ai.usage.input_tokens": step.input_tokens,
        "gen_ai.usage.output_tokens": step.output_tokens,
        "gen_ai.usage.cost": round(cost, 9),
        "gen_ai.output.messages": json.dumps(said) if said else _messages([("assistant", step.output)], "stop"),
    }


def _messages(said: Iterable[tuple[str, str]], finish_reason: str | None = None) -> str:
    end = {"finish_reason": finish_reason} if finish_reason else {}
    return json.dumps([{"role": role, "parts": [{"type": "text", "content": text}], **end} for role, text in said])
