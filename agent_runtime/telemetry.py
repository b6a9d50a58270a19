"""Spans of the runtime: OTLP over HTTP, GenAI conventions, and the turn's baggage on every one of them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

from opentelemetry import baggage, context, trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.propagate import extract, inject
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import Status, StatusCode, Tracer
from opentelemetry.util.types import AttributeValue
from pydantic_ai.models.instrumented import InstrumentationSettings

from agent_runtime.records import APP, Release, TurnInput
from agent_runtime.settings import Settings

BAGGAGE_KEYS: Final = (
    "session.id",
    "gen_ai.conversation.id",
    "user.id",
    "assay.tenant",
    "assay.app",
    "assay.release",
    "assay.variant",
)
EXPERIMENT_KEY: Final = "assay.experiment"  # of a session that the gateway put into one
RUN_KEYS: Final = ("assay.run_id", "assay.example_id", "assay.trial")  # of a trial of an evaluation run


_COPIED: Final = (*BAGGAGE_KEYS, EXPERIMENT_KEY, *RUN_KEYS)
# What the gateway knows better than the release itself.
_FROM_THE_GATEWAY: Final = ("assay.release", "assay.variant", EXPERIMENT_KEY)
_ARRIVED: Final = context.create_key("agent_runtime.arrived")
_MOST_NAME: Final = 200
_QUEUED_SPANS: Final = 32_768  # what waits for the collector; more is dropped


class BaggageSpanProcessor(SpanProcessor):
    """Copies the turn's baggage onto each span when it starts; keys of other people stay in the baggage."""

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Called by the SDK."""
        carried = baggage.get_all(parent_context)
        span.set_attributes({key: str(carried[key]) for key in _COPIED if key in carried})

    def on_end(self, span: ReadableSpan) -> None:
        """Called by the SDK; nothing to do."""


class Telemetry:
    """The process's tracer. Nothing global is set, so that several runtimes live in one process."""

    def __init__(self, provider: TracerProvider) -> None:
        provider.add_span_processor(BaggageSpanProcessor())
        self.provider = provider
        self.tracer: Tracer = provider.get_tracer("agent_runtime")
        self.instrumentation = InstrumentationSettings(
            tracer_provider=provider, include_model_request_parameters=False, version=5
        )

    def flush(self, within_s: float = 10.0) -> None:
        """Sends what waits, and waits until it is sent or the time is over."""
        self.provider.force_flush(int(within_s * 1000))

    def close(self) -> None:
        """Sends what waits."""
        self.provider.shutdown()

    @contextmanager
    def span(
        self, name: str, attributes: Mapping[str, Any] | None = None, links: Sequence[trace.Link] = ()
    ) -> Iterator[trace.Span]:
        """A current span; an error that leaves it is recorded on it."""
        with self.tracer.start_as_current_span(name, attributes=attributes, links=links) as span:
            yield span


def exporter_of(settings: Settings) -> SpanExporter | None:
    """The way to the collector; None when there is no `otlp_endpoint`."""
    if not settings.otlp_endpoint:
        return None
    key = settings.otlp_key
    headers = {"authorization": f"Bearer {key.get_secret_value()}"} if key else None
    return OTLPSpanExporter(endpoint=settings.otlp_endpoint.rstrip("/") + "/v1/traces", headers=headers)


def open_telemetry(settings: Settings, *, simulated: bool, exporter: SpanExporter | None = None) -> Telemetry:
    """Makes the tracer; spans go to `exporter` in batches, else to `otlp_endpoint`, or nowhere when that is empty."""
    attributes: dict[str, AttributeValue] = {"service.name": APP}
    if simulated:
        attributes["assay.simulated"] = True
    provider = TracerProvider(resource=Resource.create(attributes))
    exporter = exporter or exporter_of(settings)
    if exporter is not None:
        provider.add_span_processor(BatchSpanProcessor(exporter, max_queue_size=_QUEUED_SPANS))
    return Telemetry(provider)


@contextmanager
def arrived(headers: Mapping[str, str]) -> Iterator[None]:
    """While a request is worked on: turns go on with its `traceparent`, and the release and variant of its `baggage`
    (both W3C) are theirs. What cannot be read is as if it were not there."""
    token = context.attach(context.set_value(_ARRIVED, True, extract(headers, Context())))
    try:
        yield
    finally:
        context.detach(token)


@contextmanager
def apart() -> Iterator[None]:
    """For a turn that is worked on because of a request, and is not what it asks for: it is a trace of its own."""
    token = context.attach(Context())
    try:
        yield
    finally:
        context.detach(token)


def _came_with() -> tuple[Context, dict[str, str]]:
    """Where a turn goes on, and what the gateway says of it. Without a request a turn is a trace of its own: the span
    and the baggage of who calls in this process do not leak into it."""
    here = context.get_current()
    if not context.get_value(_ARRIVED, here):
        return Context(), {}
    caller = trace.get_current_span(here)
    begins = trace.set_span_in_context(caller, Context()) if caller.get_span_context().is_valid else Context()
    said = {key: str(baggage.get_baggage(key, here) or "") for key in (*_FROM_THE_GATEWAY, *RUN_KEYS)}
    return begins, {key: name for key, name in said.items() if 0 < len(name) <= _MOST_NAME and name.isprintable()}


@contextmanager
def turn_baggage(given: TurnInput, release: Release) -> Iterator[None]:
    """Sets the baggage of a turn for as long as it is worked on."""
    current, said = _came_with()
    values = {
        "session.id": given.session_id,
        "gen_ai.conversation.id": given.session_id,
        "user.id": given.user_id,
        "assay.tenant": given.tenant,
        "assay.app": release.app,
        "assay.release": release.name,
        "assay.variant": release.variant,
        **said,
    }
    for key, value in values.items():
        current = baggage.set_baggage(key, value, current)
    token = context.attach(current)
    try:
        yield
    finally:
        context.detach(token)


def request_headers() -> dict[str, str]:
    """Gives `traceparent` and `baggage` of where we are, for a model request."""
    headers: dict[str, str] = {}
    inject(headers)
    return headers


def failed(span: trace.Span, error: str, message: str) -> None:
    """Marks a span as failed without an exception leaving it."""
    span.set_attribute("error.type", error)
    span.set_status(Status(StatusCode.ERROR, message))


def text_message(role: str, text: str) -> str:
    """One message as the GenAI conventions write it in a span attribute."""
    return json.dumps([{"role": role, "parts": [{"type": "text", "content": text}]}], ensure_ascii=False)


def trace_id() -> str:
    """32 hex digits of the current trace."""
    return trace.format_trace_id(trace.get_current_span().get_span_context().trace_id)


def traceparent() -> str:
    """The current span in W3C form."""
    return request_headers().get("traceparent", "")


def link_to(parent: str) -> list[trace.Link]:
    """A link to an earlier span in W3C form, none if it cannot be read."""
    parts = parent.split("-")
    if len(parts) != 4 or len(parts[1]) != 32 or len(parts[2]) != 16:
        return []
    try:
        ids = int(parts[1], 16), int(parts[2], 16)
    except ValueError:
        return []
    found = trace.SpanContext(trace_id=ids[0], span_id=ids[1], is_remote=True)
    return [trace.Link(found)]


def short_json(value: Any, most: int = 4096) -> str:
    """JSON for an attribute, cut at `most` characters."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= most else text[: most - 1] + "…"
