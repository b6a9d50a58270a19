"""What the pages of the tests show: real OTLP traces, made with the OpenTelemetry SDK and sent over HTTP."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any, Final

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Span, StatusCode, Tracer, set_span_in_context

from tests.dashboard import hostile
from tests.stack import Stack

APP: Final = "travel-desk"
SESSION: Final = "trip-to-lisbon"
HOSTILE_APP: Final = "hostile <b>app</b> **x** :material/delete:"
BIG_APP: Final = "indexer"
N_BIG: Final = 33_000
_S: Final = 1_000_000_000
_BATCH: Final = 1_000


class Recorder:
    """Spans of one app, kept until they are sent."""

    def __init__(self, app: str, release: str) -> None:
        self._kept = InMemorySpanExporter()
        resource = Resource.create({"service.name": app, "service.version": release})
        provider = TracerProvider(resource=resource, span_limits=SpanLimits(max_attribute_length=None))
        provider.add_span_processor(SimpleSpanProcessor(self._kept))
        self.tracer: Tracer = provider.get_tracer("tests.dashboard")

    def send(self, stack: Stack) -> list[ReadableSpan]:
        """Sends everything recorded; each batch has to be acknowledged."""
        spans = list(self._kept.get_finished_spans())
        exporter = OTLPSpanExporter(endpoint=f"{stack.otlp_http}/v1/traces", headers=stack.headers, timeout=30)
        for first in range(0, len(spans), _BATCH):
            assert exporter.export(spans[first : first + _BATCH]) is SpanExportResult.SUCCESS
        exporter.shutdown()  # type: ignore[no-untyped-call]
        return spans


def ids(span: Span | ReadableSpan) -> tuple[str, str]:
    """Trace id and span id as the pages spell them."""
    context = span.get_span_context()
    assert context is not None
    return f"{context.trace_id:032x}", f"{context.span_id:016x}"


def conversation(stack: Stack) -> list[str]:
    """Two turns of one session, 95 s apart, the second with a failing tool; returns their trace ids."""
    recorder = Recorder(APP, "2026.11.1")
    start = time.time_ns() - 600 * _S
    first = _turn(
        recorder.tracer, start, "Is there a night train to Lisbon?", "Yes, it leaves Hendaye at 18:35.", fails=False
    )
    later = start + (4 + 95) * _S
    second = _turn(recorder.tracer, later, "Book it for two.", "I could not book it: the seats are gone.", fails=True)
    recorder.send(stack)
    return [first, second]


def _turn(tracer: Tracer, start: int, asked: str, answered: str, *, fails: bool) -> str:
    shared = {"gen_ai.conversation.id": SESSION, "user.id": "ana"}
    about: dict[str, Any] = {
        **shared,
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": "travel-agent",
        "input.value": asked,
        "output.value": answered,
        "openinference.span.kind": "AGENT",
    }
    root = tracer.start_span("invoke_agent travel-agent", start_time=start, attributes=about)
    inside = set_span_in_context(root)
    call = {"id": "call_1", "type": "tool_call", "name": "find_trains", "arguments": {"to": "Lisbon"}}
    question = [
        {"role": "user", "parts": [{"type": "text", "content": asked}]},
    ]
    reply = [{"role": "assistant", "parts": [call], "finish_reason": "tool_calls"}]
    model: dict[str, Any] = {
        **shared,
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4.1-mini",
        "gen_ai.response.model": "gpt-4.1-mini-2025-04-14",
        "gen_ai.usage.input_tokens": 1_200,
        "gen_ai.usage.output_tokens": 80,
        "gen_ai.system_instructions": json.dumps([{"type": "text", "content": "You plan journeys."}]),
        "gen_ai.input.messages": json.dumps(question),
        "gen_ai.output.messages": json.dumps(reply),
    }
    chat = tracer.start_span("chat gpt-4.1-mini", context=inside, start_time=start + _S // 10, attributes=model)
    chat.end(start + 2 * _S)
    tool: dict[str, Any] = {
        **shared,
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "find_trains",
        "gen_ai.tool.call.id": "call_1",
        "gen_ai.tool.call.arguments": json.dumps({"to": "Lisbon"}),
        "gen_ai.tool.call.result": json.dumps({"train": "Sud Express"}),
    }
    looked = tracer.start_span("execute_tool find_trains", context=inside, start_time=start + 2 * _S, attributes=tool)
    if fails:
        looked.record_exception(RuntimeError("no seats left"), timestamp=start + 2 * _S + 1)
        looked.set_status(StatusCode.ERROR, "no seats left")
        root.set_status(StatusCode.ERROR, "the tool failed")
    looked.end(start + 2 * _S + 300_000_000)
    root.end(start + 4 * _S)
    return ids(root)[0]


def hostile_trace(stack: Stack) -> tuple[str, str]:
    """A trace whose every text is an attack; returns the ids of its model call."""
    recorder = Recorder(HOSTILE_APP, hostile.MARKUP)
    start = time.time_ns() - 300 * _S
    text = hostile.EVERYTHING
    about: dict[str, Any] = {
        "gen_ai.conversation.id": hostile.MARKUP,
        "user.id": hostile.MARKUP,
        "input.value": text,
        "output.value": text,
        "openinference.span.kind": "AGENT",
    }
    root = recorder.tracer.start_span(hostile.MARKUP, start_time=start, attributes=about)
    parts = [{"type": "text", "content": text}, {"type": "image_url", "image_url": {"url": hostile.FORMULA}}]
    call = {"type": "tool_call", "id": text, "name": text, "arguments": {text: text}}
    model: dict[str, Any] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": text,
        "gen_ai.request.model": hostile.MARKUP,
        "gen_ai.usage.input_tokens": 10,
        "gen_ai.usage.output_tokens": 1,
        "gen_ai.input.messages": json.dumps(
            [{"role": hostile.MARKUP, "parts": parts}, {"role": "user", "parts": parts}]
        ),
        "gen_ai.output.messages": json.dumps([{"role": "assistant", "parts": [*parts, call]}]),
        hostile.MARKUP: text,
    }
    chat = recorder.tracer.start_span(
        hostile.MARKUP, context=set_span_in_context(root), start_time=start + 1, attributes=model
    )
    chat.add_event(hostile.MARKUP, {hostile.MARKUP: text}, timestamp=start + 2)
    chat.set_status(StatusCode.ERROR, text)
    chat.end(start + _S)
    root.end(start + 2 * _S)
    recorder.send(stack)
    return ids(chat)


def big_trace(stack: Stack) -> tuple[str, str]:
    """33,000 spans in one trace, 1,000 groups under one root; returns the ids of one of its last spans."""
    recorder = Recorder(BIG_APP, "1")
    start = time.time_ns() - 900 * _S
    step = 10_000_000
    root = recorder.tracer.start_span(
        "re-index everything", start_time=start, attributes={"openinference.span.kind": "CHAIN"}
    )
    inside = set_span_in_context(root)
    last: Span = root
    for group in range(1_000):
        at = start + group * 32 * step
        head = recorder.tracer.start_span(f"document {group}", context=inside, start_time=at)
        below = set_span_in_context(head)
        for place in range(32 if group < 999 else 31):
            last = recorder.tracer.start_span(f"passage {group}.{place}", context=below, start_time=at + place * step)
            last.end(at + (place + 1) * step)
        head.end(at + 32 * step)
    root.end(start + 32_000 * step)
    sent: Sequence[ReadableSpan] = recorder.send(stack)
    assert len(sent) == N_BIG
    return ids(last)
